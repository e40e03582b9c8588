from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata

from dgex_jax.simulate import platforms
from dgex_jax.simulate.biology import ProfileStreams, geo_samples, gtex_samples, true_abundance
from dgex_jax.simulate.config import SimulationConfig
from dgex_jax.simulate.platforms import (
    LIBRARY_SD,
    intensities,
    make_array,
    make_catalogue,
    make_sequencing,
    make_world,
    probe_counts,
    rpkm,
    sequenced_abundance,
)
from dgex_jax.simulate.write import geo_block, sequenced

if TYPE_CHECKING:
    from dgex_jax.simulate.platforms import World

NOBODY = np.empty(0, np.intp)


def test_probe_counts_are_the_map_s_distribution() -> None:
    # Counts of the original's target map: 5,765 targets with one probe, 2,201 with two, ...
    recorded = np.array([5765, 2201, 975, 380, 123, 48, 12, 8, 3, 3, 1, 0, 1])
    drawn = probe_counts(9520, 15_744, np.random.default_rng(5))
    counts = np.bincount(drawn, minlength=14)[1:]
    np.testing.assert_allclose(counts[:4], recorded[:4], rtol=0.15)
    assert abs(counts[4:].sum() - recorded[4:].sum()) < 80


@pytest.mark.parametrize(
    ("n_targets", "n_probes"), [(9520, 15_744), (300, 300), (300, 840), (300, 1800)]
)
def test_probe_counts_add_up_for_any_mean(n_targets: int, n_probes: int) -> None:
    drawn = probe_counts(n_targets, n_probes, np.random.default_rng(1))
    assert drawn.sum() == n_probes
    assert 1 <= drawn.min() <= drawn.max() <= 13


def test_every_probe_belongs_to_one_line_or_to_none(world: World, small: SimulationConfig) -> None:
    catalogue = world.catalogue
    assert all(len(own) == 1 for own in catalogue.landmark_probes)
    lines = [*catalogue.landmark_probes, *catalogue.target_probes]
    mapped, genes = np.concatenate(lines), np.r_[catalogue.landmarks, catalogue.targets]
    assert len(np.unique(mapped)) == len(mapped) == small.n_probes - small.extra_probes
    for gene, own in zip(genes, lines, strict=True):
        assert (catalogue.gene_of_probe[own] == gene).all()
    rest = np.setdiff1d(np.arange(small.n_probes), mapped)
    assert not np.isin(catalogue.gene_of_probe[rest], genes).any()


def test_ids_are_unique_and_none_can_be_taken_for_a_real_one(world: World) -> None:
    for ids, pattern in (
        (world.catalogue.probe_ids, r"2\d{5}(_[sx])?_at"),
        (world.catalogue.ensembl, r"ENSG9\d{10}\.\d+"),
        (world.catalogue.symbols, r"SIM\d{5}"),
    ):
        assert all(re.fullmatch(pattern, one) for one in ids)
        assert len(set(ids)) == len(ids)


def test_genes_are_lost_in_each_way_and_no_shared_one(world: World) -> None:
    """Absent from one RNA-seq file, from the other, from both."""
    catalogue = world.catalogue
    mapped = np.union1d(catalogue.landmarks, catalogue.targets)
    gtex, other = (
        np.intersect1d(absent, mapped) for absent in (catalogue.absent_gtex, catalogue.absent_1000g)
    )
    assert len(np.setdiff1d(gtex, other)) == len(np.setdiff1d(other, gtex)) == 4
    assert len(np.intersect1d(gtex, other)) == 4
    shared = np.intersect1d(catalogue.landmarks, catalogue.targets)
    assert len(shared) == 9
    assert not np.isin(shared, np.union1d(gtex, other)).any()


def test_the_paper_s_catalogue_has_its_counts() -> None:
    catalogue = make_catalogue(SimulationConfig.paper())
    assert (len(catalogue.landmarks), len(catalogue.targets)) == (943, 9520)
    assert len(np.intersect1d(catalogue.landmarks, catalogue.targets)) == 445
    assert len(catalogue.probe_ids) == 22_268
    assert max(map(len, catalogue.target_probes)) <= 13
    assert not np.isin(catalogue.absent_gtex, catalogue.targets).any()


