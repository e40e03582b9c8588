from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import rankdata

from dgex_jax.data.normalize import ProbeMeans, dense_rank_indices, quantile_ranks, standardise

PAPER_GENES = 10_463


def _values(n_profiles: int = 6, n_genes: int = 80, decimals: int = 1) -> np.ndarray:
    """Values with plenty of ties."""
    return np.round(np.random.default_rng(3).normal(7.0, 2.0, (n_profiles, n_genes)), decimals)


def test_gene_value_is_the_mean_of_its_probes() -> None:
    values = np.random.default_rng(0).normal(8.0, 2.0, (5, 30)).astype(np.float32)
    probes = [[3], [0, 5, 3], list(range(10, 23)), [29, 1]]
    means = ProbeMeans(probes)(values)
    expected = [values.T[columns].astype(np.float64).mean(axis=0) for columns in probes]
    np.testing.assert_array_equal(means, np.array(expected).T)
    assert means.dtype == np.float64


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_ranks_are_scipys_average_ranks_truncated(decimals: int) -> None:
    values = _values(decimals=decimals)
    ranks, ordered = quantile_ranks(values)
    np.testing.assert_array_equal(ranks, (rankdata(values, axis=1) - 1).astype(int))
    np.testing.assert_array_equal(ordered, np.sort(values, axis=1))


def test_a_whole_row_of_ties_and_a_signed_zero() -> None:
    ranks, _ = quantile_ranks(np.array([[2.0, 2.0, 2.0, 2.0], [0.0, -0.0, 1.0, -1.0]]))
    np.testing.assert_array_equal(ranks, [[1, 1, 1, 1], [1, 1, 3, 0]])


@pytest.mark.parametrize("function", [quantile_ranks, dense_rank_indices])
def test_ranks_follow_values_and_genes(function) -> None:
    values = _values()
    ranks = function(values)[0]
    for value, rank in zip(values, ranks, strict=True):
        order = np.argsort(value)
        assert (np.diff(rank[order]) >= 0).all()
        assert (rank[order][1:] == rank[order][:-1])[np.diff(value[order]) == 0].all()
    permutation = np.random.default_rng(4).permutation(values.shape[1])
    np.testing.assert_array_equal(function(values[:, permutation])[0], ranks[:, permutation])
    np.testing.assert_array_equal(function(np.exp(values / 9.0))[0], ranks)
    parts = np.concatenate([function(values[:2])[0], function(values[2:])[0]])
    np.testing.assert_array_equal(parts, ranks)


def _original_index(rank: int, n_distinct: int, n_genes: int) -> int:
    """The original's line, in Python floats."""
    return int((float(rank) / float(n_distinct)) * n_genes) - 1


def test_rna_index_is_the_original_formula_with_ties() -> None:
    values = _values()
    indices, n_clipped = dense_rank_indices(values)
    for value, index in zip(values, indices, strict=True):
        dense = rankdata(value, method="dense")
        expected = [_original_index(int(r), int(dense.max()), value.size) for r in dense]
        np.testing.assert_array_equal(index, expected)
    assert n_clipped == 0


def test_float_rounding_of_the_paper_is_kept() -> None:
    indices, n_clipped = dense_rank_indices(np.arange(float(PAPER_GENES))[None])
    exact = [Fraction(r, PAPER_GENES) * PAPER_GENES - 1 for r in range(1, PAPER_GENES + 1)]
    lower = np.array([int(e) for e in exact]) - indices[0]
    assert set(lower) == {0, 1}
    assert lower.sum() == 650
    assert n_clipped == 0


def test_negative_indices_are_clipped_and_counted() -> None:
    clipping = []
    for n_genes in range(2, 110):
        indices, n_clipped = dense_rank_indices(np.arange(float(n_genes))[None])
        assert indices.min() == 0
        assert n_clipped == sum(_original_index(r, n_genes, n_genes) < 0 for r in range(1, n_genes))
        if n_clipped:
            clipping.append(n_genes)
    assert clipping == [49, 98, 103, 107]


def test_standardise_is_the_original_formula() -> None:
    values = _values()
    scaled = standardise(values, values.mean(axis=0), values.std(axis=0))
    np.testing.assert_array_equal(
        scaled, (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-3)
    )
    constant = standardise(np.full((3, 1), 2.5), np.array([2.5]), np.array([0.0]))
    np.testing.assert_array_equal(constant, np.zeros((3, 1)))
