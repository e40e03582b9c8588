"""Sparse matrices as anndata stores them, checked before compiled code trusts their indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

PARTS = ("data", "indices", "indptr")


def check_pointers(path: Path, group: Any, matrix: Any) -> None:
    """Raise `FormatError` unless rows (columns) of a stored matrix begin and end where they can.

    SciPy takes these numbers for addresses in memory; wrong ones give foreign values, or the death
    of the process.

    Parameters
    ----------
    path
        The file.
    group
        ``data``, ``indices`` and ``indptr``.
    matrix
        Anndata's view of it: its shape and whether it is CSR or CSC.
    """
    data, indices, indptr = (group.get(name) for name in PARTS)
    for name, part in zip(PARTS, (data, indices, indptr), strict=True):
        if not isinstance(part, h5py.Dataset) or part.ndim != 1:
            raise FormatError(f"{path}: X: {name} is no column of values")
        if name != "data" and part.dtype.kind not in "iu":
            raise FormatError(f"{path}: X: {name} holds {part.dtype}, not whole numbers")
    if len(data) != len(indices):
        raise FormatError(f"{path}: X: {len(data)} values with {len(indices)} indices")
    n = matrix.shape[0 if matrix.format == "csr" else 1]
    if len(indptr) != n + 1:
        raise FormatError(f"{path}: X: indptr has {len(indptr)} numbers, not {n + 1}")
    bounds = indptr[...]
    if bounds[0] != 0 or np.any(bounds[1:] < bounds[:-1]) or bounds[-1] > len(indices):
        raise FormatError(f"{path}: X: indptr does not ascend from 0 to {len(indices)}")


def check_indices(path: Path, part: Any) -> Any:
    """Give `part`, a CSR or CSC matrix in memory; `FormatError` if an index leads out of it."""
    n = part.shape[1 if part.format == "csr" else 0]
    if part.indices.size and not 0 <= part.indices.min() <= part.indices.max() < n:
        raise FormatError(f"{path}: X: an index is not between 0 and {n - 1}")
    return part
