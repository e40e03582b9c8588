"""One forward pass for all: right, in one shape, and alike for a profile in any company."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgex_jax.estimators.infer import inferred_blocks
from dgex_jax.models import forward
from dgex_jax.models.forward import BATCH, Forward
from dgex_jax.models.mlp import MLP

N_LANDMARKS = 11


def make_half(rng: np.random.Generator, layers: int, units: int, n_targets: int) -> dict[str, Any]:
    sizes = [N_LANDMARKS, *[units] * layers, n_targets]
    names = [*(f"hidden{layer + 1}" for layer in range(layers)), "output"]
    return {
        name: {
            "kernel": rng.normal(size=(fan_in, fan_out)).astype(np.float32),
            "bias": rng.normal(size=fan_out).astype(np.float32),
        }
        for name, fan_in, fan_out in zip(names, sizes, sizes[1:], strict=False)
    }


def make_halves(layers: int = 2, sizes: tuple[int, ...] = (4, 6)) -> list[dict[str, Any]]:
    rng = np.random.default_rng(layers)
    return [make_half(rng, layers, 13, size) for size in sizes]


def profiles(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, N_LANDMARKS)).astype(np.float32)


def all_of(network: Forward, X: np.ndarray) -> np.ndarray:
    return np.concatenate(list(network(X)))


def oracle(halves: list[dict[str, Any]], X: np.ndarray) -> np.ndarray:
    """The network in plain NumPy, float64."""
    outputs = []
    for half in halves:
        hidden = X.astype(np.float64)
        for name in [name for name in half if name != "output"]:
            hidden = np.tanh(hidden @ half[name]["kernel"] + half[name]["bias"])
        outputs.append(hidden @ half["output"]["kernel"] + half["output"]["bias"])
    return np.concatenate(outputs, axis=1)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("sizes", [(7,), (4, 6)])
def test_halves_side_by_side_as_in_plain_numpy(layers, sizes) -> None:
    halves, X = make_halves(layers, sizes), profiles(5)
    found = all_of(Forward(halves), X)
    assert (found.dtype, found.shape) == (np.float32, (5, sum(sizes)))
    np.testing.assert_allclose(found, oracle(halves, X), rtol=0, atol=2e-5)


@pytest.mark.parametrize("n", [1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 37])
def test_batches_come_in_order_and_are_full_but_the_last(n) -> None:
    network, X = Forward(make_halves()), profiles(n)
    batches = list(network(X))
    sizes = [len(batch) for batch in batches]
    assert sizes == [BATCH] * (n // BATCH) + [n % BATCH] * bool(n % BATCH)
    np.testing.assert_allclose(np.concatenate(batches), oracle(make_halves(), X), atol=2e-5)


def test_no_profiles_no_batches() -> None:
    assert list(Forward(make_halves())(profiles(0))) == []


def test_bits_of_a_profile_do_not_depend_on_how_many_come_with_it() -> None:
    network, X = Forward(make_halves()), profiles(2 * BATCH + 37)
    together = all_of(network, X)
    for start in (0, BATCH, 2 * BATCH):
        for stop in (start + 1, start + 30, start + BATCH, len(X)):
            cut = slice(start, min(stop, len(X)))
            assert all_of(network, X[cut]).tobytes() == together[cut].tobytes()


def test_bits_are_those_of_the_compiled_network_on_a_full_batch() -> None:
    halves, X = make_halves(), profiles(BATCH)
    modules = [MLP(2, 13, size) for size in (4, 6)]

    @jax.jit
    def infer(params: Any, X: jax.Array) -> jax.Array:
        pairs = zip(modules, params, strict=True)
        return jnp.concatenate([module.apply({"params": one}, X) for module, one in pairs], axis=1)

    assert all_of(Forward(halves), X).tobytes() == np.asarray(infer(halves, X)).tobytes()


def test_estimators_infer_by_the_same_pass() -> None:
    halves, X = make_halves(), profiles(BATCH + 9)
    blocks = list(inferred_blocks(halves, X, "highest"))
    assert [rows for rows, _ in blocks] == [slice(0, BATCH), slice(BATCH, BATCH + 9)]
    values = np.concatenate([values for _, values in blocks])
    assert values.tobytes() == all_of(Forward(halves), X).tobytes()


def test_networks_of_one_architecture_share_one_program() -> None:
    before = forward._infer._cache_size()
    for seed in (1, 2):
        halves = [make_half(np.random.default_rng(seed), 1, 17, 3)]
        for n in (1, 5, BATCH + 1):
            all_of(Forward(halves), profiles(n))
    assert forward._infer._cache_size() == before + 1


@pytest.mark.parametrize(("precision", "wanted"), [("highest", "HIGHEST"), ("tf32", "HIGH")])
def test_precision_reaches_every_product(precision, wanted) -> None:
    network = Forward(make_halves(), precision)
    X = jnp.zeros((BATCH, N_LANDMARKS), jnp.float32)
    text = forward._infer.lower(network._modules, network._halves, X).as_text()
    assert text.count("dot_general") == text.count(f"precision = [{wanted}, {wanted}]") == 6
