"""One update against the original's rules written out by hand in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgex_jax.models.mlp import MLP, mask
from dgex_jax.training.pylearn2 import initial_weights, learning_rate_scales
from dgex_jax.training.step import loss, optimizer, update

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNITS, LANDMARKS, TARGETS, BATCH = 8, 5, 6, 10
TOLERANCE = 2e-6

_update = jax.jit(update, static_argnums=(2, 4))
_loss = jax.jit(loss, static_argnums=1)
_gradients = jax.jit(jax.grad(loss), static_argnums=1)
_draw = jax.jit(mask, static_argnums=2)


def _network(hidden_layers: int) -> tuple[MLP, Any, NDArray[Any], NDArray[Any]]:
    """A network away from its start, and a batch."""
    rng = np.random.default_rng(hidden_layers)
    params = initial_weights(2, LANDMARKS, TARGETS, hidden_layers, UNITS)
    params["output"]["kernel"] *= np.float32(3e3)
    for weights in params.values():
        weights["bias"] += rng.normal(0, 0.1, weights["bias"].shape).astype(np.float32)
    X = rng.normal(size=(BATCH, LANDMARKS)).astype(np.float32)
    Y = rng.normal(size=(BATCH, TARGETS)).astype(np.float32)
    return MLP(hidden_layers, UNITS, TARGETS), params, X, Y


def _oracle(
    params: Any,
    velocity: Any,
    rate: float,
    X: NDArray[Any],
    Y: NDArray[Any],
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
            kind: 0.5 * velocity[name][kind] - rate * scale[kind] * gradient[kind]
            for kind in ("kernel", "bias")
        }
        new[name] = {kind: params[name][kind] + moved[name][kind] for kind in ("kernel", "bias")}
        if layer:
            back = (back @ params[name]["kernel"].T) * slopes[layer - 1]
    return {name: new[name] for name in names}, {name: moved[name] for name in names}


def _zeros(params: Any) -> Any:
    return jax.tree.map(np.zeros_like, params)


def _farthest(a: Any, b: Any) -> float:
    distances = jax.tree.map(lambda x, y: np.abs(np.asarray(x) - np.asarray(y)).max(), a, b)
    return float(max(jax.tree.leaves(distances)))


def test_loss_sums_targets_and_averages_profiles() -> None:
    model, params, X, Y = _network(2)
    key, one = jax.random.key(11), jnp.float32(1)
    predicted = np.asarray(model.apply({"params": params}, X), np.float64)
    once = _loss(params, model, X, Y, key, one)
    assert float(once) == pytest.approx(((Y - predicted) ** 2).sum() / BATCH, rel=1e-6)
    twice = _loss(params, model, np.tile(X, (2, 1)), np.tile(Y, (2, 1)), key, one)
    assert float(twice) == pytest.approx(float(once), rel=1e-6)


@pytest.mark.parametrize("include", [1.0, 0.6])
@pytest.mark.parametrize("hidden_layers", [1, 2, 3])
def test_updates_follow_the_original(hidden_layers: int, include: float) -> None:
    """Three updates, the learning rate falling after the first, with and without dropout."""
    model, params, X, Y = _network(hidden_layers)
    share = jnp.float32(include)
    velocity = optimizer(hidden_layers, jnp.float32(0), 0.0).init(_zeros(params))
    expected, expected_velocity = params, _zeros(params)
    for number, rate in enumerate([0.02, 0.002, 0.002]):
        key = jax.random.key(number)
        masks = None
        if include < 1:
            masks = [
                np.asarray(_draw(jax.random.fold_in(key, layer), share, (BATCH, UNITS)))
                for layer in range(hidden_layers)
            ]
        params, velocity = _update(
            params, velocity, model, jnp.float32(rate), 0.5, X, Y, key, share
        )
        expected, expected_velocity = _oracle(expected, expected_velocity, rate, X, Y, masks)
        assert _farthest(params, expected) < TOLERANCE


def test_velocity_keeps_the_rate_it_was_made_with() -> None:
    """`optax.sgd` applies the new rate to old gradients, which is another rule."""
    model, params, X, Y = _network(2)
    key, one = jax.random.key(11), jnp.float32(1)
    velocity = optimizer(2, jnp.float32(0), 0.0).init(_zeros(params))
    ours = theirs = params
    trace = optax.sgd(0.1, 0.5).init(params)
    distances = []
    for rate in (0.02, 0.02, 0.002):
        ours, velocity = _update(ours, velocity, model, jnp.float32(rate), 0.5, X, Y, key, one)
        gradients = _gradients(theirs, model, X, Y, key, one)
        scaled = jax.tree.map(lambda scale, g: scale * g, learning_rate_scales(2), gradients)
        change, trace = optax.sgd(rate, 0.5).update(scaled, trace)
        theirs = optax.apply_updates(theirs, change)
        distances.append(_farthest(ours, theirs))
    assert max(distances[:2]) < TOLERANCE
    assert distances[2] > 1e-3


def test_momentum_is_the_share_of_the_velocity_kept() -> None:
    model, params, X, Y = _network(1)
    key, one = jax.random.key(11), jnp.float32(1)
    velocity = optimizer(1, jnp.float32(0), 0.0).init(_zeros(params))
    first, velocity = _update(params, velocity, model, jnp.float32(0.01), 0.9, X, Y, key, one)
    second, _ = _update(first, velocity, model, jnp.float32(0.0), 0.9, X, Y, key, one)
    moved = jax.tree.map(lambda new, old: new - old, first, params)
    glided = jax.tree.map(lambda new, old: new - old, second, first)
    assert _farthest(moved, _zeros(params)) > 1e-3
    assert _farthest(glided, jax.tree.map(lambda leaf: 0.9 * leaf, moved)) < TOLERANCE


def test_tf32_update_is_finite_and_close() -> None:
    """On a CPU both precisions are float32; on a GPU factors are rounded to 10 bits."""
    model, params, X, Y = _network(2)
    key, share = jax.random.key(11), jnp.float32(0.6)
    velocity = optimizer(2, jnp.float32(0), 0.0).init(_zeros(params))
    rounded, exact = (
        _update(params, velocity, each, jnp.float32(0.02), 0.5, X, Y, key, share)[0]
        for each in (MLP(2, UNITS, TARGETS, "tf32"), model)
    )
    assert jax.tree.map(np.shape, rounded) == jax.tree.map(np.shape, exact)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(rounded))
    assert _farthest(rounded, exact) < 1e-2
