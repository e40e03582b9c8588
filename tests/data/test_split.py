from __future__ import annotations

import numpy as np
import pytest

from dgex_jax.data.split import half_slices, shuffled, split_sizes
from dgex_jax.data.streams import STREAMS, random_stream
from dgex_jax.errors import PreparationError


def test_the_papers_sizes() -> None:
    sizes = split_sizes(111_009)
    assert (sizes.train, sizes.validation, sizes.test) == (88_807, 11_101, 11_101)
    assert sizes.slices["test"] == slice(99_908, 111_009)
    assert half_slices(9_520) == (slice(0, 4_760), slice(4_760, 9_520))
    assert half_slices(45) == (slice(0, 22), slice(22, 45))


@pytest.mark.parametrize("n_profiles", [6, 7, 9, 10, 529, 1_207, 129_158])
def test_parts_cover_all_profiles_once(n_profiles: int) -> None:
    sizes = split_sizes(n_profiles)
    rows = np.concatenate([np.arange(n_profiles)[part] for part in sizes.slices.values()])
    np.testing.assert_array_equal(rows, np.arange(n_profiles))
    assert sizes.train == int(np.floor(0.8 * n_profiles))
    assert sizes.test - sizes.validation in (0, 1)


@pytest.mark.parametrize("n_profiles", [0, 1, 3, 5])
def test_a_part_may_not_be_empty(n_profiles: int) -> None:
    with pytest.raises(PreparationError, match=f"{n_profiles} GEO profiles are left"):
        split_sizes(n_profiles)


def test_streams_are_legacy_numpy_and_independent() -> None:
    expected = np.random.RandomState([7, STREAMS["targets"]]).permutation(100)
    np.testing.assert_array_equal(shuffled(7, "targets", 100), expected)
    assert len(set(STREAMS.values())) == len(STREAMS)
    orders = {tuple(shuffled(7, name, 100)) for name in STREAMS}
    assert len(orders) == len(STREAMS)
    assert tuple(shuffled(8, "targets", 100)) not in orders
    assert random_stream(2**32 - 1, "profiles").randint(10) in range(10)