def test_copies_and_only_copies_are_close(geo: np.ndarray, world: World) -> None:
    distance = squareform(pdist(geo))
    source, is_copy = world.deposits.source, world.deposits.is_copy
    planned = source[:, None] == source
    pairs = np.triu(np.ones_like(planned), 1)
    assert (planned & pairs).sum() >= world.config.n_copies
    assert distance[planned & pairs].max() < 0.9
    assert distance[planned & pairs].min() > 0.01
    assert distance[~planned & pairs].min() > 2.0
    # A copy is close to its source whatever the number of probes.
    step = distance[is_copy, np.flatnonzero(~is_copy)[source[is_copy]]]
    assert ((step > 0.015) & (step < 0.46)).all()


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_values_lie_between_dark_level_and_full_scale(
    noise: float, small: SimulationConfig
) -> None:
    values = geo_block(make_world(replace(small, array_noise=noise)), np.arange(64))
    assert values.dtype == np.float32
    assert 4 <= values.min() < 5.5
    assert 13.5 < values.max() <= 15


def test_a_tile_s_neighbours_change_no_value(world: World) -> None:
    rows = np.array([300, 2, 511])
    together = geo_block(world, np.arange(600))[rows]
    np.testing.assert_allclose(geo_block(world, rows), together, atol=2e-4)


def scanned(world: World, abundance: np.ndarray) -> np.ndarray:
    """Intensities of one and the same profile at several abundances."""
    profiles = np.zeros(len(abundance), np.intp)
    samples = geo_samples(world.config, world.states, world.deposits, profiles)
    levels = abundance.astype(np.float32)
    return intensities(world, samples, levels, profiles, profiles).astype(float)


def test_background_hides_low_and_saturation_high_expression(world: World) -> None:
    levels = np.linspace(-10, 30, 81)
    curve = scanned(world, np.repeat(levels[:, None], world.catalogue.n_genes, axis=1))
    slope = np.diff(curve, axis=0) / np.diff(levels)[:, None]
    assert slope.min() > -1e-4
    assert np.abs(slope[[0, -1]]).max() < 0.05
    assert np.median(slope.max(axis=0)) > 0.6


def test_each_file_s_own_curve_is_monotone() -> None:
    # The same true array scanned with two curves: ranks within the profile stay.
    signal = np.random.default_rng(0).lognormal(5, 2, (1, 700)).astype(np.float32)
    scans = [platforms.scan(signal.copy(), np.array([[e]], np.float32))[0] for e in (0.9, 1.1)]
    assert np.abs(scans[0] - scans[1]).max() > 0.1
    assert np.abs(rankdata(scans[0]) - rankdata(scans[1])).max() <= 1


def test_a_stray_probe_follows_the_other_gene(world: World) -> None:
    array, gene_of_probe = world.array, world.catalogue.gene_of_probe
    base = np.full((1, world.catalogue.n_genes), -20.0)
    place = int(np.argmax(array.catch))
    probe, other = array.stray[place], array.stray_gene[place]
    assert other != gene_of_probe[probe]
    raised = base.copy()
    raised[0, other] = 12.0
    change = (scanned(world, raised) - scanned(world, base))[0]
    assert change[probe] > 2
    strays = array.stray[array.stray_gene == other]
    neither = np.setdiff1d(np.flatnonzero(gene_of_probe != other), strays)
    assert np.abs(change[neither]).max() < 1e-4


def test_cross_hybridisation_is_the_asked_share(small: SimulationConfig) -> None:
    world = make_world(replace(small, cross_hybridisation=0.3, platform_discordance=0.0))
    assert abs(len(world.array.stray) / small.n_probes - 0.3) < 0.06
    own = world.catalogue.gene_of_probe[world.array.stray]
    assert (world.array.stray_gene != own).all()
    clean = make_array(replace(small, cross_hybridisation=0.0), world.catalogue, NOBODY)
    assert len(clean.stray) == 0


def test_probes_of_one_gene_agree_but_are_not_the_same(geo: np.ndarray, world: World) -> None:
    correlation = np.corrcoef(geo.T)
    same = world.catalogue.gene_of_probe[:, None] == world.catalogue.gene_of_probe
    pairs = np.triu(np.ones_like(same), 1)
    own = correlation[same & pairs]
    assert np.median(own) > np.median(correlation[~same & pairs]) + 0.3
    assert own.max() < 0.999


