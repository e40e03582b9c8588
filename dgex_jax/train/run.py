"""The folder of a run: configuration, logs, checkpoints and results; and stopping on request."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dgex_jax import __version__
from dgex_jax.errors import DgexError
from dgex_jax.io.files import (
    atomic_path,
    fill_tensors,
    is_temporary,
    locked,
    make_folder,
    reading,
    remove_temporary,
    sync,
    writing,
)
from dgex_jax.io.manifest import (
    file_sha256,
    identity,
    job_hash,
    read_json,
    read_sealed,
    sealed,
    write_json,
)
from dgex_jax.io.manifest import record as made_by
from dgex_jax.train.pylearn2 import BATCH_SEED, FIRST_COMPARISON, MONITOR_SEED
from dgex_jax.train.record import (
    CONFIG,
    DONE,
    mark_done,
    save_weights,
    write_gene_errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    import jax
    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.parts import Parts
    from dgex_jax.prepare.prepared import Prepared
    from dgex_jax.train.epoch import State
    from dgex_jax.train.record import TrainedNetwork

RUN_FORMAT = 2
CHECKPOINT_FORMAT = 2
CHECKPOINTS = "checkpoint"
RUN_FILES = (DONE, CONFIG, "log.tsv", "log_half1.tsv", "log_half2.tsv", "errors.tsv")
WEIGHTS = "best_{}.safetensors"
"""One for each validation part."""
KEPT = 2
"""Checkpoints on disk: the newest, and the one before in case the newest is damaged."""
LARGEST_SHARE = 0.05
"""Of the time, spent on writing checkpoints."""


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch, counted from 0, gave for one network.

    `errors` ``(n_halves, n_parts)`` are the overall MAE on the parts `StudyArrays.logged`;
    `learning_rates` ``(n_halves,)`` those used; `seconds` the time of all halves and of all
    networks that train side by side.
    """

    epoch: int
    errors: NDArray[np.float64]
    learning_rates: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far a group has come: all that a training needs to resume as if never stopped.

    `records` has one list an epoch done, with a record for each network; `states`, on the host, the
    first half of every network, then the second.
    """

    records: Sequence[Sequence[EpochRecord]]
    states: Sequence[State]


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
            "jax": version("jax"),
            "numpy": np.__version__,
        },
    }


def group_hash(configs: list[dict[str, Any]]) -> str:
    """Hash the configurations of the runs of a group, with the versions that trained.

    Only where both are the same is a run that resumes the straight one to the bit.
    """
    return job_hash({"runs": configs})


def refuse_folder(folder: Path, config: dict[str, Any], overwrite: bool) -> None:
    """Raise `DgexError` if `folder` holds another run (unless `overwrite`), or no run's files."""
    if folder.is_file():
        raise DgexError(f"{folder}: is a file, not a run folder")
    old = read_json(folder / CONFIG)
    if old is not None and identity(old) != identity(config) and not overwrite:
        keys = {*identity(config), *identity(old)}
        changed = ", ".join(sorted(k for k in keys if old.get(k) != config.get(k)))
        raise DgexError(
            f"{folder}: holds another run (it differs in {changed}); choose another folder, or "
            "--overwrite to replace it (its config.json says which it is)"
        )
    with reading(folder):
        found = {path.name for path in folder.iterdir()} if folder.exists() else set()
    others = found - {*RUN_FILES, CHECKPOINTS}
    strangers = sorted(
        name for name in others if not (is_temporary(name) or fnmatch(name, WEIGHTS.format("*")))
    )
    if old is None and strangers:
        raise DgexError(f"{folder}: is no run folder: it holds {strangers[0]}")


def clear_folder(folder: Path) -> None:
    """Make the run folder ready: keep nothing of an unfinished or replaced run."""
    with writing(folder):
        make_folder(folder)
        for path in (*(folder / name for name in RUN_FILES), *folder.glob(WEIGHTS.format("*"))):
            path.unlink(missing_ok=True)
        Checkpoints(folder / CHECKPOINTS, "").clear()


def clear_leftovers(folder: Path) -> None:
    """Remove the checkpoints that a kill at the very end of a finished run has left in its folder.

    Says nothing where that can't be, or another process is at it: they only take space.
    """
    if (folder / CHECKPOINTS).is_dir():
        with suppress(DgexError, OSError), locked(folder, wait=False):
            Checkpoints(folder / CHECKPOINTS, "").clear()


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
    epochs, weights = {}, []
    for part in study.parts.choosers:
        weights.append(WEIGHTS.format(part))
        save_weights(folder / weights[-1], [half.best[part] for half in trained.halves], about)
        epochs[f"best_{part}_epochs"] = [half.best_epoch[part] for half in trained.halves]
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
        files=[*(name for name in RUN_FILES if name != DONE), *weights],
        provenance=made,
        **epochs,
        seconds=round(seconds, 3),
        devices=[str(device) for device in devices],
        python=sys.version.split()[0],
    )


