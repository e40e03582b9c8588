"""The rules of an epoch: every profile trained on, the rate's decay, the best epoch, precision."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgex_jax.config import LOGGED
from dgex_jax.models.mlp import MLP
from dgex_jax.training.epoch import (
    Best,
    Data,
    Network,
    absolute_errors,
    initial_state,
    keep_best,
    next_learning_rate,
    run_epoch,
    train,
)
from dgex_jax.training.pylearn2 import initial_weights
from dgex_jax.training.start import mask_key
from dgex_jax.training.step import update

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

pytestmark = pytest.mark.usefixtures("quick_compilation")

LANDMARKS, TARGETS, UNITS, BATCH = 4, 3, 6, 20
SIZES = (5, 6, 7, 8, 9)
PART_SIZES = tuple(zip(LOGGED, SIZES, strict=True))

_update = jax.jit(update, static_argnums=(2, 4))


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """An epoch runs where float64 is allowed, as the loop does it."""
    with jax.enable_x64(True):
        yield


def _profiles(n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, LANDMARKS)).astype(np.float32)
    Y = X @ rng.normal(size=(LANDMARKS, TARGETS)).astype(np.float32)
    return X, Y


def _start(include: float = 1.0, layers: int = 1) -> tuple[MLP, Any, Network]:
    params = initial_weights(1, LANDMARKS, TARGETS, layers, UNITS)
    network = Network(mask_key(1, 0), np.float32(include), np.int32(TARGETS))
    return MLP(layers, UNITS, TARGETS), initial_state(params, layers, 0.01), network


def _one_by_one(order: NDArray[np.int32], batches: list[slice]) -> Any:
    """The same training as single updates on given pieces of the order."""
    model, state, _ = _start()
    X, Y = _profiles(len(order))
    params, velocity = state.params, state.velocity
    for batch in batches:
        rows = order[batch]
        params, velocity = _update(
            params, velocity, model, np.float32(0.01), 0.5, X[rows], Y[rows],
            jax.random.key(0), jnp.float32(1),
        )  # fmt: skip
    return params


def _farthest(a: Any, b: Any) -> float:
    distances = jax.tree.map(lambda x, y: np.abs(np.asarray(x) - np.asarray(y)).max(), a, b)
    return float(max(jax.tree.leaves(distances)))


def _arguments(layers: int = 1) -> tuple[Any, Network, Any, NDArray[np.int32]]:
    """What an epoch of 47 profiles takes."""
    _, state, network = _start(0.75, layers)
    data: Any = Data(*_profiles(47), *_profiles(sum(SIZES)))
    return state, network, data, np.arange(47, dtype=np.int32)


@cache
def _epoch(precision: str = "highest", layers: int = 1) -> Any:
    model = MLP(layers, UNITS, TARGETS, precision)
    return jax.jit(
        partial(run_epoch, model=model, momentum=0.5, batch_size=BATCH, part_sizes=PART_SIZES)
    )


@pytest.mark.parametrize("n", [47, 40, 7])
def test_every_profile_is_trained_on_short_last_batch_included(n: int) -> None:
    """47 = 2·20 + 7 profiles make three updates, the last with the mean over 7."""
    model, state, network = _start()
    order = np.random.default_rng(9).permutation(n).astype(np.int32)
    batches = [slice(first, first + BATCH) for first in range(0, n, BATCH)]
    program = jax.jit(train, static_argnums=(2, 3, 4))
    trained = program(state, network, model, 0.5, BATCH, *_profiles(n), order)
    assert _farthest(trained.params, _one_by_one(order, batches)) < 1e-6
    assert _farthest(trained.params, _one_by_one(order, batches[:-1])) > 1e-3


@pytest.mark.parametrize(
    ("rate", "mae", "previous", "expected"),
    [
        (3e-3, 0.5, 0.4, np.float32(np.float64(np.float32(3e-3)) * 0.9)),
        (3e-3, 0.4, 0.5, np.float32(3e-3)),
        (3e-3, 0.4, 0.4, np.float32(3e-3)),
        (3e-3, np.nextafter(0.4, 1), 0.4, np.float32(np.float64(np.float32(3e-3)) * 0.9)),
        (1.05e-5, 0.5, 0.4, np.float32(1e-5)),
        (1e-5, 0.5, 0.4, np.float32(1e-5)),
        (2e-6, 0.5, 0.4, np.float32(2e-6)),
    ],
)
def test_rate_decays_when_the_error_grew(
    rate: float, mae: float, previous: float, expected: np.float32
) -> None:
    after = next_learning_rate(jnp.float32(rate), jnp.float64(mae), jnp.float64(previous))
    assert after.dtype == jnp.float32
    assert np.asarray(after) == expected


def test_rate_is_multiplied_in_float64() -> None:
    """A float32 product rounds 0.9 first, and some rates then differ in their last bit."""
    rates = np.geomspace(1e-4, 1e-2, 500).astype(np.float32)
    after = np.asarray(next_learning_rate(jnp.asarray(rates), jnp.float64(1), jnp.float64(0)))
    np.testing.assert_array_equal(after, (rates.astype(np.float64) * 0.9).astype(np.float32))
    assert (after != rates * np.float32(0.9)).any()


@pytest.mark.parametrize(("size", "decays"), [(1.0, False), (100.0, True)])
def test_first_epoch_is_compared_with_ten(size: float, decays: bool) -> None:
    """A first monitored error above 10 lowers the rate, one below doesn't."""
    state, network, data, order = _arguments()
    data = data.replace(Y=data.Y * np.float32(size), watched_Y=data.watched_Y * np.float32(size))
    state = state.replace(learning_rate=np.float32(2e-5))
    state, (errors, used) = _epoch()(state, network, data, order)
    assert (float(errors[4]) > 10) == decays
    assert float(used) == np.float32(2e-5)
    assert (float(state.learning_rate) < float(used)) == decays


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        (np.inf, 0.5, 7),
        (0.5, 0.4, 7),
        (0.5, 0.5, 3),
        (0.5, 0.6, 3),
        (0.5, np.nan, 3),
        (np.inf, np.nan, 3),
        (np.inf, np.inf, 3),
    ],
)
def test_best_epoch_is_strictly_better(old: float, new: float, kept: int) -> None:
    before = Best(jnp.float64(old), jnp.int32(3), {"w": jnp.full(2, 3, jnp.float32)})
    after = keep_best(before, jnp.float64(new), jnp.int32(7), {"w": jnp.full(2, 7, jnp.float32)})
    assert int(after.epoch) == kept
    np.testing.assert_array_equal(after.params["w"], np.full(2, kept, np.float32))
    assert float(after.mae) == (new if kept == 7 else old)
    assert after.mae.dtype == jnp.float64


