"""One update and one epoch of one network, as pure functions, and the program that runs them.

The original's loss, momentum and learning-rate rule; errors and the best epochs are part of
the program, so that nothing but a few numbers leaves the device after an epoch.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from dgex_jax.train.devices import AXIS, Devices
from dgex_jax.train.network import MASK_GENERATOR
from dgex_jax.train.pylearn2 import DECAY, FIRST_COMPARISON, LOWEST_RATE, learning_rate_scales

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dgex_jax.train.network import MLP

Watched = tuple[tuple[str, int, str | None], ...]
"""Of each part that is watched its name, its number of profiles, and the validation part whose best
epoch its errors by gene are of (``None`` for ``tr``); in the order of `Parts.logged`."""

Array = Any
"""A NumPy array or scalar on the host, a `jax.Array` on a device."""


@struct.dataclass
class Best:
    """The weights of the epoch with the smallest error on one validation set."""

    mae: Array
    epoch: Array
    params: Any


@struct.dataclass
class State:
    """Everything that changes while one network trains; the best epoch by validation part."""

    params: Any
    velocity: Any
    learning_rate: Array
    previous_mae: Array
    epoch: Array
    best: dict[str, Best]


@struct.dataclass
class Network:
    """What tells one network of a stack from the next; data, so that they share one program.

    `mask_key` is raw (`network.mask_key`), `include` the share of hidden units kept.
    """

    mask_key: Array
    include: Array
    n_targets: Array


@struct.dataclass
class Data:
    """A study on a device, float32: X ``(n_profiles, n_landmarks)``, Y ``(…, n_targets)``.

    The watched profiles are those of every part, one after the other. Columns past a network's own
    targets hold zeros: their weights start at zero and so stay there, without any mask.
    """

    X: jax.Array
    Y: jax.Array
    watched_X: jax.Array
    watched_Y: jax.Array


def initial_state(
    params: Any, hidden_layers: int, learning_rate: float, choosers: Sequence[str]
) -> State:
    """Make the state before the first epoch (NumPy leaves, so that stacking needs no device).

    A best epoch is kept for each of `choosers`, the validation parts.
    """
    zeros = jax.tree.map(np.zeros_like, params)
    # Its shapes alone: made by JAX, each would be a program of its own, compiled at every start.
    velocity = jax.eval_shape(optimizer(hidden_layers, np.float32(0), 0.0).init, zeros)

    def nothing_yet() -> Best:
        return Best(np.float64(np.inf), np.int32(-1), zeros)

    return State(
        params=params,
        velocity=jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), velocity),
        learning_rate=np.float32(learning_rate),
        previous_mae=np.float64(FIRST_COMPARISON),
        epoch=np.int32(0),
        best={part: nothing_yet() for part in choosers},
    )


def loss(
    params: Any, model: MLP, X: jax.Array, Y: jax.Array, mask_key: jax.Array, include: jax.Array
) -> jax.Array:
    """Squared error summed over the targets and averaged over the batch, without ½.

    A mean over targets would make the learning rate `n_targets` times too small; a sum over the
    batch as many times too large as the batch has profiles.
    """
    predicted = model.apply({"params": params}, X, mask_key, include)
    return jnp.sum(jnp.square(Y - jnp.asarray(predicted))) / X.shape[0]


def optimizer(
    hidden_layers: int, learning_rate: jax.Array | np.float32, momentum: float
) -> optax.GradientTransformation:
    """Pylearn2's momentum: ``v ← momentum·v - (learning_rate·scale)·g; p ← p + v``.

    The learning rate stands inside the velocity, so `optax.sgd`, which keeps the raw gradient
    there, would differ after each change of the rate. `learning_rate` is a float32 scalar and may
    be traced.
    """
    scales = learning_rate_scales(hidden_layers)

    def scale(gradients: Any, _params: Any) -> Any:
        return jax.tree.map(lambda factor, g: -(learning_rate * factor) * g, scales, gradients)

    return optax.chain(optax.stateless(scale), optax.trace(decay=momentum))


def update(
    params: Any,
    velocity: Any,
    model: MLP,
    learning_rate: jax.Array,
    momentum: float,
    X: jax.Array,
    Y: jax.Array,
    mask_key: jax.Array,
    include: jax.Array,
) -> tuple[Any, Any]:
    """Do one update on one batch, float32; returns new parameters and the optimizer's state."""
    gradients = jax.grad(loss)(params, model, X, Y, mask_key, include)
    change, velocity = optimizer(model.hidden_layers, learning_rate, momentum).update(
        gradients, velocity, params
    )
    return optax.apply_updates(params, change), velocity


