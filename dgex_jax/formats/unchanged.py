"""Files that must stay as they are while they are read.

HDF5 gives zeros, without a word, for what lies beyond the end of a file that was cut off after it
was opened; and of a file that is written anew meanwhile, some values would be older than others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError
from dgex_jax.formats.access import one_line

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True)
class Unchanged:
    """A file as it was when this was made.

    Attributes
    ----------
    path
        Named in errors.
    handle
        Its path, or a descriptor it is open by (then its name may go).
    state
        Device, inode, bytes and time of the last change, or why these can't be had.
    """

    path: Path
    handle: Path | int
    state: tuple[int, ...] | str

    @classmethod
    def of(cls, path: Path) -> Unchanged:
        """Look at a file by its name."""
        return cls(path, path, _state(path))

    @classmethod
    def of_hdf5(cls, path: Path, file: h5py.File) -> Unchanged:
        """Look at a file that is open."""
        descriptor = file.id.get_vfd_handle()
        return cls(path, descriptor, _state(descriptor))

    def check(self) -> None:
        """Raise `FormatError` if the file is another now."""
        now = _state(self.handle)
        if now != self.state:
            what = f"gone ({now})" if isinstance(now, str) else "changed"
            raise FormatError(f"{self.path}: was {what} before all of it was read")


def _state(handle: Path | int) -> tuple[int, ...] | str:
    try:
        status = handle.stat() if isinstance(handle, Path) else os.fstat(handle)
    except OSError as error:
        return one_line(error)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
