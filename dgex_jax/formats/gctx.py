"""GCTX 1.0 in: ids at once, values only as they are asked for."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from dgex_jax.errors import FormatError
from dgex_jax.formats.access import HDF5_MAGIC, read_head
from dgex_jax.formats.closing import Closing
from dgex_jax.formats.gctx_meta import find_dataset, read_fields, read_ids, read_version
from dgex_jax.formats.gctx_write import MISSING, GctxWriter, write_gctx
from dgex_jax.formats.hdf5_errors import hdf5_errors
from dgex_jax.formats.hdf5_matrix import read_matrix
from dgex_jax.formats.ids import check_ids
from dgex_jax.formats.selection import positions
from dgex_jax.formats.unchanged import Unchanged

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from dgex_jax.formats.expression import FloatArray, Selection

__all__ = ["Gctx", "GctxWriter", "write_gctx"]

MATRIX = "0/DATA/0/matrix"
CACHE_BYTES = 1 << 25
CACHE_SLOTS = 10007


class Gctx(Closing):
    """A GCTX 1.0 file opened for reading in parts (an `ExpressionSource`).

    Opening reads the ids and the shape, never the matrix. A context manager; `close` it otherwise.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    path
        The file.
    profiles, genes
        Ids (``/0/META/COL/id``, ``/0/META/ROW/id``), unique, in file order; numbers as decimals.

    Raises
    ------
    FormatError
        No such file, not HDF5, truncated or damaged, not GCTX 1.0, a missing group, ids that are
        empty, come twice or don't fit the matrix (a transposed matrix is called that).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if read_head(self.path) != HDF5_MAGIC:
            raise FormatError(f"{self.path}: is not GCTX: it does not begin as an HDF5 file")
        with hdf5_errors(self.path):
            # Locks fail on some network disks, and a finished file is never written to again.
            self._file = h5py.File(
                self.path,
                "r",
                locking="best-effort",
                rdcc_nbytes=CACHE_BYTES,
                rdcc_nslots=CACHE_SLOTS,
            )
        try:
            self._unchanged = Unchanged.of_hdf5(self.path, self._file)
            with hdf5_errors(self.path):
                read_version(self.path, self._file)
                profiles = find_dataset(self.path, self._file, "0/META/COL/id")
                genes = find_dataset(self.path, self._file, "0/META/ROW/id")
                self._matrix = self._find_matrix((profiles.size, genes.size))
                self.profiles = read_ids(self.path, profiles)
                self.genes = read_ids(self.path, genes)
            check_ids(self.path, "profile", self.profiles)
            check_ids(self.path, "gene", self.genes)
        except BaseException:
            self._file.close()
            raise

    @contextmanager
    def _opened(self) -> Iterator[None]:
        if not self._file:
            raise ValueError(f"{self.path}: is closed")
        with hdf5_errors(self.path):
            yield
        self._unchanged.check()

    def _find_matrix(self, wanted: tuple[int, int]) -> Any:
        """Find the matrix; check its shape before as many ids are read as a damaged file says."""
        matrix = find_dataset(self.path, self._file, MATRIX)
        if matrix.dtype.kind not in "fiu":
            raise FormatError(f"{self.path}: /{MATRIX} holds {matrix.dtype}, not numbers")
        if matrix.shape == wanted:
            return matrix
        text = f"/{MATRIX} is {' x '.join(map(str, matrix.shape))}"
        ids = f"{wanted[0]} profile (COL) and {wanted[1]} gene (ROW) ids"
        if matrix.shape == wanted[::-1]:
            raise FormatError(
                f"{self.path}: the matrix is transposed against its ids: {text} for {ids}; "
                "it must be profiles x genes"
            )
        raise FormatError(f"{self.path}: {text}, which does not fit {ids}")

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_profiles, n_genes)``."""
        return len(self.profiles), len(self.genes)

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """Dtype of what `read` gives: float32 or float64 as stored (integers as float64)."""
        narrow = self._matrix.dtype.kind == "f" and self._matrix.dtype.itemsize <= 4
        return np.dtype(np.float32 if narrow else np.float64)

    @cached_property
    def profile_metadata(self) -> pd.DataFrame:
        """One line a profile; see `read_fields` for the dtypes."""
        with self._opened():
            return read_fields(self.path, self._file, "COL", self.profiles)

    @cached_property
    def gene_metadata(self) -> pd.DataFrame:
        """One line a gene; see `read_fields` for the dtypes."""
        with self._opened():
            return read_fields(self.path, self._file, "ROW", self.genes)

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Read a selection of the values.

        Parameters
        ----------
        profiles, genes
            Slices or integer arrays (any order, repeats allowed); ``None`` for all.

        Returns
        -------
        FloatArray
            ``(n_profiles, n_genes)`` in the order of the selections; NaN where the file has NaN or
            -666. Beside it and a mask of its size, at most about 32 MiB (or one row of chunks) are
            in memory at a time.

        Raises
        ------
        FormatError
            The values can't be read (a damaged file), or the file was changed since it was opened.
        IndexError
            A selection out of bounds.
        """
        rows = positions(profiles, len(self.profiles))
        columns = positions(genes, len(self.genes))
        with self._opened():
            values = read_matrix(self._matrix, rows, columns, self.dtype)
        values[values == MISSING] = np.nan
        return values

    def close(self) -> None:
        """Close the file; ids and metadata already read stay."""
        self._file.close()
