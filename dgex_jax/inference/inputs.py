"""A file of profiles to infer from, whatever its format, and turned where its genes are columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgex_jax.formats.anndata_source import AnnDataSource
from dgex_jax.formats.gctx import Gctx
from dgex_jax.formats.h5ad import H5ad
from dgex_jax.formats.opening import AnnotatedSource, Transposed, open_expression

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

__all__ = ["AnnotatedSource", "Transposed", "axis_names", "open_input"]


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
    source = open_expression(path, accept_wrong_dimensions=accept_wrong_dimensions)
    if isinstance(source, H5ad | Gctx):
        files.callback(source.close)
    return source


def axis_names(source: AnnotatedSource) -> tuple[str, str]:
    """How the profile axis and the gene axis of a file are called by its users."""
    return ("obs", "var") if isinstance(source, AnnDataSource) else ("columns", "rows")
