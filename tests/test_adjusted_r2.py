"""Adjusted R² equals the formula on scikit-learn's R²; activations are those of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from dgex_jax import adjusted_r2 as module
from dgex_jax.adjusted_r2 import adjusted_r2, compare, last_hidden
from dgex_jax.errors import DgexError
from dgex_jax.train.network import MLP
from dgex_jax.train.pylearn2 import initial_weights
from dgex_jax.train.record import load_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

LANDMARKS, UNITS, TARGETS = 5, 13, 7


def _tables(n: int = 60, p: int = 8, t: int = 9) -> tuple[NDArray, NDArray]:
    """Float32 features and targets away from mean 0, from well to hardly explained."""
    rng = np.random.default_rng(0)
    X = rng.normal(2.0, 1.5, (n, p)).astype(np.float32)
    noise = rng.normal(-1.0, 0.5, (n, t)) * np.geomspace(0.01, 10, t)
    return X, (X @ rng.normal(size=(p, t)) / p + noise).astype(np.float32)


def _assert_equals_scikit_learn(X: NDArray, Y: NDArray, rank: int) -> None:
    result = adjusted_r2(X, Y)
    wide, n = X.astype(np.float64), len(X)
    r2 = np.array([LinearRegression().fit(wide, y).score(wide, y) for y in Y.T.astype(float)])
    assert np.linalg.matrix_rank(wide - wide.mean(axis=0)) == rank
    np.testing.assert_allclose(result.r2, r2, rtol=0, atol=1e-10)
    adjusted = 1 - (1 - r2) * (n - 1) / (n - rank - 1)
    np.testing.assert_allclose(result.values, adjusted, rtol=0, atol=1e-10)
    assert result.values.dtype == result.r2.dtype == np.float64
    assert (result.n_profiles, result.n_features, result.rank) == (*X.shape, rank)
    assert result.reason is None
    assert not result.constant.any()


# With 10 profiles and 8 features there is one degree of freedom left, which is enough.
@pytest.mark.parametrize(("n", "p"), [(60, 8), (400, 1), (10, 8)])
def test_equals_scikit_learn_and_the_formula(n: int, p: int) -> None:
    _assert_equals_scikit_learn(*_tables(n, p), rank=p)


def test_only_the_rank_of_a_deficient_design_counts() -> None:
    X, Y = _tables()
    wide = X.astype(np.float64)
    dependent = np.column_stack([wide, wide[:, 0] + wide[:, 1], wide[:, 2], np.full(60, 0.1)])
    _assert_equals_scikit_learn(dependent, Y, rank=8)
    # More features than profiles, of a low rank, have a number.
    X, Y = _tables(20, 4)
    many = X.astype(np.float64) @ np.random.default_rng(1).normal(size=(4, 30))
    _assert_equals_scikit_learn(many, Y, rank=4)


def test_on_the_recorded_study(golden: Path) -> None:
    with np.load(golden / "study_a.npz") as study:
        X, Y = study["X_tr"], study["Y_tr"]
    _assert_equals_scikit_learn(X, Y, rank=X.shape[1])


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
    result = adjusted_r2(np.full((60, 3), 0.1), _tables()[1])
    assert result.rank == 0
    np.testing.assert_array_equal(result.values, 0.0)


def test_a_target_among_the_features_is_explained_in_full() -> None:
    X, Y = _tables()
    result = adjusted_r2(np.column_stack([X, Y[:, 3]]), Y)
    assert result.values[3] == pytest.approx(1.0, abs=1e-12)
    assert (result.values <= 1.0).all()


def test_units_order_and_mixtures_of_genes_change_nothing() -> None:
    X, Y = (table.astype(np.float64) for table in _tables())
    wanted = adjusted_r2(X, Y).values
    mix = np.random.default_rng(2).normal(size=(8, 8))
    for other in (X + 7, X * np.geomspace(1e-3, 1e3, 8), X @ mix, X[:, ::-1], X[:, [*range(8), 4]]):
        result = adjusted_r2(other, Y)
        assert result.rank == 8
        np.testing.assert_allclose(result.values, wanted, rtol=0, atol=1e-9)
    np.testing.assert_allclose(adjusted_r2(X, Y * -3 + 5).values, wanted, rtol=0, atol=1e-12)
    for block_size in (1, 4, 100):
        blocked = adjusted_r2(X, Y, block_size=block_size).values
        np.testing.assert_allclose(blocked, wanted, rtol=0, atol=1e-13)


def test_noise_features_are_paid_for() -> None:
    """Unlike R², it doesn't rise with features that know nothing of the targets."""
    rng = np.random.default_rng(3)
    Y = rng.normal(size=(200, 500))
    result = adjusted_r2(rng.normal(size=(200, 100)), Y)
    assert result.r2.mean() == pytest.approx(100 / 199, abs=0.01)
    assert result.values.mean() == pytest.approx(0, abs=0.02)


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
    assert compare([], []).share is compare([nan, nan], [nan, nan]).share is None


def _network(hidden_layers: int) -> Any:
    """Weights away from their start, so that tanh bends and every bias counts."""
    params = initial_weights(3, LANDMARKS, TARGETS, hidden_layers, UNITS)
    rng = np.random.default_rng(1)
    for layer in params.values():
        layer["kernel"] = rng.normal(0, 0.5, layer["kernel"].shape).astype(np.float32)
        layer["bias"] = rng.normal(0, 0.5, layer["bias"].shape).astype(np.float32)
    return params


