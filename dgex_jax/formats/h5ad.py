"""AnnData files (``.h5ad``) in, a part at a time; needs the optional package ``anndata``."""

from __future__ import annotations

import importlib
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.hdf5_matrix import read_matrix
from dgex_jax.formats.selection import is_run, positions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    import pandas as pd
    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray, Selection


def import_anndata(path: Path) -> Any:
    """Import the optional package that `path` needs.

    Raises
    ------
    DgexError
        It is not installed (with the command that installs it).
    """
    try:
        return importlib.import_module("anndata")
    except ImportError as error:
        raise DgexError(
            f'{path}: an .h5ad file needs anndata: pip install "dgex-jax[anndata]"'
        ) from error


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
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path}: {what}: {one_line(error)}") from error


class H5ad:
    """An AnnData file opened for reading in parts (an `ExpressionSource`).

    Observations are the profiles and variables the genes. ``X`` may be dense or sparse; sparse
    values are cheap along their compressed axis only, so columns of a CSR matrix of many blocks
    (or rows of a CSC one) are brought into memory once, still sparse.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    path
        The file.
    profiles, genes
        ``obs_names`` and ``var_names``, in file order; not checked for coming twice.
    profile_metadata, gene_metadata
        ``obs`` and ``var``.

    Raises
    ------
    FormatError
        Not an AnnData file, damaged, without ``X``, or ``X`` holds no numbers.
    DgexError
        anndata is not installed.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        anndata = import_anndata(self.path)
        with anndata_errors(self.path):
            with h5py.File(self.path, "r", locking="best-effort") as file:
                if "X" not in file:
                    raise FormatError(f"{self.path}: has no X")
            self._data = anndata.read_h5ad(self.path, backed="r")
        try:
            with anndata_errors(self.path):
                self._X: Any = self._data.X
                self.profiles = tuple(map(str, self._data.obs_names))
                self.genes = tuple(map(str, self._data.var_names))
                self.profile_metadata: pd.DataFrame = self._data.obs
                self.gene_metadata: pd.DataFrame = self._data.var
                self._check()
        except BaseException:
            self.close()
            raise
        self._held: tuple[bytes, Any] = (b"", None)

    def _check(self) -> None:
        for kind, ids in (("profile", self.profiles), ("gene", self.genes)):
            if not ids:
                raise FormatError(f"{self.path}: has no {kind}s")
        if np.dtype(self._X.dtype).kind not in "fiub":
            raise FormatError(f"{self.path}: X holds {self._X.dtype}, not numbers")

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """Dtype of what `read` gives: float32 or float64 as stored (integers as float64)."""
        stored = np.dtype(self._X.dtype)
        narrow = stored.kind == "f" and stored.itemsize <= 4
        return np.dtype(np.float32 if narrow else np.float64)

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""
        rows = positions(profiles, len(self.profiles))
        columns = positions(genes, len(self.genes))
        if not (len(rows) and len(columns)):
            return np.empty((len(rows), len(columns)), self.dtype)
        with anndata_errors(self.path):
            if hasattr(self._X, "read_direct"):
                return read_matrix(self._X, rows, columns, self.dtype)
            return self._read_sparse(rows, columns)

    def _read_sparse(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FloatArray:
        by_rows = self._X.format == "csr"
        compressed = rows if by_rows else columns
        if is_run(compressed):
            run = slice(int(compressed[0]), int(compressed[-1]) + 1)
            part = self._X[run] if by_rows else self._X[:, run]
        else:
            part = self._gathered(compressed, by_rows)
        part = part[:, columns] if by_rows else part[rows]
        values: FloatArray = part.toarray().astype(self.dtype, copy=False)
        return values

    def _gathered(self, chosen: NDArray[np.intp], by_rows: bool) -> Any:
        """Scattered rows (columns) of a CSR (CSC) matrix; the last ones asked for are kept."""
        key = chosen.tobytes()
        if self._held[0] != key:
            places, back = np.unique(chosen, return_inverse=True)
            part = self._X[places][back] if by_rows else self._X[:, places][:, back]
            # The next reads cut the other axis.
            self._held = (key, part.tocsc() if by_rows else part.tocsr())
        return self._held[1]

    def close(self) -> None:
        """Close the file; ids and metadata stay."""
        self._data.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
