"""The rules of an update, by hand in NumPy, and of an epoch; and what makes it fast is exact."""

from __future__ import annotations

import re
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgex_jax.parts import PAPER
from dgex_jax.train.epoch import (
    Best,
    Data,
    Network,
    absolute_errors,
    initial_state,
    keep_best,
    loss,
    next_learning_rate,
    optimizer,
    run_epoch,
    train,
    update,
)
from dgex_jax.train.network import MLP, mask, mask_key
from dgex_jax.train.pylearn2 import initial_weights, learning_rate_scales
from tests.train.case import farthest, same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LANDMARKS, TARGETS, UNITS, BATCH = 4, 3, 6, 20
SIZES = (5, 6, 7, 8, 9)
WATCHED = tuple(
    (part, size, None if part == "tr" else PAPER.chooser_of(part))
    for part, size in zip(PAPER.logged, SIZES, strict=True)
)
TOLERANCE = 2e-6
KEY, ONE = 11, np.float32(1)

_update = jax.jit(update, static_argnums=(2, 4))
_loss = jax.jit(loss, static_argnums=1)
_gradients = jax.jit(jax.grad(loss), static_argnums=1)
_draw = jax.jit(mask, static_argnums=2)


def params_of(layers: int) -> Any:
    """Weights away from their start."""
    rng = np.random.default_rng(layers)
    params = initial_weights(2, LANDMARKS, TARGETS, layers, UNITS)
    params["output"]["kernel"] *= np.float32(3e3)
    for weights in params.values():
        weights["bias"] += rng.normal(0, 0.1, weights["bias"].shape).astype(np.float32)
    return params


def profiles(n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, LANDMARKS)).astype(np.float32)
    Y = X @ rng.normal(size=(LANDMARKS, TARGETS)).astype(np.float32)
    return X, Y


def zeros(params: Any) -> Any:
    return jax.tree.map(np.zeros_like, params)


def still(layers: int) -> Any:
    """The optimizer's state before the first update."""
    return optimizer(layers, jnp.float32(0), 0.0).init(zeros(params_of(layers)))


# One update


def oracle(
    params: Any,
    velocity: Any,
    rate: float,
    X: NDArray[Any],
    Y: NDArray[Any],
    momentum: float,
    masks: list[NDArray[Any]] | None = None,
) -> tuple[Any, Any]:
    """The update in float64: backpropagation, then velocity, then weights."""
    names = list(params)
    inputs, slopes = [X.astype(np.float64)], []
    for layer, name in enumerate(names[:-1]):
        unit = np.tanh(inputs[-1] @ params[name]["kernel"] + params[name]["bias"])
        kept = masks[layer] if masks else 1.0
        inputs.append(unit * kept)
        slopes.append((1 - unit**2) * kept)
    predicted = inputs[-1] @ params["output"]["kernel"] + params["output"]["bias"]
    back = 2 * (predicted - Y) / len(X)
    new, moved = {}, {}
    for layer, name in reversed(list(enumerate(names))):
        gradient = {"kernel": inputs[layer].T @ back, "bias": back.sum(axis=0)}
        scale = {"kernel": 1.0 if layer == 0 else 3.0, "bias": 1.0}
        moved[name] = {
            kind: momentum * velocity[name][kind] - rate * scale[kind] * gradient[kind]
            for kind in ("kernel", "bias")
        }
        new[name] = {kind: params[name][kind] + moved[name][kind] for kind in ("kernel", "bias")}
        if layer:
            back = (back @ params[name]["kernel"].T) * slopes[layer - 1]
    return {name: new[name] for name in names}, {name: moved[name] for name in names}


def test_loss_sums_targets_and_averages_profiles() -> None:
    model, params, (X, Y) = MLP(2, UNITS, TARGETS), params_of(2), profiles(10)
    predicted = np.asarray(model.apply({"params": params}, X), np.float64)
    once = float(_loss(params, model, X, Y, jax.random.key(KEY), ONE))
    assert once == pytest.approx(((Y - predicted) ** 2).sum() / 10, rel=1e-6)
    twice = _loss(params, model, np.tile(X, (2, 1)), np.tile(Y, (2, 1)), jax.random.key(KEY), ONE)
    assert float(twice) == pytest.approx(once, rel=1e-6)


@pytest.mark.parametrize(("include", "momentum"), [(1.0, 0.5), (0.6, 0.5), (1.0, 0.9)])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_updates_follow_the_original(layers, include, momentum) -> None:
    """Three updates, the learning rate falling after the first, with and without dropout."""
    model, params, (X, Y) = MLP(layers, UNITS, TARGETS), params_of(layers), profiles(10)
    share, velocity = jnp.float32(include), still(layers)
    expected, expected_velocity = params, zeros(params)
    for number, rate in enumerate([0.02, 0.002, 0.002]):
        key = jax.random.key(number)
        masks = [
            np.asarray(_draw(jax.random.fold_in(key, layer), share, (10, UNITS)))
            for layer in range(layers)
        ]
        params, velocity = _update(
            params, velocity, model, jnp.float32(rate), momentum, X, Y, key, share
        )
        expected, expected_velocity = oracle(
            expected, expected_velocity, rate, X, Y, momentum, masks if include < 1 else None
        )
        assert farthest(params, expected) < TOLERANCE


