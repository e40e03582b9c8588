"""LR-L1 equals scikit-learn's Lasso, and the duality gap it reports is the true one."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.linear_model import Lasso

from dgex_jax.baselines import lasso as module
from dgex_jax.baselines.lasso import lasso_path
from dgex_jax.errors import DgexError
from tests.baselines.tables import correlated

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.baselines.linear import LinearFit

LAMBDAS = [0.3, 0.03, 1e-3, 1e-5]


def _gap(X: NDArray, Y: NDArray, fit: LinearFit) -> NDArray:
    """Relative duality gap from the residuals, one target after the other."""
    X, Y = X.astype(float) - X.mean(axis=0, dtype=float), Y.astype(float)
    n, gaps = len(X), []
    for y, w in zip((Y - Y.mean(axis=0)).T, fit.coef, strict=True):
        residual = y - X @ w
        primal = residual @ residual / (2 * n) + fit.lambda_ * np.abs(w).sum()
        bound = fit.lambda_ * n / np.abs(X.T @ residual).max()
        point = residual * np.clip(y @ residual / (residual @ residual), -bound, bound)
        assert np.abs(X.T @ point).max() <= fit.lambda_ * n * (1 + 1e-9)
        dual = (y @ y - (y - point) @ (y - point)) / (2 * n)
        gaps.append((primal - dual) / (y @ y / n))
    return np.array(gaps)


def _assert_same_predictions(ours: NDArray, wanted: NDArray) -> None:
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-4)


def _assert_equals_scikit_learn(X: NDArray, Y: NDArray, lambdas: list[float] = LAMBDAS) -> None:
    for fit in lasso_path(X, Y, lambdas):
        theirs = Lasso(alpha=fit.lambda_, tol=1e-10, max_iter=1_000_000)
        theirs.fit(X.astype(float), Y.astype(float))
        _assert_same_predictions(fit.predict(X), theirs.predict(X.astype(float)))
        assert fit.coef.dtype == fit.intercept.dtype == np.float64


@pytest.mark.parametrize(
    ("n", "p", "common"), [(200, 15, 0.0), (200, 15, 0.9), (30, 30, 0.0), (25, 60, 0.5), (6, 3, 0)]
)
def test_equals_scikit_learn(n: int, p: int, common: float) -> None:
    # At 1e-5 with fewer profiles than landmarks scikit-learn itself does not converge.
    _assert_equals_scikit_learn(*correlated(n, p, common=common), LAMBDAS[: 3 + (n > p)])


def test_equals_scikit_learn_with_dependent_and_constant_genes() -> None:
    X, Y = correlated(80, 12)
    X[:, 3], X[:, 7] = X[:, 1], -X[:, 2]
    X[:, 6], Y[:, 4] = 0.1, 0.1
    _assert_equals_scikit_learn(X, Y)
    for fit in lasso_path(X, Y, LAMBDAS):
        assert not fit.coef[:, 6].any()
        assert not fit.coef[4].any()
        assert fit.gap[4] == 0.0
        np.testing.assert_allclose(fit.intercept[4], np.float32(0.1))


def test_equals_scikit_learn_on_the_recorded_study(golden: Path) -> None:
    with np.load(golden / "study_a.npz") as study:
        _assert_equals_scikit_learn(study["X_tr"], study["Y_tr"])


@pytest.mark.parametrize(("n", "p"), [(200, 15), (25, 60)])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-8])
def test_the_gap_is_that_of_the_residuals_and_within_the_tolerance(
    n: int, p: int, tolerance: float
) -> None:
    X, Y = correlated(n, p, common=0.5)
    for fit in lasso_path(X, Y, LAMBDAS, tolerance=tolerance):
        assert (fit.gap >= 0).all()
        assert fit.gap.max() <= tolerance
        assert 0 < fit.mean_iterations <= fit.iterations
        np.testing.assert_allclose(fit.gap, _gap(X, Y, fit), rtol=1e-4, atol=1e-13)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_the_gap_bounds_the_distance_to_the_optimum(tolerance: float) -> None:
    """Of objective and of predictions, with scikit-learn's optimum for the truth."""
    X, Y = correlated(60, 40, common=0.7)
    size = Y.var(axis=0, dtype=float)
    for fit in lasso_path(X, Y, LAMBDAS, tolerance=tolerance):
        best = Lasso(alpha=fit.lambda_, tol=1e-12, max_iter=1_000_000).fit(X.astype(float), Y)
        optimum = best.predict(X.astype(float))

        def objective(coef: NDArray, predicted: NDArray, weight: float = fit.lambda_) -> NDArray:
            return np.square(predicted - Y).mean(axis=0) / 2 + weight * np.abs(coef).sum(axis=1)

        loss = objective(fit.coef, fit.predict(X)) - objective(best.coef_, optimum)
        assert (loss <= fit.gap * size + 1e-10).all()
        distance = np.square(fit.predict(X) - optimum).mean(axis=0)
        assert (distance <= 2 * fit.gap * size + 1e-10).all()


