"""Quantile normalisation, whatever the values.

The original (GEO): rank = int(average rank - 1), so genes that tie share the middle rank of their
run, the lower one of two; the value is that of the reference quantile, the mean over profiles of
each profile's sorted values. RNA-seq: int((dense rank / distinct values) * genes) - 1.

When normalising twice is normalising once:

* onto a *given* quantile (new profiles on a model's scale): always and to the bit, ties or not;
* with the reference computed anew from the normalised profiles: if every profile's ties stand at
  the same ranks (none at all, usually), up to the rounding of one mean of equal numbers. Ties that
  only some profiles have change the reference, and then the second result is another one.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import rankdata

from dgex_jax.prepare.normalize import (
    ROWS_AT_A_TIME,
    ProbeMeans,
    RowStore,
    RowSum,
    dense_rank_indices,
    normalise_compendium,
    quantile_ranks,
    rank_dtype,
)
from tests.properties.inputs import SINGLE, examples, matrices, permutations

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LARGEST = 1e300
RULES = pytest.mark.parametrize("rule", [quantile_ranks, dense_rank_indices])


def original_geo(profile: NDArray[np.float64]) -> list[int]:
    """The original's rank of every gene, by counting: the average rank, less 1, cut off."""
    counts = [(int((profile < one).sum()), int((profile == one).sum())) for one in profile]
    return [int(lower + Fraction(equal + 1, 2) - 1) for lower, equal in counts]


def original_rna(profile: NDArray[np.float64]) -> list[int]:
    """The original's index of every gene, as written, with -1 clipped to 0."""
    distinct = sorted({float(value) + 0.0 for value in profile})
    dense = [distinct.index(float(value) + 0.0) + 1 for value in profile]
    return [max(int((float(r) / float(len(distinct))) * len(profile)) - 1, 0) for r in dense]


