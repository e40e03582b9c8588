from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.simulation.biology import true_abundance
from dgex_jax.data.simulation.rnaseq import (
    LIBRARY_SD,
    make_sequencing,
    rpkm,
    sequenced_abundance,
)
from dgex_jax.data.simulation.samples import geo_samples, gtex_samples
from dgex_jax.data.simulation.streams import ProfileStreams
from dgex_jax.data.simulation.world import make_world
from dgex_jax.data.simulation.write import geo_block, sequenced

if TYPE_CHECKING:
    from dgex_jax.data.simulation.config import SimulationConfig
    from dgex_jax.data.simulation.world import World


def test_rpkm_undoes_length_and_depth(world: World, small: SimulationConfig) -> None:
    deep = replace(small, library_size=1e10, dispersion=0.0)
    seen = np.random.default_rng(2).normal(7, 2, (4, world.catalogue.n_genes)).astype(np.float32)
    streams = ProfileStreams(small.seed, "GTEx counts")
    values = rpkm(deep, world.sequencing, seen, streams, np.arange(4)).astype(float)
    true = np.exp2(seen.astype(float))
    # In deep libraries without dispersion RPKM is abundance but for one factor a sample.
    np.testing.assert_allclose(
        values / values.sum(axis=1, keepdims=True),
        true / true.sum(axis=1, keepdims=True),
        rtol=0.06,
    )


def test_counts_are_whole_and_overdispersed_as_asked(world: World, small: SimulationConfig) -> None:
    config = replace(small, dispersion=0.25)
    sequencing = make_sequencing(config, world.catalogue)
    n = 400
    seen = np.full((n, world.catalogue.n_genes), 8.0, np.float32)
    streams = ProfileStreams(small.seed, "GTEx counts")
    values = rpkm(config, sequencing, seen, streams, np.arange(n)).astype(float)
    share = values / values.sum(axis=1, keepdims=True)
    squared_cv = share.var(axis=0) / share.mean(axis=0) ** 2
    assert 0.2 < np.median(squared_cv) < 0.3
    mapped = config.library_size * streams[0].lognormal(0.0, LIBRARY_SD)
    reads = values[0] * sequencing.length * mapped / 1e9
    assert reads.max() > 1000
    np.testing.assert_allclose(reads, np.round(reads), rtol=1e-6, atol=1e-6)


def test_few_reads_give_zeros_and_ties(world: World, small: SimulationConfig) -> None:
    shallow = replace(world, config=replace(small, library_size=2e5))
    values = sequenced(shallow, "GTEx", lambda _: None)
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
    sequencing = world.sequencing
    library = replace(samples, factors=samples.factors[:, :2])
    seen = sequenced_abundance(sequencing, library, abundance)
    counted = rpkm(small, sequencing, seen, ProfileStreams(1, "GTEx counts"), np.arange(300))
    ranks = geo_block(world, rows).argsort(axis=1).argsort(axis=1)
    catalogue = world.catalogue
    probes = dict(zip(catalogue.targets, catalogue.target_probes, strict=True))
    agreement = {
        gene: np.corrcoef(ranks[:, own].mean(axis=1), np.log2(counted[:, gene] + 0.1))[0, 1]
        for gene, own in probes.items()
    }
    odd = {*sequencing.misled, *sequencing.spliced}
    concordant = [r for gene, r in agreement.items() if gene not in odd]
    discordant = [r for gene, r in agreement.items() if gene in odd]
    assert np.median(concordant) > 0.5
    assert np.median(discordant) < np.median(concordant) - 0.1


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
    np.testing.assert_allclose(
        seen[:, sequencing.damped].std(axis=0),
        sequencing.damping * abundance[:, sequencing.damped].std(axis=0),
        rtol=1e-3,
    )
    none = make_sequencing(replace(small, platform_discordance=0.0), world.catalogue)
    assert len(none.misled) == len(none.spliced) == len(none.damped) == 0


def test_1000g_varies_less_than_gtex_and_is_one_cluster(small: SimulationConfig) -> None:
    world = make_world(replace(small, n_tissues=40, n_regulators=80, n_programmes=12))
    lines, tissues = (
        np.log2(sequenced(world, part, lambda _: None) + 0.1) for part in ("1000G", "GTEx")
    )
    assert np.median(lines.std(axis=0)) < 0.85 * np.median(tissues.std(axis=0))
    centre = np.linalg.norm(lines - lines.mean(axis=0), axis=1)
    assert centre.max() < 3 * np.median(centre)
    away = np.linalg.norm(tissues - lines.mean(axis=0), axis=1)
    assert np.median(away) > 1.2 * np.median(centre)
