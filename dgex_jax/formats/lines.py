"""Lines of a plain or gzip-compressed text file, counted, with its faults in one line of text."""

from __future__ import annotations

import gzip
import io
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.access import GZIP_MAGIC, one_line, read_head
from dgex_jax.formats.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

BUFFER_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"

LONGEST_LINE = 1 << 27
MOST_COLUMNS = 1 << 22
MOST_LINES = 1 << 22
"""Limits of a text file, several times what the largest public matrices have. A gzip file of 1 MB
may hold a line, or lines, of 1 GB: it is refused when it passes them."""

Line = tuple[int, bytes]
"""Line number (from 1) and the line without its end."""


@contextmanager
def stream_errors(path: Path) -> Iterator[None]:
    """Turn what a damaged or unreadable stream raises into a `FormatError`."""
    try:
        yield
    except EOFError as error:
        raise FormatError(f"{path}: truncated gzip file") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise FormatError(f"{path}: damaged gzip file: {one_line(error)}") from error
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error


def open_bytes(path: Path) -> IO[bytes]:
    """Open `path`, through gzip if it begins as a gzip file; its name does not matter."""
    compressed = read_head(path)[:2] == GZIP_MAGIC
    with stream_errors(path):
        if compressed:
            return io.BufferedReader(gzip.GzipFile(path, "rb"), BUFFER_BYTES)
        return path.open("rb", BUFFER_BYTES)


def read_lines(path: Path) -> Generator[Line]:
    """Give the lines of `path` that are not blank, to the very end.

    Reading to the end matters: only there does gzip know whether the file is whole.

    Raises
    ------
    FormatError
        The file is missing, may not be read, is truncated or damaged, holds zero bytes, or passes
        a limit (`LONGEST_LINE` bytes, `MOST_LINES`, `MOST_COLUMNS`).
    """
    with open_bytes(path) as file, stream_errors(path):
        number = 0
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            line = raw.removeprefix(BOM) if number == 1 else raw
            line = line.rstrip(b"\r\n")
            _check_line(path, number, line)
            if line:
                yield number, line


def _check_line(path: Path, number: int, line: bytes) -> None:
    if number > MOST_LINES:
        raise FormatError(f"{path}: has more than {MOST_LINES} lines: no table is that long")
    if len(line) > LONGEST_LINE:
        raise FormatError(f"{path}: line {number}: is longer than {LONGEST_LINE} bytes")
    if len(line) > MOST_COLUMNS and max(line.count(b"\t"), line.count(b",")) >= MOST_COLUMNS:
        raise FormatError(f"{path}: line {number}: has more than {MOST_COLUMNS} columns")
    if b"\0" in line:
        raise FormatError(f"{path}: line {number}: has a zero byte, which no text has")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write `lines` (each with its end), through gzip if the suffix is ``.gz``; all or nothing.

    The gzip header holds no time and no name, so equal lines give equal files.
    """
    with atomic_path(path) as temporary:
        fill_lines(temporary, lines, path)


def fill_lines(temporary: Path, lines: Iterable[str], path: Path) -> None:
    """Write `lines` to `temporary`, which is to become `path` (its suffix and name count)."""
    try:
        with temporary.open("wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
                    packed.writelines(line.encode() for line in lines)
            else:
                raw.writelines(line.encode() for line in lines)
    except OSError as error:
        raise DgexError(f"{path}: can't be written: {one_line(error)}") from error
