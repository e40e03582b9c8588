"""An expression file opened by what it holds, never by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError
from dgex_jax.formats.access import HDF5_MAGIC, read_head
from dgex_jax.formats.gct import read_gct
from dgex_jax.formats.gctx import Gctx
from dgex_jax.formats.lines import BOM, open_bytes, stream_errors
from dgex_jax.formats.rpkm import COLUMNS, read_rpkm

if TYPE_CHECKING:
    from dgex_jax.formats.expression import Expression
    from dgex_jax.formats.table import GeneFilter


def open_expression(
    path: Path | str, *, genes: GeneFilter = None, accept_wrong_dimensions: bool = False
) -> Gctx | Expression:
    """Open a GCTX, GCT or GEUVADIS file.

    Parameters
    ----------
    path
        The file. HDF5 is read as GCTX, ``#1.2`` and ``#1.3`` as GCT, ``TargetID`` as GEUVADIS;
        text may be gzip-compressed.
    genes
        What the text readers keep in memory (see `read_gct`). GCTX is read lazily, so there it
        limits nothing: all ids are there, and only values asked for are read. Callers must choose
        genes by id in either case.
    accept_wrong_dimensions
        For GCT: trust the table where the dimension line is wrong.

    Returns
    -------
    Gctx or Expression
        An `ExpressionSource`; a `Gctx` holds the file open until it is closed.

    Raises
    ------
    FormatError
        None of these formats, or a fault that its reader names.
    """
    path = Path(path)
    if read_head(path) == HDF5_MAGIC:
        return Gctx(path)
    with open_bytes(path) as file, stream_errors(path):
        head = file.read(32).removeprefix(BOM)
    if head.startswith(HDF5_MAGIC):
        raise FormatError(f"{path}: is a gzip-compressed HDF5 file; unpack it first (gunzip)")
    if head.startswith(b"#1."):
        return read_gct(path, genes=genes, accept_wrong_dimensions=accept_wrong_dimensions)
    if head.startswith(COLUMNS[0].encode()):
        return read_rpkm(path, genes=genes)
    raise FormatError(
        f"{path}: is neither GCTX, GCT 1.2 or 1.3, nor a GEUVADIS table: it begins with {head!r}"
    )
