"""Lines of a plain or compressed text file, counted, with its faults in one line of text."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.access import one_line, read_head
from dgex_jax.formats.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

BUFFER_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"

COMPRESSED: dict[bytes, tuple[str, Any]] = {
    b"\x1f\x8b": ("gzip", gzip.GzipFile),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ": ("xz", lzma.LZMAFile),
}
"""First bytes of the compressed files that Python's own library reads."""

LONGEST_LINE = 1 << 27
MOST_COLUMNS = 1 << 22
MOST_LINES = 1 << 22
"""Limits of a text file, several times what the largest public matrices have. A gzip file of 1 MB
may hold a line, or lines, of 1 GB: it is refused when it passes them."""

Line = tuple[int, bytes]
"""Line number (from 1) and the line without its end."""


@contextmanager
def stream_errors(path: Path, kind: str = "compressed") -> Iterator[None]:
    """Turn what a corrupt or unreadable stream raises into a `FormatError`."""
    try:
        yield
    except EOFError as error:
        raise FormatError(f"{path}: truncated {kind} file") from error
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise FormatError(f"{path}: damaged {kind} file") from error
    except OSError as error:
        if error.errno is None:  # bzip2 says so, and a call to the system never does
            raise FormatError(f"{path}: damaged {kind} file") from error
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error


@contextmanager
def open_bytes(path: Path) -> Iterator[Any]:
    """Open `path`, decompressed if it begins as a gzip, bzip2 or xz file, whatever its name.

    What goes wrong inside the block is a `FormatError` that names the file.
    """
    head = read_head(path)
    kind, reader = next(
        (found for magic, found in COMPRESSED.items() if head.startswith(magic)), ("", None)
    )
    with stream_errors(path, kind):
        if reader is None:
            with path.open("rb", BUFFER_BYTES) as plain:
                yield plain
        else:
            with reader(path, "rb") as packed, io.BufferedReader(packed, BUFFER_BYTES) as file:
                yield file


def read_lines(path: Path) -> Generator[Line]:
    """Give the lines of `path` that are not blank, to the very end.

    Reading to the end matters: only there does a compressed file say whether it is complete. Lines
    may end as on Unix, Windows or an old Macintosh (a carriage return alone).

    Raises
    ------
    FormatError
        The file is missing, may not be read, is truncated or damaged, holds zero bytes, or passes
        a limit (`LONGEST_LINE` bytes, `MOST_LINES`, `MOST_COLUMNS`).
    """
    with open_bytes(path) as file:
        for number, raw in enumerate(_raw_lines(file), start=1):
            line = raw.removeprefix(BOM) if number == 1 else raw
            line = line.rstrip(b"\r\n")
            _check_line(path, number, line)
            if line:
                yield number, line


def _raw_lines(file: Any) -> Iterator[bytes]:
    head = file.peek(BUFFER_BYTES)
    if b"\r" in head and b"\n" not in head:
        with io.TextIOWrapper(file, "latin-1", newline="\r") as text:
            while line := text.readline(LONGEST_LINE + 1):
                yield line.encode("latin-1")
    else:
        while raw := file.readline(LONGEST_LINE + 1):
            yield raw


def _check_line(path: Path, number: int, line: bytes) -> None:
    if number > MOST_LINES:
        raise FormatError(f"{path}: has more than {MOST_LINES} lines: no table is that long")
    if len(line) > LONGEST_LINE:
        raise FormatError(f"{path}: line {number}: is longer than {LONGEST_LINE} bytes")
    if len(line) > MOST_COLUMNS and max(line.count(b"\t"), line.count(b",")) >= MOST_COLUMNS:
        raise FormatError(f"{path}: line {number}: has more than {MOST_COLUMNS} columns")
    if b"\0" in line:
        raise FormatError(f"{path}: line {number}: has a zero byte, which no text has")
    if b"\r" in line:
        raise FormatError(
            f"{path}: line {number}: has a carriage return in its midst: its lines end in two ways"
        )


def unquoted(path: Path, line: Line, separator: str) -> bytes:
    """Cells of a line with quotes, tab-separated and without them.

    Raises
    ------
    FormatError
        Quotes that don't end on the line, text behind a closing quote, a tab inside a cell.
    """
    number, raw = line
    text = raw.decode("latin-1")  # every byte as it is: cells are decoded one by one
    try:
        (cells,) = csv.reader([text], delimiter=separator, strict=True)
    except csv.Error as error:
        cause = "text behind a closing quote" if text.count('"') % 2 == 0 else "an open quote"
        raise FormatError(
            f"{path}: line {number}: {cause}: a quoted cell must end where the cell does"
        ) from error
    if any("\t" in cell for cell in cells):
        raise FormatError(f"{path}: line {number}: a tab inside a quoted cell")
    return "\t".join(cells).encode("latin-1")


def tabbed(path: Path, lines: Iterable[Line]) -> Iterator[Line]:
    """Give tab-separated lines without the quotes around cells."""
    for line in lines:
        yield (line[0], unquoted(path, line, "\t")) if b'"' in line[1] else line


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
