"""Updates on one device, plain and with the fused kernel: calls to time, and whether they agree."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import fused_update
from benchmarks.gpu_epochs import scattered
from dgex_jax.parts import PAPER
from dgex_jax.train import epoch as step
from dgex_jax.train.epoch import Network, initial_state, train
from dgex_jax.train.network import MLP, mask_key
from dgex_jax.train.pylearn2 import initial_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.shapes import Shape

BATCH = 200
MOMENTUM = 0.5
RATE = 1e-4
INCLUDE = 0.9
AGREEMENT = {"highest": 1e-4, "tf32": 2e-2}
"""Largest difference of an update, as a share of the largest update of a weight."""


@lru_cache(maxsize=1)
def start(shape: Shape) -> Any:
    """Draw initial weights, on the host; nobody may write to them."""
    return initial_weights(1, shape.n_landmarks, shape.n_targets, shape.hidden_layers, shape.units)


def profiles(shape: Shape, n_profiles: int) -> tuple[jax.Array, jax.Array]:
    """Make X and Y on the device."""
    make = jax.jit(scattered, static_argnums=0)
    return make((n_profiles, shape.n_landmarks)), make((n_profiles, shape.n_targets))


def plain(shape: Shape, precision: str, n_batches: int) -> Callable[[], object]:
    """Return a call that trains on `n_batches` batches as every epoch of ours does."""
    with jax.enable_x64(True):
        model = MLP(shape.hidden_layers, shape.units, shape.n_targets, precision)
        state = initial_state(start(shape), shape.hidden_layers, RATE, PAPER.choosers)
        held = [jax.device_put(state)]
        network = jax.device_put(
            Network(mask_key(1, 0), np.float32(INCLUDE), np.int32(shape.n_targets))
        )
    X, Y = profiles(shape, BATCH * n_batches)
    order = batch_order(n_batches)
    program = jax.jit(
        partial(train, model=model, momentum=MOMENTUM, batch_size=BATCH), donate_argnums=0
    )

    def call() -> None:
        with jax.enable_x64(True):
            held[0] = jax.block_until_ready(  # type: ignore[no-untyped-call]
                program(held[0], network, X=X, Y=Y, order=order)
            )

    return call


def fused(shape: Shape, precision: str, n_batches: int, *, interpret: bool) -> Callable[[], object]:
    """Return a call that trains on `n_batches` batches with `fused_update.update`."""
    model = MLP(shape.hidden_layers, shape.units, shape.n_targets, precision)
    params = jax.device_put(start(shape))
    held = [(params, jax.tree.map(jnp.zeros_like, params))]
    X, Y = profiles(shape, BATCH * n_batches)
    order = batch_order(n_batches).reshape(n_batches, BATCH)

    @partial(jax.jit, donate_argnums=0)
    def program(carry: Any, X: jax.Array, Y: jax.Array, order: jax.Array) -> Any:
        def one(carry: Any, batch: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
            params, velocity = carry
            rows, number = batch
            new = fused_update.update(
                params,
                velocity,
                model,
                jnp.float32(RATE),
                MOMENTUM,
                X.at[rows].get(mode="promise_in_bounds"),
                Y.at[rows].get(mode="promise_in_bounds"),
                jax.random.fold_in(jax.random.key(1), number),
                jnp.float32(INCLUDE),
                interpret=interpret,
            )
            return new, None

        return jax.lax.scan(one, carry, (order, jnp.arange(n_batches, dtype=jnp.int32)))[0]

    def call() -> None:
        held[0] = jax.block_until_ready(program(held[0], X, Y, order))  # type: ignore[no-untyped-call]

    return call


def batch_order(n_batches: int) -> jax.Array:
    """Shuffle the profiles."""
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.permutation(BATCH * n_batches).astype(np.int32))


def disagreement(shape: Shape, precision: str, *, interpret: bool) -> float:
    """Largest difference between a plain and a fused update, as a share of the largest update.

    Two updates are done, so that the momentum counts; both with the same dropout masks.
    """
    model = MLP(shape.hidden_layers, shape.units, shape.n_targets, precision)
    params = jax.device_put(start(shape))
    # Away from the tiny output weights of the start, so that every layer gets gradients.
    params["output"]["kernel"] = params["output"]["kernel"] * 100
    zeros = jax.tree.map(jnp.zeros_like, params)
    X, Y = profiles(shape, BATCH)

    def twice(update: Callable[..., Any], velocity: Any) -> Any:
        carry = (params, velocity)
        for number in range(2):
            key = jax.random.key(number)
            carry = update(*carry, X=X, Y=Y, mask_key=key, include=jnp.float32(INCLUDE))
        return carry[0]

    common: dict[str, Any] = {
        "model": model,
        "learning_rate": jnp.float32(RATE),
        "momentum": MOMENTUM,
    }
    velocity = step.optimizer(shape.hidden_layers, jnp.float32(RATE), MOMENTUM).init(zeros)
    ours = twice(jax.jit(partial(step.update, **common)), velocity)
    theirs = twice(jax.jit(partial(fused_update.update, **common, interpret=interpret)), zeros)
    apart = [
        float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(a - before)))
        for a, b, before in zip(*map(jax.tree.leaves, (ours, theirs, params)), strict=True)
    ]
    return max(apart)
