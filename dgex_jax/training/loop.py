"""Train the networks of one group: the thin loop over epochs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpy.typing import NDArray

from dgex_jax.config import LOGGED
from dgex_jax.errors import DivergedError
from dgex_jax.training.devices import (
    epoch_program,
    gene_errors_program,
    place,
    replicate,
    stack,
    unstack,
)
from dgex_jax.training.epoch import PartSizes, State
from dgex_jax.training.pylearn2 import batch_orders
from dgex_jax.training.start import (
    build_model,
    device_data,
    half_networks,
    initial_states,
    pretrained_states,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.training.arrays import StudyArrays

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch gave for one network.

    Attributes
    ----------
    epoch
        Counted from 0.
    errors
        ``(n_halves, 5)`` float64: overall MAE on the parts of the log, `epoch.PARTS`; NaN for
        parts that the study has not.
    learning_rates
        ``(n_halves,)`` float32: the rates used in this epoch.
    seconds
        Time of the epoch for all halves together, and for all networks that train side by side.
    """

    epoch: int
    errors: Float64
    learning_rates: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far a group has come: all that a training needs to go on as if never stopped.

    Attributes
    ----------
    records
        One list an epoch done, with a record for each network.
    states
        The state of each network's halves on the host: first half of every network, then second.
    """

    records: Sequence[Sequence[EpochRecord]]
    states: Sequence[State]


@dataclass(frozen=True)
class TrainedHalf:
    """One trained network; weights as ``{"hidden1": {"kernel", "bias"}, …}``, float32.

    A study without 1000G has one best epoch alone; the other is ``None``.
    """

    final: Any
    best_va: Any
    best_va_epoch: int
    best_1000G: Any | None  # noqa: N815
    best_1000G_epoch: int | None  # noqa: N815


@dataclass(frozen=True)
class TrainedNetwork:
    """Both halves (or the single one), and MAE of every target ``(n_targets,)`` by part."""

    halves: Sequence[TrainedHalf]
    gene_errors: Mapping[str, Float64]


OnEpoch = Callable[[Sequence[EpochRecord], Callable[[], list[State]]], None]
"""Called after each epoch with a record for each network, and a function that fetches the states
(`Progress.states`). An exception it raises ends the training."""


def train_group(
    arrays: StudyArrays,
    networks: Sequence[NetworkConfig],
    training: TrainingConfig,
    devices: Sequence[jax.Device],
    on_epoch: OnEpoch = lambda _records, _fetch: None,
    resume: Progress | None = None,
) -> list[TrainedNetwork]:
    """Train networks of one architecture, all their halves, for all epochs.

    Parameters
    ----------
    arrays
        The study.
    networks
        Networks that differ in their dropout rate alone; several train side by side.
    training
        How they are trained.
    devices
        One set of `devices.choose_devices`; results don't depend on their number.
    on_epoch
        See `OnEpoch`.
    resume
        Where to go on; from the start if not given.

    Raises
    ------
    DivergedError
        If an error is no longer finite (the epoch and the learning rate are named).
    """
    leading = (len(devices), -1, len(networks))
    n_done = len(resume.records) if resume else 0
    # The errors are float64, and so are the comparisons that choose the best epoch.
    with jax.enable_x64(True):
        model = build_model(networks[0], training, max(arrays.half_sizes()))
        apart = place(stack(half_networks(arrays, networks, training), *leading), devices)
        data, part_sizes = device_data(arrays, training, devices)
        state = place(
            stack(
                resume.states
                if resume
                else pretrained_states(
                    first_states(arrays, networks, training), arrays, training, devices[0]
                ),
                *leading,
            ),
            devices,
        )
        program = epoch_program(
            model, training.momentum, training.batch_size, part_sizes, tuple(devices)
        )
        orders = placed_orders(arrays.X["tr"].shape[0], devices, n_done)
        for epoch in range(n_done, training.epochs):
            start = time.perf_counter()
            state, measured = program(state, apart, data, next(orders))
            errors, rates = by_network(measured, networks)
            for network, *values in zip(networks, errors, rates, strict=True):
                refuse_divergence(network, epoch, *values)
            seconds = time.perf_counter() - start
            records = [
                EpochRecord(epoch, *values, seconds)
                for values in zip(log_columns(errors, part_sizes), rates, strict=True)
            ]
            on_epoch(records, partial(unstack, state, len(leading)))
        by_gene = gene_errors_program(model, part_sizes, tuple(devices))(state, apart, data)
        return trained_networks(
            unstack(state, len(leading)), unstack(by_gene, len(leading)), arrays.half_sizes()
        )


def first_states(
    arrays: StudyArrays, networks: Sequence[NetworkConfig], training: TrainingConfig
) -> list[State]:
    """Draw the states before any training, in the order of `Progress.states`."""
    # All networks of a group start from the same weights, as each of them does alone.
    halves = initial_states(arrays, networks[0], training)
    return [state for state in halves for _ in networks]


def by_network(
    measured: tuple[jax.Array, jax.Array], networks: Sequence[NetworkConfig]
) -> tuple[Float64, NDArray[np.float32]]:
    """Fetch the errors ``(n_networks, n_halves, n_parts)`` and rates ``(n_networks, n_halves)``."""
    errors, rates = (np.stack(each) for each in zip(*unstack(measured, 3), strict=True))
    n = len(networks)
    return errors.reshape(-1, n, errors.shape[-1]).swapaxes(0, 1), rates.reshape(-1, n).T


def log_columns(errors: Float64, part_sizes: PartSizes) -> Float64:
    """Spread errors ``(..., n_parts)`` over the columns of the log, NaN where there is no part."""
    columns = np.full((*errors.shape[:-1], len(LOGGED)), np.nan)
    columns[..., [LOGGED.index(part) for part, _ in part_sizes]] = errors
    return columns


def placed_orders(n_train: int, devices: Sequence[jax.Device], n_done: int) -> Iterator[jax.Array]:
    """Yield each epoch's batch order on the devices, ``(n_devices, n_train)``, from `n_done` on."""
    for order in islice(batch_orders(n_train), n_done, None):
        yield place(replicate(order, len(devices)), devices)


