"""Whether a file is what it should be, and complete: the only proof where no sha256 is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py

from dgex_jax.data.genemap import read_gene_map
from dgex_jax.errors import FormatError
from dgex_jax.formats.access import GZIP_MAGIC, HDF5_MAGIC, read_head
from dgex_jax.formats.hdf5_errors import hdf5_errors
from dgex_jax.formats.lines import open_bytes
from dgex_jax.formats.opening import kind_of

if TYPE_CHECKING:
    from pathlib import Path

    from dgex_jax.download.sources import Format

PIECE_BYTES = 1 << 22


def require_whole(path: Path, wanted: Format) -> None:
    """Read as much of a file as tells whether all of it is there.

    HDF5 knows its length, gzip has a length and a checksum at its end (so all of it is read);
    unpacked text has neither.

    Raises
    ------
    FormatError
        It is something else (a server's web page, say), truncated or damaged.
    """
    if wanted == "gene map":
        read_gene_map(path)
        return
    head = read_head(path)
    if wanted == "gctx.gz":
        if head[:2] != GZIP_MAGIC:
            raise FormatError(f"{path}: is no gzip file: it begins with {head!r}")
        _read_all(path, HDF5_MAGIC)
        return
    if (found := kind_of(path)) != wanted:
        raise FormatError(f"{path}: is no {wanted} file but {found}: it begins with {head!r}")
    if wanted == "gctx":
        with hdf5_errors(path):
            h5py.File(path, "r", locking="best-effort").close()
    elif head[:2] == GZIP_MAGIC:
        _read_all(path, b"")


def _read_all(path: Path, wanted: bytes) -> None:
    with open_bytes(path) as file:
        head = file.read(len(wanted))
        if head != wanted:
            raise FormatError(f"{path}: is no packed HDF5 file: it begins with {head!r}")
        while file.read(PIECE_BYTES):
            pass
