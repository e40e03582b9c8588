"""LR-L2 equals scikit-learn's Ridge, with lambda as in the stated objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from dgex_jax.errors import DgexError
from dgex_jax.models.linear import LeastSquares
from dgex_jax.models.ridge import ridge_path

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LAMBDAS = [10.0, 0.1, 1e-3, 1e-5]


def _tables(n: int, p: int, t: int = 11, seed: int = 0) -> tuple[NDArray, NDArray, NDArray]:
    """Float32 landmarks and targets away from mean 0, and landmarks of new profiles."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(p, p)) / np.sqrt(p) + np.eye(p)
    X = (rng.normal(2.0, 1.5, (n, p)) @ mixed).astype(np.float32)
    Y = (X @ rng.normal(size=(p, t)) / p + rng.normal(-1.0, 0.5, (n, t))).astype(np.float32)
    return X, Y, (rng.normal(2.0, 1.5, (7, p)) @ mixed).astype(np.float32)


def _assert_equals_scikit_learn(X: NDArray, Y: NDArray, new: NDArray) -> None:
    fits = list(ridge_path(X, Y, LAMBDAS))
    assert [fit.lambda_ for fit in fits] == LAMBDAS
    for fit in fits:
        # SVD, because scikit-learn's Cholesky of the Gram matrix is the less accurate of the two.
        theirs = Ridge(alpha=len(X) * fit.lambda_, solver="svd").fit(X.astype(float), Y)
        for profiles in (X, new):
            wanted = theirs.predict(profiles.astype(float))
            np.testing.assert_allclose(fit.predict(profiles), wanted, rtol=0, atol=1e-8)
        np.testing.assert_allclose(fit.coef, theirs.coef_, rtol=0, atol=1e-8)
        np.testing.assert_allclose(fit.intercept, theirs.intercept_, rtol=0, atol=1e-8)
        assert fit.coef.dtype == fit.intercept.dtype == fit.predict(new).dtype == np.float64
        assert (fit.gap, fit.iterations) == (None, 0)


@pytest.mark.parametrize(("n", "p"), [(200, 12), (12, 12), (9, 40), (2, 3)])
def test_equals_scikit_learn_with_more_and_with_fewer_profiles_than_landmarks(
    n: int, p: int
) -> None:
    _assert_equals_scikit_learn(*_tables(n, p))


def test_equals_scikit_learn_with_dependent_and_constant_landmarks() -> None:
    X, Y, new = _tables(60, 10)
    for profiles in (X, new):
        profiles[:, 3] = profiles[:, 1]
        profiles[:, 6] = 0.1
    _assert_equals_scikit_learn(X, Y, new)


def test_equals_scikit_learn_on_the_recorded_study(golden: Path) -> None:
    with np.load(golden / "study_a.npz") as study:
        _assert_equals_scikit_learn(study["X_tr"], study["Y_tr"], study["X_te"])


def test_gradient_of_the_objective_is_0_at_the_solution() -> None:
    X, Y, _ = _tables(80, 9)
    for fit in ridge_path(X, Y, LAMBDAS):
        residual = Y - fit.predict(X)
        gradient = -residual.T @ X / len(X) + fit.lambda_ * fit.coef
        np.testing.assert_allclose(gradient, 0, atol=1e-10)
        np.testing.assert_allclose(residual.mean(axis=0), 0, atol=1e-10)


def test_a_tiny_penalty_gives_least_squares_and_a_huge_one_the_mean() -> None:
    X, Y, new = _tables(100, 8)
    least, large = ridge_path(X, Y, [1e-12, 1e12])
    np.testing.assert_allclose(least.predict(new), LeastSquares().fit(X, Y).predict(new), atol=1e-7)
    np.testing.assert_allclose(large.predict(new), np.tile(Y.mean(axis=0, dtype=float), (7, 1)))


@pytest.mark.parametrize("block_size", [1, 4, 100])
def test_block_size_changes_nothing_but_rounding(block_size: int) -> None:
    X, Y, new = _tables(40, 9)
    for ours, wanted in zip(
        ridge_path(X, Y, LAMBDAS, block_size=block_size), ridge_path(X, Y, LAMBDAS), strict=True
    ):
        np.testing.assert_allclose(ours.predict(new), wanted.predict(new), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("lambdas", "cause"),
    [
        ([], "lambda: needs at least one value"),
        ([0.1, 0.0], "lambda = 0.0: must be above 0"),
        ([-1.0], "lambda = -1.0: must be"),
        ([float("nan")], "lambda = nan: must be"),
        ([float("inf")], "lambda = inf: must be above 0 and finite"),
    ],
)
def test_lambdas_are_checked_at_once(lambdas: list[float], cause: str) -> None:
    with pytest.raises(DgexError, match=cause):
        ridge_path(*_tables(20, 3)[:2], lambdas)


def test_unfit_tables_are_refused_at_once() -> None:
    X, Y, new = _tables(20, 3)
    with pytest.raises(DgexError, match="Y: must be 20 profiles"):
        ridge_path(X, Y[1:], [1.0])
    with pytest.raises(DgexError, match="block_size = 0"):
        ridge_path(X, Y, [1.0], block_size=0)
    (fit,) = ridge_path(X, Y, [1.0])
    with pytest.raises(DgexError, match="X: must be 7 profiles x 3 genes, not 7 x 2"):
        fit.predict(new[:, :2])
