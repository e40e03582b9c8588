"""What can be known of a file before it is read, and the system's complaints in one line."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError
from dgex_jax.formats.temporary import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@contextmanager
def ordinary_file(path: Path) -> Iterator[Path]:
    """Give a path that can be read more than once: ``-`` (standard input) and pipes are copied.

    The copy lies in a temporary folder and goes with the block.

    Raises
    ------
    FormatError
        It can't be read or copied.
    """
    is_input = str(path) == "-"
    if not is_input and not path.is_fifo():
        yield path
        return
    with temporary_folder(Path(tempfile.gettempdir()) / "dgex-input") as folder:
        copy = folder / ("standard input" if is_input else f"pipe {path.name}")
        try:
            with ExitStack() as files, copy.open("wb") as file:
                pipe = sys.stdin.buffer if is_input else files.enter_context(path.open("rb"))
                shutil.copyfileobj(pipe, file)
        except OSError as error:
            raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
        yield copy


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
            more = " but a pipe; write it to a file first" if path.is_fifo() else ""
            raise FormatError(f"{path}: is {kind}{more}")
        with path.open("rb") as file:
            head = file.read(size)
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
    if not head:
        raise FormatError(f"{path}: is empty")
    return head