def test_errors_are_float64_of_float32_predictions() -> None:
    model, state, _ = _start()
    X, Y = _profiles(30)
    distance = absolute_errors(state.params, model, X, Y)
    predicted = np.asarray(model.apply({"params": state.params}, X))
    assert distance.dtype == np.float64
    assert predicted.dtype == np.float32
    np.testing.assert_array_equal(
        distance, np.abs(predicted.astype(np.float64) - Y.astype(np.float64))
    )


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


@pytest.mark.parametrize(
    ("name", "precision"),
    [("highest", jax.lax.Precision.HIGHEST), ("tf32", jax.lax.Precision.HIGH)],
)
def test_every_matrix_product_has_the_asked_precision(
    name: str, precision: jax.lax.Precision
) -> None:
    """Forward, backward and in the errors: a product left at the default would be TF32 on a GPU."""
    jaxpr = jax.make_jaxpr(_epoch(name, 2))(*_arguments(2)).jaxpr
    products = [each for each in _equations(jaxpr) if each.primitive.name == "dot_general"]
    # Three forward and five backward (none to the input) in the scan and in the short last batch,
    # and three for the errors.
    assert len(products) == 2 * (3 + 5) + 3
    for product in products:
        assert product.params["precision"] == (precision, precision)
        assert {variable.aval.dtype for variable in product.invars} == {np.dtype(np.float32)}
        assert product.outvars[0].aval.dtype == np.float32


def test_each_part_of_the_log_is_its_own_mean() -> None:
    arguments = _arguments()
    state, (errors, used) = _epoch()(*arguments)
    data = arguments[2]
    model = MLP(1, UNITS, TARGETS)
    predicted = np.asarray(model.apply({"params": state.params}, data.watched_X), np.float64)
    distance = np.abs(predicted - data.watched_Y)
    parts = np.split(distance, np.cumsum(SIZES)[:-1])
    assert LOGGED == ("va", "te", "1000G", "GTEx", "tr")
    np.testing.assert_allclose(errors, [part.mean() for part in parts], rtol=1e-6)
    assert float(used) == np.float32(0.01)
    assert float(state.best_va.mae) == float(errors[0])
    assert float(state.best_1000G.mae) == float(errors[2])
    assert float(state.previous_mae) == float(errors[4])
