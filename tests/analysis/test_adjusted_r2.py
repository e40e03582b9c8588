"""Adjusted R² equals the formula on scikit-learn's R², also where the design is deficient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from dgex_jax.analysis.adjusted_r2 import adjusted_r2, compare
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def _tables(n: int = 60, p: int = 8, t: int = 9, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Float32 features and targets away from mean 0, from well to hardly explained."""
    rng = np.random.default_rng(seed)
    X = rng.normal(2.0, 1.5, (n, p)).astype(np.float32)
    noise = rng.normal(-1.0, 0.5, (n, t)) * np.geomspace(0.01, 10, t)
    return X, (X @ rng.normal(size=(p, t)) / p + noise).astype(np.float32)


def _oracle(X: NDArray, Y: NDArray) -> tuple[NDArray, NDArray]:
    """R² by scikit-learn, one target at a time, and adjusted by NumPy's rank."""
    wide = X.astype(np.float64)
    scores = np.array([LinearRegression().fit(wide, y).score(wide, y) for y in Y.T.astype(float)])
    p = np.linalg.matrix_rank(wide - wide.mean(axis=0))
    return scores, 1 - (1 - scores) * (len(X) - 1) / (len(X) - p - 1)


def _assert_equals_the_oracle(X: NDArray, Y: NDArray, rank: int) -> None:
    result = adjusted_r2(X, Y)
    r2, adjusted = _oracle(X, Y)
    np.testing.assert_allclose(result.r2, r2, rtol=0, atol=1e-10)
    np.testing.assert_allclose(result.values, adjusted, rtol=0, atol=1e-10)
    assert result.values.dtype == result.r2.dtype == np.float64
    assert (result.n_profiles, result.n_features, result.rank) == (*X.shape, rank)
    assert result.reason is None
    assert not result.constant.any()


@pytest.mark.parametrize(("n", "p"), [(60, 8), (400, 1), (10, 8)])
def test_equals_scikit_learn_and_the_formula(n: int, p: int) -> None:
    _assert_equals_the_oracle(*_tables(n, p), rank=p)


def test_only_the_rank_of_a_deficient_design_counts() -> None:
    X, Y = _tables()
    wide = X.astype(np.float64)
    dependent = np.column_stack([wide, wide[:, 0] + wide[:, 1], wide[:, 2], np.full(60, 0.1)])
    _assert_equals_the_oracle(dependent, Y, rank=8)


def test_more_features_than_profiles_of_a_low_rank_have_a_number() -> None:
    X, Y = _tables(20, 4)
    wide = X.astype(np.float64) @ np.random.default_rng(1).normal(size=(4, 30))
    _assert_equals_the_oracle(wide, Y, rank=4)


def test_on_the_recorded_study(golden: Path) -> None:
    with np.load(golden / "study_a.npz") as study:
        X, Y = study["X_tr"], study["Y_tr"]
    _assert_equals_the_oracle(X, Y, rank=X.shape[1])


@pytest.mark.parametrize(
    ("n", "p", "rank"),
    [
        (9, 8, 8),  # n - p - 1 = 0
        (8, 8, 7),  # as many features as profiles: the mean takes one dimension
        (5, 8, 4),
        (1, 3, 0),
    ],
)
def test_without_degrees_of_freedom_there_is_a_reason_and_no_number(
    n: int, p: int, rank: int
) -> None:
    result = adjusted_r2(*_tables(n, p))
    assert np.isnan(result.values).all()
    assert result.rank == rank
    assert result.reason == (
        f"{n} profiles leave no degrees of freedom for {p} features (rank {rank})"
    )
    if n > 1:
        np.testing.assert_allclose(result.r2, 1.0, rtol=0, atol=1e-12)
        assert (result.r2 <= 1.0).all()


def test_one_degree_of_freedom_is_enough() -> None:
    X, Y = _tables(10, 8)
    assert adjusted_r2(X, Y).reason is None
    assert np.isfinite(adjusted_r2(X, Y).values).all()


@pytest.mark.parametrize("level", [0.0, 0.1, -1e6])
def test_constant_targets_are_named_and_have_no_number(level: float) -> None:
    X, Y = _tables()
    Y[:, [2, 5]] = level
    result = adjusted_r2(X, Y)
    assert np.flatnonzero(result.constant).tolist() == [2, 5]
    for numbers in (result.values, result.r2):
        np.testing.assert_array_equal(np.isnan(numbers), result.constant)
    assert result.reason is None


