"""AnnData in and out, a part at a time: objects in memory, ``.h5ad`` files (need ``anndata``)."""

from __future__ import annotations

import importlib
import json
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import as_slice, positions
from dgex_jax.io.files import Closing, Unchanged
from dgex_jax.io.hdf5 import (
    narrow_dtype,
    open_hdf5,
    read_matrix,
    require_column_sizes,
    require_inside,
)
from dgex_jax.io.writers import MatrixWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dgex_jax.io.expression import FloatArray, Places, Selection
    from dgex_jax.io.partial import Resume
    from dgex_jax.io.writers import ProfileWriter


def import_anndata(path: Path) -> Any:
    """Import the optional package that `path` needs; `DgexError` if it is not installed."""
    try:
        return importlib.import_module("anndata")
    except ImportError as error:
        text = f'{path}: an .h5ad file needs anndata: pip install "dgex-jax[anndata]"'
        raise DgexError(text) from error


@contextmanager
def anndata_errors(path: Path, what: str = "damaged or no AnnData file") -> Iterator[None]:
    """Turn what anndata raises on a file into a `FormatError`, and keep it quiet.

    Its warnings (ids that come twice, old layouts) are checked or harmless here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DgexError:
        raise
    except MemoryError as error:
        raise FormatError(f"{path}: needs more memory than there is") from error
    except Exception as error:  # what anndata raises has no base class in common
        said = getattr(error, "strerror", None)
        raise FormatError(f"{path}: {what}{f': {said}' if said else ''}") from error


ENCODING = {"encoding-type": "array", "encoding-version": "0.2.0"}
"""How AnnData files say what an array is."""


class AnnDataSource:
    """A matrix of AnnData with its ``obs`` and ``var`` (an `AnnotatedSource`).

    Observations are the profiles and variables the genes; their ids, as text, may come twice.
    `path` is what errors name: the file, or how the object is called. `X` is ``(n_obs, n_vars)``
    numbers: a NumPy array, a SciPy CSR or CSC matrix, an HDF5 dataset, or anndata's view of a
    sparse matrix on disk. Sparse values are cheap along their compressed axis only, so columns of a
    CSC matrix (and scattered rows of a CSR one) are brought into memory once, still sparse.

    Raises `FormatError` for no profiles, no genes, or an `X` that holds no numbers or is of another
    kind.
    """

    def __init__(self, path: Path, X: Any, obs: pd.DataFrame, var: pd.DataFrame) -> None:
        self.path = path
        self.X = X
        self.profiles = tuple(map(str, obs.index))
        self.genes = tuple(map(str, var.index))
        self.profile_metadata, self.gene_metadata = obs, var
        self._held: tuple[bytes, Any] = (b"", None)
        for kind, ids in (("profile", self.profiles), ("gene", self.genes)):
            if not ids:
                raise FormatError(f"{path}: has no {kind}s")
        is_sparse = getattr(X, "format", None) in {"csr", "csc"}
        if not (_is_array(X) or hasattr(X, "read_direct") or is_sparse):
            raise FormatError(
                f"{path}: X is a {type(X).__name__}, neither an array nor a CSR or CSC matrix; "
                "bring it into memory first (adata.to_memory())"
            )
        if np.dtype(X.dtype).kind not in "fiub":
            raise FormatError(f"{path}: X holds {X.dtype}, not numbers")

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """Dtype of what `read` gives: float32 or float64 as stored (integers as float64)."""
        return narrow_dtype(np.dtype(self.X.dtype))

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""
        rows = positions(profiles, len(self.profiles))
        columns = positions(genes, len(self.genes))
        if not (len(rows) and len(columns)):
            return np.empty((len(rows), len(columns)), self.dtype)
        if _is_array(self.X):
            part = np.asarray(self.X)[as_slice(rows)][:, as_slice(columns)]
            return np.array(part, self.dtype, order="C")
        with anndata_errors(self.path):
            if hasattr(self.X, "read_direct"):
                return read_matrix(self.X, rows, columns, self.dtype)
            return self._read_sparse(rows, columns)

    def _read_sparse(self, rows: Places, columns: Places) -> FloatArray:
        by_rows = self.X.format == "csr"
        run = as_slice(rows)
        if by_rows and isinstance(run, slice):
            part = _checked(self.path, self.X[run])[:, as_slice(columns)]
        elif by_rows:
            part = self._gathered(rows, by_rows)[:, as_slice(columns)]
        else:
            part = self._gathered(columns, by_rows)[run]
        values: FloatArray = part.toarray().astype(self.dtype, copy=False)
        return values

    def _gathered(self, chosen: Places, by_rows: bool) -> Any:
        """Rows (columns) of a CSR (CSC) matrix; the last ones asked for are kept."""
        key = chosen.tobytes()
        if self._held[0] != key:
            run = as_slice(chosen)
            if isinstance(run, slice):
                part = self.X[run] if by_rows else self.X[:, run]
            else:
                places, back = np.unique(chosen, return_inverse=True)
                part = self.X[places][back] if by_rows else self.X[:, places][:, back]
            _checked(self.path, part)
            # The next reads cut the other axis.
            self._held = (key, part.tocsc() if by_rows else part.tocsr())
        return self._held[1]


def _is_array(X: Any) -> bool:
    return isinstance(X, np.ndarray) and not isinstance(X, np.ma.MaskedArray)


def _checked(path: Path, part: Any) -> Any:
    """Give a CSR or CSC matrix in memory; `FormatError` if an index leads out of it."""
    n = part.shape[1 if part.format == "csr" else 0]
    if part.indices.size and not 0 <= part.indices.min() <= part.indices.max() < n:
        raise FormatError(f"{path}: X: an index is not between 0 and {n - 1}")
    return part


class H5ad(Closing, AnnDataSource):
    """An AnnData file opened for reading in parts (an `AnnotatedSource`).

    Opening reads ``obs`` and ``var``; layers and all else but ``X`` are never looked at. A context
    manager; `close` it otherwise. ``X`` may be dense or sparse (see `AnnDataSource`). Raises
    `FormatError` for a file that is no AnnData, damaged, without ``X`` or numbers in it;
    `DgexError` if the package anndata is missing.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        anndata = import_anndata(path)
        with anndata_errors(path):
            self._file = open_hdf5(path)
        try:
            self._unchanged = Unchanged.of_hdf5(path, self._file)
            with anndata_errors(path):
                super().__init__(path, *_parts(path, anndata, self._file))
                self._check_ids()
        except BaseException:
            self._file.close()
            raise

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing.

        Raises `FormatError` also if the file was changed since it was opened.
        """
        values = super().read(profiles, genes)
        self._unchanged.check()
        return values

    def _check_ids(self) -> None:
        for table in (self.profile_metadata, self.gene_metadata):
            kinds = {type(name).__name__ for name in table.index.tolist()}
            if strange := kinds - {"str", "int", "float"}:
                raise FormatError(f"{self.path}: ids are neither text nor numbers: {min(strange)}")
        if tuple(self.X.shape) != (len(self.profiles), len(self.genes)):
            raise FormatError(
                f"{self.path}: X is {' x '.join(map(str, self.X.shape))}, which does not fit "
                f"{len(self.profiles)} profiles and {len(self.genes)} genes"
            )

    def close(self) -> None:
        """Close the file; ids and metadata stay."""
        self._file.close()


def _parts(path: Path, anndata: Any, file: h5py.File) -> tuple[Any, Any, Any]:
    """Give ``X`` as it lies in the file, ``obs`` and ``var``."""
    if "X" not in file or file["X"].attrs.get("encoding-type") == "null":
        layers = f"; its layers: {', '.join(file['layers'])}" if file.get("layers") else ""
        raise FormatError(
            f"{path}: has no X (the values; anndata writes it so where X is None){layers}"
        )
    for name in ("X", "obs", "var"):
        require_inside(path, file, file[name])
    for name in ("obs", "var"):
        require_column_sizes(path, file[name])
    X = file["X"]
    if isinstance(X, h5py.Group):
        group, X = X, anndata.io.sparse_dataset(X)
        _check_pointers(path, group, X)
    if isinstance(file["obs"], h5py.Dataset):
        # Files of before 2020: only the reader of complete files knows their tables.
        old = anndata.read_h5ad(path, backed="r")
        old.file.close()
        return X, old.obs, old.var
    tables = []
    for name in ("obs", "var"):
        with anndata_errors(path, f"damaged or no AnnData file: {name} can't be read"):
            tables.append(anndata.io.read_elem(file[name]))
    return X, *tables


def _check_pointers(path: Path, group: Any, matrix: Any) -> None:
    """Raise `FormatError` unless rows (columns) of a sparse matrix begin and end where they can.

    SciPy takes these numbers for addresses in memory; wrong ones give foreign values, or the death
    of the process.
    """
    names = ("data", "indices", "indptr")
    data, indices, indptr = (group.get(name) for name in names)
    for name, part in zip(names, (data, indices, indptr), strict=True):
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


class H5adWriter(MatrixWriter):
    """Write an AnnData file profile by profile, values as float32 (see `ProfileWriter`).

    ``obs`` and ``var`` are the metadata; mixed columns become text. `layers` are AnnData's, and
    `profile_columns` the last of ``obs``. `provenance` (JSON values) is stored as text in
    ``uns["dgex"]``. With `resume` an interrupted file resumes where it stopped
    (see `partial`). Raises as `ProfileWriter`, `FormatError` for metadata that anndata can't write,
    and `DgexError` where anndata is not installed.
    """

    def __init__(
        self,
        path: Path | str,
        profiles: Sequence[str],
        genes: Sequence[str],
        profile_metadata: pd.DataFrame,
        gene_metadata: pd.DataFrame,
        provenance: Mapping[str, Any],
        resume: Resume | None = None,
        layers: Sequence[str] = (),
        profile_columns: Sequence[str] = (),
    ) -> None:
        further = layers, profile_columns
        super().__init__(path, profiles, genes, profile_metadata, gene_metadata, *further)
        self._resume, self._anndata = resume, import_anndata(self.path)
        self._obs = plain_metadata(profile_metadata, self.profiles)
        self._var = plain_metadata(gene_metadata, self.genes)
        self._uns = {"dgex": json.dumps(provenance, sort_keys=True)}

    @contextmanager
    def _lay_out(self, path: Path, dcpl: Any) -> Iterator[Any]:
        with anndata_errors(self.path, "can't be written"):
            empty = self._anndata.AnnData(obs=self._obs, var=self._var, uns=self._uns)
            empty.write_h5ad(path)
        with h5py.File(path, "r+") as file:
            if "X" in file:
                del file["X"]
            obs, n = file["obs"], len(self.profiles)
            if self.profile_columns:
                order = [*obs.attrs["column-order"], *self.profile_columns]
                obs.attrs["column-order"] = np.array(order, h5py.string_dtype())
            matrices = []
            for name in matrix_names(self):
                shape = (n,) if name.startswith("obs/") else (n, len(self.genes))
                matrix = file.create_dataset(name, shape, dtype=self.dtype, dcpl=dcpl)
                matrix.attrs.update(ENCODING)
                matrices.append(matrix)
            yield matrices


def matrix_names(writer: ProfileWriter) -> list[str]:
    """Name what AnnData calls the values, each layer and each profile column of a writer."""
    layers = [f"layers/{name}" for name in writer.layers]
    return ["X", *layers, *(f"obs/{name}" for name in writer.profile_columns)]


def plain_metadata(metadata: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """Give ``obs`` or ``var`` as anndata can write it: indexed by text, columns of one type."""
    index = pd.Index(list(ids), dtype=object)
    plain = pd.DataFrame(index=index)
    for name in metadata.columns:
        column = metadata[name]
        if pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype):
            texts = ["" if pd.isna(value) else str(value) for value in column]
            # Pandas' own text dtype is not what every anndata writes.
            plain[str(name)] = pd.Series(texts, index=index, dtype=object)
        else:
            plain[str(name)] = column.array
    return plain
