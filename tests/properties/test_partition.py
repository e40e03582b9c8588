"""Halves by clusters: every target once, in halves of fixed sizes, whatever the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dgex_jax.data.partition import clustered_order
from tests.properties.inputs import SINGLE, examples, matrices, permutations

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEDS = st.integers(0, 2**32 - 1)


def halves(values: NDArray[np.float64], seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Places of the targets of both halves; the values themselves are left alone."""
    order = clustered_order(values.copy(), seed)
    middle = values.shape[1] // 2
    return order[:middle], order[middle:]


def together(values: NDArray[np.float64], seed: int) -> frozenset[frozenset[int]]:
    """Which targets go together; of equal halves either may be the first."""
    return frozenset(frozenset(half.tolist()) for half in halves(values, seed))


def unit_vectors(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Targets whose products are their correlations."""
    centred = values - values.mean(axis=0)
    return np.asarray((centred / np.sqrt((centred**2).sum(axis=0))).T)


@st.composite
def correlated(draw: st.DrawFn) -> NDArray[np.float64]:
    """Targets that are one another up to sign, scale and shift: alike but for rounding."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    n_profiles, n_targets = draw(st.integers(2, 6)), draw(st.integers(1, 9))
    scales = rng.uniform(0.1, 5.0, n_targets) * rng.choice([-1, 1], n_targets)
    return np.outer(rng.normal(size=n_profiles), scales) + rng.normal(size=n_targets)


@st.composite
def planted(draw: st.DrawFn) -> tuple[NDArray[np.float64], frozenset[frozenset[int]]]:
    """Targets of two uncorrelated signals in equal halves, and which go together."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    n_targets = draw(st.integers(2, 12))
    is_second = rng.permutation(np.arange(n_targets) >= n_targets // 2)
    values = rng.normal(size=(80, 2))[:, is_second.astype(int)]
    values = values + 0.3 * rng.normal(size=values.shape)
    groups = [np.flatnonzero(~is_second), np.flatnonzero(is_second)]
    return values, frozenset(frozenset(group.tolist()) for group in groups)


@examples(25)
@given(values=matrices(float(SINGLE.max), max_profiles=6, max_genes=9) | correlated(), seed=SEEDS)
def test_every_target_is_in_one_half_and_the_seed_says_in_which(
    values: NDArray[np.float64], seed: int
) -> None:
    """From one target and one profile on, with ties, constants and extremes; no warning either."""
    first, second = halves(values, seed)
    n_targets = values.shape[1]
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), np.arange(n_targets))
    assert (len(first), len(second)) == (n_targets // 2, n_targets - n_targets // 2)
    for half in (first, second):
        np.testing.assert_array_equal(half, np.sort(half))
    np.testing.assert_array_equal(np.concatenate(halves(values, seed)), [*first, *second])


@examples(10)
@given(values=matrices(1e6, max_profiles=1), n_profiles=st.integers(1, 5), seed=SEEDS)
def test_constant_targets_stay_in_their_order(
    values: NDArray[np.float64], n_profiles: int, seed: int
) -> None:
    """There is nothing to cluster by: one profile, or targets that never change."""
    constant = np.repeat(values, n_profiles, axis=0)
    first, second = halves(constant, seed)
    np.testing.assert_array_equal([*first, *second], np.arange(values.shape[1]))


@examples(5)
@given(case=planted(), seed=SEEDS, data=st.data())
def test_planted_halves_are_found_in_any_order_scale_and_shift(
    case: Any, seed: int, data: Any
) -> None:
    values, groups = case
    assert together(values, seed) == groups
    n_targets = values.shape[1]
    genes = data.draw(permutations(n_targets))
    moved = together(values[:, genes], seed)
    assert frozenset(frozenset(genes[list(half)].tolist()) for half in moved) == groups
    scales = 2.0 ** data.draw(
        st.lists(st.integers(-20, 20), min_size=n_targets, max_size=n_targets).map(np.array)
    )
    shifts = data.draw(
        st.lists(st.integers(-50, 50), min_size=n_targets, max_size=n_targets).map(np.array)
    )
    assert together((values + shifts) * scales, seed) == groups
    assert together(values[data.draw(permutations(len(values)))], seed) == groups


@examples(10)
@given(data_seed=st.integers(0, 2**20), n_targets=st.integers(4, 15), seed=SEEDS)
def test_no_exchange_of_two_targets_lessens_both_distances(
    data_seed: int, n_targets: int, seed: int
) -> None:
    """For the centres found, no other halves of these sizes lie nearer."""
    values = np.random.default_rng(data_seed).normal(size=(7, n_targets))
    first, second = halves(values, seed)
    vectors = unit_vectors(values)
    centres = [vectors[half].mean(axis=0) for half in (first, second)]
    distance = [((vectors - centre) ** 2).sum(axis=1) for centre in centres]
    gain = distance[0] - distance[1]
    assert gain[first].max() <= gain[second].min() + 1e-12
