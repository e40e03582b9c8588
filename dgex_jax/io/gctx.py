"""GCTX 1.0 in: ids at once, values only as they are asked for."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import MISSING, check_ids, positions
from dgex_jax.io.files import HDF5_MAGIC, Closing, Unchanged, read_head
from dgex_jax.io.hdf5 import (
    decode_padded,
    hdf5_errors,
    narrow_dtype,
    open_hdf5,
    read_matrix,
    require_column_sizes,
    require_inside,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dgex_jax.io.expression import FloatArray, Selection

VERSION = "GCTX1.0"
MATRIX = "0/DATA/0/matrix"
CACHE = {"rdcc_nbytes": 1 << 25, "rdcc_nslots": 10007}


class Gctx(Closing):
    """A GCTX 1.0 file opened for reading in parts (an `AnnotatedSource`).

    Opening reads the ids (unique, in file order; numbers as decimals) and the shape, never the
    matrix. A context manager; `close` it otherwise.

    Raises `FormatError` for no such file, not HDF5, truncated or damaged, not GCTX 1.0, a missing
    group, ids that are empty, come twice or don't fit the matrix (a transposed matrix is called
    that).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if read_head(self.path) != HDF5_MAGIC:
            raise FormatError(f"{self.path}: is not GCTX: it does not begin as an HDF5 file")
        with hdf5_errors(self.path):
            self._file = open_hdf5(self.path, **CACHE)
        try:
            self._unchanged = Unchanged.of_hdf5(self.path, self._file)
            with hdf5_errors(self.path):
                self._check_version()
                profiles = self._dataset("0/META/COL/id")
                genes = self._dataset("0/META/ROW/id")
                # Before as many ids are read as a damaged file says there are.
                self._matrix = self._find_matrix((profiles.size, genes.size))
                self.profiles = _read_ids(self.path, profiles)
                self.genes = _read_ids(self.path, genes)
            check_ids(self.path, "profile", self.profiles)
            check_ids(self.path, "gene", self.genes)
        except BaseException:
            self._file.close()
            raise

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

    def _dataset(self, name: str) -> Any:
        dataset = self._file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise FormatError(f"{self.path}: has no dataset /{name}")
        require_inside(self.path, self._file, dataset)
        return dataset

    def _find_matrix(self, wanted: tuple[int, int]) -> Any:
        matrix = self._dataset(MATRIX)
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

    @contextmanager
    def _opened(self) -> Iterator[None]:
        if not self._file:
            raise ValueError(f"{self.path}: is closed")
        with hdf5_errors(self.path):
            yield
        self._unchanged.check()

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
        index = pd.Index(ids, dtype=object)
        columns: dict[str, Any] = {}
        with self._opened():
            for name, dataset in self._file[f"0/META/{axis}"].items():
                if name == "id":
                    continue
                place = f"/0/META/{axis}/{name}"
                if not isinstance(dataset, h5py.Dataset):
                    raise FormatError(f"{self.path}: {place} is not a dataset")
                require_inside(self.path, self._file, dataset)
                if dataset.size != len(ids):
                    raise FormatError(
                        f"{self.path}: {place} has {dataset.size} values for {len(ids)} ids"
                    )
                annotation = _annotation(self.path, place, _read_column(self.path, dataset))
                dtype = object if isinstance(annotation, list) else None
                columns[name] = pd.Series(annotation, index=index, dtype=dtype)
            return pd.DataFrame(columns, index=index, columns=pd.Index(list(columns), dtype=object))

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

    def close(self) -> None:
        """Close the file; ids and metadata already read stay."""
        self._file.close()


def _read_ids(path: Path, dataset: Any) -> tuple[str, ...]:
    values = _read_column(path, dataset)
    if values.dtype.kind in "OSU":
        return tuple(map(decode_padded, values.tolist()))
    if values.dtype.kind == "f" and np.isfinite(values).all() and np.all(values % 1 == 0):
        return tuple(str(int(value)) for value in values.tolist())
    if values.dtype.kind in "iu":
        return tuple(map(str, values.tolist()))
    raise FormatError(
        f"{path}: {dataset.name} holds {values.dtype}, neither text nor whole numbers"
    )


def _read_column(path: Path, dataset: Any) -> NDArray[Any]:
    """Read a dataset of shape (n,), or (n, 1) or (1, n) as some Matlab writers have it."""
    if dataset.ndim == 0 or max(dataset.shape) != dataset.size:
        raise FormatError(f"{path}: {dataset.name} has no column of values but {dataset.shape}")
    if dataset.dtype.kind == "O" and h5py.check_string_dtype(dataset.dtype) is None:
        raise FormatError(f"{path}: {dataset.name} holds {dataset.dtype}, neither text nor numbers")
    require_column_sizes(path, dataset)
    values: NDArray[Any] = dataset[...].reshape(-1)
    return values


def _annotation(path: Path, place: str, values: NDArray[Any]) -> Any:
    if values.dtype.kind in "OSU":
        return [decode_padded(value) for value in values.tolist()]
    if values.dtype.kind == "b":
        return values
    if values.dtype.kind not in "iuf":
        raise FormatError(f"{path}: {place} holds {values.dtype}, neither text nor numbers")
    native = values.astype(values.dtype.newbyteorder("="))
    missing = native == MISSING
    if native.dtype.kind == "f":
        return np.where(missing, np.nan, native).astype(native.dtype)
    if not missing.any():
        return native
    dtype: Any = f"Int{8 * native.dtype.itemsize}"
    nullable: Any = pd.array(native, dtype=dtype)
    nullable[missing] = pd.NA
    return nullable
