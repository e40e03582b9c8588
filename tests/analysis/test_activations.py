"""Activations are those of the network itself, whatever the block of profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest

import dgex_jax.analysis.activations as module
from dgex_jax.analysis.activations import last_hidden
from dgex_jax.errors import DgexError
from dgex_jax.models.mlp import MLP
from dgex_jax.training.pylearn2 import initial_weights
from dgex_jax.training.weights import load_weights, save_weights

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LANDMARKS, UNITS, TARGETS = 5, 13, 7


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
def test_equals_a_forward_pass_in_float64(tmp_path: Path, hidden_layers: int) -> None:
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
def test_any_block_size_gives_the_same(block_size: int) -> None:
    params = _network(2)
    got = last_hidden(params, _profiles(), block_size=block_size)
    np.testing.assert_allclose(got, last_hidden(params, _profiles()), rtol=0, atol=1e-6)


def test_a_profile_does_not_depend_on_the_ones_beside_it() -> None:
    params, X = _network(2), _profiles()
    reversed_rows = last_hidden(params, X[::-1], block_size=4)[::-1]
    np.testing.assert_array_equal(reversed_rows, last_hidden(params, X, block_size=4))


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


@pytest.mark.parametrize(
    ("X", "cause"),
    [
        (np.zeros((3, 4), np.float32), "X: must be 3 profiles x 5 genes, not 3 x 4"),
        (np.zeros((0, 5), np.float32), "X: is empty"),
        (np.full((2, 5), np.nan, np.float32), "X: 10 of 10 values are not finite"),
    ],
)
def test_profiles_that_do_not_fit_are_refused(X: NDArray, cause: str) -> None:
    with pytest.raises(DgexError, match=cause):
        last_hidden(_network(1), X)


def test_a_bad_block_size_is_refused() -> None:
    with pytest.raises(DgexError, match="block_size = 0"):
        last_hidden(_network(1), _profiles(), block_size=0)


def _with(layer: str, **arrays: NDArray) -> Any:
    params = _network(2)
    params[layer] = params[layer] | arrays
    return params


@pytest.mark.parametrize(
    ("params", "cause"),
    [
        ({}, "weights: need the layers hidden1, ... and output, not none"),
        ({"output": _network(1)["output"]}, "and output, not output"),
        ({"hidden1": {}, "hidden2": {}}, "and output, not hidden1, hidden2"),
        (_with("hidden2", kernel=np.zeros((12, 13))), "weights of hidden2: must be 13 x 13 and 13"),
        (_with("hidden1", bias=np.zeros(12)), "weights of hidden1: must be 5 x 13 and 13 biases"),
        (_with("output", kernel=np.zeros((12, 7))), "weights of output: must be 13 x 7 and 7"),
        (_with("output", kernel=np.zeros(7)), "weights: a kernel is empty or no matrix"),
    ],
)
def test_weights_that_make_no_network_are_refused(params: Any, cause: str) -> None:
    with pytest.raises(DgexError, match=cause) as error:
        last_hidden(params, _profiles())
    assert "\n" not in str(error.value)
