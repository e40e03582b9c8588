"""Rows of numbers in a scratch file: appended once, in order, and read back in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from dgex_jax.formats.expression import FloatArray

Rows = slice | np.ndarray[Any, np.dtype[np.intp]]


class FloatRows(Protocol):
    """Profiles that can be read a few rows at a time (a `RowStore` of floating-point rows)."""

    def __len__(self) -> int: ...

    @property
    def n_columns(self) -> int:
        """Values in a row."""

    def read(self, rows: Rows) -> FloatArray:
        """Return the rows ``(n, n_columns)`` in the order asked for."""


class RowStore:
    """A growing ``(n_rows, n_columns)`` matrix on disk.

    A read maps the file only for as long as it copies: memory that stays in use is what the caller
    holds, however large the file.

    Parameters
    ----------
    path
        The scratch file; it is made by the first `append` and removed by whoever made its folder.
    n_columns
        Values in a row.
    dtype
        How values are stored; appended blocks must already have it.
    """

    def __init__(self, path: Path, n_columns: int, dtype: DTypeLike) -> None:
        self._path = path
        self._n_rows = 0
        self.n_columns = n_columns
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    def __len__(self) -> int:
        return self._n_rows

    def append(self, block: NDArray[Any]) -> None:
        """Add the rows of `block` ``(n, n_columns)`` at the end."""
        if block.dtype != self.dtype or block.ndim != 2 or block.shape[1] != self.n_columns:
            raise TypeError(
                f"rows of {self.n_columns} {self.dtype} expected, got {block.shape} {block.dtype}"
            )
        with self._path.open("ab") as file:
            file.write(np.ascontiguousarray(block).data)
        self._n_rows += len(block)

    def read(self, rows: Rows) -> NDArray[Any]:
        """Return a copy ``(n, n_columns)`` of `rows`, a slice or an index array, in its order."""
        if not self._n_rows:
            return np.empty((self._n_rows, self.n_columns), self.dtype)[rows]
        shape = (self._n_rows, self.n_columns)
        mapped = np.asarray(np.memmap(self._path, self.dtype, "r", shape=shape))
        return np.array(mapped[rows]) if isinstance(rows, slice) else mapped[rows]