def train(
    state: State,
    network: Network,
    model: MLP,
    momentum: float,
    batch_size: int,
    X: jax.Array,
    Y: jax.Array,
    order: jax.Array,
) -> State:
    """Update on every batch of `order` ``(n_profiles,)``, the short last batch included."""
    n_full = order.shape[0] // batch_size
    n_updates = -(-order.shape[0] // batch_size)
    run_key = jax.random.wrap_key_data(network.mask_key, impl=MASK_GENERATOR)
    epoch_key = jax.random.fold_in(run_key, state.epoch)

    def step(carry: tuple[Any, Any], batch: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        params, velocity = carry
        rows, number = batch
        params = _moved_late(params, velocity, number > 0)
        moved, velocity = update(
            params,
            velocity,
            model,
            state.learning_rate,
            momentum,
            X.at[rows].get(mode="promise_in_bounds"),
            Y.at[rows].get(mode="promise_in_bounds"),
            jax.random.fold_in(epoch_key, number),
            network.include,
        )
        # On a CPU the weights move when the next update begins. Moved before the gradients that
        # need the old ones are done, they would be copied in every update; XLA on GPUs finds an
        # order without a copy by itself. The weights are the same to the bit.
        params = jax.lax.platform_dependent(
            params, moved, cpu=lambda before, _after: before, default=lambda _before, after: after
        )
        return (params, velocity), None

    numbers = jnp.arange(n_updates, dtype=jnp.int32)
    full = order[: n_full * batch_size].reshape(n_full, batch_size)
    carry = (state.params, state.velocity)
    if n_full:
        carry, _ = jax.lax.scan(step, carry, (full, numbers[:n_full]))
    if n_updates > n_full:
        carry, _ = step(carry, (order[n_full * batch_size :], numbers[-1]))
    params = _moved_late(*carry, jnp.bool_(n_updates > 0))
    return state.replace(params=params, velocity=carry[1])  # type: ignore[attr-defined,no-any-return]


def _moved_late(params: Any, velocity: Any, is_due: jax.Array) -> Any:
    """On a CPU, move the weights by the velocity of the update before."""

    def move(params: Any, velocity: Any, is_due: jax.Array) -> Any:
        moved = optax.apply_updates(params, optax.tree_utils.tree_get(velocity, "trace"))
        return jax.tree.map(lambda after, before: jnp.where(is_due, after, before), moved, params)

    return jax.lax.platform_dependent(
        params, velocity, is_due, cpu=move, default=lambda params, *_: params
    )


def absolute_errors(params: Any, model: MLP, X: jax.Array, Y: jax.Array) -> jax.Array:
    """Absolute errors ``(n_profiles, n_targets)`` in float64 of float32 predictions, no dropout."""
    predicted = model.apply({"params": params}, X)
    return jnp.abs(jnp.asarray(predicted, jnp.float64) - Y.astype(jnp.float64))


def keep_best(best: Best, mae: jax.Array, epoch: jax.Array, params: Any) -> Best:
    """Return the better of `best` and this epoch by strict ``<``; a NaN is never better."""
    better = mae < best.mae
    return jax.tree.map(  # type: ignore[no-any-return]
        lambda new, old: jnp.where(better, new, old), Best(mae, epoch, params), best
    )


def next_learning_rate(rate: jax.Array, mae: jax.Array, previous: jax.Array) -> jax.Array:
    """Decay the float32 `rate` by 0.9 if the monitored error grew since the previous epoch.

    The product is taken in float64 and rounded, which repeats the recorded rates to the bit.
    """
    decayed = (rate.astype(jnp.float64) * DECAY).astype(jnp.float32)
    # A user's rate below the floor stays as it is: a decay must never raise it.
    floored = jnp.minimum(rate, jnp.maximum(decayed, jnp.float32(LOWEST_RATE)))
    return jnp.where(mae > previous, floored, rate)


def run_epoch(
    state: State,
    network: Network,
    data: Data,
    order: jax.Array,
    *,
    model: MLP,
    momentum: float,
    batch_size: int,
    watched: Watched,
) -> tuple[State, tuple[jax.Array, jax.Array]]:
    """Train one network for one epoch, in the `order` ``(n_train,)`` int32, and look at it.

    Returns the new state, and (errors ``(n_parts,)`` float64, the learning rate used).
    """
    used = state.learning_rate
    state = train(state, network, model, momentum, batch_size, data.X, data.Y, order)
    distance = absolute_errors(state.params, model, data.watched_X, data.watched_Y)
    parts, sizes, _ = zip(*watched, strict=True)
    errors = {
        part: jnp.sum(rows) / (rows.shape[0] * network.n_targets.astype(jnp.float64))
        for part, rows in zip(
            parts, jnp.split(distance, np.cumsum(sizes)[:-1].tolist()), strict=True
        )
    }
    state = State(
        params=state.params,
        velocity=state.velocity,
        learning_rate=next_learning_rate(used, errors["tr"], state.previous_mae),
        previous_mae=errors["tr"],
        epoch=state.epoch + 1,
        best={
            part: keep_best(best, errors[part], state.epoch, state.params)
            for part, best in state.best.items()
        },
    )
    return state, (jnp.stack([errors[part] for part in parts]), used)


def best_gene_errors(
    state: State, network: Network, data: Data, *, model: MLP, watched: Watched
) -> dict[str, jax.Array]:
    """MAE of each target, ``(n_targets,)`` float64 by part, at the best epochs.

    Columns past the network's own targets hold 0.
    """
    del network
    errors, start = {}, 0
    for part, size, chooser in watched:
        rows = slice(start, start := start + size)
        if chooser is not None:
            params = state.best[chooser].params
            distance = absolute_errors(params, model, data.watched_X[rows], data.watched_Y[rows])
            errors[part] = distance.mean(axis=0)
    return errors


@lru_cache(maxsize=32)
def epoch_program(
    model: MLP,
    momentum: float,
    batch_size: int,
    watched: Watched,
    devices: Devices,
) -> Callable[[State, Network, Data, jax.Array], tuple[State, tuple[jax.Array, jax.Array]]]:
    """Return the program of an epoch; compiled once an architecture.

    The state (donated) and what tells the networks apart have leaves ``(n_devices, n_halves /
    n_devices, n_side_by_side, …)``, X ``(n_devices, n_profiles, n_landmarks)``, Y ``(n_devices,
    n_halves / n_devices, n_profiles, n_targets)``, the batch order ``(n_devices, n_train)``.
    """
    one = partial(run_epoch, model=model, momentum=momentum, batch_size=batch_size, watched=watched)
    return jax.pmap(over_networks(one), axis_name=AXIS, devices=devices, donate_argnums=(0,))  # type: ignore[no-any-return]


@lru_cache(maxsize=32)
def gene_errors_program(
    model: MLP, watched: Watched, devices: Devices
) -> Callable[[State, Network, Data], dict[str, jax.Array]]:
    """Return the program of `best_gene_errors`, on the arguments of `epoch_program`."""
    one = partial(best_gene_errors, model=model, watched=watched)
    return jax.pmap(over_networks(one), axis_name=AXIS, devices=devices)  # type: ignore[no-any-return]


def over_networks(one: Callable[..., Any]) -> Callable[..., Any]:
    """Apply ``one(state, network, data, *shared)`` to all networks of a device.

    Halves have data of their own and take turns, which gives each the very bits it gets alone.
    Networks side by side share the data of their half and run as one batched program.
    """

    def all_networks(states: State, networks: Network, data: Data, *shared: jax.Array) -> Any:
        def half(item: tuple[State, Network, jax.Array, jax.Array]) -> Any:
            states, networks, Y, watched_Y = item
            own = Data(data.X, Y, data.watched_X, watched_Y)

            def network(state: State, network: Network) -> Any:
                return one(state, network, own, *shared)

            if networks.include.shape[0] > 1:
                return jax.vmap(network)(states, networks)
            # A batch of one would be another program, with other rounding, than no batch.
            alone = jax.tree.map(lambda leaf: leaf[0], (states, networks))
            return jax.tree.map(lambda leaf: leaf[None], network(*alone))

        return jax.lax.map(half, (states, networks, data.Y, data.watched_Y))

    return all_networks