def refuse_divergence(
    network: NetworkConfig, epoch: int, errors: Float64, rates: NDArray[np.float32]
) -> None:
    """Raise `DivergedError` if an error of any half is not finite."""
    for half, (row, rate) in enumerate(zip(errors, rates, strict=True), start=1):
        if not np.isfinite(row).all():
            raise DivergedError(
                f"{network.name}: training diverged: the errors of half {half} are no longer "
                f"finite after epoch {epoch} (counted from 0) at learning rate {rate:.3g}; try a "
                "smaller learning rate"
            )


def trained_networks(
    states: Sequence[State], by_gene: Sequence[Mapping[str, Float64]], sizes: Sequence[int]
) -> list[TrainedNetwork]:
    """Sort states and errors, first halves of all networks first, by network."""
    n_networks = len(states) // len(sizes)
    return [
        TrainedNetwork(
            halves=[
                trained_half(states[half * n_networks + number], size)
                for half, size in enumerate(sizes)
            ],
            gene_errors={
                part: np.concatenate(
                    [
                        by_gene[half * n_networks + number][part][:size]
                        for half, size in enumerate(sizes)
                    ]
                )
                for part in by_gene[0]
            },
        )
        for number in range(n_networks)
    ]


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

    other = state.best_1000G
    return TrainedHalf(
        final=cut(state.params),
        best_va=cut(state.best_va.params),
        best_va_epoch=int(state.best_va.epoch),
        best_1000G=None if other is None else cut(other.params),
        best_1000G_epoch=None if other is None else int(other.epoch),
    )