class RunLog:
    """Appends each epoch to the log files of a run folder, each line when its epoch is done.

    Two halves write ``log_half1.tsv``, ``log_half2.tsv`` and ``log.tsv``, the mean of both weighted
    by their genes; one half ``log.tsv`` alone. Epochs are counted from 0 (by the original from 1).
    ``d_…`` is the change relative to the epoch before, of the first to 10.0, as in the original.
    Older logs are replaced by the lines of `history`, the epochs done before this process started.
    """

    def __init__(
        self,
        folder: Path,
        half_sizes: Sequence[int],
        parts: Parts,
        history: Sequence[EpochRecord] = (),
    ) -> None:
        self._parts = parts
        self._weights = np.asarray(half_sizes) / sum(half_sizes)
        halves = ["_half1", "_half2"] if len(half_sizes) == 2 else []
        self._paths = [folder / f"log{half}.tsv" for half in ("", *halves)]
        self._previous = np.full((len(self._paths), len(parts.logged)), FIRST_COMPARISON)
        self._best = np.full(len(parts.logged), np.inf)
        self._seconds: list[float] = []
        errors = [column for part in parts.logged for column in (f"MAE_{part}", f"d_{part}")]
        rates = [[f"learning_rate{half}" for half in halves or [""]]]
        rates += [["learning_rate"] for _ in halves]
        headers = ["\t".join(["epoch", *errors, *columns, "seconds"]) for columns in rates]
        written = zip(headers, *map(self._lines, history), strict=True)
        for path, lines in zip(self._paths, written, strict=True):
            with atomic_path(path) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def append(self, record: EpochRecord) -> None:
        """Write one epoch."""
        for path, line in zip(self._paths, self._lines(record), strict=True):
            with writing(path), path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def line(self, record: EpochRecord, epochs: int) -> str:
        """Format the epoch just appended: errors and the best so far, rates, time taken and left.

        The time left is that of this process's last ten epochs, without its first, which compiles.
        """
        self._seconds.append(record.seconds)
        typical = np.median(self._seconds[1:][-10:]) if len(self._seconds) > 1 else np.nan
        left = clock(float(typical) * (epochs - record.epoch - 1))
        watched = "".join(
            f"{self._parts.label(part)} {error:.4f} (best {best:.4f})  "
            for part, error, best in zip(
                self._parts.logged, self._previous[0], self._best, strict=True
            )
            if part in self._parts.choosers
        )
        rates = "/".join(f"{rate:.2e}" for rate in record.learning_rates)
        return (
            f"epoch {record.epoch + 1:>{len(str(epochs))}}/{epochs}  {watched}"
            f"rate {rates}  {record.seconds:.2f} s  {left} left"
        )

    def sync(self) -> None:
        """Wait until the disk has all lines, before anything says that the run is finished."""
        for path in self._paths:
            with writing(path):
                sync(path, os.O_RDWR)

    def _lines(self, record: EpochRecord) -> list[str]:
        overall = self._weights @ record.errors
        self._best = np.minimum(self._best, overall)
        errors = np.stack([overall, *record.errors])[: len(self._paths)]
        changes = (errors - self._previous) / self._previous
        self._previous = errors
        # The shortest text that gives the float32 back.
        used = [str(rate) for rate in record.learning_rates]
        rates = [used, *([rate] for rate in used)]
        lines = []
        for number, row in enumerate(zip(errors.tolist(), changes.tolist(), strict=True)):
            cells = [f"{error!r}\t{change:.6g}" for error, change in zip(*row, strict=True)]
            cells = [str(record.epoch), *cells, *rates[number], f"{record.seconds:.4f}"]
            lines.append("\t".join(cells))
        return lines


