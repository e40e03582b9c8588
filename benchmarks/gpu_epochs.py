"""Whole epochs at the paper's size, both halves, with data made on the device."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.timing import Timing
from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.parts import PAPER
from dgex_jax.train.arrays import StudyArrays
from dgex_jax.train.devices import AXIS, place, stack
from dgex_jax.train.epoch import Best, Data, State, Watched, epoch_program, optimizer
from dgex_jax.train.network import MLP
from dgex_jax.train.pylearn2 import FIRST_COMPARISON
from dgex_jax.train.train import half_networks, placed_orders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.shapes import Shape

HALVES = 2
MONITORED = 5000
"""Of the training profiles (paper section 2.3)."""


def whole_epochs(
    shape: Shape, profiles: Mapping[str, int], precision: str, epochs: int
) -> tuple[Timing, float]:
    """Time epochs of one network's two halves by the program that ``dgex train`` runs.

    - `shape`: of each half.
    - `profiles`: part → number of profiles, as `madeup_study.PROFILES`.
    - `precision`: of the matrix products.
    - `epochs`: to measure; one more before them is not.

    Returns seconds of the epochs, and of the first one, with the compilation and making the data.
    """
    devices = tuple(jax.local_devices()[:1])
    training = TrainingConfig(halves=HALVES, precision="tf32" if precision == "tf32" else "highest")
    networks = [NetworkConfig(shape.hidden_layers, shape.units, 0.1)]
    sizes = dict(profiles) | {"tr": min(MONITORED, profiles["tr"])}
    watched: Watched = tuple((part, sizes[part], None) for part in PAPER.logged)
    arrays = no_profiles(shape)
    before = time.perf_counter()
    with jax.enable_x64(True):
        spread = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS))  # type: ignore[no-untyped-call]
        on_device: Callable[..., Any] = partial(jax.jit, out_shardings=spread)
        data = on_device(partial(made_data, shape, profiles["tr"], watched))()
        state = on_device(partial(made_state, shape))()
        leading = (1, -1, 1)
        apart = place(stack(half_networks(arrays, networks, training), *leading), devices)
        model = MLP(shape.hidden_layers, shape.units, shape.n_targets, precision)
        program = epoch_program(model, training.momentum, training.batch_size, watched, devices)
        orders = placed_orders(profiles["tr"], devices, 0)
        seconds = []
        for _ in range(epochs + 1):
            order = next(orders)
            start = time.perf_counter()
            state, measured = program(state, apart, data, order)
            jax.device_get(measured)
            seconds.append(time.perf_counter() - start)
    return Timing(tuple(seconds[1:])), time.perf_counter() - before - sum(seconds[1:])


def no_profiles(shape: Shape) -> StudyArrays:
    """Give a study's shape without its profiles."""
    return StudyArrays(
        X={"tr": np.empty((0, shape.n_landmarks), np.float32)},
        Y={"tr": np.empty((0, HALVES * shape.n_targets), np.float32)},
        halves=tuple(
            slice(half * shape.n_targets, (half + 1) * shape.n_targets) for half in range(HALVES)
        ),
        parts=PAPER,
    )


def made_data(shape: Shape, n_train: int, watched: Watched) -> Data:
    """Make profiles as `epoch_program` takes them."""
    n_watched = sum(size for _, size, _ in watched)
    return Data(
        X=scattered((1, n_train, shape.n_landmarks)),
        Y=scattered((1, HALVES, n_train, shape.n_targets)),
        watched_X=scattered((1, n_watched, shape.n_landmarks)),
        watched_Y=scattered((1, HALVES, n_watched, shape.n_targets)),
    )


def scattered(shape: tuple[int, ...]) -> jax.Array:
    """Make numbers within ±0.5, float32, by Fibonacci hashing: quick to compile, quick to make."""
    places = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return (places * np.uint32(2654435769) >> 8).astype(jnp.float32) * 2.0**-24 - 0.5


def made_state(shape: Shape) -> State:
    """Make a state as `epoch_program` takes it; small weights, nothing learnt yet."""
    names = [*(f"hidden{layer + 1}" for layer in range(shape.hidden_layers)), "output"]
    lead = (1, HALVES, 1)
    params = {}
    for number, name in enumerate(names):
        kernel = (*lead, *shape.sizes[number : number + 2])
        bias = jnp.zeros((*lead, shape.sizes[number + 1]), jnp.float32)
        params[name] = {"kernel": scattered(kernel) * 0.01, "bias": bias}
    zeros = jax.tree.map(jnp.zeros_like, params)

    def nothing_yet() -> Best:
        return Best(jnp.full(lead, jnp.inf, jnp.float64), jnp.full(lead, -1, jnp.int32), zeros)

    return State(
        params=params,
        velocity=optimizer(shape.hidden_layers, jnp.float32(0), 0.0).init(zeros),
        learning_rate=jnp.full(lead, 1e-5, jnp.float32),
        previous_mae=jnp.full(lead, FIRST_COMPARISON, jnp.float64),
        epoch=jnp.zeros(lead, jnp.int32),
        best={part: nothing_yet() for part in PAPER.choosers},
    )
