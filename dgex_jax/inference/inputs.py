"""A file of profiles to infer from, whatever its format, and turned where its genes are columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import h5py

from dgex_jax.formats.access import HDF5_MAGIC, read_head
from dgex_jax.formats.delimited import read_delimited
from dgex_jax.formats.expression import ExpressionSource
from dgex_jax.formats.gctx import Gctx, hdf5_errors
from dgex_jax.formats.h5ad import H5ad
from dgex_jax.formats.lines import BOM, open_bytes, stream_errors
from dgex_jax.formats.opening import open_expression
from dgex_jax.formats.rpkm import COLUMNS

if TYPE_CHECKING:
    from contextlib import ExitStack

    import pandas as pd

    from dgex_jax.formats.expression import FloatArray, Selection


class AnnotatedSource(ExpressionSource, Protocol):
    """An `ExpressionSource` that also knows what its file says of profiles and genes."""

    @property
    def profile_metadata(self) -> pd.DataFrame:
        """One line a profile, indexed by id (or no column at all)."""

    @property
    def gene_metadata(self) -> pd.DataFrame:
        """One line a gene, indexed by id (or no column at all)."""


@dataclass(frozen=True)
class Transposed:
    """A file whose profiles are where others have their genes, and the other way round."""

    base: AnnotatedSource

    @property
    def path(self) -> Path:
        """The file."""
        return self.base.path

    @property
    def profiles(self) -> tuple[str, ...]:
        """Ids on the gene axis of the file."""
        return self.base.genes

    @property
    def genes(self) -> tuple[str, ...]:
        """Ids on the profile axis of the file."""
        return self.base.profiles

    @property
    def profile_metadata(self) -> pd.DataFrame:
        """Annotation of the file's gene axis."""
        return self.base.gene_metadata

    @property
    def gene_metadata(self) -> pd.DataFrame:
        """Annotation of the file's profile axis."""
        return self.base.profile_metadata

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""
        return self.base.read(genes, profiles).T


def open_input(
    path: Path | str, files: ExitStack, *, accept_wrong_dimensions: bool = False
) -> AnnotatedSource:
    """Open a file by what it holds, never by its name.

    GCTX and AnnData files are read in parts; text (GCT, the GEUVADIS table, tab- or comma-separated
    tables, all of them plain or gzip-compressed) is read at once, so that memory grows with it.

    Parameters
    ----------
    path
        The file.
    files
        Closes what stays open.
    accept_wrong_dimensions
        For GCT: trust the table where the dimension line is wrong.

    Raises
    ------
    FormatError
        None of these formats, or a fault that its reader names.
    DgexError
        An AnnData file without anndata.
    """
    path = Path(path)
    if read_head(path) == HDF5_MAGIC:
        source: H5ad | Gctx = H5ad(path) if _is_anndata(path) else Gctx(path)
        files.callback(source.close)
        return source
    if _is_known_text(path):
        return open_expression(path, accept_wrong_dimensions=accept_wrong_dimensions)
    return read_delimited(path)


def axis_names(source: AnnotatedSource) -> tuple[str, str]:
    """How the profile axis and the gene axis of a file are called by its users."""
    return ("obs", "var") if isinstance(source, H5ad) else ("columns", "rows")


def _is_anndata(path: Path) -> bool:
    with hdf5_errors(path), h5py.File(path, "r", locking="best-effort") as file:
        return "obs" in file and "var" in file


def _is_known_text(path: Path) -> bool:
    """Whether `open_expression` knows the format (or says best why it can't be read)."""
    with open_bytes(path) as file, stream_errors(path):
        head = file.read(64).removeprefix(BOM)
    geuvadis = "\t".join(COLUMNS).encode()
    return head.startswith((b"#1.", HDF5_MAGIC, geuvadis))
