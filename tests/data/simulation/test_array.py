from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata

from dgex_jax.data.simulation.array import intensities, make_array
from dgex_jax.data.simulation.config import SimulationConfig
from dgex_jax.data.simulation.samples import geo_samples
from dgex_jax.data.simulation.world import make_world
from dgex_jax.data.simulation.write import geo_block

if TYPE_CHECKING:
    from dgex_jax.config import RawFiles
    from dgex_jax.data.simulation.world import World


def test_copies_and_only_copies_are_close(files: RawFiles, world: World) -> None:
    with h5py.File(files.geo) as file:
        values = file["0/DATA/0/matrix"][:].astype(float)
    distance = squareform(pdist(values))
    source = world.deposits.source
    planned = source[:, None] == source
    pairs = np.triu(np.ones_like(planned), 1)
    assert (planned & pairs).sum() >= world.config.n_copies
    assert distance[planned & pairs].max() < 0.9
    assert distance[planned & pairs].min() > 0.01
    assert distance[~planned & pairs].min() > 2.0
    # A copy is close to its source whatever the number of probes.
    copies = np.flatnonzero(world.deposits.is_copy)
    originals = np.flatnonzero(~world.deposits.is_copy)
    step = distance[copies, originals[source[copies]]]
    assert ((step > 0.015) & (step < 0.46)).all()


def test_some_profiles_are_copied_twice_and_some_copies_come_first(world: World) -> None:
    deposits = world.deposits
    copies = np.flatnonzero(deposits.is_copy)
    assert len(copies) == round(18149 / 129158 * 600)
    assert np.bincount(deposits.source[copies]).max() >= 2
    originals = np.flatnonzero(~deposits.is_copy)
    earlier = copies < originals[deposits.source[copies]]
    assert 0.2 < earlier.mean() < 0.8


def test_series_have_the_wanted_size() -> None:
    deposits = make_world(SimulationConfig(n_profiles=20_000)).deposits
    sizes = np.bincount(deposits.series)
    assert 22 < sizes[:-1].mean() < 30
    assert np.quantile(sizes, 0.9) > 2 * np.quantile(sizes, 0.1)


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_values_lie_between_dark_level_and_full_scale(
    noise: float, small: SimulationConfig
) -> None:
    world = make_world(replace(small, array_noise=noise))
    values = geo_block(world, np.arange(64))
    assert values.dtype == np.float32
    assert values.min() >= 4
    assert values.max() <= 15
    assert values.max() > 13.5
    assert values.min() < 5.5


def test_a_tile_s_neighbours_change_no_value(world: World) -> None:
    rows = np.array([300, 2, 511])
    together = geo_block(world, np.arange(600))[rows]
    np.testing.assert_allclose(geo_block(world, rows), together, atol=2e-4)


def scan(world: World, abundance: np.ndarray) -> np.ndarray:
    """Intensities of one and the same profile at several abundances."""
    profiles = np.zeros(len(abundance), np.intp)
    samples = geo_samples(world.config, world.states, world.deposits, profiles)
    return intensities(
        world.config,
        world.array,
        samples,
        abundance.astype(np.float32),
        profiles=profiles,
        series=profiles,
    ).astype(float)


def test_background_hides_low_and_saturation_high_expression(world: World) -> None:
    levels = np.linspace(-10, 30, 81)
    curve = scan(world, np.repeat(levels[:, None], world.catalogue.n_genes, axis=1))
    slope = np.diff(curve, axis=0) / np.diff(levels)[:, None]
    assert slope.min() > -1e-4
    assert np.abs(slope[0]).max() < 0.05
    assert np.abs(slope[-1]).max() < 0.05
    assert np.median(slope.max(axis=0)) > 0.6


def test_each_file_s_own_curve_is_monotone(world: World) -> None:
    n_probes = world.config.n_probes
    # The same true array scanned with two curves: ranks within the profile stay.
    from dgex_jax.data.simulation.array import _scan

    signal = np.random.default_rng(0).lognormal(5, 2, (1, n_probes)).astype(np.float32)
    scans = [_scan(signal.copy(), np.array([[e]], np.float32))[0] for e in (0.9, 1.1)]
    assert np.abs(scans[0] - scans[1]).max() > 0.1
    ranks = [rankdata(scan) for scan in scans]
    assert np.abs(ranks[0] - ranks[1]).max() <= 1


def test_a_stray_probe_follows_the_other_gene(world: World) -> None:
    array = world.array
    base = np.full((1, world.catalogue.n_genes), -20.0)
    place = int(np.argmax(array.catch))
    probe, other = array.stray[place], array.stray_gene[place]
    assert other != array.gene[probe]
    raised = base.copy()
    raised[0, other] = 12.0
    change = (scan(world, raised) - scan(world, base))[0]
    assert change[probe] > 2
    neither = np.setdiff1d(
        np.flatnonzero(array.gene != other), array.stray[array.stray_gene == other]
    )
    assert np.abs(change[neither]).max() < 1e-4


def test_cross_hybridisation_is_the_asked_share(small: SimulationConfig) -> None:
    world = make_world(replace(small, cross_hybridisation=0.3, platform_discordance=0.0))
    assert abs(len(world.array.stray) / small.n_probes - 0.3) < 0.06
    clean = make_array(
        replace(small, cross_hybridisation=0.0), world.catalogue, np.empty(0, np.intp)
    )
    assert len(clean.stray) == 0
    assert (world.array.stray_gene != world.array.gene[world.array.stray]).all()


def test_probes_of_one_gene_agree_but_are_not_the_same(files: RawFiles, world: World) -> None:
    with h5py.File(files.geo) as file:
        values = file["0/DATA/0/matrix"][:].astype(float)
    correlation = np.corrcoef(values.T)
    same = world.array.gene[:, None] == world.array.gene
    pairs = np.triu(np.ones_like(same), 1)
    own = correlation[same & pairs]
    assert np.median(own) > np.median(correlation[~same & pairs]) + 0.3
    assert own.max() < 0.999
