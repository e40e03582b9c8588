"""An expression file opened by what it holds, never by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgex_jax.io.archs4 import Archs4
from dgex_jax.io.delimited import read_delimited
from dgex_jax.io.files import Closing
from dgex_jax.io.gct import read_gct, read_rpkm
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.h5ad import H5ad
from dgex_jax.io.lines import kind_of

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from dgex_jax.io.expression import AnnotatedSource, Expression, GeneFilter


def open_expression(
    path: Path | str, *, genes: GeneFilter = None, accept_wrong_dimensions: bool = False
) -> Gctx | H5ad | Archs4 | Expression:
    """Open a GCTX, AnnData, ARCHS4, GCT or GEUVADIS file, or a table; text may be compressed.

    All but text hold the file open until they are closed (`Closing`). The rows of a table are given
    as genes, whatever they are; ids of tables, of AnnData and of ARCHS4's genes may come twice.
    `genes` is what the readers of GCT and GEUVADIS keep in memory (see `read_gct`, also for
    `accept_wrong_dimensions`). Of tables all is kept; the others are read lazily, so there it
    limits nothing. Callers must choose genes by id in every case.

    Raises `FormatError` for none of these formats, or a fault that its reader names; `DgexError`
    for an AnnData file where the package anndata is missing.
    """
    kind = kind_of(path)
    if kind == "gctx":
        return Gctx(path)
    if kind == "h5ad":
        return H5ad(path)
    if kind == "archs4":
        return Archs4(path)
    if kind == "gct":
        return read_gct(path, genes=genes, accept_wrong_dimensions=accept_wrong_dimensions)
    return read_rpkm(path, genes=genes) if kind == "geuvadis" else read_delimited(path)


def open_input(
    path: Path | str,
    files: ExitStack,
    *,
    genes: GeneFilter = None,
    accept_wrong_dimensions: bool = False,
) -> AnnotatedSource:
    """Open a file as `open_expression` does; `files` closes it."""
    source = open_expression(path, genes=genes, accept_wrong_dimensions=accept_wrong_dimensions)
    if isinstance(source, Closing):
        files.callback(source.close)
    return source
