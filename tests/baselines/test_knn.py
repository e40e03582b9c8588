"""KNN-GE ranks as brute force and predicts as a loop does; KNN over profiles as scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsRegressor

from dgex_jax.baselines import knn as module
from dgex_jax.baselines.knn import KnnGe, KnnProfiles, rank_landmarks
from dgex_jax.errors import DgexError
from dgex_jax.scores import choose
from tests.baselines.tables import following

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def _brute_force(X: NDArray, Y: NDArray, k_max: int) -> NDArray:
    distances = cdist(Y.T.astype(np.float64), X.T.astype(np.float64))
    return np.argsort(distances, axis=1, kind="stable")[:, :k_max]


@pytest.mark.parametrize(
    ("n", "p", "t", "k"), [(300, 23, 40, 23), (300, 23, 40, 5), (2000, 7, 3, 1), (1, 5, 4, 5)]
)
def test_ranks_equal_brute_force(n: int, p: int, t: int, k: int) -> None:
    X, Y = following(n, p, t)
    got = rank_landmarks(X, Y, k)
    assert got.dtype == np.intp
    np.testing.assert_array_equal(got, _brute_force(X, Y, k))


@pytest.mark.parametrize("block_size", [1, 37, 256, 5000])
@pytest.mark.parametrize("k", [1, 2, 9, 60, 61])
def test_equal_landmarks_come_in_landmark_order(k: int, block_size: int) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(701, 7)).astype(np.float32)[:, rng.integers(7, size=61)]
    Y = rng.normal(size=(701, 45)).astype(np.float32)
    got = rank_landmarks(X, Y, k, block_size=block_size)
    np.testing.assert_array_equal(got, _brute_force(X, Y, k))
    X, Y = (rng.integers(-1, 2, size=(6, size)).astype(np.float32) for size in (61, 50))
    got = rank_landmarks(X, Y, k, block_size=block_size)
    np.testing.assert_array_equal(got, _brute_force(X, Y, k))


def test_mirrored_landmarks_are_equally_far_from_a_flat_target() -> None:
    X = np.random.default_rng(5).normal(size=(400, 8))
    X[:, 1] = -X[:, 6]
    Y = np.zeros((400, 1))
    order = rank_landmarks(X, Y, 8)[0].tolist()
    assert order.index(6) == order.index(1) + 1


def test_a_copy_of_a_landmark_is_nearest_and_predicted_exactly() -> None:
    X, Y = following(500, 20, 6)
    X[:, 13] = X[:, 4]
    Y[:, 0], Y[:, 1] = X[:, 13], X[:, 9]
    model = KnnGe().fit(X, Y)
    assert model.neighbours_[0, :2].tolist() == [4, 13]
    assert model.neighbours_[1, 0] == 9
    errors = model.errors_by_k(X, Y, [1, 2])
    assert errors[0, 0] == errors[0, 1] == errors[1, 0] == 0.0
    assert errors[1, 1] > 0.0


def test_nearly_equal_landmarks_are_told_apart() -> None:
    # A difference of 1e-7 at one profile: lost in the matrix product, not in plain differences.
    rng = np.random.default_rng(6)
    X = rng.normal(size=(5000, 3))
    Y = X[:, [0]].copy()
    X[:, 0] = X[:, 2] = Y[:, 0]
    X[17, 0] += 1e-7
    assert rank_landmarks(X, Y, 3)[0].tolist() == [2, 0, 1]


@pytest.mark.parametrize("k", [1, 10, 40])
def test_landmarks_nearer_to_each_other_than_rounding_are_ranked_exactly(k: int) -> None:
    # Squared distances around 1e-12, the rounding of the matrix products: these alone swap ranks.
    rng = np.random.default_rng(7)
    Y = rng.normal(size=(3000, 2))
    X = Y[:, [0]] + 1e-8 * rng.permutation(np.arange(1, 41)) * rng.normal(size=(3000, 40))
    np.testing.assert_array_equal(rank_landmarks(X, Y, k)[0], _brute_force(X, Y, k)[0])


@pytest.mark.parametrize(("n", "t"), [(9, 4), (60, 23)])
def test_predictions_equal_a_plain_loop(n: int, t: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE_TARGETS", 5)
    monkeypatch.setattr(module, "TILE_PROFILES", 16)
    X, Y = following(n, 15, t)
    new, _ = following(n, 15, 1, seed=8)
    model = KnnGe(k_max=12).fit(X, Y)
    nearest = _brute_force(X, Y, 12)
    for k in (1, 5, 12):
        wanted = np.empty((n, t))
        for profile in range(n):
            for gene in range(t):
                values = [float(new[profile, place]) for place in nearest[gene, :k]]
                wanted[profile, gene] = sum(values) / k
        got = model.predict(new, k)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13)


def test_errors_by_k_are_those_of_the_predictions_in_the_order_asked() -> None:
    X, Y = following(300, 40, 140)
    new, truth = following(1030, 40, 140, seed=9)
    model = KnnGe().fit(X, Y)
    ks = [7, 1, 40, 12]
    got = model.errors_by_k(new, truth, ks)
    wanted = [np.abs(model.predict(new, k) - truth).mean(axis=0) for k in ks]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.errors_by_k(new, truth, model.ks_)[[6, 0, 39, 11]], got)


def test_tuning_on_the_recorded_study_finds_the_best_k(golden: Path) -> None:
    with np.load(golden / "study_a.npz") as study:
        tables = {name: study[name] for name in ("X_tr", "Y_tr", "X_va", "Y_va")}
    model = KnnGe().fit(tables["X_tr"], tables["Y_tr"])
    errors = model.errors_by_k(tables["X_va"], tables["Y_va"], model.ks_).mean(axis=1)
    best = choose(model.ks_, errors)
    nearest = _brute_force(tables["X_tr"], tables["Y_tr"], 24)
    plain = [
        np.abs(tables["X_va"][:, nearest[:, :k]].mean(axis=2) - tables["Y_va"]).mean()
        for k in model.ks_
    ]
    assert best.value == 1 + int(np.argmin(plain))
    assert min(errors) == pytest.approx(min(plain), abs=1e-12)


@pytest.mark.parametrize("p", [4, 30])
@pytest.mark.parametrize("tile", [1, 60, 2**19])
def test_nearest_profiles_are_those_of_scikit_learn(monkeypatch, p: int, tile: int) -> None:
    monkeypatch.setattr(module, "TILE_VALUES", tile)
    X, Y = following(150, p, 20)
    new, truth = following(43, p, 20, seed=1)
    model = KnnProfiles(k_max=40).fit(X, Y)
    ks = [7, 1, 40, 12]
    errors = model.errors_by_k(new, truth, ks)
    for k, error in zip(ks, errors, strict=True):
        theirs = KNeighborsRegressor(k).fit(X, Y.astype(np.float64)).predict(new)
        got = model.predict(new, k)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, theirs, rtol=0, atol=1e-12)
        np.testing.assert_allclose(error, np.abs(theirs - truth).mean(axis=0), rtol=0, atol=1e-12)


def test_nearest_profiles_equal_scikit_learn_on_the_recorded_study(golden: Path) -> None:
    with np.load(golden / "study_a.npz") as study:
        X, Y, new = study["X_tr"], study["Y_tr"].astype(np.float64), study["X_te"]
    model = KnnProfiles().fit(X, Y)
    for k in (1, 9, 100):
        theirs = KNeighborsRegressor(k).fit(X, Y).predict(new)
        np.testing.assert_allclose(model.predict(new, k), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("method", "n_all"), [(KnnGe, 30), (KnnProfiles, 9)])
def test_the_grid_is_k_max_or_all_neighbours(method: type, n_all: int) -> None:
    X, Y = following(9, 30, 4)
    assert method().fit(X, Y).ks_ == range(1, n_all + 1)
    assert method(k_max=7).fit(X, Y).ks_ == range(1, 8)
    assert vars(method(k_max=7)) == {"k_max": 7}
    source, axis = (X, 1) if method is KnnGe else (Y, 0)
    every = method().fit(X, Y).predict(X, n_all)
    mean = source.mean(axis=axis, keepdims=True, dtype=np.float64)
    np.testing.assert_allclose(every, np.broadcast_to(mean, every.shape))


X, Y = following(20, 6, 3)
SPOILT = np.where(np.arange(60).reshape(20, 3) == 14, np.nan, Y)


@pytest.mark.parametrize(
    ("table", "truth", "ks", "cause"),
    [
        (X, Y, [0], "k = 0: must be a whole number from 1 to {}"),
        (X, Y, [21], "k = 21: must be a whole number from 1 to {}"),
        (X, Y, [2.0], "k = 2.0: must be a whole number"),
        (X, Y, [], "needs at least one value"),
        (X, Y, [3, 3], "each given once"),
        (X, Y[:, :2], [1], "Y: must be 20 profiles x 3 genes, not 20 x 2"),
        (X[:, :5], Y, [1], "X: must be 20 profiles x 6 genes, not 20 x 5"),
        (X, SPOILT, [1], "Y: 1 of 60 values are not finite, the first nan at profile 4, gene 2"),
    ],
)
@pytest.mark.parametrize("method", [KnnGe, KnnProfiles])
def test_what_a_fit_does_not_cover_is_refused(
    method: type, table: NDArray, truth: NDArray, ks: list[int], cause: str
) -> None:
    model = method().fit(X, Y)
    with pytest.raises(DgexError, match=cause.format(model.ks_[-1])):
        model.errors_by_k(table, truth, ks)


@pytest.mark.parametrize("method", [KnnGe, KnnProfiles])
def test_unfit_tables_are_refused(method: type) -> None:
    with pytest.raises(DgexError, match=f"{method.__name__}: not fitted yet"):
        method().predict(X, 1)
    with pytest.raises(DgexError, match="k_max = 0"):
        method(k_max=0).fit(X, Y)
    with pytest.raises(DgexError, match="Y: must be 20 profiles"):
        method().fit(X, Y[1:])
    with pytest.raises(DgexError, match="X: must be 20 profiles x 6 genes, not 20 x 5"):
        method().fit(X, Y).predict(X[:, :5], 1)
    with pytest.raises(DgexError, match="k_max = 7: must be between 1 and 6"):
        rank_landmarks(X, Y, 7)