def _profiles(n: int = 11) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n, LANDMARKS)).astype(np.float32)


@pytest.mark.parametrize("hidden_layers", [1, 2, 3])
def test_activations_equal_a_forward_pass_in_float64(tmp_path: Path, hidden_layers: int) -> None:
    path = tmp_path / "best_va.safetensors"
    save_weights(path, [_network(hidden_layers)], {})
    (params,) = load_weights(path)
    expected = _profiles().astype(np.float64)
    for layer in range(hidden_layers):
        weights = params[f"hidden{layer + 1}"]
        expected = np.tanh(expected @ weights["kernel"] + weights["bias"])
    activations = last_hidden(params, _profiles())
    assert activations.dtype == np.float32
    np.testing.assert_allclose(activations, expected, rtol=0, atol=1e-6)


def test_the_output_layer_turns_them_into_the_networks_prediction() -> None:
    params = _network(2)
    predicted = MLP(2, UNITS, TARGETS).apply({"params": params}, _profiles())
    linear = last_hidden(params, _profiles()) @ params["output"]["kernel"]
    np.testing.assert_allclose(linear + params["output"]["bias"], predicted, rtol=0, atol=2e-6)


@pytest.mark.parametrize("block_size", [1, 4, 10, 11, 12, 1000])
def test_neither_the_block_nor_the_profiles_beside_it_count(block_size: int) -> None:
    params, X = _network(2), _profiles()
    got = last_hidden(params, X, block_size=block_size)
    np.testing.assert_allclose(got, last_hidden(params, X), rtol=0, atol=1e-6)
    backwards = last_hidden(params, X[::-1], block_size=block_size)[::-1]
    if block_size == 4:
        np.testing.assert_array_equal(backwards, got)
    np.testing.assert_allclose(backwards, got, rtol=0, atol=1e-6)


def test_a_short_last_block_is_not_compiled_again() -> None:
    params = _network(3)
    before = module._activations._cache_size()
    last_hidden(params, _profiles(11), block_size=3)
    last_hidden(params, _profiles(4), block_size=3)
    assert module._activations._cache_size() == before + 1


def test_inputs_stay_as_they_are_and_may_be_float64() -> None:
    params, X = _network(1), _profiles().astype(np.float64)
    before, weights = X.copy(), jax.tree.map(np.copy, params)
    np.testing.assert_array_equal(
        last_hidden(params, X, block_size=4), last_hidden(params, _profiles(), block_size=4)
    )
    np.testing.assert_array_equal(X, before)
    jax.tree.map(np.testing.assert_array_equal, params, weights)


def test_offering_activations_changes_no_other_program(monkeypatch: pytest.MonkeyPatch) -> None:
    params, model = _network(2), MLP(2, UNITS, TARGETS)
    key, include = jax.random.key(0), np.float32(0.9)

    def programs() -> list[str]:
        applied = (
            jax.make_jaxpr(model.apply)({"params": params}, _profiles(), *dropout)
            for dropout in ((), (key, include))
        )
        return [*map(str, applied), str(jax.eval_shape(model.init, key, _profiles()))]

    offering = programs()
    monkeypatch.setattr(MLP, "sow", lambda *_: False)
    assert programs() == offering


def _with(layer: str, **arrays: NDArray) -> Any:
    params = _network(2)
    params[layer] = params[layer] | arrays
    return params


X, Y = _tables()


@pytest.mark.parametrize(
    ("function", "given", "cause"),
    [
        (adjusted_r2, (X, Y[1:]), "targets: must be 60 profiles x 9 genes, not 59 x 9"),
        (adjusted_r2, (np.full_like(X, np.nan), Y), "features: 480 of 480 values are not finite"),
        (lambda *tables: adjusted_r2(*tables, block_size=0), (X, Y), "block_size = 0"),
        (compare, ([1.0, 2.0], [1.0, 2.0, 3.0]), r"of the same targets, not \(2,\) and \(3,\)"),
        (last_hidden, (_network(1), X[:3, :4]), "X: must be 3 profiles x 5 genes, not 3 x 4"),
        (last_hidden, (_network(1), X[:0, :5]), "X: is empty"),
        (last_hidden, (_network(1), np.full((2, 5), np.nan)), "X: 10 of 10 values are not finite"),
        (lambda *given: last_hidden(*given, block_size=0), (_network(1), X), "block_size = 0"),
        (last_hidden, ({}, X), "weights: need the layers hidden1, ... and output, not none"),
        (last_hidden, ({"output": _network(1)["output"]}, X), "and output, not output"),
        (last_hidden, ({"hidden1": {}, "hidden2": {}}, X), "and output, not hidden1, hidden2"),
        (last_hidden, (_with("hidden2", kernel=X[:12]), X), "of hidden2: must be 13 x 13 and 13"),
        (last_hidden, (_with("hidden1", bias=X[0]), X), "of hidden1: must be 5 x 13 and 13 biases"),
        (last_hidden, (_with("output", kernel=X[:12]), X), "weights of output: must be 13 x "),
        (last_hidden, (_with("output", kernel=X[0]), X), "weights: a kernel is empty or no matrix"),
    ],
)
def test_what_does_not_fit_is_refused(
    function: Callable[..., object], given: tuple[Any, ...], cause: str
) -> None:
    with pytest.raises(DgexError, match=cause) as error:
        function(*given)
    assert "\n" not in str(error.value)
