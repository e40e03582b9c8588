from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dgex_jax.data.simulation.catalogue import make_catalogue, probe_counts
from dgex_jax.data.simulation.config import SimulationConfig

if TYPE_CHECKING:
    from dgex_jax.data.simulation.world import World


def test_probe_counts_are_the_map_s_distribution() -> None:
    # Counts of the original's target map: 5,765 targets with one probe, 2,201 with two, ...
    recorded = np.array([5765, 2201, 975, 380, 123, 48, 12, 8, 3, 3, 1, 0, 1])
    drawn = probe_counts(9520, 15_744, np.random.default_rng(5))
    counts = np.bincount(drawn, minlength=14)[1:]
    assert drawn.sum() == 15_744
    assert drawn.min() == 1
    assert drawn.max() <= 13
    np.testing.assert_allclose(counts[:4], recorded[:4], rtol=0.15)
    assert abs(counts[4:].sum() - recorded[4:].sum()) < 80


@pytest.mark.parametrize("per_target", [1.0, 2.8, 6.0])
def test_probe_counts_add_up_for_any_mean(per_target: float) -> None:
    n_probes = round(per_target * 300)
    drawn = probe_counts(300, n_probes, np.random.default_rng(1))
    assert drawn.sum() == n_probes
    assert 1 <= drawn.min() <= drawn.max() <= 13


def test_every_probe_belongs_to_one_line_or_to_none(world: World, small: SimulationConfig) -> None:
    catalogue = world.catalogue
    assert len(set(catalogue.probe_ids)) == small.n_probes
    assert all(re.fullmatch(r"2\d{5}(_[sx])?_at", probe) for probe in catalogue.probe_ids)
    assert all(len(own) == 1 for own in catalogue.landmark_probes)
    mapped = np.concatenate([*catalogue.landmark_probes, *catalogue.target_probes])
    assert len(np.unique(mapped)) == len(mapped) == small.n_probes - small.extra_probes
    for genes, probes in (
        (catalogue.landmarks, catalogue.landmark_probes),
        (catalogue.targets, catalogue.target_probes),
    ):
        for gene, own in zip(genes, probes, strict=True):
            assert (catalogue.gene_of_probe[own] == gene).all()
    rest = np.setdiff1d(np.arange(small.n_probes), mapped)
    assert np.isin(catalogue.gene_of_probe[rest], catalogue.other).all()


def test_landmarks_that_are_targets_too_have_other_probes_there(
    world: World, small: SimulationConfig
) -> None:
    catalogue = world.catalogue
    shared = np.intersect1d(catalogue.landmarks, catalogue.targets)
    assert len(shared) == small.n_shared == 9
    assert len(np.unique(catalogue.landmarks)) == len(catalogue.landmarks)
    assert len(np.unique(catalogue.targets)) == len(catalogue.targets)


def test_dropped_genes_leave_the_study_its_size(world: World, small: SimulationConfig) -> None:
    catalogue = world.catalogue
    gone = np.union1d(catalogue.absent_gtex, catalogue.absent_1000g)
    assert (~np.isin(catalogue.landmarks, gone)).sum() == small.n_landmarks
    assert (~np.isin(catalogue.targets, gone)).sum() == small.n_targets
    # Each way of losing a gene: absent from one file, from the other, from both.
    mapped = np.union1d(catalogue.landmarks, catalogue.targets)
    gtex, other = (
        np.intersect1d(absent, mapped) for absent in (catalogue.absent_gtex, catalogue.absent_1000g)
    )
    assert len(np.setdiff1d(gtex, other)) == 4
    assert len(np.setdiff1d(other, gtex)) == 4
    assert len(np.intersect1d(gtex, other)) == 4
    assert not np.isin(np.intersect1d(catalogue.landmarks, catalogue.targets), gone).any()


def test_the_paper_s_catalogue_has_its_counts() -> None:
    catalogue = make_catalogue(SimulationConfig.paper())
    assert len(catalogue.landmarks) == 943
    assert len(catalogue.targets) == 9520
    assert len(np.intersect1d(catalogue.landmarks, catalogue.targets)) == 445
    assert len(catalogue.probe_ids) == 22_268
    assert max(map(len, catalogue.target_probes)) <= 13
    assert not np.isin(catalogue.absent_gtex, catalogue.targets).any()


def test_no_id_can_be_taken_for_a_real_one(world: World) -> None:
    assert all(re.fullmatch(r"ENSG9\d{10}\.\d+", gene) for gene in world.catalogue.ensembl)
    assert all(re.fullmatch(r"SIM\d{5}", symbol) for symbol in world.catalogue.symbols)
    assert len(set(world.catalogue.ensembl)) == world.catalogue.n_genes