def clock(seconds: float) -> str:
    """Write a duration as ``m:ss`` or ``h:mm:ss``; ``?`` if it is not known (NaN)."""
    if math.isnan(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Checkpoints:
    """The checkpoints of one group in a folder of their own, made when the first is saved.

    An epoch is saved if, with it, no more than `share` of the time goes into saving. Each
    checkpoint is a safetensors file and a manifest with its checksum, written after it; a file
    without one is no checkpoint. Those of another `group_hash` are not read.
    """

    def __init__(self, folder: Path, group_hash: str, share: float = LARGEST_SHARE) -> None:
        self._folder = folder
        self._hash = group_hash
        self._share = share
        self._last_end = time.monotonic()
        self._last_seconds = 0.0

    def is_due(self) -> bool:
        """Whether the epoch just done is to be saved."""
        since = time.monotonic() - self._last_end
        return self._last_seconds * (1 - self._share) <= since * self._share

    def save(self, progress: Progress) -> None:
        """Write one checkpoint, and remove all but the newest two."""
        start = time.monotonic()
        epoch = progress.records[-1][0].epoch
        path = self._folder / f"epoch-{epoch:06}.safetensors"
        with writing(path):
            make_folder(self._folder)
            with atomic_path(path) as temporary:
                fill_tensors(temporary, to_arrays(progress), path)
                checksum = file_sha256(temporary)
            manifest = {
                "format_version": CHECKPOINT_FORMAT,
                "group_hash": self._hash,
                "epoch": epoch,
                "file": path.name,
                "sha256": checksum,
            }
            write_json(path.with_suffix(".json"), sealed(manifest))
            # First the manifests, so that none is left without its file; then what has none, such
            # as what killed processes left: the folder is the group's own.
            for old in self._manifests()[KEPT:]:
                old.unlink()
            for left in self._folder.iterdir():
                if is_temporary(left.name):
                    remove_temporary(left)
                elif left.suffix == ".safetensors" and not left.with_suffix(".json").exists():
                    left.unlink()
        self._last_end = time.monotonic()
        self._last_seconds = self._last_end - start

    def newest(self, like: Sequence[State], report: Callable[[str], None]) -> Progress | None:
        """Read the newest intact checkpoint, of the shapes of `like`; report damaged ones."""
        for manifest in self._manifests():
            content = read_sealed(manifest)
            if content is not None and content.get("group_hash") != self._hash:
                continue
            path = manifest.with_suffix(".safetensors")
            try:
                if content is None or content.get("format_version") not in {1, CHECKPOINT_FORMAT}:
                    cause = "its manifest can't be read"
                elif file_sha256(path) != content.get("sha256"):
                    cause = "its checksum is not that of the manifest"
                else:
                    arrays: Mapping[str, Any] = load_file(path)
                    if content["format_version"] == 1:
                        arrays = _of_format_1(arrays)
                    return from_arrays(arrays, like)
            except (DgexError, OSError, SafetensorError, KeyError, ValueError) as error:
                cause = str(error)
            report(f"{path}: damaged checkpoint skipped: {cause}")
        return None

    def clear(self) -> None:
        """Remove the folder with all checkpoints, once their work is done or out of date."""
        for manifest in self._manifests():
            manifest.unlink()
        if self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _manifests(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.json"), reverse=True)


def to_arrays(progress: Progress) -> dict[str, np.ndarray[Any, Any]]:
    """Give every array of a progress a name, such as ``state0.params['hidden1']['kernel']``."""
    import jax  # noqa: PLC0415  (reports and models read run folders without it)

    records = progress.records
    arrays = {
        f"records/{name}": np.array([[getattr(one, name) for one in row] for row in records])
        for name in ("errors", "learning_rates")
    }
    arrays["records/seconds"] = np.array([row[0].seconds for row in records])
    for number, state in enumerate(progress.states):
        for path, leaf in jax.tree.leaves_with_path(state):
            # Not np.ascontiguousarray, which makes vectors of scalars.
            name = f"state{number}{jax.tree_util.keystr(path)}"
            arrays[name] = np.asarray(leaf, order="C")
    return arrays


def _of_format_1(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Rename arrays of best epochs (``state0.best_va.mae``); drop columns of parts not there."""
    old, new = r"\.best_(va|1000G)\.", r".best['\1']."
    found = {re.sub(old, new, name): one for name, one in arrays.items()}
    errors = found["records/errors"]
    return found | {"records/errors": errors[..., ~np.isnan(errors).all(axis=(0, 1, 2))]}


def from_arrays(arrays: Mapping[str, np.ndarray[Any, Any]], like: Sequence[State]) -> Progress:
    """Undo `to_arrays`; `DgexError` for other shapes than in `like`, `KeyError` for a gap."""
    import jax  # noqa: PLC0415

    def found(number: int, path: Any, leaf: Any) -> np.ndarray[Any, Any]:
        name = f"state{number}{jax.tree_util.keystr(path)}"
        array, wanted = arrays[name], np.asarray(leaf)
        if (array.shape, array.dtype) != (wanted.shape, wanted.dtype):
            raise DgexError(f"{name} is {array.dtype} of shape {array.shape}")
        return array

    states = [
        jax.tree.map_with_path(partial(found, number), state) for number, state in enumerate(like)
    ]
    rows = zip(
        *(arrays[f"records/{name}"] for name in ("errors", "learning_rates", "seconds")),
        strict=True,
    )
    records = [
        [EpochRecord(epoch, *one, float(seconds)) for one in zip(errors, rates, strict=True)]
        for epoch, (errors, rates, seconds) in enumerate(rows)
    ]
    return Progress(records, states)


@dataclass
class StopRequest:
    """Whether someone `asked` everything that trains in a process to stop, and by which signal."""

    asked: bool = False
    signal_number: int | None = None

    def ask(self, signal_number: int | None = None) -> None:
        """Ask to stop after this epoch."""
        self.signal_number = self.signal_number or signal_number
        self.asked = True


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM of the block into a request; a second one stops at once.

    Outside the main thread no signal asks.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if request.asked:
            raise KeyboardInterrupt
        request.ask(number)
        print(
            "\nstopping: this epoch is finished and saved first (again to stop at once)",
            file=sys.stderr,
            flush=True,
        )

    before = {one: signal.signal(one, handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
