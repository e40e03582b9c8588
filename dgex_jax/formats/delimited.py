"""Plain tables of numbers in: ids in the first row and the first column, tabs or commas between."""

from __future__ import annotations

import csv
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.hdf5_text import decode_text
from dgex_jax.formats.lines import BOM, open_bytes, read_lines, stream_errors
from dgex_jax.formats.table import read_body

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from dgex_jax.formats.lines import Line

HEAD_BYTES = 1 << 14
BINARY = {
    b"PK\x03\x04": "is a zip archive (an Excel workbook?); save the table as tab-separated text",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save the table as tab-separated text",
    b"%PDF": "is a PDF document",
    b"\xff\xfe": "is UTF-16 text; save the table as UTF-8",
    b"\xfe\xff": "is UTF-16 text; save the table as UTF-8",
}
"""What people hand over instead of a table, by its first bytes."""


def read_delimited(path: Path | str) -> Expression:
    r"""Read a tab- or comma-separated table, plain or gzip-compressed (whatever its name).

    The first row names the columns; its first cell is theirs (``gene``) or missing, as R writes
    it. Cells may be quoted; numbers are decimal, ``1,5`` is none. Byte order mark and ``\r\n`` are
    accepted.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Expression
        Float64 values; its profiles are the columns of the file, its genes the rows, as in GCT:
        which of them *are* genes is for the caller to find out. Ids are stripped of spaces around
        them, and one may come twice. NaN where the file has ``NA``, ``NaN``, -666 or nothing.

    Raises
    ------
    FormatError
        No such file, truncated or damaged, not a table (what it is instead, where that can be
        told), a row of another width, an empty id, a cell that is no number (the first, by row and
        column).
    """
    path = Path(path)
    mark = _separator(path)
    with closing(_tabbed(path, mark)) as lines:
        header_line = next(lines, None)
        first = next(lines, None)
        if header_line is None or first is None:
            raise FormatError(f"{path}: has no rows below its header")
        header = [decode_text(cell).strip() for cell in header_line[1].split(b"\t")]
        if len(header) != first[1].count(b"\t"):
            header = header[1:]
        columns = tuple(header)
        _check_header(path, header_line[0], columns)

        def body() -> Iterator[Line]:
            yield first
            yield from lines

        table = read_body(path, body(), columns, 1, kind="row", unique=False)
    rows = tuple(map(str.strip, table.genes))
    if "" in rows:
        raise FormatError(f"{path}: the id of row {rows.index('') + 1} is empty")
    return Expression(path, table.values, columns, rows)


def _check_header(path: Path, number: int, columns: tuple[str, ...]) -> None:
    if not columns or "" in columns:
        place = f"column {columns.index('') + 1}" if columns else "every column"
        raise FormatError(f"{path}: line {number}: the id of {place} is empty")
    try:
        fractions = [float(text) % 1 for text in columns]
    except ValueError:
        return
    # Entrez ids are numbers too, but whole ones.
    if any(fractions):
        raise FormatError(
            f"{path}: line {number} has numbers, not ids: the first row must name the columns"
        )


def _separator(path: Path) -> bytes:
    """Tab or comma, by the first line; by the second if that has one cell alone, as R writes it."""
    with open_bytes(path) as file, stream_errors(path):
        head = file.read(HEAD_BYTES).removeprefix(BOM)
    for magic, what in BINARY.items():
        if head.startswith(magic):
            raise FormatError(f"{path}: {what}")
    if b"\0" in head:
        raise FormatError(f"{path}: is neither HDF5 nor text: it begins with {head[:8]!r}")
    first, *more = [line for line in head.split(b"\n") if line.strip(b"\r")][:2] or [b""]
    for line in (first, *more):
        for mark in (b"\t", b","):
            if mark in line:
                return mark
    hint = "; semicolons can't separate cells here" if b";" in first else ""
    raise FormatError(
        f"{path}: is no table of tab- or comma-separated cells{hint}: it begins with {first[:40]!r}"
    )


def _tabbed(path: Path, mark: bytes) -> Generator[Line]:
    """Give the lines with a tab between cells and no quotes."""
    separator = mark.decode()
    with closing(read_lines(path)) as lines:
        for number, line in lines:
            if b'"' in line:
                yield number, _unquoted(path, number, line, separator)
            elif mark == b"\t":
                yield number, line
            elif b"\t" in line:
                raise FormatError(f"{path}: line {number}: a tab in a comma-separated table")
            else:
                yield number, line.replace(mark, b"\t")


def _unquoted(path: Path, number: int, line: bytes, separator: str) -> bytes:
    try:
        (cells,) = csv.reader([decode_text(line)], delimiter=separator, strict=True)
    except csv.Error as error:
        raise FormatError(f"{path}: line {number}: {error}") from error
    if any("\t" in cell for cell in cells):
        raise FormatError(f"{path}: line {number}: a tab inside a quoted cell")
    return "\t".join(cells).encode()
