"""The log of a run: one line an epoch, in the columns of the original."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.config import LOGGED
from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import atomic_path, sync
from dgex_jax.training.pylearn2 import FIRST_COMPARISON

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.training.loop import EpochRecord

ERROR_COLUMNS = [column for part in LOGGED for column in (f"MAE_{part}", f"d_{part}")]


class RunLog:
    """Appends each epoch to the log files of a run folder, each line when its epoch is done.

    Cells of parts that the study has not (NaN in the records) are empty.

    Two halves write ``log_half1.tsv``, ``log_half2.tsv`` and ``log.tsv``, the mean of both weighted
    by their genes, with both learning rates; one half writes ``log.tsv`` alone. ``d_…`` is the
    change relative to the epoch before (the first is compared with 10.0, as in the original).

    Parameters
    ----------
    folder
        The run folder; older logs in it are replaced.
    half_sizes
        Number of target genes of each half.
    history
        Epochs done before this process started; their lines are written first. (The log on disk
        may hold more: epochs after the checkpoint that training goes on from.)
    """

    def __init__(
        self, folder: Path, half_sizes: Sequence[int], history: Sequence[EpochRecord] = ()
    ) -> None:
        self._weights = np.asarray(half_sizes) / sum(half_sizes)
        n_halves = len(half_sizes)
        self._paths = [folder / "log.tsv"]
        rates = [["learning_rate"]]
        if n_halves > 1:
            halves = range(1, n_halves + 1)
            self._paths += [folder / f"log_half{half}.tsv" for half in halves]
            rates = [[f"learning_rate_half{half}" for half in halves], *rates * n_halves]
        self._previous = [np.full(len(LOGGED), FIRST_COMPARISON) for _ in self._paths]
        headers = ["\t".join(["epoch", *ERROR_COLUMNS, *columns, "seconds"]) for columns in rates]
        written = zip(*[headers, *map(self._lines, history)], strict=True)
        for path, lines in zip(self._paths, written, strict=True):
            with atomic_path(path) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def append(self, record: EpochRecord) -> None:
        """Write one epoch.

        Raises
        ------
        DgexError
            The disk refuses it.
        """
        for path, line in zip(self._paths, self._lines(record), strict=True):
            try:
                with path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
            except OSError as error:
                raise DgexError(f"{path}: can't be written: {one_line(error)}") from error

    def sync(self) -> None:
        """Wait until the disk has all lines, before anything says that the run is finished.

        Not needed earlier: a run that goes on writes its log anew, from the checkpoint.

        Raises
        ------
        DgexError
            The disk refuses it.
        """
        for path in self._paths:
            try:
                sync(path, os.O_RDWR)
            except OSError as error:
                raise DgexError(f"{path}: can't be written: {one_line(error)}") from error

    def _lines(self, record: EpochRecord) -> list[str]:
        rows = [(self._weights @ record.errors, record.learning_rates)]
        if len(self._paths) > 1:
            rows += [
                (errors, rate[None])
                for errors, rate in zip(record.errors, record.learning_rates, strict=True)
            ]
        return [
            self._line(number, errors, rates, record) for number, (errors, rates) in enumerate(rows)
        ]

    def _line(
        self,
        number: int,
        errors: NDArray[np.float64],
        rates: NDArray[np.float32],
        record: EpochRecord,
    ) -> str:
        change = (errors - self._previous[number]) / self._previous[number]
        self._previous[number] = errors
        cells = [str(record.epoch)]
        for error, part in zip(errors, change, strict=True):
            # An error of a part that is there is finite, or training has ended with it.
            cells += ["", ""] if np.isnan(error) else [repr(float(error)), f"{part:.6g}"]
        # The shortest text that gives the float32 back.
        cells += [str(rate) for rate in rates]
        return "\t".join([*cells, f"{record.seconds:.4f}"])
