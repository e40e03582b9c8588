"""KNN-GE ranks as brute force does, ties by landmark order, and predicts as a plain loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import dgex_jax.models.knn as module
from dgex_jax.errors import DgexError
from dgex_jax.models.knn import KnnGe, rank_landmarks
from dgex_jax.models.mean import Mean
from dgex_jax.models.tuning import choose

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def _tables(n: int, L: int, t: int, seed: int = 0) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, L)).astype(np.float32)
    Y = (X[:, rng.integers(L, size=t)] + rng.normal(size=(n, t))).astype(np.float32)
    return X, Y


def _brute_force(X: NDArray, Y: NDArray, k_max: int) -> NDArray:
    distances = cdist(Y.T.astype(np.float64), X.T.astype(np.float64))
    return np.argsort(distances, axis=1, kind="stable")[:, :k_max]


@pytest.mark.parametrize(
    ("n", "L", "t", "k"), [(300, 23, 40, 23), (300, 23, 40, 5), (2000, 7, 3, 1), (1, 5, 4, 5)]
)
def test_ranks_equal_brute_force(n: int, L: int, t: int, k: int) -> None:
    X, Y = _tables(n, L, t)
    got = rank_landmarks(X, Y, k)
    assert got.dtype == np.intp
    np.testing.assert_array_equal(got, _brute_force(X, Y, k))


@pytest.mark.parametrize("block_size", [1, 37, 256, 5000])
def test_block_size_changes_no_rank_even_with_ties(block_size: int) -> None:
    X, Y = _tables(1500, 19, 30)
    X[:, 11] = X[:, 2]
    X[:, 17] = X[:, 2]
    got = rank_landmarks(X, Y, 19, block_size=block_size)
    np.testing.assert_array_equal(got, _brute_force(X, Y, 19))


@pytest.mark.parametrize("k", [1, 2, 9, 60, 61])
def test_equal_landmarks_come_in_landmark_order(k: int) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(701, 7)).astype(np.float32)[:, rng.integers(7, size=61)]
    Y = rng.normal(size=(701, 45)).astype(np.float32)
    np.testing.assert_array_equal(rank_landmarks(X, Y, k), _brute_force(X, Y, k))


def test_whole_number_ties_come_in_landmark_order() -> None:
    rng = np.random.default_rng(4)
    X = rng.integers(-1, 2, size=(6, 30)).astype(np.float32)
    Y = rng.integers(-1, 2, size=(6, 50)).astype(np.float32)
    np.testing.assert_array_equal(rank_landmarks(X, Y, 12), _brute_force(X, Y, 12))


def test_mirrored_landmarks_are_equally_far_from_a_flat_target() -> None:
    X = np.random.default_rng(5).normal(size=(400, 8))
    X[:, 1] = -X[:, 6]
    Y = np.zeros((400, 1))
    order = rank_landmarks(X, Y, 8)[0].tolist()
    assert order.index(6) == order.index(1) + 1


def test_a_copy_of_a_landmark_is_nearest_and_predicted_exactly() -> None:
    X, Y = _tables(500, 20, 6)
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
    X, Y = _tables(n, 15, t)
    new, _ = _tables(n, 15, 1, seed=8)
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
    X, Y = _tables(300, 40, 140)
    new, truth = _tables(1030, 40, 140, seed=9)
    model = KnnGe().fit(X, Y)
    assert model.ks_ == range(1, 41)
    ks = [7, 1, 40, 12]
    got = model.errors_by_k(new, truth, ks)
    wanted = [np.abs(model.predict(new, k) - truth).mean(axis=0) for k in ks]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.errors_by_k(new, truth, model.ks_)[[6, 0, 39, 11]], got)


def test_the_grid_is_k_max_or_all_landmarks() -> None:
    X, Y = _tables(50, 30, 4)
    assert KnnGe().fit(X, Y).ks_ == range(1, 31)
    assert KnnGe(k_max=7).fit(X, Y).ks_ == range(1, 8)
    assert vars(KnnGe(k_max=7)) == {"k_max": 7}


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


@pytest.mark.parametrize(
    ("ks", "cause"),
    [
        ([0], "k = 0: must be a whole number from 1 to 6"),
        ([7], "k = 7: must be a whole number from 1 to 6"),
        ([2.0], "k = 2.0: must be a whole number"),
        ([], "needs at least one value"),
        ([3, 3], "each given once"),
    ],
)
def test_a_k_that_cannot_be_is_refused(ks: list[int], cause: str) -> None:
    X, Y = _tables(20, 6, 3)
    with pytest.raises(DgexError, match=cause):
        KnnGe().fit(X, Y).errors_by_k(X, Y, ks)


def test_unfit_tables_are_refused() -> None:
    X, Y = _tables(20, 6, 3)
    with pytest.raises(DgexError, match="KnnGe: not fitted yet"):
        KnnGe().predict(X, 1)
    with pytest.raises(DgexError, match="k_max = 7: must be between 1 and 6"):
        rank_landmarks(X, Y, 7)
    with pytest.raises(DgexError, match="k_max = 0"):
        KnnGe(k_max=0).fit(X, Y)
    with pytest.raises(DgexError, match="Y: must be 20 profiles"):
        rank_landmarks(X, Y[1:], 2)
    model = KnnGe().fit(X, Y)
    with pytest.raises(DgexError, match="Y: must be 20 profiles x 3 genes, not 20 x 2"):
        model.errors_by_k(X, Y[:, :2], [1])
    with pytest.raises(DgexError, match="X: must be 20 profiles x 6 genes, not 20 x 5"):
        model.predict(X[:, :5], 1)
    Y[4, 2] = np.nan
    with pytest.raises(DgexError, match="Y: 1 of 60 values are not finite, the first nan at prof"):
        model.errors_by_k(X, Y, [1])


def test_the_mean_is_0_whatever_the_landmarks() -> None:
    X, Y = _tables(20, 6, 3)
    prediction = Mean().fit(X, Y + 5.0).predict(X[:4])
    np.testing.assert_array_equal(prediction, np.zeros((4, 3)))
    assert prediction.dtype == np.float64
    with pytest.raises(DgexError, match="Mean: not fitted yet"):
        Mean().predict(X)
    with pytest.raises(DgexError, match="X: must be 4 profiles x 6 genes, not 4 x 5"):
        Mean().fit(X, Y).predict(X[:4, :5])
