"""Halves by clusters: every target once, in halves of fixed sizes, whatever the values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dgex_jax.prepare.split import clustered_order
from tests.properties.inputs import SINGLE, examples, matrices

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEDS = st.integers(0, 2**32 - 1)


def halves(values: NDArray[np.float64], seed: int) -> list[NDArray[np.intp]]:
    """Places of the targets of both halves; the values themselves are left alone."""
    return np.split(clustered_order(values.copy(), seed), [values.shape[1] // 2])


@st.composite
def correlated(draw: st.DrawFn) -> NDArray[np.float64]:
    """Targets that are one another up to sign, scale and shift: alike but for rounding."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    n_profiles, n_targets = draw(st.integers(2, 6)), draw(st.integers(1, 9))
    scales = rng.uniform(0.1, 5.0, n_targets) * rng.choice([-1, 1], n_targets)
    return np.outer(rng.normal(size=n_profiles), scales) + rng.normal(size=n_targets)


@examples(25)
@given(values=matrices(float(SINGLE.max), max_profiles=6, max_genes=9) | correlated(), seed=SEEDS)
def test_every_target_is_in_one_half_and_the_seed_says_in_which(
    values: NDArray[np.float64], seed: int
) -> None:
    """From one target and one profile on, with ties, constants and extremes; no warning either."""
    both, again = halves(values, seed), halves(values, seed)
    n_targets = values.shape[1]
    np.testing.assert_array_equal(np.sort(np.concatenate(both)), np.arange(n_targets))
    assert [len(half) for half in both] == [n_targets // 2, n_targets - n_targets // 2]
    for half, other in zip(both, again, strict=True):
        np.testing.assert_array_equal(half, np.sort(half))
        np.testing.assert_array_equal(half, other)


@examples(10)
@given(values=matrices(1e6, max_profiles=1), n_profiles=st.integers(1, 5), seed=SEEDS)
def test_constant_targets_stay_in_their_order(
    values: NDArray[np.float64], n_profiles: int, seed: int
) -> None:
    """There is nothing to cluster by: one profile, or targets that never change."""
    both = halves(np.repeat(values, n_profiles, axis=0), seed)
    np.testing.assert_array_equal(np.concatenate(both), np.arange(values.shape[1]))


@examples(5)
@given(data_seed=st.integers(0, 2**20), n_targets=st.integers(2, 12), seed=SEEDS)
def test_planted_halves_are_found_in_any_order_scale_and_shift(
    data_seed: int, n_targets: int, seed: int
) -> None:
    """Of targets that follow two uncorrelated signals; of equal halves either may be the first."""
    rng = np.random.default_rng(data_seed)
    is_second = rng.permutation(np.arange(n_targets) >= n_targets // 2)
    values = rng.normal(size=(80, 2))[:, is_second.astype(int)]
    values = values + 0.3 * rng.normal(size=values.shape)
    scales, shifts = 2.0 ** rng.integers(-20, 21, n_targets), rng.integers(-50, 51, n_targets)
    genes, same = rng.permutation(n_targets), np.arange(n_targets)
    for moved, order in (
        (values, same),
        (values[:, genes], genes),
        ((values + shifts) * scales, same),
        (values[rng.permutation(80)], same),
    ):
        sides = [is_second[order[half]] for half in halves(moved, seed)]
        assert [side.any() for side in sides] == [side.all() for side in sides]
        assert sides[0][0] != sides[1][0]


@examples(10)
@given(data_seed=st.integers(0, 2**20), n_targets=st.integers(4, 15), seed=SEEDS)
def test_no_exchange_of_two_targets_lessens_both_distances(
    data_seed: int, n_targets: int, seed: int
) -> None:
    """For the centres found, no other halves of these sizes lie nearer."""
    values = np.random.default_rng(data_seed).normal(size=(7, n_targets))
    first, second = halves(values, seed)
    # Targets whose products are their correlations.
    centred = values - values.mean(axis=0)
    vectors = (centred / np.sqrt((centred**2).sum(axis=0))).T
    centres = [vectors[half].mean(axis=0) for half in (first, second)]
    distance = [((vectors - centre) ** 2).sum(axis=1) for centre in centres]
    gain = distance[0] - distance[1]
    assert gain[first].max() <= gain[second].min() + 1e-12
