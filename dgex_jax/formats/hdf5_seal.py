"""A seal behind an HDF5 file: a checksum of all that its own checksums leave open.

HDF5 gives chunks a Fletcher-32 if asked to, but in the file format that every program reads its
names, attributes, plain datasets and the tables that say where chunks lie have none: a flipped bit
there is read as another value, as a chunk of zeros, or ends the process. The seal is a line of JSON
behind the end of the HDF5 file, where every reader ignores it: the places of the checksummed
chunks, and the SHA-256 of all other bytes. It is compared before HDF5 sees the file, and costs no
more than reading these other bytes. A program that changes the file through HDF5 drops the seal.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import h5py

from dgex_jax.errors import FormatError
from dgex_jax.formats.access import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

END = re.compile(rb"dgex seal 1 (\d{12})\n")
"""The last bytes of a sealed file, with the length of the line before them."""
END_BYTES = 25
READ_BYTES = 1 << 22


def seal_hdf5(path: Path) -> None:
    """Seal a finished file that has no seal; the same file gets the same one.

    Raises
    ------
    OSError
        It can't be read or written to.
    """
    with h5py.File(path, "r") as file:
        chunks = _chunks(file)
    with path.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        content = {"size": size, "chunks": chunks, "sha256": _sha256(stream.fileno(), size, chunks)}
        line = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        stream.write(line + b"dgex seal 1 %012d\n" % len(line))


def check_seal(path: Path) -> bool:
    """Compare a file with its seal; reads all of it but the checksummed chunks.

    Returns
    -------
    bool
        Whether it has one; files of older versions have not.

    Raises
    ------
    FormatError
        The file is not the one that was sealed, or can't be read.
    """
    try:
        with path.open("rb") as stream:
            return _is_sealed(path, stream)
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error


def _is_sealed(path: Path, stream: Any) -> bool:
    whole = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, whole - END_BYTES))
    found = END.fullmatch(stream.read())
    if found is None:
        return False
    size = max(0, whole - END_BYTES - int(found[1]))
    stream.seek(size)
    try:
        seal = json.loads(stream.read(whole - END_BYTES - size))
        intact = (
            seal["size"] == size
            and _sha256(stream.fileno(), size, seal["chunks"]) == seal["sha256"]
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        intact = False
    if not intact:
        raise FormatError(
            f"{path}: damaged: names, attributes or tables in it are not those that were written"
        )
    return True


def _chunks(file: h5py.File) -> list[int]:
    """Where checksummed chunks lie: the first bytes and the ends of runs of them, ascending."""
    places: list[tuple[int, int]] = []

    def see(_name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.fletcher32:
            item.id.chunk_iter(
                lambda chunk: places.append((chunk.byte_offset, chunk.byte_offset + chunk.size))
            )

    file.visititems(see)
    places.sort()
    if not places:
        return []
    cuts = [n for n, (one, next_one) in enumerate(pairwise(places), 1) if one[1] != next_one[0]]
    runs = pairwise([0, *cuts, len(places)])
    return [place for first, last in runs for place in (places[first][0], places[last - 1][1])]


def _sha256(descriptor: int, size: int, chunks: Sequence[int]) -> str:
    """Checksum of the first `size` bytes but for chunks, and of where these are."""
    digest = hashlib.sha256(json.dumps([size, *chunks]).encode())
    bounds = [0, *chunks, size]
    if bounds != sorted(bounds):
        raise ValueError("places out of order")
    for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
        for piece in _pieces(descriptor, start, stop):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(descriptor: int, start: int, stop: int) -> Iterator[bytes]:
    while start < stop and (piece := os.pread(descriptor, min(READ_BYTES, stop - start), start)):
        yield piece
        start += len(piece)
