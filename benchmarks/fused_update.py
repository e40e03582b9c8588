"""A weight's gradient and its momentum update in one kernel, for GPUs: fewer passes over memory.

XLA writes the gradient of a weight matrix, ``inputsᵀ · back``, and reads it again in the update:
a pass each of the eight that an update makes over the parameters. Here each tile of the product
is used where it is made.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as pallas_triton

from dgex_jax.train.network import PRECISIONS, mask
from dgex_jax.train.pylearn2 import learning_rate_scales

if TYPE_CHECKING:
    from dgex_jax.train.network import MLP

TILE = 128
DEPTH = 32
"""Rows and columns of a tile, and profiles of a batch that are multiplied at a time."""


def fused_update(
    weights: jax.Array,
    velocity: jax.Array,
    inputs: jax.Array,
    back: jax.Array,
    rate: jax.Array,
    *,
    momentum: float,
    precision: str = "highest",
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Do ``velocity ← momentum·velocity - rate·inputsᵀ·back; weights ← weights + velocity``.

    - `weights`, `velocity`: ``(n_inputs, n_outputs)`` float32; overwritten where the caller allows
      it.
    - `inputs`, `back`: ``(n_profiles, n_inputs)`` and ``(n_profiles, n_outputs)`` float32: a
      layer's inputs, and the derivatives of the loss by its outputs before the activation.
    - `rate`: learning rate of these weights, a float32 scalar.
    - `momentum`, `precision`: as in `dgex_jax.config.TrainingConfig`.
    - `interpret`: run it without a GPU, slowly.
    """
    shape = jax.ShapeDtypeStruct(weights.shape, weights.dtype)  # type: ignore[no-untyped-call]
    kernel = partial(tile_update, momentum=momentum, allow_tf32=precision == "tf32")
    call = pl.pallas_call(
        kernel,
        out_shape=(shape, shape),
        grid=tuple(pl.cdiv(size, TILE) for size in weights.shape),
        input_output_aliases={0: 0, 1: 1},
        interpret=interpret,
        compiler_params=pallas_triton.CompilerParams(num_warps=8, num_stages=3),
        name="fused_update",
    )
    new_weights, new_velocity = call(weights, velocity, inputs, back, rate[None])
    return new_weights, new_velocity


def tile_update(
    weights: Any,
    velocity: Any,
    inputs: Any,
    back: Any,
    rate: Any,
    new_weights: Any,
    new_velocity: Any,
    *,
    momentum: float,
    allow_tf32: bool,
) -> None:
    """Update one tile; the arguments are references to the whole arrays."""
    n_rows, n_columns = weights.shape
    n_profiles = inputs.shape[0]
    rows = pl.program_id(0) * TILE + jnp.arange(TILE, dtype=jnp.int32)
    columns = pl.program_id(1) * TILE + jnp.arange(TILE, dtype=jnp.int32)

    def add_profiles(step: jax.Array, product: jax.Array) -> jax.Array:
        profiles = step * DEPTH + jnp.arange(DEPTH, dtype=jnp.int32)
        left, right = (
            pallas_triton.load(
                array.at[profiles[:, None], places[None, :]],
                mask=(profiles < n_profiles)[:, None] & (places < size)[None, :],
                other=0.0,
            )
            for array, places, size in ((inputs, rows, n_rows), (back, columns, n_columns))
        )
        part: jax.Array = pallas_triton.dot(left, right, trans_a=True, allow_tf32=allow_tf32)
        return product + part

    product = jax.lax.fori_loop(
        0, pl.cdiv(n_profiles, DEPTH), add_profiles, jnp.zeros((TILE, TILE), jnp.float32)
    )
    place = (rows[:, None], columns[None, :])
    inside = (rows < n_rows)[:, None] & (columns < n_columns)[None, :]
    before = pallas_triton.load(velocity.at[place], mask=inside, other=0.0)
    moved = momentum * before - rate[0] * product
    weight = pallas_triton.load(weights.at[place], mask=inside, other=0.0)
    pallas_triton.store(new_velocity.at[place], moved, mask=inside)
    pallas_triton.store(new_weights.at[place], weight + moved, mask=inside)


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
    *,
    interpret: bool = False,
) -> tuple[Any, Any]:
    """Do what `dgex_jax.train.epoch.update` does, with `fused_update` for the weights.

    `velocity` is a tree like `params`; the rest is as there.
    """
    dot = partial(jnp.matmul, precision=PRECISIONS[model.precision])
    names = list(params)
    inputs, slopes = [X], []
    for layer, name in enumerate(names[:-1]):
        unit = jnp.tanh(dot(inputs[-1], params[name]["kernel"]) + params[name]["bias"][None])
        kept = mask(jax.random.fold_in(mask_key, layer), include, (X.shape[0], model.units))
        inputs.append(unit * kept)
        slopes.append((1 - jnp.square(unit)) * kept)
    predicted = dot(inputs[-1], params["output"]["kernel"]) + params["output"]["bias"][None]
    back = (predicted - Y) * (2 / X.shape[0])
    scales = learning_rate_scales(model.hidden_layers)
    moved, weights = {}, {}
    for layer, name in reversed(list(enumerate(names))):
        below = dot(back, params[name]["kernel"].T) if layer else back
        speed = velocity[name]["bias"] * momentum - learning_rate * back.sum(axis=0)
        kernel, kernel_speed = fused_update(
            params[name]["kernel"],
            velocity[name]["kernel"],
            inputs[layer],
            back,
            learning_rate * scales[name]["kernel"],
            momentum=momentum,
            precision=model.precision,
            interpret=interpret,
        )
        weights[name] = {"kernel": kernel, "bias": params[name]["bias"] + speed}
        moved[name] = {"kernel": kernel_speed, "bias": speed}
        back = below * slopes[layer - 1] if layer else below
    return {name: weights[name] for name in names}, {name: moved[name] for name in names}
