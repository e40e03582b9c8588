"""GCTX 1.0 in: ids at once, values only as they are asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import MISSING, annotation_frame, check_ids, positions
from dgex_jax.io.hdf5 import Hdf5File, decode_padded, narrow_dtype, read_ids, read_matrix

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.io.expression import FloatArray, Selection

VERSION = "GCTX1.0"
MATRIX = "0/DATA/0/matrix"
CACHE = {"rdcc_nbytes": 1 << 25, "rdcc_nslots": 10007}


class Gctx(Hdf5File):
    """A GCTX 1.0 file opened for reading in parts (an `AnnotatedSource`).

    Opening reads the ids (unique, in file order; numbers as decimals) and the shape, never the
    matrix. A context manager; `close` it otherwise.

    Raises `FormatError` for no such file, not HDF5, truncated or damaged, not GCTX 1.0, a missing
    group, ids that are empty, come twice or don't fit the matrix (a transposed matrix is called
    that).
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, "GCTX", **CACHE)

    def _look(self) -> None:
        self._check_version()
        profiles = self._dataset("0/META/COL/id")
        genes = self._dataset("0/META/ROW/id")
        # Before as many ids are read as a damaged file says there are.
        self._matrix = self._find_matrix((profiles.size, genes.size))
        self.profiles = read_ids(self.path, profiles)
        self.genes = read_ids(self.path, genes)
        check_ids(self.path, "profile", self.profiles)
        check_ids(self.path, "gene", self.genes)

    def _check_version(self) -> None:
        # Some writers store it as a scalar, others as an array of one, and some not at all.
        if "version" not in self._file.attrs:
            return
        found = [
            decode_padded(value) if isinstance(value, (bytes, str)) else str(value)
            for value in np.ravel(self._file.attrs["version"]).tolist()
        ]
        if found != [VERSION]:
            raise FormatError(f"{self.path}: version {', '.join(found)!r} is not {VERSION}")

    def _find_matrix(self, wanted: tuple[int, int]) -> Any:
        matrix = self._numbers(MATRIX)
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
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """Dtype of what `read` gives: float32 or float64 as stored (integers as float64)."""
        return narrow_dtype(self._matrix.dtype)

    @cached_property
    def profile_metadata(self) -> pd.DataFrame:
        """One line a profile, indexed by id.

        Text stays text, ``-666`` and what looks like a number included. Numbers keep their dtype,
        with -666 as NaN (integers: pandas' nullable dtype). Raises `FormatError` for a field that
        is no column of one value per id.
        """
        return self._fields("COL", self.profiles)

    @cached_property
    def gene_metadata(self) -> pd.DataFrame:
        """One line a gene; as `profile_metadata`."""
        return self._fields("ROW", self.genes)

    def _fields(self, axis: str, ids: tuple[str, ...]) -> pd.DataFrame:
        group = f"0/META/{axis}"
        with self._opened():
            names = [name for name in self._file[group] if name != "id"]
            columns = {
                name: _with_missing(self._field(f"{group}/{name}", len(ids))) for name in names
            }
        return annotation_frame(ids, columns)

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Read a selection of the values: slices or integer arrays, ``None`` for all.

        Gives ``(n_profiles, n_genes)`` in the order of the selections, NaN where the file has NaN
        or -666. Beside it and a mask of its size, at most about 32 MiB (or one row of chunks) are
        in memory at a time. Raises `FormatError` for values that can't be read (a damaged file), or
        a file that was changed since it was opened; `IndexError` for a selection out of bounds.
        """
        rows = positions(profiles, len(self.profiles))
        columns = positions(genes, len(self.genes))
        with self._opened():
            values = read_matrix(self._matrix, rows, columns, self.dtype)
        values[values == MISSING] = np.nan
        return values


def _with_missing(values: list[str] | NDArray[Any]) -> Any:
    """Numbers with -666 as NaN (integers: pandas' nullable dtype); all else as it is."""
    if isinstance(values, list) or values.dtype.kind == "b":
        return values
    missing = values == MISSING
    if values.dtype.kind == "f":
        return np.where(missing, np.nan, values).astype(values.dtype)
    if not missing.any():
        return values
    dtype: Any = f"Int{8 * values.dtype.itemsize}"
    nullable: Any = pd.array(values, dtype=dtype)
    nullable[missing] = pd.NA
    return nullable
