from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dgex_jax.simulate.biology import (
    REPRESSOR,
    ProfileStreams,
    Regulation,
    geo_samples,
    gtex_samples,
    make_deposits,
    make_regulation,
    mix,
    thousand_genomes_samples,
    transcription,
    true_abundance,
)
from dgex_jax.simulate.platforms import make_catalogue

if TYPE_CHECKING:
    from dgex_jax.simulate.config import SimulationConfig
    from dgex_jax.simulate.platforms import World


def by_the_book(regulation: Regulation, activity: np.ndarray, gene: int) -> float:
    """The promoter of one gene in one profile, site by site in plain Python."""

    def occupancy(site: int) -> float | None:
        if not regulation.present[site, gene]:
            return None
        a = float(activity[regulation.regulator[site, gene]])
        k, h = float(regulation.threshold[site, gene]), float(regulation.hill[site, gene])
        return 1 / (1 + math.exp(-h * (a - k)))

    enhancers = []
    for sites in ((0, 1), (2, 3)):
        there = [o for site in sites if (o := occupancy(site)) is not None]
        enhancers.append(math.prod(there) if there else 0.0)
    active = 1 - (1 - enhancers[0]) * (1 - enhancers[1])
    active *= 1 - float(regulation.repression[gene]) * (occupancy(REPRESSOR) or 0.0)
    leak = float(regulation.leak[gene])
    return 2.0 ** float(regulation.top[gene]) * (leak + (1 - leak) * active)


def test_transcription_is_the_written_formula(world: World) -> None:
    rng = np.random.default_rng(0)
    activity = rng.normal(0, 2, (3, world.config.n_regulators)).astype(np.float32)
    genes = range(world.catalogue.n_genes)
    expected = [[by_the_book(world.regulation, row, gene) for gene in genes] for row in activity]
    np.testing.assert_allclose(transcription(world.regulation, activity), expected, rtol=2e-4)


@pytest.mark.parametrize("level", [-1e4, 1e4])
def test_extreme_activity_saturates_instead_of_overflowing(world: World, level: float) -> None:
    activity = np.full((1, world.config.n_regulators), level, np.float32)
    values = transcription(world.regulation, activity)[0]
    top = np.exp2(world.regulation.top.astype(float))
    assert (values <= top * 1.0001).all()
    assert (values >= top * world.regulation.leak * 0.9999).all()
    if level < 0:
        np.testing.assert_allclose(values, top * world.regulation.leak, rtol=1e-4)


def test_a_response_saturates_and_regulators_interact(world: World) -> None:
    regulation = world.regulation
    both = regulation.present[:2].all(axis=0) & ~regulation.present[2:].any(axis=0)
    gene = int(np.flatnonzero(both & (regulation.regulator[0] != regulation.regulator[1]))[0])
    first, second = regulation.regulator[:2, gene]

    def response(level: float) -> np.ndarray:
        """To the first regulator, with the second one at a level."""
        sweep = np.zeros((201, world.config.n_regulators), np.float32)
        sweep[:, first], sweep[:, second] = np.linspace(-12, 12, 201), level
        return transcription(regulation, sweep)[:, gene].astype(float)

    steps = np.diff(response(12))
    assert (steps > -1e-3 * steps.max()).all()
    assert max(steps[0], steps[-1]) < 0.01 * steps.max()
    # AND: without the second regulator the first one does next to nothing.
    assert np.ptp(response(-12)) < 0.01 * np.ptp(response(12))


def test_cells_mix_on_the_linear_scale(world: World, small: SimulationConfig) -> None:
    profiles = np.arange(0, 500, 10)
    samples = geo_samples(small, world.states, world.deposits, profiles)
    quiet = replace(world.regulation, noise=np.zeros_like(world.regulation.noise))
    streams = ProfileStreams(small.seed, "GEO genes")
    mixed = true_abundance(samples, world.states, quiet, streams, profiles)
    parts = [transcription(quiet, samples.activity)]
    parts += [transcription(quiet, cell + samples.systemic) for cell in world.states.infiltrates]
    shares = samples.proportions.T[:, :, None]
    np.testing.assert_allclose(mixed, np.log2((shares * parts).sum(axis=0)), atol=1e-4)
    assert (samples.proportions[:, 0] == 1).any()
    assert (samples.proportions[:, 0] < 0.9).any()


def test_proportions_sum_to_one_and_none_is_none() -> None:
    shares = mix(np.array([[0.0, 0.0], [-np.inf, -np.inf], [1.0, -np.inf]]))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(shares[0], 1 / 3, rtol=1e-6)
    assert shares[1].tolist() == [1, 0, 0]
    assert shares[2, 2] == 0


def test_a_profile_has_a_stream_of_its_own(small: SimulationConfig) -> None:
    streams = ProfileStreams(small.seed, "GEO genes")
    first, again, other = (streams[index].standard_normal(3) for index in (4, 4, 5))
    assert (first == again).all()
    assert not (first == other).any()


def test_landmarks_cover_the_modules_and_vary_little_on_their_own(small: SimulationConfig) -> None:
    config = replace(small, n_landmarks=400, n_targets=1000)
    catalogue = make_catalogue(config)
    regulation = make_regulation(config, catalogue.n_genes, catalogue.landmarks)
    rest = np.setdiff1d(np.arange(catalogue.n_genes), catalogue.landmarks)
    assert regulation.noise[catalogue.landmarks].mean() < regulation.noise[rest].mean()
    assert regulation.leak[catalogue.landmarks].max() <= 2.0**-3
    bound = np.unique(regulation.regulator[0, catalogue.landmarks])
    assert len(bound) > 0.9 * config.n_regulators


def test_1000g_is_one_cell_line_and_varies_less(world: World, small: SimulationConfig) -> None:
    states = world.states
    lines = thousand_genomes_samples(small, states, np.arange(small.n_1000g))
    tissues = gtex_samples(small, states, np.arange(small.n_gtex))
    assert (lines.proportions[:, 0] == 1).all()
    assert lines.activity.var(axis=0).sum() < 0.5 * tissues.activity.var(axis=0).sum()
    # Every line is nearest to the lymphoblastoid state among all states.
    distance = ((lines.activity[:, None] - states.tissues) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == states.lymphoblastoid).mean() > 0.9


def test_tissues_of_a_family_are_alike(world: World) -> None:
    tissues, family = world.states.tissues.astype(float), world.states.family
    distance = ((tissues[:, None] - tissues) ** 2).sum(axis=2)
    kin = family[:, None] == family
    np.fill_diagonal(kin, val=False)
    stranger = family[:, None] != family
    assert distance[kin].mean() < 0.7 * distance[stranger].mean()


def test_series_have_the_wanted_size(world: World, small: SimulationConfig) -> None:
    deposits = make_deposits(replace(small, n_profiles=20_000), world.states)
    sizes = np.bincount(deposits.series)
    assert 22 < sizes[:-1].mean() < 30
    assert np.quantile(sizes, 0.9) > 2 * np.quantile(sizes, 0.1)


def test_some_profiles_are_copied_twice_and_some_copies_come_first(world: World) -> None:
    deposits = world.deposits
    copies, originals = np.flatnonzero(deposits.is_copy), np.flatnonzero(~deposits.is_copy)
    assert len(copies) == round(18149 / 129158 * 600)
    assert np.bincount(deposits.source[copies]).max() >= 2
    earlier = copies < originals[deposits.source[copies]]
    assert 0.2 < earlier.mean() < 0.8
