"""LR and LR-L2 equal scikit-learn's on every shape of design; bad tables are one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from dgex_jax.baselines.arrays import check_matrix
from dgex_jax.baselines.linear import LeastSquares, Mean, ridge_path
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import blocks
from tests.baselines.tables import off_centre

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LAMBDAS = [10.0, 0.1, 1e-3, 1e-5]


def _assert_equals_scikit_learn(X: NDArray, Y: NDArray, new: NDArray) -> None:
    wide = X.astype(np.float64), Y.astype(np.float64)
    ours = LeastSquares().fit(X, Y)
    pairs = [(ours, ours.coef_, ours.intercept_, LinearRegression().fit(*wide), 1e-5)]
    fits = list(ridge_path(X, Y, LAMBDAS))
    assert [fit.lambda_ for fit in fits] == LAMBDAS
    for fit in fits:
        assert (fit.gap, fit.iterations) == (None, 0)
        # SVD, because scikit-learn's Cholesky of the Gram matrix is the less accurate of the two.
        theirs = Ridge(alpha=len(X) * fit.lambda_, solver="svd").fit(*wide)
        pairs.append((fit, fit.coef, fit.intercept, theirs, 1e-8))
    for model, coef, intercept, theirs, atol in pairs:
        for profiles in (X, new):
            wanted = theirs.predict(profiles.astype(np.float64))
            np.testing.assert_allclose(model.predict(profiles), wanted, rtol=0, atol=atol)
        np.testing.assert_allclose(coef, theirs.coef_, rtol=0, atol=atol)
        np.testing.assert_allclose(intercept, theirs.intercept_, rtol=0, atol=atol)
        assert coef.dtype == intercept.dtype == model.predict(new).dtype == np.float64


@pytest.mark.parametrize(
    ("n", "p"), [(2100, 12), (13, 12), (12, 12), (11, 12), (9, 40), (5, 40), (2, 3), (1, 4)]
)
def test_equals_scikit_learn_with_more_and_with_fewer_profiles_than_landmarks(
    n: int, p: int
) -> None:
    _assert_equals_scikit_learn(*off_centre(n, p))


@pytest.mark.parametrize(("n", "p"), [(80, 10), (9, 20)])
def test_equals_scikit_learn_with_dependent_and_constant_landmarks(n: int, p: int) -> None:
    X, Y, new = off_centre(n, p)
    for profiles in (X, new):
        profiles[:, 3] = profiles[:, 1]
        profiles[:, 4] = np.float32(0.25) * profiles[:, 2]
        profiles[:, 6] = 0.1
    _assert_equals_scikit_learn(X, Y, new)
    assert LeastSquares().fit(X, Y).rank_ == min(n - 1, p - 3)


def test_equals_scikit_learn_on_the_recorded_study(golden: Path) -> None:
    with np.load(golden / "study_a.npz") as study:
        _assert_equals_scikit_learn(study["X_tr"], study["Y_tr"], study["X_te"])


def test_constant_landmarks_alone_predict_the_mean() -> None:
    X = np.full((30, 4), 0.1)
    Y = np.random.default_rng(1).normal(5.0, 1.0, (30, 3))
    model = LeastSquares().fit(X, Y)
    assert model.rank_ == 0
    assert not model.coef_.any()
    np.testing.assert_allclose(model.predict(X + 100.0), np.tile(Y.mean(axis=0), (30, 1)))


def test_minimum_norm_solution_when_profiles_are_few() -> None:
    X, Y, _ = (table.astype(np.float64) for table in off_centre(6, 30))
    model = LeastSquares().fit(X, Y)
    np.testing.assert_allclose(model.predict(X), Y, atol=1e-10)
    wanted = np.linalg.pinv(X - X.mean(axis=0)) @ (Y - Y.mean(axis=0))
    np.testing.assert_allclose(model.coef_, wanted.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("apart", [1.0, 1e-5, 1e-9])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("n", [60, 5000])
def test_ill_conditioned_landmarks_keep_the_accuracy_that_a_gram_matrix_loses(
    n: int, scale: float, apart: float
) -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(n, 5))
    X[:, 4] = X[:, 0] + apart * rng.normal(size=n)
    weights = rng.normal(size=(5, 3))
    Y = X @ weights + 0.5
    X *= scale
    model = LeastSquares().fit(X, Y)
    assert model.rank_ == 5
    np.testing.assert_allclose(model.predict(X), Y, rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.coef_ * scale, weights.T, rtol=0, atol=1e-12 / apart)
    wanted = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(model.singular_, wanted, rtol=0, atol=1e-14 * wanted[0])


def test_gradient_of_the_ridge_objective_is_0_at_the_solution() -> None:
    X, Y, _ = off_centre(80, 9)
    for fit in ridge_path(X, Y, LAMBDAS):
        residual = Y - fit.predict(X)
        gradient = -residual.T @ X / len(X) + fit.lambda_ * fit.coef
        np.testing.assert_allclose(gradient, 0, atol=1e-10)
        np.testing.assert_allclose(residual.mean(axis=0), 0, atol=1e-10)


def test_a_tiny_penalty_gives_least_squares_and_a_huge_one_the_mean() -> None:
    X, Y, new = off_centre(100, 8)
    least, large = ridge_path(X, Y, [1e-12, 1e12])
    np.testing.assert_allclose(least.predict(new), LeastSquares().fit(X, Y).predict(new), atol=1e-7)
    np.testing.assert_allclose(large.predict(new), np.tile(Y.mean(axis=0, dtype=float), (7, 1)))


@pytest.mark.parametrize("block_size", [1, 4, 11, 100])
def test_block_size_changes_nothing_but_rounding(block_size: int) -> None:
    X, Y, new = off_centre(40, 9)
    wanted = [LeastSquares().fit(X, Y), *ridge_path(X, Y, LAMBDAS)]
    ours = [
        LeastSquares(block_size=block_size).fit(X, Y),
        *ridge_path(X, Y, LAMBDAS, block_size=block_size),
    ]
    for one, other in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(one.predict(new), other.predict(new), rtol=0, atol=1e-12)


def test_tables_are_left_as_they_were() -> None:
    X, Y, _ = (np.asfortranarray(table, dtype=np.float64) for table in off_centre(40, 9))
    before = X.copy(), Y.copy()
    LeastSquares().fit(X, Y).predict(X)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_units_of_the_landmarks_change_no_prediction(size: float) -> None:
    X, Y, new = off_centre(80, 6)
    wanted = LeastSquares().fit(X, Y).predict(new)
    X, new = size * X.astype(np.float64), size * new.astype(np.float64)
    np.testing.assert_allclose(LeastSquares().fit(X, Y).predict(new), wanted, rtol=0, atol=1e-9)


def test_a_failed_fit_leaves_the_model_as_it_was() -> None:
    X, Y, new = off_centre(20, 3)
    model = LeastSquares(block_size=7)
    assert vars(model) == {"block_size": 7}
    before = model.fit(X, Y).predict(new)
    with pytest.raises(DgexError):
        model.fit(X, np.full_like(Y, np.nan))
    np.testing.assert_array_equal(model.predict(new), before)


def test_the_mean_is_0_whatever_the_landmarks() -> None:
    X, Y, new = off_centre(20, 6, 3)
    prediction = Mean().fit(X, Y + 5.0).predict(new)
    np.testing.assert_array_equal(prediction, np.zeros((7, 3)))
    assert prediction.dtype == np.float64


def test_blocks_cover_everything_once_in_order() -> None:
    assert [i for part in blocks(10, 4) for i in range(part.start, part.stop)] == list(range(10))
    assert list(blocks(0, 4)) == []


def test_arrays_pass_the_check_without_a_copy() -> None:
    table = np.ones((3, 2), dtype=np.float32)
    assert check_matrix("X", table) is table


ONES = np.ones((3, 2))


@pytest.mark.parametrize(
    ("X", "Y", "cause"),
    [
        (ONES, np.ones((4, 2)), "Y: must be 3 profiles x 2 genes, not 4 x 2"),
        (np.ones((0, 2)), np.ones((0, 2)), r"X: is empty \(0 profiles x 2 genes\)"),
        (ONES, np.ones((3, 0)), r"Y: is empty \(3 profiles x 0 genes\)"),
        (np.ones(3), ONES, r"X: must be a table of real numbers.* shape \(3,\)"),
        (np.ones((3, 2), dtype=complex), ONES, "X: .*not complex128"),
        (np.full((3, 2), "a"), ONES, "X: must be a table of real numbers"),
    ],
)
def test_unfit_tables_are_refused_at_once(X: NDArray, Y: NDArray, cause: str) -> None:
    for fit in (LeastSquares().fit, Mean().fit, lambda X, Y: ridge_path(X, Y, [1.0])):
        with pytest.raises(DgexError, match=cause) as caught:
            fit(X, Y)
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
    X, Y, new = off_centre(20, 3)
    (fit,) = ridge_path(X, Y, [1.0])
    for model in (LeastSquares().fit(X, Y), fit, Mean().fit(X, Y)):
        with pytest.raises(DgexError, match="X: must be 7 profiles x 3 genes, not 7 x 2"):
            model.predict(new[:, :2])
    for kind in (LeastSquares, Mean):
        with pytest.raises(DgexError, match=f"{kind.__name__}: not fitted yet"):
            kind().predict(X)


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
        ridge_path(*off_centre(20, 3)[:2], lambdas)


def test_a_bad_block_size_is_refused_at_once() -> None:
    X, Y, _ = off_centre(20, 3)
    with pytest.raises(DgexError, match="block_size = 0"):
        ridge_path(X, Y, [1.0], block_size=0)
    with pytest.raises(DgexError, match="block_size = 0"):
        LeastSquares(block_size=0).fit(X, Y)