def test_rpkm_undoes_length_and_depth(world: World, small: SimulationConfig) -> None:
    deep = replace(world, config=replace(small, library_size=1e10, dispersion=0.0))
    seen = np.random.default_rng(2).normal(7, 2, (4, world.catalogue.n_genes)).astype(np.float32)
    values = rpkm(deep, seen, ProfileStreams(7, "GTEx counts"), np.arange(4)).astype(float)
    true = np.exp2(seen.astype(float))
    # In deep libraries without dispersion RPKM is abundance but for one factor a sample.
    shares, wanted = (one / one.sum(axis=1, keepdims=True) for one in (values, true))
    np.testing.assert_allclose(shares, wanted, rtol=0.06)


def test_counts_are_integers_and_overdispersed_as_asked(
    world: World, small: SimulationConfig
) -> None:
    config = replace(small, dispersion=0.25)
    sequencing = make_sequencing(config, world.catalogue.n_genes)
    dispersed = replace(world, config=config, sequencing=sequencing)
    seen = np.full((400, world.catalogue.n_genes), 8.0, np.float32)
    streams = ProfileStreams(small.seed, "GTEx counts")
    values = rpkm(dispersed, seen, streams, np.arange(400)).astype(float)
    share = values / values.sum(axis=1, keepdims=True)
    squared_cv = share.var(axis=0) / share.mean(axis=0) ** 2
    assert 0.2 < np.median(squared_cv) < 0.3
    mapped = config.library_size * streams[0].lognormal(0.0, LIBRARY_SD)
    reads = values[0] * sequencing.length * mapped / 1e9
    assert reads.max() > 1000
    np.testing.assert_allclose(reads, np.round(reads), rtol=1e-6, atol=1e-6)


def test_few_reads_give_zeros_and_ties(world: World, small: SimulationConfig) -> None:
    values = sequenced(replace(world, config=replace(small, library_size=2e5)), "GTEx")
    assert 0.01 < (values == 0).mean() < 0.5
    assert all(len(np.unique(row)) < len(row) for row in values)
    assert (values >= 0).all()


def test_the_two_platforms_agree_but_for_the_discordant_genes(small: SimulationConfig) -> None:
    # Many discordant genes, so that their median is sure enough to be compared.
    world = make_world(replace(small, platform_discordance=0.6, probes_per_target=1.2))
    rows = np.flatnonzero(~world.deposits.is_copy)[:300]
    profiles = world.deposits.source[rows]
    samples = geo_samples(world.config, world.states, world.deposits, profiles)
    streams = ProfileStreams(small.seed, "GEO genes")
    abundance = true_abundance(samples, world.states, world.regulation, streams, profiles)
    library = replace(samples, factors=samples.factors[:, :2])
    seen = sequenced_abundance(world.sequencing, library, abundance)
    counted = rpkm(world, seen, ProfileStreams(1, "GTEx counts"), np.arange(300))
    ranks = geo_block(world, rows).argsort(axis=1).argsort(axis=1)
    odd = {*world.sequencing.misled, *world.sequencing.spliced}
    agreement: dict[bool, list[float]] = {True: [], False: []}
    for gene, own in zip(world.catalogue.targets, world.catalogue.target_probes, strict=True):
        pair = ranks[:, own].mean(axis=1), np.log2(counted[:, gene] + 0.1)
        agreement[gene in odd].append(np.corrcoef(*pair)[0, 1])
    assert np.median(agreement[False]) > 0.5
    assert np.median(agreement[True]) < np.median(agreement[False]) - 0.1


def test_damped_genes_vary_less_and_discordant_ones_are_the_asked_share(
    world: World, small: SimulationConfig
) -> None:
    sequencing = world.sequencing
    odd = [*sequencing.misled, *sequencing.spliced, *sequencing.damped]
    assert len(odd) == len(set(odd)) == round(0.15 * world.catalogue.n_genes)
    samples = gtex_samples(small, world.states, np.arange(60))
    still = replace(samples, factors=np.zeros_like(samples.factors))
    streams = ProfileStreams(small.seed, "GTEx genes")
    abundance = true_abundance(samples, world.states, world.regulation, streams, np.arange(60))
    seen = sequenced_abundance(sequencing, still, abundance)
    changed = np.flatnonzero((seen != abundance).any(axis=0))
    assert set(changed) == {*sequencing.spliced, *sequencing.damped}
    wanted = sequencing.damping * abundance[:, sequencing.damped].std(axis=0)
    np.testing.assert_allclose(seen[:, sequencing.damped].std(axis=0), wanted, rtol=1e-3)
    none = make_sequencing(replace(small, platform_discordance=0.0), world.catalogue.n_genes)
    assert len(none.misled) == len(none.spliced) == len(none.damped) == 0
