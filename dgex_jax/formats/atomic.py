"""A file is either complete under its final name or not there at all."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.temporary import temporary_path

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Give a temporary path beside `final`; move it onto `final` when the block succeeds.

    Parameters
    ----------
    final
        Where the file shall be. A symbolic link keeps pointing at the file it names.

    Yields
    ------
    Path
        An empty file in the folder of `final`, with the same suffixes (some writers choose a
        format by them) and the permissions a new file gets.

    Raises
    ------
    DgexError
        The folder is missing or can't be written to, `final` is a folder or a device, or the disk
        refuses the file (also where the block met that, with an `OSError` of the system). Whatever
        else the block raises passes through; in every case the temporary file is removed and an
        older file at `final` is left as it was, unless all that failed was waiting for the disk
        after the new one had its name.
    """
    place = final_place(final)
    try:
        temporary = temporary_path(place)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise DgexError(f"{final}: can't be written: {error.strerror}") from error
    try:
        yield temporary
        move_whole(temporary, place)
    except OSError as error:
        ours = (None, str(temporary), str(place), str(place.parent))
        # About another file that the block works with, its own text says more.
        if error.errno is None or error.filename not in ours:
            raise
        raise DgexError(f"{final}: can't be written: {one_line(error)}") from error
    finally:
        # What can't go now goes the next time; what went wrong before is what the user must know.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def final_place(final: Path) -> Path:
    """Where a file shall be: that of a symbolic link is where it points.

    Raises
    ------
    DgexError
        A folder or a device is there.
    """
    place = Path(final).resolve()
    if place.exists() and not place.is_file():
        raise DgexError(f"{final}: can't be written: it is not an ordinary file")
    return place


def move_whole(temporary: Path, place: Path) -> None:
    """Move a finished file onto `place`, on the disk under that name on return."""
    sync(temporary, os.O_RDWR)
    temporary.replace(place)
    sync(place.parent, os.O_RDONLY)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, on the disk under their names on return.

    Nothing happens where it is there. An `OSError` passes through.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent, os.O_RDONLY)


def sync(path: Path, flags: int) -> None:
    """Wait until the disk has the file (or the folder's entries)."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
