"""Splits of profiles and targets: disjoint, complete, and the same from the same seed."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dgex_jax.errors import PreparationError
from dgex_jax.prepare.split import (
    MOST_PROFILES,
    STREAMS,
    half_slices,
    sampled_profiles,
    shuffled,
    split_sizes,
)
from tests.properties.inputs import examples

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEDS = st.integers(0, 2**32 - 1)
FEWEST = 6
"""Profiles that make three parts of at least one each."""


def parts_of(order: NDArray[np.intp]) -> dict[str, NDArray[np.intp]]:
    return {part: order[rows] for part, rows in split_sizes(len(order)).slices.items()}


@examples(100)
@given(st.integers(FEWEST, 10**12))
@example(111_009)
@example(10**18)
def test_sizes_are_those_of_exact_fractions(n_profiles: int) -> None:
    """Also where 0.8 * N in floats is off by one."""
    sizes = split_sizes(n_profiles)
    assert sizes.train == int(Fraction(4, 5) * n_profiles)
    assert sizes.validation == int(Fraction(n_profiles - sizes.train, 2))
    assert sizes.train + sizes.validation + sizes.test == n_profiles
    assert 1 <= sizes.validation <= sizes.test <= sizes.validation + 1
    edges = [0, sizes.train, sizes.train + sizes.validation, n_profiles]
    assert list(sizes.slices) == ["train", "validation", "test"]
    assert [(rows.start, rows.stop) for rows in sizes.slices.values()] == [*pairwise(edges)]


@pytest.mark.parametrize("n_profiles", range(FEWEST))
def test_fewer_are_refused_whatever_their_number(n_profiles: int) -> None:
    with pytest.raises(PreparationError, match="too few to split"):
        split_sizes(n_profiles)


@examples(40)
@given(seed=SEEDS, n_profiles=st.integers(FEWEST, 3000))
def test_every_profile_is_in_one_part_and_the_seed_says_in_which(
    seed: int, n_profiles: int
) -> None:
    parts = parts_of(shuffled(seed, "profiles", n_profiles))
    together = np.concatenate(list(parts.values()))
    np.testing.assert_array_equal(np.sort(together), np.arange(n_profiles))
    again = parts_of(np.random.RandomState([seed, 1]).permutation(n_profiles))
    for part, rows in parts.items():
        np.testing.assert_array_equal(rows, again[part])


@examples(40)
@given(seed=SEEDS, other=SEEDS, n=st.integers(30, 300))
def test_choices_never_move_each_other(seed: int, other: int, n: int) -> None:
    """A stream each: what one choice draws, how often and in what order changes no other."""
    forwards = {name: shuffled(seed, name, n).tolist() for name in STREAMS}
    backwards = {name: shuffled(seed, name, n).tolist() for name in reversed(STREAMS)}
    assert forwards == backwards
    assert len({tuple(order) for order in forwards.values()}) == len(STREAMS)
    if other != seed:
        assert shuffled(other, "profiles", n).tolist() != forwards["profiles"]


@examples(60)
@given(n_targets=st.integers(1, 10**9))
def test_halves_are_disjoint_complete_and_equal_but_for_one(n_targets: int) -> None:
    first, second = half_slices(n_targets)
    assert (first.start, second.stop) == (0, n_targets)
    assert first.stop == second.start
    assert (second.stop - second.start) - (first.stop - first.start) == n_targets % 2


@examples(20)
@given(seed=SEEDS, n_train=st.integers(1, 3 * MOST_PROFILES))
def test_sample_is_of_different_profiles_in_order(seed: int, n_train: int) -> None:
    rows = sampled_profiles(n_train, seed)
    assert len(rows) == min(n_train, MOST_PROFILES)
    assert (np.diff(rows) > 0).all()
    assert 0 <= rows[0] <= rows[-1] < n_train
    expected = np.sort(np.random.RandomState([seed, 6]).permutation(n_train)[:MOST_PROFILES])
    np.testing.assert_array_equal(rows, expected)
