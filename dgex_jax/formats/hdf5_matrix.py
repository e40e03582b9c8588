"""Any rows and columns of an HDF5 matrix in few reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.errors import FormatError
from dgex_jax.formats.selection import is_run, pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray

READ_BYTES = 1 << 25
"""What one HDF5 call may bring in beyond the result itself."""
CHUNK_BYTES = 1 << 30
"""A chunk must be in memory as a whole, however few of its values are asked for."""
NEAR_BYTES = 1 << 12
"""In a contiguous matrix, values this near are read together: the disk does so anyway."""


def read_matrix(
    matrix: Any, rows: NDArray[np.intp], columns: NDArray[np.intp], dtype: np.dtype[Any]
) -> FloatArray:
    """Read a selection of a matrix.

    Parameters
    ----------
    matrix
        A two-dimensional HDF5 dataset of numbers.
    rows, columns
        Positions inside it, any order, repeats allowed.
    dtype
        Of the result.

    Returns
    -------
    FloatArray
        ``(n_rows, n_columns)`` in the order of the selections. Beside it at most about 32 MiB (or
        one row of chunks) are in memory at a time.

    Raises
    ------
    FormatError
        Chunks larger than `CHUNK_BYTES`.
    """
    chunk_bytes = math.prod(matrix.chunks or ()) * matrix.dtype.itemsize
    if chunk_bytes > CHUNK_BYTES:
        raise FormatError(
            f"{matrix.file.filename}: {matrix.name} is stored in chunks of {chunk_bytes} bytes (at "
            f"most {CHUNK_BYTES} can be read)"
        )
    values = np.empty((len(rows), len(columns)), dtype)
    if not values.size:
        return values
    if is_run(rows) and is_run(columns):
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        matrix.read_direct(values, part)
    else:
        _gather(matrix, values, rows, columns)
    return values


def _gather(
    matrix: Any, values: FloatArray, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> None:
    """Fill `values` from few larger reads, each touching every chunk it needs once."""
    itemsize = values.dtype.itemsize
    near = NEAR_BYTES // itemsize
    chunk_rows, chunk_columns = matrix.chunks or (1, near)
    for left, right, here, wanted in pieces(columns, chunk_columns, matrix.shape[1]):
        fitting = READ_BYTES // ((right - left) * itemsize)
        longest = max(chunk_rows, fitting - fitting % chunk_rows)
        for top, bottom, there, needed in pieces(rows, chunk_rows, longest):
            block = np.empty((bottom - top, right - left), values.dtype)
            matrix.read_direct(block, np.s_[top:bottom, left:right])
            part = block[needed].take(wanted, axis=1)
            if isinstance(here, slice) or isinstance(there, slice):
                values[there, here] = part
            else:
                values[np.ix_(there, here)] = part
