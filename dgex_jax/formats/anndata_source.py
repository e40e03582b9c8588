"""AnnData read a part at a time, from memory or from a file."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.h5ad_sparse import check_indices
from dgex_jax.formats.hdf5_matrix import read_matrix
from dgex_jax.formats.selection import is_run, positions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray, Selection


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


class AnnDataSource:
    """A matrix of AnnData with its ``obs`` and ``var`` (an `ExpressionSource`).

    Observations are the profiles and variables the genes. Sparse values are cheap along their
    compressed axis only, so columns of a CSC matrix (and scattered rows of a CSR one) are brought
    into memory once, still sparse.

    Parameters
    ----------
    path
        What errors name: the file, or how the object is called.
    X
        ``(n_obs, n_vars)`` numbers: a NumPy array, a SciPy CSR or CSC matrix, an HDF5 dataset, or
        anndata's view of a sparse matrix on disk.
    obs, var
        Tables whose indices are the ids.

    Attributes
    ----------
    path, X
        As given.
    profiles, genes
        ``obs_names`` and ``var_names`` as text, in order; not checked for coming twice.
    profile_metadata, gene_metadata
        ``obs`` and ``var``.

    Raises
    ------
    FormatError
        No profiles, no genes, or `X` holds no numbers or is of another kind.
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
        if not (_is_array(X) or hasattr(X, "read_direct") or _is_sparse(X)):
            raise FormatError(
                f"{path}: X is a {type(X).__name__}, neither an array nor a CSR or CSC matrix; "
                "bring it into memory first (adata.to_memory())"
            )
        if np.dtype(X.dtype).kind not in "fiub":
            raise FormatError(f"{path}: X holds {X.dtype}, not numbers")

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """Dtype of what `read` gives: float32 or float64 as stored (integers as float64)."""
        stored = np.dtype(self.X.dtype)
        narrow = stored.kind == "f" and stored.itemsize <= 4
        return np.dtype(np.float32 if narrow else np.float64)

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""
        rows = positions(profiles, len(self.profiles))
        columns = positions(genes, len(self.genes))
        if not (len(rows) and len(columns)):
            return np.empty((len(rows), len(columns)), self.dtype)
        if _is_array(self.X):
            return self._read_array(rows, columns)
        with anndata_errors(self.path):
            if hasattr(self.X, "read_direct"):
                return read_matrix(self.X, rows, columns, self.dtype)
            return self._read_sparse(rows, columns)

    def _read_array(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FloatArray:
        part = np.asarray(self.X)[_run(rows)][:, _run(columns)]
        return np.array(part, self.dtype, order="C")

    def _read_sparse(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FloatArray:
        by_rows = self.X.format == "csr"
        if by_rows and is_run(rows):
            part = check_indices(self.path, self.X[_run(rows)])[:, _run(columns)]
        elif by_rows:
            part = self._gathered(rows, by_rows)[:, _run(columns)]
        else:
            part = self._gathered(columns, by_rows)[_run(rows)]
        values: FloatArray = part.toarray().astype(self.dtype, copy=False)
        return values

    def _gathered(self, chosen: NDArray[np.intp], by_rows: bool) -> Any:
        """Rows (columns) of a CSR (CSC) matrix; the last ones asked for are kept."""
        key = chosen.tobytes()
        if self._held[0] != key:
            if is_run(chosen):
                part = self.X[_run(chosen)] if by_rows else self.X[:, _run(chosen)]
            else:
                places, back = np.unique(chosen, return_inverse=True)
                part = self.X[places][back] if by_rows else self.X[:, places][:, back]
            check_indices(self.path, part)
            # The next reads cut the other axis.
            self._held = (key, part.tocsc() if by_rows else part.tocsr())
        return self._held[1]


def _is_array(X: Any) -> bool:
    return isinstance(X, np.ndarray) and not isinstance(X, np.ma.MaskedArray)


def _is_sparse(X: Any) -> bool:
    return getattr(X, "format", None) in {"csr", "csc"}


def _run(chosen: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Write a selection as a slice where it is one: that copies less."""
    return slice(int(chosen[0]), int(chosen[-1]) + 1) if is_run(chosen) else chosen