def test_a_larger_penalty_gives_smaller_and_fewer_coefficients() -> None:
    X, Y = correlated(300, 20)
    sizes = [np.abs(fit.coef).sum(axis=1) for fit in lasso_path(X, Y, LAMBDAS)]
    assert all((small < large).all() for small, large in pairwise(sizes))
    zeros = [(fit.coef == 0).sum() for fit in lasso_path(X, Y, LAMBDAS)]
    assert zeros == sorted(zeros, reverse=True)
    assert zeros[0] > 9 * 10
    (none,) = lasso_path(X, Y, [100.0])
    assert not none.coef.any()


def test_each_lambda_is_solved_whatever_was_solved_before() -> None:
    X, Y = correlated(60, 30)
    alone = [next(lasso_path(X, Y, [one])) for one in LAMBDAS]
    for order in (LAMBDAS, LAMBDAS[::-1], [0.03, 1e-5, 0.3, 1e-3]):
        for fit in lasso_path(X, Y, order):
            wanted = alone[LAMBDAS.index(fit.lambda_)].predict(X)
            _assert_same_predictions(fit.predict(X), wanted)


@pytest.mark.parametrize("block_size", [1, 4, 100])
def test_block_size_changes_nothing_beyond_the_tolerance(block_size: int) -> None:
    X, Y = correlated(60, 30)
    paths = (lasso_path(X, Y, LAMBDAS, block_size=size) for size in (block_size, 512))
    for ours, wanted in zip(*paths, strict=True):
        _assert_same_predictions(ours.predict(X), wanted.predict(X))


def test_float64_steps_take_over_where_float32_does_not_get_there(monkeypatch) -> None:
    X, Y = correlated(60, 30, common=0.9)
    used = []
    advance = module._Solver.advance
    monkeypatch.setattr(module._Solver, "advance", lambda *a: (used.append(a[-1]), advance(*a))[1])
    monkeypatch.setattr(module, "SINGLE_ITERATIONS", 8)
    (fit,) = lasso_path(X, Y, [1e-2], tolerance=1e-5)
    assert used == [np.float32] + [np.float64] * (fit.iterations // module.STEPS - 1)
    assert len(used) > 1
    used.clear()
    list(lasso_path(X, Y, [1e-2], tolerance=1e-6))
    assert set(used) == {np.float64}


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_units_of_the_targets_only_scale_the_answer(scale: float) -> None:
    X, Y = correlated(60, 30)
    for plain, scaled in zip(
        lasso_path(X, Y, LAMBDAS),
        lasso_path(X, Y * np.float64(scale), [scale * one for one in LAMBDAS]),
        strict=True,
    ):
        _assert_same_predictions(scaled.predict(X) / scale, plain.predict(X))


def test_no_answer_is_better_than_an_unfinished_one() -> None:
    X, Y = correlated(25, 60)
    with pytest.raises(
        DgexError,
        match=r"lambda = 0\.001: 9 of 9 targets not solved in 3 iterations; the largest "
        r"duality gap is \d\.\de[-+]\d\d of \|y\|\^2/n, not 1e-09",
    ):
        list(lasso_path(X, Y, [1e-3], max_iterations=3))


def test_constant_landmarks_alone_predict_the_mean() -> None:
    Y = np.random.default_rng(1).normal(5.0, 1.0, (30, 3))
    (fit,) = lasso_path(np.full((30, 4), 0.1), Y, [0.1])
    assert not fit.coef.any()
    np.testing.assert_allclose(fit.intercept, Y.mean(axis=0))


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"lambdas": []}, "lambda: needs at least one value"),
        ({"lambdas": [0.0]}, "lambda = 0.0: must be above 0"),
        ({"tolerance": 0.0}, "tolerance = 0.0: must be between"),
        ({"max_iterations": 0}, "max_iterations = 0"),
        ({"block_size": 0}, "block_size = 0"),
        ({"Y": np.ones((19, 9))}, "Y: must be 20 profiles"),
        ({"Y": np.full((20, 9), np.nan)}, "Y: 180 of 180 values are not finite"),
    ],
)
def test_settings_and_tables_are_checked_at_once(options: dict, cause: str) -> None:
    X, Y = correlated(20, 3)
    with pytest.raises(DgexError, match=cause):
        lasso_path(**({"X": X, "Y": Y, "lambdas": [0.1]} | options))
