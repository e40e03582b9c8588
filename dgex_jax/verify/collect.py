"""Every record below a folder, or that of one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.temporary import is_temporary
from dgex_jax.provenance import SUFFIX, sidecar
from dgex_jax.verify.records import beside, of_folder, of_model, of_step, of_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from dgex_jax.verify.pieces import Piece

STORE, MODEL, DONE, STEPS = "zarr.json", "model.json", "done.json", "provenance"
LOCK_ENDINGS = (".lock", ".lock.json")


def collect(results: Path) -> tuple[list[Piece], list[Path]]:
    """Read all records, and list all files that are no locks and not in the making.

    Parameters
    ----------
    results
        A folder, or a file with its record beside it; an absolute path.

    Returns
    -------
    tuple
        The pieces, and the files found (none of those inside zarr stores).

    Raises
    ------
    DgexError
        It can't be read, or nothing of it was recorded by dgex.
    """
    if results.is_file():
        record = sidecar(results)
        if not record.is_file():
            raise DgexError(f"{results}: nothing is recorded of it: there is no {record.name}")
        return [beside(record)], [results, record]
    pieces: list[Piece] = []
    files: list[Path] = []
    for folder, names in walk(results):
        if STORE in names:
            pieces.append(of_store(folder))
            continue
        paths = [folder / name for name in names]
        files += [path for path in paths if not is_passing(path.name)]
        for path in paths:
            reader = reader_of(path)
            if reader is not None:
                pieces.append(reader(path))
    if not pieces:
        raise DgexError(f"{results}: holds nothing that dgex recorded")
    return pieces, files


def reader_of(path: Path) -> Callable[[Path], Piece] | None:
    """Give what reads a record of that name; ``None`` for any other file."""
    if is_passing(path.name):
        return None
    if path.name.endswith(SUFFIX):
        return beside
    if path.parent.name == STEPS and path.suffix == ".json":
        return of_step
    return {MODEL: of_model, DONE: of_folder}.get(path.name)


def walk(top: Path) -> list[tuple[Path, list[str]]]:
    """List folders with the names of their files, in order; nothing below a zarr store.

    Raises
    ------
    DgexError
        A folder can't be read.
    """

    def fail(error: OSError) -> None:
        raise DgexError(f"{error.filename}: can't be read: {one_line(error)}") from error

    found = []
    for folder, below, names in os.walk(top, onerror=fail):
        below[:] = [] if STORE in names else sorted(one for one in below if not is_passing(one))
        found.append((Path(folder), sorted(names)))
    return found


def is_passing(name: str) -> bool:
    """Whether a file of that name is a lock, or in the making."""
    return is_temporary(name) or (name.startswith(".") and name.endswith(LOCK_ENDINGS))