def test_velocity_keeps_the_rate_it_was_made_with() -> None:
    """`optax.sgd` applies the new rate to old gradients, which is another rule."""
    model, params, (X, Y), key = MLP(2, UNITS, TARGETS), params_of(2), profiles(10), KEY
    ours = theirs = params
    velocity, trace = still(2), optax.sgd(0.1, 0.5).init(params)
    distances = []
    for rate in (0.02, 0.02, 0.002):
        batch = (X, Y, jax.random.key(key), ONE)
        ours, velocity = _update(ours, velocity, model, jnp.float32(rate), 0.5, *batch)
        gradients = _gradients(theirs, model, *batch)
        scaled = jax.tree.map(lambda scale, g: scale * g, learning_rate_scales(2), gradients)
        change, trace = optax.sgd(rate, 0.5).update(scaled, trace)
        theirs = optax.apply_updates(theirs, change)
        distances.append(farthest(ours, theirs))
    assert max(distances[:2]) < TOLERANCE
    assert distances[2] > 1e-3


# One epoch, where float64 is allowed, as the loop does it


@pytest.fixture
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


quickly = pytest.mark.usefixtures("float64", "quick_compilation")


def start(include: float = 1.0, layers: int = 1) -> tuple[Any, Network]:
    params = initial_weights(1, LANDMARKS, TARGETS, layers, UNITS)
    network = Network(mask_key(1, 0), np.float32(include), np.int32(TARGETS))
    return initial_state(params, layers, 0.01, PAPER.choosers), network


def arguments(layers: int = 1) -> tuple[Any, Network, Any, NDArray[np.int32]]:
    """What an epoch of 47 profiles takes."""
    data: Any = Data(*profiles(47), *profiles(sum(SIZES)))
    return *start(0.75, layers), data, np.arange(47, dtype=np.int32)


@cache
def epoch(precision: str = "highest", layers: int = 1) -> Any:
    model = MLP(layers, UNITS, TARGETS, precision)
    return jax.jit(partial(run_epoch, model=model, momentum=0.5, batch_size=BATCH, watched=WATCHED))


def program(layers: int) -> Any:
    """All updates of an epoch; compiled for each call of this function."""

    def run(state: Any, network: Network, X: Any, Y: Any, order: Any) -> Any:
        return train(state, network, MLP(layers, UNITS, TARGETS), 0.5, BATCH, X, Y, order)

    return jax.jit(run)


@quickly
@pytest.mark.parametrize("n", [47, 40, 7])
def test_every_profile_is_trained_on_short_last_batch_included(n) -> None:
    """47 = 2·20 + 7 profiles make three updates, the last with the mean over 7."""
    state, network = start()
    X, Y = profiles(n)
    order = np.random.default_rng(9).permutation(n).astype(np.int32)
    trained = program(1)(state, network, X, Y, order)
    params, velocity, before = state.params, state.velocity, None
    for first in range(0, n, BATCH):
        rows, before = order[first : first + BATCH], params
        params, velocity = _update(
            params, velocity, MLP(1, UNITS, TARGETS), np.float32(0.01), 0.5, X[rows], Y[rows],
            jax.random.key(0), ONE,
        )  # fmt: skip
    assert farthest(trained.params, params) < 1e-6
    assert farthest(trained.params, before) > 1e-3


@pytest.mark.usefixtures("float64")
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
def test_rate_decays_when_the_error_grew(rate, mae, previous, expected) -> None:
    after = next_learning_rate(jnp.float32(rate), jnp.float64(mae), jnp.float64(previous))
    assert after.dtype == jnp.float32
    assert np.asarray(after) == expected


@pytest.mark.usefixtures("float64")
def test_rate_is_multiplied_in_float64() -> None:
    """A float32 product rounds 0.9 first, and some rates then differ in their last bit."""
    rates = np.geomspace(1e-4, 1e-2, 500).astype(np.float32)
    after = np.asarray(next_learning_rate(jnp.asarray(rates), jnp.float64(1), jnp.float64(0)))
    np.testing.assert_array_equal(after, (rates.astype(np.float64) * 0.9).astype(np.float32))
    assert (after != rates * np.float32(0.9)).any()


@quickly
@pytest.mark.parametrize(("size", "decays"), [(1.0, False), (100.0, True)])
def test_first_epoch_is_compared_with_ten(size, decays) -> None:
    """A first monitored error above 10 lowers the rate, one below doesn't."""
    state, network, data, order = arguments()
    data = data.replace(Y=data.Y * np.float32(size), watched_Y=data.watched_Y * np.float32(size))
    state = state.replace(learning_rate=np.float32(2e-5))
    state, (errors, used) = epoch()(state, network, data, order)
    assert (float(errors[4]) > 10) == decays
    assert float(used) == np.float32(2e-5)
    assert (float(state.learning_rate) < float(used)) == decays


