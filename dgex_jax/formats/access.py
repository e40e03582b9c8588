"""What can be known of a file before it is read, and the system's complaints in one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
GZIP_MAGIC = b"\x1f\x8b"

HDF5_CAUSE = re.compile(r"errno = \d+, error message = '([^']+)'")
"""What the system said, in the midst of HDF5's own account of addresses and times."""


def one_line(error: BaseException) -> str:
    """Say the cause of `error` in one line, without the path that an `OSError` repeats."""
    text = str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    if causes := HDF5_CAUSE.findall(text):
        text = causes[-1]
    return " ".join(text.split())


def read_head(path: Path, size: int = 8) -> bytes:
    """Read the first `size` bytes of `path`.

    Raises
    ------
    FormatError
        There is no such file, it is a folder or a device, it may not be read, or it is empty.
    """
    try:
        if not path.exists():
            raise FormatError(f"{path}: no such file")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not an ordinary file"
            raise FormatError(f"{path}: is {kind}")
        with path.open("rb") as file:
            head = file.read(size)
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
    if not head:
        raise FormatError(f"{path}: is empty")
    return head
