"""Whether a zarr store is what was written: every byte of it is covered by a checksum."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.errors import FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.zarr_layout import Layout
from dgex_jax.formats.zarr_library import import_zarr, quiet
from dgex_jax.formats.zarr_skeleton import OURS, ROOT, read_root, seal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

NOWHERE = np.iinfo(np.uint64).max
CHECKSUM_BYTES = 4


def check_zarr(path: Path | str) -> int:
    """Read a whole store written by `ZarrWriter`, a shard at a time.

    Zarr itself takes a missing shard, an empty one, or a chunk that a shard's index does not
    list, for values that were never written; here all of them are errors.

    Parameters
    ----------
    path
        The store.

    Returns
    -------
    int
        How many shards it has, all of them intact.

    Raises
    ------
    FormatError
        No such store, or a file of it is missing or damaged (its name is in the text).
    DgexError
        zarr or anndata is not installed.
    """
    path = Path(path)
    zarr, _ = import_zarr(path)
    root = read_root(path)
    if root is None:
        cause = "no zarr store written by dgex"
        if (path / ROOT).is_file():
            raise FormatError(f"{path / ROOT}: damaged, or {cause}")
        raise FormatError(f"{path}: {cause}")
    damaged = damaged_metadata(path, root)
    if damaged is not None:
        raise FormatError(f"{path / damaged}: damaged, or changed since it was written")
    with quiet():
        shape = zarr.open_array(_values(zarr, path), path="X", mode="r", zarr_format=3).shape
    layout = Layout(shape[0], shape[1], root["attributes"][OURS]["profiles_per_shard"])
    check_shards(path, layout, range(layout.n_shards))
    return layout.n_shards


def damaged_metadata(path: Path, root: dict[str, Any]) -> str | None:
    """Name the first damaged file of a store but for its values; None if all are as written.

    Raises
    ------
    FormatError
        One of them is missing or can't be read.
    """
    ours = root["attributes"][OURS]
    if ours.get("root") != seal(root):
        return ROOT
    for name, checksum in ours["files"].items():
        if hashlib.sha256(_content(path / name)).hexdigest() != checksum:
            return str(name)
    return None


def check_shards(path: Path, layout: Layout, shards: Iterable[int]) -> None:
    """Read some shards of a store whose metadata are intact.

    Raises
    ------
    FormatError
        One is missing or damaged (the file is named).
    """
    zarr, _ = import_zarr(path)
    with quiet():
        X = zarr.open_array(_values(zarr, path), path="X", mode="r", zarr_format=3)
    for shard in shards:
        _check_shard(path / layout.file(shard), X, layout, layout.rows(shard))


def _values(zarr: Any, path: Path) -> Any:
    return zarr.storage.LocalStore(path, read_only=True)


def _check_shard(file: Path, X: Any, layout: Layout, rows: slice) -> None:
    chunks = _listed_chunks(file, layout)
    try:
        # It compares the checksums of the index and of every chunk.
        X[rows]
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, OverflowError) as error:
        raise FormatError(
            f"{file}: damaged: a chunk or the index has not the bytes of its checksum"
        ) from error
    needed = -(-(rows.stop - rows.start) // layout.chunks[0])
    if not chunks[:needed].all():
        raise FormatError(f"{file}: damaged: chunks are missing")


def _listed_chunks(file: Path, layout: Layout) -> NDArray[np.bool_]:
    """Which chunks ``(along profiles, along genes)`` the index at a shard's end lists."""
    shape = (*layout.chunks_per_shard, 2)
    size = 8 * int(np.prod(shape)) + CHECKSUM_BYTES
    try:
        with file.open("rb") as stream:
            stream.seek(0, 2)
            if stream.tell() <= size:
                raise FormatError(f"{file}: damaged: it ends early")
            stream.seek(-size, 2)
            index = stream.read(size - CHECKSUM_BYTES)
    except OSError as error:
        raise FormatError(f"{file}: can't be read: {one_line(error)}") from error
    listed: NDArray[np.bool_] = (np.frombuffer(index, "<u8").reshape(shape) != NOWHERE).all(axis=2)
    return listed


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise FormatError(f"{file}: can't be read: {one_line(error)}") from error
