"""AnnData files (``.h5ad``) in, a part at a time; needs the optional package ``anndata``."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.anndata_source import AnnDataSource, anndata_errors
from dgex_jax.formats.closing import Closing
from dgex_jax.formats.h5ad_sparse import check_pointers
from dgex_jax.formats.hdf5_inside import require_column_sizes, require_inside
from dgex_jax.formats.unchanged import Unchanged

if TYPE_CHECKING:
    import pandas as pd

    from dgex_jax.formats.expression import FloatArray, Selection

__all__ = ["H5ad", "anndata_errors", "import_anndata"]


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


class H5ad(Closing, AnnDataSource):
    """An AnnData file opened for reading in parts (an `ExpressionSource`).

    Opening reads ``obs`` and ``var``; layers and all else but ``X`` are never looked at. A context
    manager; `close` it otherwise. ``X`` may be dense or sparse (see `AnnDataSource`).

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FormatError
        Not an AnnData file, damaged, without ``X``, or ``X`` holds no numbers.
    DgexError
        anndata is not installed.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        anndata = import_anndata(path)
        with anndata_errors(path):
            # Locks fail on some network disks, and a finished file is never written to again.
            self._file = h5py.File(path, "r", locking="best-effort")
        try:
            self._unchanged = Unchanged.of_hdf5(path, self._file)
            with anndata_errors(path):
                super().__init__(path, *_parts(path, anndata, self._file))
                self._check_ids(self.profile_metadata, self.gene_metadata)
                self._check_shape()
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

    def _check_ids(self, *tables: pd.DataFrame) -> None:
        for table in tables:
            strange = {type(name).__name__ for name in table.index.tolist()} - {
                "str",
                "int",
                "float",
            }
            if strange:
                raise FormatError(f"{self.path}: ids are neither text nor numbers: {min(strange)}")

    def _check_shape(self) -> None:
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
        check_pointers(path, group, X)
    if isinstance(file["obs"], h5py.Dataset):
        # Files of before 2020: only the reader of whole files knows their tables.
        old = anndata.read_h5ad(path, backed="r")
        old.file.close()
        return X, old.obs, old.var
    tables = []
    for name in ("obs", "var"):
        with anndata_errors(path, f"damaged or no AnnData file: {name} can't be read"):
            tables.append(anndata.io.read_elem(file[name]))
    return X, *tables
