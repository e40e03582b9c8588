"""Means of similar profiles, and made-up profiles: as many as wanted, and nobody's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dgex_jax.errors import DgexError
from dgex_jax.methods.means import LEAST, made_up, means_of_similar


def profiles(n: int, seed: int = 1) -> np.ndarray:
    """Two clouds of profiles of 6 landmarks, far apart in the first."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6)) * [1, 2, 0.5, 1, 1, 1]
    X[: n // 2, 0] += 50
    return X.astype(np.float32)


@pytest.mark.parametrize("n", [LEAST, 2 * LEAST - 1, 2 * LEAST, 137])
def test_every_mean_is_of_enough_profiles_and_every_profile_in_one(n: int) -> None:
    X = profiles(n)
    means = means_of_similar(X)
    assert_array_equal(np.bincount(means.group), means.sizes)
    assert LEAST <= means.sizes.min() <= means.sizes.max() < 2 * LEAST
    for group, mean in enumerate(means.values):
        assert_allclose(mean, X[means.group == group].mean(axis=0, dtype=np.float64))
    if n >= 4 * LEAST:
        # What is far apart is in no mean together, but where halves cut through.
        assert ((means.values[:, 0] < 5) | (means.values[:, 0] > 45)).sum() >= len(means.sizes) - 1


def test_distances_are_those_of_a_profile_that_is_new() -> None:
    X = profiles(60)
    means = means_of_similar(X)
    for row, found in enumerate(means.distances(X)):
        others = [
            X[(means.group == group) & (np.arange(len(X)) != row)].mean(axis=0, dtype=np.float64)
            for group in range(len(means.sizes))
        ]
        assert found == pytest.approx(min(np.sqrt(np.mean((X[row] - one) ** 2)) for one in others))


def test_made_up_profiles_are_like_the_others_and_none_of_them() -> None:
    X = profiles(400)
    made = made_up(X, 4000, seed=3)
    assert_array_equal(made, made_up(X, 4000, seed=3))
    assert_allclose(made.mean(axis=0), X.mean(axis=0), atol=0.1 * X.std(axis=0).max())
    # The first direction is that of the clouds.
    assert_allclose(np.cov(made.T)[1:, 1:], np.cov(X[:, 1:].T), atol=0.5)
    apart = np.abs(made[:, np.newaxis] - X).max(axis=2)
    assert apart.min() > 1e-3


def test_alike_profiles_and_too_few() -> None:
    same = np.full((25, 3), 2.0, np.float32)
    assert_allclose(made_up(same, 4, seed=1), 2)
    with pytest.raises(DgexError, match="9 training profiles: a mean is taken of 10 at least"):
        means_of_similar(same[:9])
