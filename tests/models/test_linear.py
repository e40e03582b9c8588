"""LR equals scikit-learn's on every shape of design, and bad tables are refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from dgex_jax.errors import DgexError
from dgex_jax.models.arrays import blocks, check_matrix
from dgex_jax.models.factors import cholesky_qr
from dgex_jax.models.linear import LeastSquares

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TOLERANCE = 1e-5


def _tables(n: int, p: int, t: int = 11, seed: int = 0) -> tuple[NDArray, NDArray, NDArray]:
    """Float32 landmarks and targets away from mean 0, and landmarks of new profiles."""
    rng = np.random.default_rng(seed)
    X = rng.normal(2.0, 1.5, (n, p)).astype(np.float32)
    Y = (X @ rng.normal(size=(p, t)) / p + rng.normal(-1.0, 0.5, (n, t))).astype(np.float32)
    return X, Y, rng.normal(2.0, 1.5, (7, p)).astype(np.float32)


def _scikit_learn(X: NDArray, Y: NDArray) -> LinearRegression:
    return LinearRegression().fit(X.astype(np.float64), Y.astype(np.float64))


def _assert_equals_scikit_learn(X: NDArray, Y: NDArray, new: NDArray) -> None:
    ours, theirs = LeastSquares().fit(X, Y), _scikit_learn(X, Y)
    for profiles in (X, new):
        np.testing.assert_allclose(
            ours.predict(profiles),
            theirs.predict(profiles.astype(np.float64)),
            rtol=0,
            atol=TOLERANCE,
        )
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=TOLERANCE)
    assert ours.coef_.dtype == ours.intercept_.dtype == ours.predict(new).dtype == np.float64


@pytest.mark.parametrize(
    ("n", "p"), [(200, 12), (13, 12), (12, 12), (11, 12), (5, 40), (2, 3), (1, 4)]
)
def test_equals_scikit_learn_with_more_and_with_fewer_profiles_than_landmarks(
    n: int, p: int
) -> None:
    _assert_equals_scikit_learn(*_tables(n, p))


@pytest.mark.parametrize(("n", "p"), [(80, 10), (9, 20)])
def test_equals_scikit_learn_with_dependent_and_constant_landmarks(n: int, p: int) -> None:
    X, Y, new = _tables(n, p)
    for profiles in (X, new):
        profiles[:, 3] = profiles[:, 1]
        profiles[:, 4] = np.float32(0.25) * profiles[:, 2]
        profiles[:, 6] = 0.1
    _assert_equals_scikit_learn(X, Y, new)
    assert LeastSquares().fit(X, Y).rank_ == min(n - 1, p - 3)


def test_constant_landmarks_alone_predict_the_mean() -> None:
    X = np.full((30, 4), 0.1)
    Y = np.random.default_rng(1).normal(5.0, 1.0, (30, 3))
    model = LeastSquares().fit(X, Y)
    assert model.rank_ == 0
    assert not model.coef_.any()
    np.testing.assert_allclose(model.predict(X + 100.0), np.tile(Y.mean(axis=0), (30, 1)))


def test_minimum_norm_solution_when_profiles_are_few() -> None:
    X, Y, _ = _tables(6, 30)
    model = LeastSquares().fit(X, Y)
    centred = X.astype(np.float64) - X.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(model.predict(X), Y, atol=1e-10)
    wanted = np.linalg.pinv(centred) @ (Y.astype(np.float64) - Y.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(model.coef_, wanted.T, rtol=0, atol=1e-12)


def test_ill_conditioned_landmarks_keep_the_accuracy_that_a_gram_matrix_loses() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(60, 5))
    X[:, 4] = X[:, 0] + 1e-9 * rng.normal(size=60)
    weights = rng.normal(size=(5, 3))
    Y = X @ weights + 0.5
    model = LeastSquares().fit(X, Y)
    assert model.rank_ == 5
    np.testing.assert_allclose(model.predict(X), Y, rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.coef_, weights.T, rtol=0, atol=1e-4)


def test_singular_values_are_those_of_the_centred_landmarks() -> None:
    X, Y, _ = _tables(50, 8)
    centred = X.astype(np.float64) - X.astype(np.float64).mean(axis=0)
    wanted = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(LeastSquares().fit(X, Y).singular_, wanted, rtol=1e-12)


@pytest.mark.parametrize("block_size", [1, 4, 11, 100])
def test_block_size_changes_nothing_but_rounding(block_size: int) -> None:
    X, Y, new = _tables(40, 9)
    wanted = LeastSquares().fit(X, Y).predict(new)
    got = LeastSquares(block_size=block_size).fit(X, Y).predict(new)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


def test_tables_are_left_as_they_were() -> None:
    X, Y, _ = _tables(40, 9)
    X64, Y64 = np.asfortranarray(X, dtype=np.float64), np.asfortranarray(Y, dtype=np.float64)
    before = X64.copy(), Y64.copy()
    LeastSquares().fit(X64, Y64).predict(X64)
    np.testing.assert_array_equal(X64, before[0])
    np.testing.assert_array_equal(Y64, before[1])


def test_equals_scikit_learn_on_the_recorded_study(golden: Path) -> None:
    with np.load(golden / "study_a.npz") as study:
        _assert_equals_scikit_learn(study["X_tr"], study["Y_tr"], study["X_te"])


def test_init_stores_only() -> None:
    assert vars(LeastSquares(block_size=7)) == {"block_size": 7}


def test_blocks_cover_everything_once_in_order() -> None:
    assert [i for part in blocks(10, 4) for i in range(part.start, part.stop)] == list(range(10))
    assert list(blocks(0, 4)) == []


@pytest.mark.parametrize(
    ("X", "Y", "cause"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "Y: must be 3 profiles x 2 genes, not 4 x 2"),
        (np.ones((0, 2)), np.ones((0, 2)), r"X: is empty \(0 profiles x 2 genes\)"),
        (np.ones((3, 2)), np.ones((3, 0)), r"Y: is empty \(3 profiles x 0 genes\)"),
        (np.ones(3), np.ones((3, 2)), r"X: must be a table of real numbers.* shape \(3,\)"),
        (np.ones((3, 2), dtype=complex), np.ones((3, 2)), "X: .*not complex128"),
        (np.full((3, 2), "a"), np.ones((3, 2)), "X: must be a table of real numbers"),
    ],
)
def test_unfit_tables_are_refused(X: NDArray, Y: NDArray, cause: str) -> None:
    with pytest.raises(DgexError, match=cause) as caught:
        LeastSquares().fit(X, Y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [5, 3_000])
def test_values_that_are_not_finite_are_counted_and_the_first_one_named(rows: int) -> None:
    table = np.zeros((rows, 2_000), dtype=np.float32)
    table[rows - 1, 0] = np.nan
    table[rows - 2, 7] = np.inf
    table[rows - 1, 9] = -np.inf
    place = f"the first inf at profile {rows - 2}, gene 7 "
    with pytest.raises(DgexError, match=f"Y: 3 of {table.size} values are not finite, {place}"):
        LeastSquares().fit(np.ones((rows, 1)), table)


def test_predict_needs_a_fit_and_the_same_landmarks() -> None:
    model = LeastSquares()
    with pytest.raises(DgexError, match="LeastSquares: not fitted yet"):
        model.predict(np.ones((2, 3)))
    model.fit(*_tables(20, 3)[:2])
    with pytest.raises(DgexError, match="X: must be 2 profiles x 3 genes, not 2 x 4"):
        model.predict(np.ones((2, 4)))
    with pytest.raises(DgexError, match="block_size = 0"):
        LeastSquares(block_size=0).fit(*_tables(20, 3)[:2])


def test_a_failed_fit_leaves_the_model_as_it_was() -> None:
    X, Y, new = _tables(20, 3)
    model = LeastSquares().fit(X, Y)
    before = model.predict(new)
    with pytest.raises(DgexError):
        model.fit(X, np.full_like(Y, np.nan))
    np.testing.assert_array_equal(model.predict(new), before)


def test_arrays_pass_the_check_without_a_copy() -> None:
    table = np.ones((3, 2), dtype=np.float32)
    assert check_matrix("X", table) is table


def _fortran(X: NDArray) -> NDArray:
    return np.array(X, dtype=np.float64, order="F")


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize(("n", "p"), [(200, 12), (5000, 40), (13, 13)])
def test_cholesky_qr_is_as_accurate_as_householder(n: int, p: int, scale: float) -> None:
    rng = np.random.default_rng(5)
    # Condition numbers around 1e5, and columns of very different size.
    X = rng.normal(size=(n, p)) @ np.diag(np.geomspace(1, 1e-5, p)) + 1e-5 * rng.normal(size=(n, p))
    X = scale * X
    basis, triangle = cholesky_qr(_fortran(X))
    np.testing.assert_allclose(basis.T @ basis, np.eye(p), atol=1e-14 * p)
    np.testing.assert_allclose(basis @ triangle, X, atol=1e-14 * p * scale)
    wanted = np.abs(np.linalg.qr(X, mode="r"))
    np.testing.assert_allclose(np.abs(triangle), wanted, rtol=1e-7, atol=1e-13 * wanted.max())


@pytest.mark.parametrize("spoil", ["copy", "almost", "zero", "huge", "tiny"])
def test_cholesky_qr_refuses_what_it_cannot_do(spoil: str) -> None:
    X, _, _ = _tables(80, 6)
    X = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    noise = np.random.default_rng(6).normal(size=80)
    match spoil:
        case "copy":
            X[:, 4] = X[:, 1]
        case "almost":
            X[:, 4] = X[:, 1] + 1e-10 * noise
        case "zero":
            X[:, 4] = 0.0
        case "huge":
            X *= 1e200
        case "tiny":
            X *= 1e-200
    assert cholesky_qr(_fortran(X)) is None


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_units_of_the_landmarks_change_no_prediction(size: float) -> None:
    X, Y, new = _tables(80, 6)
    wanted = LeastSquares().fit(X, Y).predict(new)
    X, new = size * X.astype(np.float64), size * new.astype(np.float64)
    np.testing.assert_allclose(LeastSquares().fit(X, Y).predict(new), wanted, rtol=0, atol=1e-9)
