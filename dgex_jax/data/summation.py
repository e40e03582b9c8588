"""Means and deviations whose bits don't depend on how the rows were cut into blocks.

Rows are added one after the other in a fixed order, never a block at a time, so a block size can't
change a result; compensated (two-sum) addition keeps the error at one rounding however many
profiles there are. Counting ranks would be exact as well, but needs genes x genes counters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray


class RowSum:
    """Compensated float64 sum of rows (Knuth's two-sum, element by element)."""

    def __init__(self, n_columns: int) -> None:
        self.n_rows = 0
        self._total = np.zeros(n_columns)
        self._error = np.zeros(n_columns)
        self._next, self._shift, self._part = np.empty((3, n_columns))

    def add(self, block: NDArray[np.float64]) -> None:
        """Add every row of `block` ``(n, n_columns)`` float64, in order."""
        # Sums beyond float64 show in `mean`, which is then not finite: no warning is needed.
        with np.errstate(over="ignore", invalid="ignore"):
            self._add(block)
        self.n_rows += len(block)

    def _add(self, block: NDArray[np.float64]) -> None:
        shift, part = self._shift, self._part
        for row in block:
            np.add(self._total, row, out=self._next)
            np.subtract(self._next, self._total, out=shift)
            np.subtract(self._next, shift, out=part)
            np.subtract(self._total, part, out=part)
            self._error += part
            np.subtract(row, shift, out=part)
            self._error += part
            self._total, self._next = self._next, self._total

    def mean(self) -> NDArray[np.float64]:
        """Mean of the rows added so far, ``(n_columns,)`` float64; not finite if they overflow."""
        return np.asarray((self._total + self._error) / self.n_rows)


def mean_and_deviation(
    blocks: Callable[[], Iterable[NDArray[np.float64]]], n_columns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Column means and population standard deviations (ddof 0) in two passes over the rows.

    Parameters
    ----------
    blocks
        Called twice; each call gives the same rows in the same order, as float64 blocks
        ``(n, n_columns)`` of any sizes.
    n_columns
        Width of the blocks.

    Returns
    -------
    mean, deviation
        ``(n_columns,)`` float64 each; not finite where the values, or their squares, overflow.
    """
    total = RowSum(n_columns)
    for block in blocks():
        total.add(block)
    mean = total.mean()
    squares = RowSum(n_columns)
    for block in blocks():
        with np.errstate(over="ignore", invalid="ignore"):
            apart = (block - mean) ** 2
        squares.add(apart)
    return mean, np.sqrt(squares.mean())