@pytest.mark.usefixtures("float64")
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
def test_best_epoch_is_strictly_better(old, new, kept) -> None:
    before = Best(jnp.float64(old), jnp.int32(3), {"w": jnp.full(2, 3, jnp.float32)})
    after = keep_best(before, jnp.float64(new), jnp.int32(7), {"w": jnp.full(2, 7, jnp.float32)})
    assert int(after.epoch) == kept
    np.testing.assert_array_equal(after.params["w"], np.full(2, kept, np.float32))
    assert float(after.mae) == (new if kept == 7 else old)
    assert after.mae.dtype == jnp.float64


@pytest.mark.usefixtures("float64")
def test_errors_are_float64_of_float32_predictions() -> None:
    model, (state, _), (X, Y) = MLP(1, UNITS, TARGETS), start(), profiles(30)
    distance = absolute_errors(state.params, model, X, Y)
    predicted = np.asarray(model.apply({"params": state.params}, X))
    assert (distance.dtype, predicted.dtype) == (np.float64, np.float32)
    expected = np.abs(predicted.astype(np.float64) - Y.astype(np.float64))
    np.testing.assert_array_equal(distance, expected)


@quickly
def test_each_part_of_the_log_is_its_own_mean() -> None:
    state, network, data, order = arguments()
    state, (errors, used) = epoch()(state, network, data, order)
    model = MLP(1, UNITS, TARGETS)
    predicted = np.asarray(model.apply({"params": state.params}, data.watched_X), np.float64)
    parts = np.split(np.abs(predicted - data.watched_Y), np.cumsum(SIZES)[:-1])
    assert PAPER.logged == ("va", "te", "1000G", "GTEx", "tr")
    np.testing.assert_allclose(errors, [part.mean() for part in parts], rtol=1e-6)
    assert float(used) == np.float32(0.01)
    kept = (state.best["va"].mae, state.best["1000G"].mae, state.previous_mae)
    assert [float(one) for one in kept] == [float(errors[column]) for column in (0, 2, 4)]


def equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("name", "precision"),
    [("highest", jax.lax.Precision.HIGHEST), ("tf32", jax.lax.Precision.HIGH)],
)
def test_every_matrix_product_has_the_asked_precision(name, precision) -> None:
    """Forward, backward and in the errors: a product left at the default would be TF32 on a GPU."""
    jaxpr = jax.make_jaxpr(epoch(name, 2))(*arguments(2)).jaxpr
    products = [each for each in equations(jaxpr) if each.primitive.name == "dot_general"]
    # Three forward and five backward (none to the input) in the scan and in the short last batch,
    # and three for the errors.
    assert len(products) == 2 * (3 + 5) + 3
    for product in products:
        assert product.params["precision"] == (precision, precision)
        assert {variable.aval.dtype for variable in product.invars} == {np.dtype(np.float32)}
        assert product.outvars[0].aval.dtype == np.float32


# What makes an epoch fast


def updates(n: int) -> tuple[Any, ...]:
    state, network = start(0.75, 2)
    state.params["output"]["kernel"] *= np.float32(3e3)
    return state, network, *profiles(n), np.random.default_rng(n).permutation(n).astype(np.int32)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("n", [pytest.param(47, marks=pytest.mark.long), 7])
def test_moving_the_weights_late_changes_no_bit(n, monkeypatch) -> None:
    """Two epochs, with a short last batch, and with nothing but one."""
    state, *rest = updates(n)
    late = program(2)
    after_late = late(late(state, *rest), *rest)
    # The choices of another platform than the CPU, where weights move at once.
    monkeypatch.setattr(
        jax.lax, "platform_dependent", lambda *given, default, **_others: default(*given)
    )
    at_once = program(2)
    after_at_once = at_once(at_once(state, *rest), *rest)
    same(after_late, after_at_once)
    before = state.params["output"]["kernel"]
    assert np.abs(np.asarray(after_late.params["output"]["kernel"]) - before).max() > 1e-3


@pytest.mark.usefixtures("float64")
def test_no_condition_stands_in_a_gpus_update() -> None:
    """There each would wait for the host; on a CPU it saves the draws where nothing is dropped."""
    decided_late = {}
    for platform in ("cpu", "cuda"):
        lowered = program(2).trace(*updates(40)).lower(lowering_platforms=(platform,))
        text = lowered.as_text()
        choices = list(re.finditer(r'stablehlo\.case"\((%\w+)\)', text))
        assert choices
        made_by = [text[text.rindex(f"{one[1]} = ", 0, one.start()) :][:60] for one in choices]
        # The others choose by constants: the platform's choice, made while compiling.
        decided_late[platform] = [one for one in made_by if "stablehlo.convert" in one]
    assert len(decided_late["cpu"]) == 2
    assert decided_late["cuda"] == []
