"""The line a person reads after each epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dgex_jax.training.loop import EpochRecord


class ProgressLine:
    """Makes the line of each epoch of one network; knows the best errors so far.

    Parameters
    ----------
    epochs
        In all.
    half_sizes
        Number of target genes of each half.
    history
        Epochs done before this process started.
    """

    def __init__(
        self, epochs: int, half_sizes: Sequence[int], history: Sequence[EpochRecord] = ()
    ) -> None:
        self._epochs = epochs
        self._weights = np.asarray(half_sizes) / sum(half_sizes)
        self._best = (np.inf, np.inf)
        self._seconds: list[float] = []
        for record in history:
            self._see(record)

    def __call__(self, record: EpochRecord) -> str:
        """Format one epoch: errors, bests so far, learning rates, time taken and left."""
        va, thousand = self._see(record)
        self._seconds.append(record.seconds)
        # The first epoch holds the compilation, so it says nothing about the rest.
        typical = np.median(self._seconds[1:][-10:]) if len(self._seconds) > 1 else np.nan
        left = float(typical) * (self._epochs - record.epoch - 1)
        rates = "/".join(f"{rate:.2e}" for rate in record.learning_rates)
        rna = (
            "" if math.isnan(thousand) else f"1000G-va {thousand:.4f} (best {self._best[1]:.4f})  "
        )
        return (
            f"epoch {record.epoch + 1:>{len(str(self._epochs))}}/{self._epochs}  "
            f"GEO-va {va:.4f} (best {self._best[0]:.4f})  {rna}"
            f"rate {rates}  {record.seconds:.2f} s  {clock(left)} left"
        )

    def _see(self, record: EpochRecord) -> tuple[float, float]:
        va, _, thousand, _, _ = self._weights @ record.errors
        self._best = (min(self._best[0], va), min(self._best[1], thousand))
        return va, thousand


def clock(seconds: float) -> str:
    """Write a duration as ``m:ss`` or ``h:mm:ss``; ``?`` if it is not known (NaN)."""
    if math.isnan(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
