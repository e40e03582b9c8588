"""One run: a network of the grid, both its halves, from a prepared study to a run folder."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgex_jax import __version__
from dgex_jax.errors import DgexError
from dgex_jax.training.arrays import StudyArrays, load_arrays
from dgex_jax.training.geneerrors import write_gene_errors
from dgex_jax.training.loop import EpochRecord, build_model, errors_per_gene, train_epochs
from dgex_jax.training.record import DONE, is_done, mark_done, read_json, write_json
from dgex_jax.training.runlog import RunLog
from dgex_jax.training.weights import save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.data.prepared import Prepared

RUN_FORMAT = 1
RUN_FILES = (
    DONE,
    "config.json",
    "log.tsv",
    "log_half1.tsv",
    "log_half2.tsv",
    "best_va.safetensors",
    "best_1000G.safetensors",
    "errors.tsv",
)
SELECTED_BY = {"va": "best_va", "te": "best_va", "1000G": "best_1000G", "GTEx": "best_1000G"}
"""Which of a half's two best epochs each column of errors comes from (definitions: halves)."""


def run_config(study: Prepared, network: NetworkConfig, training: TrainingConfig) -> dict[str, Any]:
    """Everything that decides the outcome of a run, as JSON values; its hash names the run."""
    return {
        "format_version": RUN_FORMAT,
        "prepared_sha256": study.sha256,
        "study": study.name,
        "simulated": study.simulated,
        "network": dataclasses.asdict(network),
        "training": dataclasses.asdict(training),
        "versions": {
            "dgex_jax": __version__,
            "jax": jax.__version__,
            "numpy": np.__version__,
        },
    }


def train_run(
    study: Prepared,
    network: NetworkConfig,
    training: TrainingConfig,
    folder: Path,
    devices: Sequence[jax.Device],
    *,
    arrays: StudyArrays | None = None,
    report: Callable[[str], None] = lambda _: None,
    overwrite: bool = False,
) -> bool:
    """Train one network (both halves) into `folder`, unless it is there already.

    Parameters
    ----------
    study
        The prepared study.
    network, training
        What to train and how.
    folder
        The run folder; made if missing.
    devices
        From `devices.choose_devices`.
    arrays
        The study's arrays if they are in memory already.
    report
        Gets a progress line after each epoch.
    overwrite
        Replace another run that the folder holds.

    Returns
    -------
    bool
        Whether anything was trained.

    Raises
    ------
    DgexError
        The folder holds something else, or training diverged (its log stays, to be looked at).
    """
    config = run_config(study, network, training)
    if is_done(folder, config):
        return False
    refuse_folder(folder, config, overwrite)
    # Before the folder is touched: a study that can't be read must leave no trace.
    arrays = load_arrays(study, training.halves) if arrays is None else arrays
    clear_folder(folder)
    write_json(folder / "config.json", config)
    log = RunLog(folder, arrays.half_sizes())
    start = time.perf_counter()
    line = ProgressLine(training.epochs, arrays.half_sizes())

    def on_epoch(record: EpochRecord) -> None:
        log.append(record)
        report(line(record))

    halves = train_epochs(arrays, network, training, devices, on_epoch)
    best = {
        "best_va": [half.best_va for half in halves],
        "best_1000G": [half.best_1000G for half in halves],
    }
    about = {"network": network.name, "study": study.name}
    if study.simulated:
        about["data"] = "simulated"
    for name, params in best.items():
        save_weights(folder / f"{name}.safetensors", params, about)
    write_gene_errors(
        folder / "errors.tsv",
        study,
        half_errors(arrays, network, training, best),
        training.halves,
    )
    mark_done(
        folder,
        config,
        best_va_epochs=[half.best_va_epoch for half in halves],
        best_1000G_epochs=[half.best_1000G_epoch for half in halves],
        seconds=round(time.perf_counter() - start, 3),
        devices=[str(device) for device in devices],
        python=sys.version.split()[0],
    )
    return True


def refuse_folder(folder: Path, config: dict[str, Any], overwrite: bool) -> None:
    """Check that a run may go into `folder`; changes nothing.

    Raises
    ------
    DgexError
        The folder holds another run (unless `overwrite`), or files that are no run's.
    """
    if folder.is_file():
        raise DgexError(f"{folder}: is a file, not a run folder")
    old = read_json(folder / "config.json")
    if old is not None and old != config and not overwrite:
        changed = ", ".join(sorted(k for k in config if old.get(k) != config[k]))
        raise DgexError(
            f"{folder}: holds another run (it differs in {changed}); choose another folder, or "
            "--overwrite to replace it"
        )
    try:
        found = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise DgexError(f"{folder}: can't be read: {error.strerror}") from error
    strangers = sorted(found - set(RUN_FILES))
    if old is None and strangers:
        raise DgexError(f"{folder}: is no run folder: it holds {strangers[0]}")


def clear_folder(folder: Path) -> None:
    """Make the run folder ready: keep nothing of an unfinished or replaced run.

    Raises
    ------
    DgexError
        It can't be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in RUN_FILES:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise DgexError(f"{folder}: can't be written: {error.strerror}") from error


def half_errors(
    arrays: StudyArrays,
    network: NetworkConfig,
    training: TrainingConfig,
    best: dict[str, list[Any]],
) -> dict[str, NDArray[np.float64]]:
    """MAE of every target, ``(n_targets,)``, each half by the weights of its own best epoch."""
    errors: dict[str, NDArray[np.float64]] = {}
    for part, selected in SELECTED_BY.items():
        errors[part] = np.concatenate(
            [
                errors_per_gene(
                    best[selected][half],
                    build_model(network, training, size),
                    arrays.X[part],
                    arrays.half(part, half, size),
                )
                for half, size in enumerate(arrays.half_sizes())
            ]
        )
    return errors


class ProgressLine:
    """Makes the line a person reads after each epoch."""

    def __init__(self, epochs: int, half_sizes: Sequence[int]) -> None:
        self._epochs = epochs
        self._weights = np.asarray(half_sizes) / sum(half_sizes)
        self._best = (np.inf, np.inf)
        self._seconds: list[float] = []

    def __call__(self, record: EpochRecord) -> str:
        """Format one epoch: errors, bests so far, learning rates, time taken and left."""
        va, _, thousand, _, _ = self._weights @ record.errors
        self._best = (min(self._best[0], va), min(self._best[1], thousand))
        self._seconds.append(record.seconds)
        # The first epoch holds the compilation, so it says nothing about the rest.
        typical = np.median(self._seconds[1:][-10:]) if len(self._seconds) > 1 else np.nan
        left = float(typical) * (self._epochs - record.epoch - 1)
        rates = "/".join(f"{rate:.2e}" for rate in record.learning_rates)
        return (
            f"epoch {record.epoch + 1:>{len(str(self._epochs))}}/{self._epochs}  "
            f"GEO-va {va:.4f} (best {self._best[0]:.4f})  "
            f"1000G-va {thousand:.4f} (best {self._best[1]:.4f})  "
            f"rate {rates}  {record.seconds:.2f} s  {clock(left)} left"
        )


def clock(seconds: float) -> str:
    """Write a duration as ``m:ss`` or ``h:mm:ss``; ``?`` if it is not known (NaN)."""
    if math.isnan(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
