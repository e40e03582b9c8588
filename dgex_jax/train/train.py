"""Train networks: from a prepared study to a run folder for each, in one loop over epochs.

`train_runs` works in folders and resumes what was interrupted; `train_group`, which it calls, needs
no disk.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgex_jax.errors import DivergedError, Stopped
from dgex_jax.io.files import locked, say
from dgex_jax.io.manifest import write_json
from dgex_jax.train import run
from dgex_jax.train.arrays import StudyArrays, load_arrays
from dgex_jax.train.devices import place, place_each, replicate, stack, unstack
from dgex_jax.train.epoch import (
    Data,
    Network,
    State,
    Watched,
    epoch_program,
    gene_errors_program,
    initial_state,
)
from dgex_jax.train.network import MLP, mask_key
from dgex_jax.train.pretrain import pretrained_hidden
from dgex_jax.train.pylearn2 import batch_orders, initial_weights, monitored_profiles
from dgex_jax.train.record import CONFIG, TrainedHalf, TrainedNetwork, is_done
from dgex_jax.train.run import Checkpoints, EpochRecord, Progress, RunLog, StopRequest, run_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.prepare.prepared import Prepared

OnEpoch = Callable[[Sequence[EpochRecord], Callable[[], list[State]]], None]
"""Called after each epoch with a record for each network, and a function that fetches the states
(`Progress.states`). An exception it raises ends the training."""


@dataclass(frozen=True)
class Conduct:
    """How runs behave; nothing here changes what they give.

    `report` gets, after each epoch, the network, the number of epochs done, and a line to show.
    `overwrite` replaces other runs; `wait` waits for another process that works in a folder (else
    that is an error). `checkpoint_share` is the largest share of the time for writing checkpoints.
    """

    report: Callable[[NetworkConfig, int, str], None] = lambda _network, _done, _line: None
    overwrite: bool = False
    wait: bool = True
    request: StopRequest = field(default_factory=StopRequest)
    checkpoint_share: float = run.LARGEST_SHARE


def train_runs(
    study: Prepared,
    networks: Sequence[NetworkConfig],
    training: TrainingConfig,
    folders: Sequence[Path],
    devices: Sequence[jax.Device],
    *,
    arrays: StudyArrays | None = None,
    conduct: Conduct | None = None,
) -> bool:
    """Train one group of networks (all their halves), a folder each, unless they are there already.

    `networks` differ in their dropout rate alone and train side by side; `devices` are one set of
    `devices.choose_devices`, `arrays` the study's if they are in memory already. A group whose
    training was interrupted resumes from its newest intact checkpoint. Returns whether anything was
    trained. Raises `DgexError` if a folder holds something else or is in use, or training diverged
    (its log stays, to be looked at), `Stopped` on request, after a checkpoint.
    """
    conduct = Conduct() if conduct is None else conduct
    configs = [run_config(study, network, training, networks) for network in networks]
    runs = list(zip(folders, configs, strict=True))
    if not _is_needed(runs, conduct.overwrite):
        run.clear_leftovers(folders[0])
        return False
    # Before a folder is touched: a study that can't be read must leave no trace.
    arrays = load_arrays(study, training.halves) if arrays is None else arrays
    with ExitStack() as locks:
        # In one order, or two groups could wait for each other.
        for folder in sorted(folders):
            locks.enter_context(
                locked(folder, wait=conduct.wait, keep_waiting=lambda: not conduct.request.asked)
            )
        # Another process may have been at them.
        if not _is_needed(runs, conduct.overwrite):
            return False
        # The checkpoints of a group lie with its first network.
        checkpoints = Checkpoints(
            folders[0] / run.CHECKPOINTS, run.group_hash(configs), conduct.checkpoint_share
        )
        resume = checkpoints.newest(first_states(arrays, networks, training), say)
        for folder, config in runs:
            if resume is None:
                run.clear_folder(folder)
            write_json(folder / CONFIG, config)
        rows = [list(row) for row in resume.records] if resume else []
        histories = zip(*rows, strict=True) if rows else [()] * len(networks)
        logs = [
            RunLog(folder, arrays.half_sizes(), arrays.parts, history)
            for folder, history in zip(folders, histories, strict=True)
        ]
        on_epoch = _after_epoch(rows, networks, training.epochs, logs, checkpoints, conduct)
        try:
            trained = train_group(arrays, networks, training, devices, on_epoch, resume)
        except DivergedError:
            # Resumed from here it would only diverge again.
            checkpoints.clear()
            raise
        seconds = sum(row[0].seconds for row in rows)
        for log in logs:
            log.sync()
        for (folder, config), network, one in zip(runs, networks, trained, strict=True):
            run.finish(folder, config, study, network, training, one, seconds, devices)
        checkpoints.clear()
    return True


def _is_needed(runs: Sequence[tuple[Path, dict[str, Any]]], overwrite: bool) -> bool:
    """Whether anything is to be trained; then folders that hold something else are refused."""
    if all(is_done(folder, config) for folder, config in runs):
        return False
    for folder, config in runs:
        run.refuse_folder(folder, config, overwrite)
    return True


def _after_epoch(
    rows: list[list[EpochRecord]],
    networks: Sequence[NetworkConfig],
    epochs: int,
    logs: Sequence[RunLog],
    checkpoints: Checkpoints,
    conduct: Conduct,
) -> OnEpoch:
    """Return what logs each epoch, adds it to `rows`, saves checkpoints, and stops on request."""

    def on_epoch(records: Sequence[EpochRecord], fetch: Callable[[], list[State]]) -> None:
        rows.append(list(records))
        done = len(rows)
        for network, log, record in zip(networks, logs, records, strict=True):
            log.append(record)
            conduct.report(network, done, log.line(record, epochs))
        stop = conduct.request.asked
        if done < epochs and (stop or checkpoints.is_due()):
            checkpoints.save(Progress(rows, fetch()))
        if done < epochs and stop:
            names = ", ".join(network.name for network in networks)
            raise Stopped(
                f"stopped after epoch {done} of {epochs} of {names}; the same command resumes from "
                "there",
                conduct.request.signal_number or 0,
            )

    return on_epoch


def train_group(
    arrays: StudyArrays,
    networks: Sequence[NetworkConfig],
    training: TrainingConfig,
    devices: Sequence[jax.Device],
    on_epoch: OnEpoch = lambda _records, _fetch: None,
    resume: Progress | None = None,
) -> list[TrainedNetwork]:
    """Train networks of one architecture, all their halves, for all epochs, or on from `resume`.

    They differ in their dropout rate alone; several train side by side. `devices` are one set of
    `devices.choose_devices`; results don't depend on their number. Raises `DivergedError` if an
    error is no longer finite (the epoch and the learning rate are named).
    """
    sizes, n_networks = arrays.half_sizes(), len(networks)
    leading = (len(devices), -1, n_networks)
    # The errors are float64, and so are the comparisons that choose the best epoch.
    with jax.enable_x64(True):
        model = build_model(networks[0], training, max(sizes))
        # Not kept under a name: on the host these take as much memory as on the devices.
        state = place(
            stack(
                _start(arrays, networks, training, devices[0]) if resume is None else resume.states,
                *leading,
            ),
            devices,
        )
        apart = place(stack(half_networks(arrays, networks, training), *leading), devices)
        data, watched = device_data(arrays, training, devices)
        program = epoch_program(
            model, training.momentum, training.batch_size, watched, tuple(devices)
        )

        n_done = 0 if resume is None else len(resume.records)
        orders = placed_orders(arrays.X["tr"].shape[0], devices, n_done)
        for epoch in range(n_done, training.epochs):
            start = time.perf_counter()
            state, measured = program(state, apart, data, next(orders))
            errors, rates = jax.device_get(measured)
            seconds = time.perf_counter() - start
            # From (n_devices, n_halves / n_devices, n_networks, …) to the halves of each network.
            logged = errors.reshape(len(sizes), n_networks, -1).swapaxes(0, 1)
            by_network = zip(logged, rates.reshape(len(sizes), n_networks).T, strict=True)
            records = [EpochRecord(epoch, *one, seconds) for one in by_network]
            for network, record in zip(networks, records, strict=True):
                _refuse_divergence(network, record)
            on_epoch(records, partial(unstack, state, len(leading)))

        by_gene = gene_errors_program(model, watched, tuple(devices))(state, apart, data)
        halves, gene_errors = unstack(state, len(leading)), unstack(by_gene, len(leading))
    return [
        TrainedNetwork(
            [_trained_half(*one) for one in zip(halves[number::n_networks], sizes, strict=True)],
            {
                part: np.concatenate(
                    [
                        mae[part][:size]
                        for mae, size in zip(gene_errors[number::n_networks], sizes, strict=True)
                    ]
                )
                for part in gene_errors[0]
            },
        )
        for number in range(n_networks)
    ]


def _refuse_divergence(network: NetworkConfig, record: EpochRecord) -> None:
    finite = np.isfinite(record.errors).all(axis=1)
    for half in np.flatnonzero(~finite)[:1]:
        raise DivergedError(
            f"{network.name}: training diverged: the errors of half {half + 1} are no longer "
            f"finite after epoch {record.epoch} (counted from 0) at learning rate "
            f"{record.learning_rates[half]:.3g}; try a smaller learning rate"
        )


def _trained_half(state: State, n_targets: int) -> TrainedHalf:
    """Cut the padding off and keep what outlives the training."""

    def cut(params: Any) -> Any:
        output = {kind: array[..., :n_targets] for kind, array in params["output"].items()}
        return params | {"output": output}

    return TrainedHalf(
        final=cut(state.params),
        best={part: cut(best.params) for part, best in state.best.items()},
        best_epoch={part: int(best.epoch) for part, best in state.best.items()},
    )


def build_model(network: NetworkConfig, training: TrainingConfig, n_targets: int) -> MLP:
    """Build the Flax module of one half."""
    return MLP(network.hidden_layers, network.units, n_targets, training.precision)


def initial_states(
    arrays: StudyArrays, network: NetworkConfig, training: TrainingConfig
) -> list[State]:
    """Draw the initial state of each half; the narrower half is padded with zero columns."""
    sizes, layers = arrays.half_sizes(), network.hidden_layers
    states = []
    for size in sizes:
        params = initial_weights(training.seed, arrays.n_landmarks, size, layers, network.units)
        missing = (0, max(sizes) - size)
        params["output"] = {
            kind: np.pad(array, [(0, 0)] * (array.ndim - 1) + [missing])
            for kind, array in params["output"].items()
        }
        rate = training.initial_rate(layers)
        states.append(initial_state(params, layers, rate, arrays.choosers))
    return states


def first_states(
    arrays: StudyArrays, networks: Sequence[NetworkConfig], training: TrainingConfig
) -> list[State]:
    """Draw the states before any training, in the order of `Progress.states`.

    All networks of a group start from the same weights, as each of them does alone.
    """
    halves = initial_states(arrays, networks[0], training)
    return [state for state in halves for _ in networks]


def _start(
    arrays: StudyArrays,
    networks: Sequence[NetworkConfig],
    training: TrainingConfig,
    device: jax.Device,
) -> list[State]:
    states = first_states(arrays, networks, training)
    if training.pretrain == "none":
        return states
    # One for all halves and networks: they start from the same hidden layers, as without.
    hidden = pretrained_hidden(arrays.X["tr"], states[0].params, training, device)
    return [one.replace(params=one.params | hidden) for one in states]  # type: ignore[attr-defined]


def half_networks(
    arrays: StudyArrays, networks: Sequence[NetworkConfig], training: TrainingConfig
) -> list[Network]:
    """List what tells the halves of `networks` apart: all networks' first halves, then the second.

    A network's masks depend on its seed and half alone, not on the networks beside it.
    """
    return [
        Network(mask_key(training.seed, half), np.float32(1 - network.dropout), np.int32(size))
        for half, size in enumerate(arrays.half_sizes())
        for network in networks
    ]


def device_data(
    arrays: StudyArrays, training: TrainingConfig, devices: Sequence[jax.Device]
) -> tuple[Data, Watched]:
    """Move the study to the devices once, as `epoch_program` takes it, and what is watched."""
    n_devices, n_halves, width = len(devices), len(arrays.halves), max(arrays.half_sizes())
    monitored = monitored_profiles(arrays.X["tr"].shape[0], training.monitor_size)
    parts = arrays.logged
    rows: dict[str, Any] = dict.fromkeys(parts, slice(None)) | {"tr": monitored}
    watched_X = [arrays.X[part][rows[part]] for part in parts]

    def watched_targets(half: int) -> NDArray[np.float32]:
        return np.concatenate([arrays.half(part, half, width, rows[part]) for part in parts])

    data = Data(
        X=place(replicate(arrays.X["tr"], n_devices), devices),
        Y=place_each(lambda half: arrays.half("tr", half, width), n_halves, devices),
        watched_X=place(replicate(np.concatenate(watched_X), n_devices), devices),
        watched_Y=place_each(watched_targets, n_halves, devices),
    )
    chosen = [None if part == "tr" else arrays.parts.chooser_of(part) for part in parts]
    jax.block_until_ready(data)  # type: ignore[no-untyped-call]
    # JAX lets go of host arrays that it has copied when Python next collects garbage, which a loop
    # over long epochs hardly ever makes it do.
    gc.collect()
    return data, tuple(zip(parts, map(len, watched_X), chosen, strict=True))


def placed_orders(n_train: int, devices: Sequence[jax.Device], n_done: int) -> Iterator[jax.Array]:
    """Yield each epoch's batch order on the devices, ``(n_devices, n_train)``, from `n_done` on."""
    for order in islice(batch_orders(n_train), n_done, None):
        yield place(replicate(order, len(devices)), devices)