def reference(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over profiles of the sorted values, as preparation takes it."""
    total = RowSum(values.shape[1])
    total.add(quantile_ranks(values)[1])
    return total.mean()


def normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(reference(values)[quantile_ranks(values)[0]])


@examples(40)
@given(matrices(LARGEST))
def test_ranks_are_the_originals(values: NDArray[np.float64]) -> None:
    ranks, ordered = quantile_ranks(values)
    np.testing.assert_array_equal(ranks, [original_geo(profile) for profile in values])
    np.testing.assert_array_equal(ranks, (rankdata(values, axis=1) - 1).astype(int))
    np.testing.assert_array_equal(ordered, np.sort(values, axis=1))
    indices, n_clipped = dense_rank_indices(values)
    np.testing.assert_array_equal(indices, [original_rna(profile) for profile in values])
    assert n_clipped == 0


@RULES
@examples(20)
@given(data=st.data(), values=matrices(LARGEST))
def test_monotone_equivariant_and_profile_by_profile(
    rule: Any, data: Any, values: NDArray[np.float64]
) -> None:
    ranks = rule(values)[0]
    assert ranks.min() >= 0
    assert ranks.max() < values.shape[1]
    for profile, rank in zip(values, ranks, strict=True):
        higher = profile[:, None] > profile[None]
        assert (rank[:, None] >= rank[None])[higher].all()
        assert (rank[:, None] == rank[None])[profile[:, None] == profile[None]].all()
    genes = data.draw(permutations(values.shape[1]))
    np.testing.assert_array_equal(rule(values[:, genes])[0], ranks[:, genes])
    for profiles in (data.draw(permutations(values.shape[0])), slice(1)):
        np.testing.assert_array_equal(rule(values[profiles])[0], ranks[profiles])
    # Only the order of the values counts, not how far apart they are.
    places = rankdata(values, method="dense", axis=1) ** 3.0
    np.testing.assert_array_equal(rule(places)[0], ranks)


@examples(20)
@given(matrices(LARGEST))
def test_quantile_rises_and_stays_between_the_extremes(values: NDArray[np.float64]) -> None:
    quantile = reference(values)
    for got, column in zip(quantile, np.sort(values, axis=1).T, strict=True):
        exact = sum(map(Fraction, column)) / len(values)
        # One rounding of the sum and one of the quotient, and the errors' own.
        assert abs(Fraction(got) - exact) <= 2 * Fraction(np.spacing(np.abs(column).max()))
    slack = np.spacing(np.abs(values).max())
    assert values.min() - slack <= quantile.min() <= quantile.max() <= values.max() + slack


@examples(25)
@given(data=st.data(), values=matrices(LARGEST))
def test_onto_a_given_quantile_twice_is_once(data: Any, values: NDArray[np.float64]) -> None:
    """To the bit, with any ties in the profile and in the quantile."""
    number, n = st.integers(-4, 4).map(float) | st.floats(-LARGEST, LARGEST), values.shape[1]
    quantile = np.sort(data.draw(st.lists(number, min_size=n, max_size=n)))
    once = quantile[quantile_ranks(values)[0]]
    np.testing.assert_array_equal(quantile[quantile_ranks(once)[0]], once)


@examples(25)
@given(data=st.data(), first=matrices(1e6, max_profiles=1), n_profiles=st.integers(1, 9))
def test_with_ties_at_the_same_ranks_twice_is_once(
    data: Any, first: NDArray[np.float64], n_profiles: int
) -> None:
    """Profiles of one pattern of ties (of none, often), each with genes and scale of its own."""
    orders = [data.draw(permutations(first.size)) for _ in range(n_profiles)]
    scaled = [np.arcsinh(first[0][order]) * 2.0**n + n for n, order in enumerate(orders)]
    values = np.stack(scaled)
    pattern = [np.diff(ordered) == 0 for ordered in np.sort(values, axis=1)]
    # Scaling can join neighbours in one profile alone.
    assume(all(np.array_equal(one, pattern[0]) for one in pattern))
    once = normalised(values)
    twice = normalised(once)
    np.testing.assert_array_max_ulp(twice, once, 1)
    if n_profiles & (n_profiles - 1) == 0:
        np.testing.assert_array_equal(twice, once)


def test_ties_of_some_profiles_alone_change_the_second_reference() -> None:
    """So the condition above is needed."""
    values = np.array([[0.0, 0.0, 3.0], [0.0, 1.0, 2.0]])
    once, twice = normalised(values), normalised(normalised(values))
    np.testing.assert_array_equal(once, [[0.0, 0.0, 2.5], [0.0, 0.5, 2.5]])
    np.testing.assert_array_equal(twice, [[0.0, 0.0, 2.5], [0.0, 0.25, 2.5]])


@examples(20)
@given(matrices(LARGEST, max_profiles=2, max_genes=40))
def test_rna_twice_is_once_where_no_two_ranks_met(values: NDArray[np.float64]) -> None:
    """Each distinct value keeps an index of its own, unless float rounding joins two of them."""
    indices, _ = dense_rank_indices(values)
    again, _ = dense_rank_indices(indices.astype(np.float64))
    for profile, once, twice in zip(values, indices, again, strict=True):
        if len(np.unique(once)) == len(np.unique(profile)):
            np.testing.assert_array_equal(twice, once)


def test_rna_of_the_papers_size_joins_ranks() -> None:
    """By the original's rounding: some of its indices are used twice, and a second pass differs."""
    indices, _ = dense_rank_indices(np.arange(10_463.0)[None])
    assert len(np.unique(indices)) < 10_463
    again, _ = dense_rank_indices(indices.astype(np.float64))
    assert not np.array_equal(again, indices)


@examples(10)
@given(
    values=matrices(float(SINGLE.max), max_profiles=40, max_genes=6, dtype=np.float32),
    block_size=st.integers(1, 45),
    by_rank=st.booleans(),
    data=st.data(),
)
def test_preparation_gives_the_same_ranks_and_quantile_in_any_blocks(
    tmp_path_factory: Any, values: NDArray[Any], block_size: int, by_rank: bool, data: Any
) -> None:
    """To the bit, also where a gene is the mean of several probes, or where values are kept."""
    folder: Path = tmp_path_factory.mktemp("rows")
    n_probes = values.shape[1]
    of_a_gene = st.lists(st.integers(0, n_probes - 1), min_size=1, max_size=4)
    probes = data.draw(st.lists(of_a_gene, min_size=1, max_size=5))
    stored = RowStore(folder / "probes", n_probes, values.dtype)
    stored.append(values)
    kept, quantile = normalise_compendium(
        stored,
        np.arange(len(values)),
        ProbeMeans(probes),
        np.ones(len(values), dtype=bool),
        folder / "kept",
        by_rank=by_rank,
        block_size=block_size,
        tick=lambda _: None,
    )
    wide = values.astype(np.float64)
    genes = np.stack([wide[:, columns].mean(axis=1) for columns in probes], axis=1)
    by_hand = ProbeMeans(probes)(values)
    np.testing.assert_allclose(by_hand, genes, rtol=1e-14, atol=1e-14 * np.abs(wide).max())
    expected = (
        quantile_ranks(by_hand)[0].astype(rank_dtype(len(probes)))
        if by_rank
        else by_hand.astype(np.float32)
    )
    assert kept.dtype == expected.dtype
    np.testing.assert_array_equal(kept.read(slice(None)), expected)
    np.testing.assert_array_equal(quantile, reference(by_hand))
    assert ROWS_AT_A_TIME < 40, "blocks of more rows than are ranked together"
