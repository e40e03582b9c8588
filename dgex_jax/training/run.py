"""Runs: networks of the grid, all their halves, from a prepared study to a folder each."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgex_jax import __version__
from dgex_jax.errors import DivergedError, Stopped
from dgex_jax.locks import locked, say
from dgex_jax.provenance import record as made_by
from dgex_jax.training.arrays import StudyArrays, load_arrays
from dgex_jax.training.checkpoint import Checkpoints
from dgex_jax.training.geneerrors import write_gene_errors
from dgex_jax.training.loop import EpochRecord, Progress, TrainedNetwork, first_states, train_group
from dgex_jax.training.progressline import ProgressLine
from dgex_jax.training.pylearn2 import BATCH_SEED, MONITOR_SEED
from dgex_jax.training.record import DONE, is_done, mark_done, write_json
from dgex_jax.training.runfolder import (
    CHECKPOINTS,
    RUN_FILES,
    clear_folder,
    clear_leftovers,
    group_hash,
    refuse_folder,
)
from dgex_jax.training.runlog import RunLog
from dgex_jax.training.stopping import StopRequest
from dgex_jax.training.weights import save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.data.prepared import Prepared
    from dgex_jax.training.epoch import State

RUN_FORMAT = 2


@dataclass(frozen=True)
class Conduct:
    """How runs behave; nothing here changes what they give.

    Attributes
    ----------
    report
        Gets, after each epoch, the network, the number of epochs done, and a line to show.
    overwrite
        Replace other runs that the folders hold.
    wait
        Wait for another process that works in a folder; else leave with an error.
    request
        Asked to stop from outside, by a signal or by another thread.
    checkpoint_share
        Largest share of the time for writing checkpoints (`checkpoint.Checkpoints`).
    """

    report: Callable[[NetworkConfig, int, str], None] = lambda _network, _done, _line: None
    overwrite: bool = False
    wait: bool = True
    request: StopRequest = field(default_factory=StopRequest)
    checkpoint_share: float = 0.05


def run_config(
    study: Prepared,
    network: NetworkConfig,
    training: TrainingConfig,
    side_by_side: Sequence[NetworkConfig] = (),
) -> dict[str, Any]:
    """Everything that decides the outcome of a run, as JSON values; its hash names the run."""
    beside = {"side_by_side": [one.dropout for one in side_by_side]} if side_by_side[1:] else {}
    return {
        "format_version": RUN_FORMAT,
        "prepared_sha256": study.sha256,
        "study": study.name,
        "simulated": study.simulated,
        "network": dataclasses.asdict(network),
        **beside,
        "training": dataclasses.asdict(training),
        "versions": {
            "dgex_jax": __version__,
            "jax": jax.__version__,
            "numpy": np.__version__,
        },
    }


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

    A group whose training was cut short goes on from its newest checkpoint that is whole.

    Parameters
    ----------
    study
        The prepared study.
    networks
        Networks that train side by side: they differ in their dropout rate alone. Usually one.
    training
        How they are trained.
    folders
        The run folder of each network; made if missing.
    devices
        One set of `devices.choose_devices`.
    arrays
        The study's arrays if they are in memory already.
    conduct
        Reports, locks, stopping.

    Returns
    -------
    bool
        Whether anything was trained.

    Raises
    ------
    DgexError
        A folder holds something else or is in use, or training diverged (its log stays, to be
        looked at).
    Stopped
        On request, after a checkpoint.
    """
    conduct = Conduct() if conduct is None else conduct
    configs = [run_config(study, network, training, networks) for network in networks]
    runs = list(zip(folders, configs, strict=True))
    if all(is_done(folder, config) for folder, config in runs):
        clear_leftovers(folders[0])
        return False
    for folder, config in runs:
        refuse_folder(folder, config, conduct.overwrite)
    # Before a folder is touched: a study that can't be read must leave no trace.
    arrays = load_arrays(study, training.halves) if arrays is None else arrays
    with ExitStack() as locks:
        # In one order, or two groups could wait for each other.
        for folder in sorted(folders):
            locks.enter_context(
                locked(folder, wait=conduct.wait, keep_waiting=lambda: not conduct.request.asked)
            )
        if all(is_done(folder, config) for folder, config in runs):
            return False
        for folder, config in runs:
            refuse_folder(folder, config, conduct.overwrite)
        group = Group(arrays, networks, training, folders, configs, conduct)
        trained = group.train(devices)
        for folder, config, network, one in zip(folders, configs, networks, trained, strict=True):
            finish(folder, config, study, network, training, one, group.seconds(), devices)
        group.checkpoints.clear()
    return True


