"""KNN over profiles equals scikit-learn's regressor for every k of one search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor

import dgex_jax.models.knn_profiles as module
from dgex_jax.errors import DgexError
from dgex_jax.models.knn_profiles import KnnProfiles

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def _tables(n: int, L: int, t: int, seed: int = 0) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, L)).astype(np.float32)
    return X, (X[:, rng.integers(L, size=t)] + rng.normal(size=(n, t))).astype(np.float32)


@pytest.mark.parametrize("L", [4, 30])
@pytest.mark.parametrize("tile", [1, 60, 2**19])
def test_predictions_and_errors_equal_scikit_learn(monkeypatch, L: int, tile: int) -> None:
    monkeypatch.setattr(module, "TILE_VALUES", tile)
    X, Y = _tables(150, L, 20)
    new, truth = _tables(43, L, 20, seed=1)
    model = KnnProfiles(k_max=40).fit(X, Y)
    assert model.ks_ == range(1, 41)
    ks = [7, 1, 40, 12]
    errors = model.errors_by_k(new, truth, ks)
    for k, error in zip(ks, errors, strict=True):
        theirs = KNeighborsRegressor(k).fit(X, Y.astype(np.float64)).predict(new)
        got = model.predict(new, k)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, theirs, rtol=0, atol=1e-12)
        np.testing.assert_allclose(error, np.abs(theirs - truth).mean(axis=0), rtol=0, atol=1e-12)


def test_equals_scikit_learn_on_the_recorded_study(golden: Path) -> None:
    with np.load(golden / "study_a.npz") as study:
        X, Y, new = study["X_tr"], study["Y_tr"].astype(np.float64), study["X_te"]
    model = KnnProfiles().fit(X, Y)
    for k in (1, 9, 100):
        theirs = KNeighborsRegressor(k).fit(X, Y).predict(new)
        np.testing.assert_allclose(model.predict(new, k), theirs, rtol=0, atol=1e-12)


def test_the_grid_is_k_max_or_all_profiles() -> None:
    X, Y = _tables(9, 5, 3)
    assert KnnProfiles().fit(X, Y).ks_ == range(1, 10)
    assert KnnProfiles(k_max=4).fit(X, Y).ks_ == range(1, 5)
    assert vars(KnnProfiles(k_max=7)) == {"k_max": 7}
    mean = KnnProfiles().fit(X, Y).predict(X, 9)
    np.testing.assert_allclose(mean, np.tile(Y.mean(axis=0, dtype=np.float64), (9, 1)))


@pytest.mark.parametrize(
    ("ks", "cause"),
    [([0], "k = 0: must be a whole number from 1 to 20"), ([21], "k = 21"), ([3, 3], "given once")],
)
def test_a_k_that_cannot_be_is_refused(ks: list[int], cause: str) -> None:
    X, Y = _tables(20, 6, 3)
    with pytest.raises(DgexError, match=cause):
        KnnProfiles().fit(X, Y).errors_by_k(X, Y, ks)


def test_unfit_tables_are_refused() -> None:
    X, Y = _tables(20, 6, 3)
    with pytest.raises(DgexError, match="KnnProfiles: not fitted yet"):
        KnnProfiles().predict(X, 1)
    with pytest.raises(DgexError, match="k_max = 0"):
        KnnProfiles(k_max=0).fit(X, Y)
    with pytest.raises(DgexError, match="Y: must be 20 profiles"):
        KnnProfiles().fit(X, Y[1:])
    model = KnnProfiles().fit(X, Y)
    with pytest.raises(DgexError, match="Y: must be 20 profiles x 3 genes, not 20 x 2"):
        model.errors_by_k(X, Y[:, :2], [1])
    with pytest.raises(DgexError, match="X: must be 20 profiles x 6 genes, not 20 x 5"):
        model.predict(X[:, :5], 1)