def test_constant_features_explain_nothing() -> None:
    _, Y = _tables()
    result = adjusted_r2(np.full((60, 3), 0.1), Y)
    assert result.rank == 0
    np.testing.assert_array_equal(result.values, 0.0)


def test_a_target_among_the_features_is_explained_in_full() -> None:
    X, Y = _tables()
    result = adjusted_r2(np.column_stack([X, Y[:, 3]]), Y)
    assert result.values[3] == pytest.approx(1.0, abs=1e-12)
    assert (result.values <= 1.0).all()


def test_a_duplicate_feature_changes_nothing() -> None:
    X, Y = _tables()
    more = adjusted_r2(np.column_stack([X, X[:, 4]]), Y)
    assert more.rank == 8
    np.testing.assert_allclose(more.values, adjusted_r2(X, Y).values, rtol=0, atol=1e-12)


def test_shifted_scaled_mixed_and_reordered_features_change_nothing() -> None:
    X, Y = _tables()
    wanted = adjusted_r2(X, Y).values
    wide = X.astype(np.float64)
    mix = np.random.default_rng(2).normal(size=(8, 8))
    for other in (wide + 7, wide * np.geomspace(1e-3, 1e3, 8), wide @ mix, wide[:, ::-1]):
        np.testing.assert_allclose(adjusted_r2(other, Y).values, wanted, rtol=0, atol=1e-9)


def test_shifted_and_scaled_targets_change_nothing() -> None:
    X, Y = _tables()
    moved = adjusted_r2(X, Y.astype(np.float64) * -3 + 5)
    np.testing.assert_allclose(moved.values, adjusted_r2(X, Y).values, rtol=0, atol=1e-12)


def test_noise_features_are_paid_for() -> None:
    """Unlike R², it doesn't rise with features that know nothing of the targets."""
    rng = np.random.default_rng(3)
    Y = rng.normal(size=(200, 500))
    result = adjusted_r2(rng.normal(size=(200, 100)), Y)
    assert result.r2.mean() == pytest.approx(100 / 199, abs=0.01)
    assert result.values.mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("block_size", [1, 4, 100])
def test_block_size_changes_nothing_but_rounding(block_size: int) -> None:
    X, Y = _tables()
    blocked = adjusted_r2(X, Y, block_size=block_size).values
    np.testing.assert_allclose(blocked, adjusted_r2(X, Y).values, rtol=0, atol=1e-13)


def test_tables_that_do_not_fit_are_refused() -> None:
    X, Y = _tables()
    with pytest.raises(DgexError, match="targets: must be 60 profiles x 9 genes, not 59 x 9"):
        adjusted_r2(X, Y[1:])
    with pytest.raises(DgexError, match="features: 480 of 480 values are not finite"):
        adjusted_r2(np.full_like(X, np.nan), Y)
    with pytest.raises(DgexError, match="block_size = 0"):
        adjusted_r2(X, Y, block_size=0)


def test_nonlinear_features_are_seen_to_be_better() -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(500, 3))
    hidden = np.tanh(2 * X)
    Y = hidden @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(500, 6))
    found = compare(adjusted_r2(X, Y).values, adjusted_r2(hidden, Y).values)
    assert (found.n_targets, found.n_compared, found.n_larger, found.share) == (6, 6, 6, 1.0)


def test_compare_counts_strictly_larger_values_where_both_are_numbers() -> None:
    nan = np.nan
    raw = [0.1, 0.5, 0.3, nan, 0.2, nan, -0.5]
    hidden = [0.2, 0.5, 0.1, 0.9, nan, nan, -0.4]
    found = compare(raw, hidden)
    assert (found.n_targets, found.n_compared, found.n_larger) == (7, 4, 2)
    assert found.share == 0.5


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_compare_of_nothing_has_no_share(values: list[float]) -> None:
    assert compare(values, values).share is None


def test_compare_refuses_other_targets() -> None:
    with pytest.raises(DgexError, match=r"must be of the same targets, not \(2,\) and \(3,\)"):
        compare([1.0, 2.0], [1.0, 2.0, 3.0])