class Group:
    """A group in training: its logs and checkpoints."""

    def __init__(
        self,
        arrays: StudyArrays,
        networks: Sequence[NetworkConfig],
        training: TrainingConfig,
        folders: Sequence[Path],
        configs: list[dict[str, Any]],
        conduct: Conduct,
    ) -> None:
        self._arrays, self._networks, self._training = arrays, networks, training
        self._folders, self._conduct = folders, conduct
        # The checkpoint of a group lies with its first network.
        self.checkpoints = Checkpoints(
            folders[0] / CHECKPOINTS, group_hash(configs), conduct.checkpoint_share
        )
        template = first_states(arrays, networks, training)
        self._resume = self.checkpoints.newest(template, say)
        self._records = [list(row) for row in self._resume.records] if self._resume else []
        for folder, config in zip(folders, configs, strict=True):
            if self._resume is None:
                clear_folder(folder)
            write_json(folder / "config.json", config)
        sizes = arrays.half_sizes()
        histories = list(zip(*self._records, strict=True)) or [()] * len(networks)
        self._logs = [
            RunLog(folder, sizes, history)
            for folder, history in zip(folders, histories, strict=True)
        ]
        self._lines = [ProgressLine(training.epochs, sizes, history) for history in histories]

    def train(self, devices: Sequence[jax.Device]) -> list[TrainedNetwork]:
        """Train to the end."""
        try:
            trained = train_group(
                self._arrays, self._networks, self._training, devices, self._on_epoch, self._resume
            )
        except DivergedError:
            # Going on from here would only diverge again.
            self.checkpoints.clear()
            raise
        for log in self._logs:
            log.sync()
        return trained

    def seconds(self) -> float:
        """Time of all epochs, those before an interruption included."""
        return sum(row[0].seconds for row in self._records)

    def _on_epoch(self, records: Sequence[EpochRecord], fetch: Callable[[], list[State]]) -> None:
        self._records.append(list(records))
        done = len(self._records)
        for network, log, line, record in zip(
            self._networks, self._logs, self._lines, records, strict=True
        ):
            log.append(record)
            self._conduct.report(network, done, line(record))
        last = done == self._training.epochs
        stop = self._conduct.request.asked
        if not last and (stop or self.checkpoints.is_due()):
            self.checkpoints.save(Progress(self._records, fetch()))
        if stop and not last:
            names = ", ".join(network.name for network in self._networks)
            raise Stopped(
                f"stopped after epoch {done} of {self._training.epochs} of {names}; the same "
                "command goes on from there",
                self._conduct.request.signal_number or 0,
            )


def finish(
    folder: Path,
    config: dict[str, Any],
    study: Prepared,
    network: NetworkConfig,
    training: TrainingConfig,
    trained: TrainedNetwork,
    seconds: float,
    devices: Sequence[jax.Device],
) -> None:
    """Write the results of one network, ``done.json`` last."""
    about = {"network": network.name, "study": study.name}
    if study.simulated:
        about["data"] = "simulated"
    first = trained.halves[0]
    bests = [name for name in ("best_va", "best_1000G") if getattr(first, name) is not None]
    for name in bests:
        save_weights(
            folder / f"{name}.safetensors", [getattr(half, name) for half in trained.halves], about
        )
    write_gene_errors(folder / "errors.tsv", study, trained.gene_errors, training.halves)
    made = made_by(
        "dgex train",
        precision=training.precision,
        inputs={"prepared": {"name": study.path.name, "sha256": study.sha256}},
        seeds={
            "weights and dropout masks": training.seed,
            "batches": list(BATCH_SEED),
            "monitored profiles": MONITOR_SEED,
        },
        device={"platform": devices[0].platform, "kind": devices[0].device_kind},
    )
    mark_done(
        folder,
        config,
        files=[name for name in RUN_FILES if name != DONE],
        provenance=made,
        **{
            f"{name}_epochs": [getattr(half, f"{name}_epoch") for half in trained.halves]
            for name in bests
        },
        seconds=round(seconds, 3),
        devices=[str(device) for device in devices],
        python=sys.version.split()[0],
    )
