"""KNNGE and the LR family equal plain oracles, on raw values, and can be tuned."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from dgex_jax import KNNGE, LR, LRL1, LRL2
from dgex_jax.errors import DgexError
from dgex_jax.models.knn import KnnGe
from dgex_jax.models.ridge import ridge_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

N, N_LANDMARKS, N_TARGETS = 50, 7, 4


def _tables(seed: int = 0) -> tuple[NDArray, NDArray]:
    """Raw values far from mean 0 and deviation 1, different in each gene, one landmark constant."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, N_LANDMARKS))
    weights = np.random.default_rng(99).normal(size=(N_LANDMARKS, N_TARGETS))
    Y = X @ weights + rng.normal(0, 0.5, (N, N_TARGETS))
    X = 7.0 + X * np.arange(1, 8)
    X[:, 4] = 0.1
    return X, -3.0 + Y * np.array([0.1, 5.0, 1.0, 20.0])


def _scaled(X: NDArray, Y: NDArray) -> tuple[NDArray, NDArray, StandardScaler, StandardScaler]:
    x, y = StandardScaler().fit(X), StandardScaler().fit(Y)
    return x.transform(X), y.transform(Y), x, y


@pytest.mark.parametrize("k", [1, 3, 7])
def test_knn_ge_averages_the_nearest_standardised_landmarks(k: int) -> None:
    (X, Y), (new, _) = _tables(), _tables(1)
    scaled_X, scaled_Y, x, y = _scaled(X, Y)
    distances = np.square(scaled_Y[:, :, None] - scaled_X[:, None, :]).sum(axis=0)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
    wanted = y.inverse_transform(x.transform(new)[:, nearest].mean(axis=2))
    model = KNNGE(k).fit(X, Y)
    np.testing.assert_array_equal(model.neighbours_, nearest)
    np.testing.assert_allclose(model.predict(new), wanted, rtol=1e-12)


def test_knn_ge_on_values_as_they_are() -> None:
    X, Y = _tables()
    model = KNNGE(2, standardize=False).fit(X, Y)
    np.testing.assert_allclose(model.predict(X), KnnGe(2).fit(X, Y).predict(X, 2), rtol=1e-14)


def test_knn_ge_takes_all_landmarks_where_there_are_fewer() -> None:
    X, Y = _tables()
    model = KNNGE(100).fit(X, Y)
    assert model.k_ == N_LANDMARKS
    np.testing.assert_array_equal(model.predict(X), KNNGE(N_LANDMARKS).fit(X, Y).predict(X))


def test_least_squares_equal_scikit_learns() -> None:
    (X, Y), (new, _) = _tables(), _tables(1)
    ours, theirs = LR().fit(X, Y), LinearRegression().fit(X, Y)
    np.testing.assert_allclose(ours.predict(new), theirs.predict(new), rtol=1e-9)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-9)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-9)
    assert ours.rank_ == theirs.rank_ == N_LANDMARKS - 1


@pytest.mark.parametrize("lam", [0.3, 0.01])
def test_lasso_equals_scikit_learns_on_standardised_values(lam: float) -> None:
    (X, Y), (new, _) = _tables(), _tables(1)
    scaled_X, scaled_Y, x, y = _scaled(X, Y)
    theirs = Lasso(lam, tol=1e-12, max_iter=100_000).fit(scaled_X, scaled_Y)
    wanted = y.inverse_transform(theirs.predict(x.transform(new)))
    model = LRL1(lam, tol=1e-12).fit(X, Y)
    np.testing.assert_allclose(model.predict(new), wanted, rtol=0, atol=1e-4)
    assert model.gap_.shape == (N_TARGETS,)
    assert model.gap_.max() <= 1e-12
    assert model.n_iter_ >= 1
    assert LRL1(lam).fit(X, Y).n_iter_ < model.n_iter_
    as_it_is = LRL1(lam, standardize=False, tol=1e-12).fit(scaled_X, scaled_Y)
    np.testing.assert_allclose(as_it_is.coef_, theirs.coef_, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lam", [10.0, 0.01])
def test_ridge_equals_scikit_learns_on_standardised_values(lam: float) -> None:
    (X, Y), (new, _) = _tables(), _tables(1)
    scaled_X, scaled_Y, x, y = _scaled(X, Y)
    theirs = Ridge(N * lam, solver="svd").fit(scaled_X, scaled_Y)
    wanted = y.inverse_transform(theirs.predict(x.transform(new)))
    np.testing.assert_allclose(LRL2(lam).fit(X, Y).predict(new), wanted, rtol=1e-9)
    (plain,) = ridge_path(X, Y, [lam])
    as_it_is = LRL2(lam, standardize=False).fit(X, Y)
    np.testing.assert_array_equal(as_it_is.coef_, plain.coef)
    np.testing.assert_allclose(as_it_is.predict(new), plain.predict(new), rtol=1e-12)


@pytest.mark.parametrize("model", [KNNGE(2), LR(), LRL1(), LRL2()], ids=str)
def test_one_target_may_be_a_vector_and_models_can_be_pickled(model: Any) -> None:
    X, Y = _tables()
    table = model.fit(X, Y[:, :1]).predict(X)
    assert table.shape == (N, 1)
    vector = model.fit(X, Y[:, 0]).predict(X)
    np.testing.assert_array_equal(vector, table[:, 0])
    if not isinstance(model, KNNGE):
        assert model.coef_.shape == (N_LANDMARKS,)
        assert isinstance(model.intercept_, float)
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301
    np.testing.assert_array_equal(copy.predict(X), vector)


@pytest.mark.parametrize(
    ("model", "grid", "best"),
    [
        (KNNGE(), {"k": np.array([1, 7])}, {"k": 1}),
        (LRL1(), {"lam": np.array([0.01, 5.0])}, {"lam": 0.01}),
        (LRL2(), {"lam": [1e-3, 1e3]}, {"lam": 1e-3}),
    ],
    ids=str,
)
def test_grid_search_in_a_pipeline(model: Any, grid: dict[str, Any], best: dict[str, Any]) -> None:
    X, Y = _tables()
    # Each target is a landmark with noise, so the nearest one beats the mean of all.
    Y = X[:, :N_TARGETS] + np.random.default_rng(2).normal(0, 0.3, Y.shape)
    search = GridSearchCV(
        make_pipeline(MaxAbsScaler(), model),
        {f"{type(model).__name__.lower()}__{name}": values for name, values in grid.items()},
    ).fit(X, Y)
    assert {name.split("__")[1]: value for name, value in search.best_params_.items()} == best
    held_out = cross_val_predict(search.best_estimator_, X, Y, cv=2)
    assert held_out.shape == Y.shape


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (KNNGE(0), "k = 0: must be at least 1"),
        (KNNGE(1.5), r"k = 1\.5: must be a whole number"),
        (KNNGE(True), "k = True: must be a whole number"),
        (LRL1(0), r"lambda = 0\.0: must be above 0"),
        (LRL1("a"), "lam = 'a': must be a number"),
        (LRL1(tol=2.0), r"tolerance = 2\.0: must be between"),
        (LRL1(1e-3, tol=1e-12, max_iter=1), "targets not solved in 1 iterations"),
        (LRL2(-1), r"lambda = -1\.0: must be above 0"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(model: Any, cause: str) -> None:
    with pytest.raises(DgexError, match=cause):
        model.fit(*_tables())
