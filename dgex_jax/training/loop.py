"""Train the networks of one architecture: the thin loop over epochs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpy.typing import NDArray

from dgex_jax.errors import DivergedError
from dgex_jax.models.mlp import MLP
from dgex_jax.training.devices import epoch_program, place, replicate, stack, unstack
from dgex_jax.training.epoch import (
    MASK_GENERATOR,
    PARTS,
    Data,
    Network,
    State,
    absolute_errors,
    initial_state,
)
from dgex_jax.training.pylearn2 import batch_orders, initial_weights, monitored_profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.training.arrays import StudyArrays

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch gave.

    Attributes
    ----------
    epoch
        Counted from 0.
    errors
        ``(n_halves, 5)`` float64: overall MAE on the parts of the log, `epoch.PARTS`.
    learning_rates
        ``(n_halves,)`` float32: the rates used in this epoch.
    seconds
        Time of the epoch for all halves together.
    """

    epoch: int
    errors: Float64
    learning_rates: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True)
class TrainedHalf:
    """One trained network; weights as ``{"hidden1": {"kernel", "bias"}, …}``, float32."""

    final: Any
    best_va: Any
    best_va_epoch: int
    best_1000G: Any  # noqa: N815
    best_1000G_epoch: int  # noqa: N815


def mask_key(seed: int, half: int) -> NDArray[np.uint32]:
    """Raw key of the dropout masks of one half: both halves share a seed, but not their masks."""
    key = jax.random.fold_in(jax.random.key(seed, impl=MASK_GENERATOR), half)
    return np.asarray(jax.random.key_data(key))


def build_model(network: NetworkConfig, training: TrainingConfig, n_targets: int) -> MLP:
    """Build the Flax module of one half."""
    return MLP(network.hidden_layers, network.units, n_targets, training.precision)


def initial_states(
    arrays: StudyArrays, network: NetworkConfig, training: TrainingConfig
) -> list[State]:
    """Draw the initial state of each half; the narrower half is padded with zero columns."""
    sizes = arrays.half_sizes()
    states = []
    for size in sizes:
        params = initial_weights(
            training.seed, arrays.n_landmarks, size, network.hidden_layers, network.units
        )
        missing = max(sizes) - size
        output = params["output"]
        params["output"] = {
            "kernel": np.pad(output["kernel"], ((0, 0), (0, missing))),
            "bias": np.pad(output["bias"], (0, missing)),
        }
        rate = training.initial_rate(network.hidden_layers)
        states.append(initial_state(params, network.hidden_layers, rate))
    return states


def device_data(
    arrays: StudyArrays, training: TrainingConfig, devices: Sequence[jax.Device]
) -> tuple[Data, tuple[int, ...]]:
    """Move the study to the devices once, as `epoch_program` takes it, with its part sizes."""
    n_devices = len(devices)
    width = max(arrays.half_sizes())
    halves = range(len(arrays.halves))
    monitored = monitored_profiles(arrays.X["tr"].shape[0], training.monitor_size)
    rows: dict[str, Any] = dict.fromkeys(PARTS, slice(None)) | {"tr": monitored}

    def watched(half: int) -> NDArray[np.float32]:
        return np.concatenate([arrays.half(part, half, width)[rows[part]] for part in PARTS])

    data = Data(
        X=replicate(arrays.X["tr"], n_devices),
        Y=stack([arrays.half("tr", half, width) for half in halves], n_devices),
        watched_X=replicate(
            np.concatenate([arrays.X[part][rows[part]] for part in PARTS]), n_devices
        ),
        watched_Y=stack([watched(half) for half in halves], n_devices),
    )
    return place(data, devices), tuple(len(arrays.X[part][rows[part]]) for part in PARTS)


def train_epochs(
    arrays: StudyArrays,
    network: NetworkConfig,
    training: TrainingConfig,
    devices: Sequence[jax.Device],
    on_epoch: Callable[[EpochRecord], None] = lambda _: None,
) -> list[TrainedHalf]:
    """Train every half of one architecture for all epochs.

    Raises
    ------
    DivergedError
        If an error is no longer finite (the epoch and the learning rate are named).
    """
    # The errors are float64, and so are the comparisons that choose the best epoch.
    with jax.enable_x64(True):
        model = build_model(network, training, max(arrays.half_sizes()))
        state = place(stack(initial_states(arrays, network, training), len(devices)), devices)
        networks = place(
            stack(
                [
                    Network(
                        mask_key(training.seed, half),
                        np.float32(1 - network.dropout),
                        np.int32(size),
                    )
                    for half, size in enumerate(arrays.half_sizes())
                ],
                len(devices),
            ),
            devices,
        )
        data, part_sizes = device_data(arrays, training, devices)
        program = epoch_program(
            model, training.momentum, training.batch_size, part_sizes, tuple(devices)
        )
        orders = placed_orders(arrays.X["tr"].shape[0], devices)
        for epoch in range(training.epochs):
            start = time.perf_counter()
            state, measured = program(state, networks, data, next(orders))
            errors, rates = (np.stack(each) for each in zip(*unstack(measured), strict=True))
            refuse_divergence(epoch, errors, rates)
            on_epoch(EpochRecord(epoch, errors, rates, time.perf_counter() - start))
        return [
            trained_half(half, size)
            for half, size in zip(unstack(state), arrays.half_sizes(), strict=True)
        ]


def placed_orders(n_train: int, devices: Sequence[jax.Device]) -> Iterator[jax.Array]:
    """Yield each epoch's batch order on the devices, ``(n_devices, n_train)``."""
    for order in batch_orders(n_train):
        yield place(replicate(order, len(devices)), devices)


def refuse_divergence(epoch: int, errors: Float64, rates: NDArray[np.float32]) -> None:
    """Raise `DivergedError` if an error of any half is not finite."""
    for half, (row, rate) in enumerate(zip(errors, rates, strict=True), start=1):
        if not np.isfinite(row).all():
            raise DivergedError(
                f"training diverged: the errors of half {half} are no longer finite after epoch "
                f"{epoch} (counted from 0) at learning rate {rate:.3g}; try a smaller learning rate"
            )


def trained_half(state: State, n_targets: int) -> TrainedHalf:
    """Cut the padding off and keep what outlives the training."""

    def cut(params: Any) -> Any:
        output = params["output"]
        return params | {
            "output": {
                "kernel": output["kernel"][:, :n_targets],
                "bias": output["bias"][:n_targets],
            }
        }

    return TrainedHalf(
        final=cut(state.params),
        best_va=cut(state.best_va.params),
        best_va_epoch=int(state.best_va.epoch),
        best_1000G=cut(state.best_1000G.params),
        best_1000G_epoch=int(state.best_1000G.epoch),
    )


def errors_per_gene(
    params: Any, model: MLP, X: NDArray[np.float32], Y: NDArray[np.float32]
) -> Float64:
    """MAE of each target gene, ``(n_targets,)`` float64, over the profiles of X and Y."""
    with jax.enable_x64(True):
        return np.asarray(gene_means(params, model, X, Y))


@partial(jax.jit, static_argnames="model")
def gene_means(params: Any, model: MLP, X: jax.Array, Y: jax.Array) -> jax.Array:
    """Mean over the profiles of `absolute_errors`, ``(n_targets,)``; compiled once a shape."""
    return absolute_errors(params, model, X, Y).mean(axis=0)
