"""Tables of text in common: which cell belongs to which column, rows of values, decimal numbers."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import MISSING, decode_text, may_hold_text
from dgex_jax.io.progress import machine_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.io.expression import GeneFilter, Places
    from dgex_jax.io.lines import Line

    Floats = NDArray[np.float64]
    Truths = NDArray[np.bool_]

PARSE_BYTES = 1 << 17
"""Rows are parsed together up to about this much text: what fits a processor's cache."""

ROWS_AHEAD = 50
"""Rows that are looked at before it is decided what the columns are."""
BYTES_AHEAD = 1 << 26
"""Fewer of them where they are longer than those of any table."""

NO_TEXT = {
    *("#n/a", "n/a", "n.a.", "n.a", "nd", "n.d.", "null", "none", "nil", "missing"),
    *("#ref!", "#value!", "#div/0!", "#name?", "#num!", "#null!", "inf", "infinity"),
}
"""What stands for a number that is not there: a column of these is no column of text."""
MISSING_TEXT = frozenset({b"", b"na", b"nan"})

TAB, DOT, MINUS, ZERO = b"\t.-0"
EXACT_DIGITS = 15
"""Integers of so many digits, and ten to that power, are exact in float64; so their quotient is
rounded once, which is what correct rounding means."""
POWERS = 10.0 ** np.arange(EXACT_DIGITS + 1)


@dataclass(frozen=True)
class Header:
    """The columns of a table, and the number of the line it is in.

    `corner` stands above the row ids, ``None`` where the header begins with the first column, as
    R's ``write.table`` has it; `columns` are the ids of all columns but that of the row ids;
    `extra` counts empty cells at the end of every row, beyond the columns.
    """

    number: int
    corner: str | None
    columns: tuple[str, ...]
    extra: int = 0

    @property
    def width(self) -> int:
        """Cells of a row."""
        return 1 + len(self.columns) + self.extra


def split_text(line: bytes) -> list[str]:
    """Cells of `line` as text."""
    return [decode_text(cell) for cell in line.split(b"\t")]


def look_ahead(lines: Iterator[Line]) -> tuple[list[Line], Iterator[Line]]:
    """Give the first rows, and all of them."""
    first: list[Line] = []
    n_bytes = 0
    while len(first) < ROWS_AHEAD and n_bytes < BYTES_AHEAD and (row := next(lines, None)):
        first.append(row)
        n_bytes += len(row[1])
    return first, itertools.chain(first, lines)


def fit_header(path: Path, line: Line, rows: Sequence[Line], *, short: bool = True) -> Header:
    """Tell which cell of a header, tab-separated, belongs to which column of the first rows.

    Cells that are empty at the end of the header, of every row, or of both are separators at the
    ends of lines. Without those, a header one cell shorter than the rows has no cell above the row
    ids (R's ``write.table``) if it may be `short`. Raises `FormatError` if the first row has other
    columns.
    """
    number, text = line
    header = [cell.strip() if short else cell for cell in split_text(text)]
    n_empty = sum(1 for _ in itertools.takewhile(lambda cell: not cell, reversed(header)))
    n_named = len(header) - n_empty
    if not rows:
        return Header(number, header[0], tuple(header[1:n_named]))
    width = rows[0][1].count(b"\t") + 1
    spare = min(len(row) - len(row.rstrip(b"\t")) for _, row in rows)
    for extra in range(spare + 1):
        if width - extra == n_named:
            return Header(number, header[0], tuple(header[1:n_named]), extra)
    if short and n_named == len(header) and width - spare == n_named + 1:
        return Header(number, None, tuple(header), spare)
    if n_named < width - spare <= len(header):  # a column of the rows has no name
        return Header(number, header[0], tuple(header[1 : width - spare]), spare)
    check_width(path, rows[0], len(header))
    raise AssertionError("a header that fits its rows")


def check_width(path: Path, line: Line, width: int) -> None:
    """Raise `FormatError` unless `line` has `width` cells."""
    number, text = line
    found = text.count(b"\t") + 1
    if found != width:
        name = decode_text(text.partition(b"\t")[0][:60])
        raise FormatError(
            f"{path}: line {number}, row {name!r}: {found} columns, but the header has {width}"
        )


def is_text(cell: str) -> bool:
    """Whether a cell that is no number is a text, and not a number gone wrong."""
    plain = cell.strip()
    # A letter comes before all that a number begins with.
    return plain.casefold() not in NO_TEXT and re.match(r"[^-+.\d]*[^\W\d_]", plain) is not None


def text_frame(
    texts: Sequence[Sequence[str]], ids: Sequence[str], fields: Sequence[str]
) -> pd.DataFrame:
    """Annotation as it stands in the file: ``(n_ids, n_fields)`` of str, indexed by id."""
    return pd.DataFrame(
        texts,
        index=pd.Index(list(ids), dtype=object),
        columns=pd.Index(list(fields), dtype=object),
        dtype=object,
    )


def read_body(
    path: Path,
    lines: Iterator[Line],
    header: Header,
    text: Sequence[int] = (),
    genes: GeneFilter = None,
    *,
    kind: str = "gene",
) -> Body:
    """Read the rows of a table, the `lines` after its header.

    `text` are columns (places in the header's `columns`) that hold annotation; `genes` tells which
    rows to keep: the others are checked for their width and a repeated id only. `kind` is what a
    row is called in an error; a ``row``, unlike a ``gene``, may have an id that comes twice, and
    one without a number is annotation of the columns.

    Raises `FormatError` for a row that is too short or too long, an id that is empty or comes
    twice, a value that is no number (row and column named), no rows at all.
    """
    wanted = genes if genes is None or callable(genes) else frozenset(genes).__contains__
    of_text = set(text)
    chosen = [place for place in range(len(header.columns)) if place not in of_text]
    leading = len(text) if tuple(text) == tuple(range(len(text))) else 0
    body = Body(path, [header.columns[place] for place in chosen], kind == "row")
    width, beyond = header.width, b"\t" * header.extra
    seen: dict[str, int] = {}
    for number, line in lines:
        check_width(path, (number, line), width)
        if beyond and not line.endswith(beyond):
            raise FormatError(f"{path}: line {number}: has a cell beyond the last column's name")
        row = line[: -header.extra] if beyond else line
        name, *notes, cells = row.split(b"\t", 1 + leading)
        gene = decode_text(name)
        if not gene:
            raise FormatError(f"{path}: line {number}: the {kind} id is empty")
        if kind == "gene" and gene in seen:
            raise FormatError(
                f"{path}: duplicate {kind} id {gene!r} (lines {seen[gene]} and {number})"
            )
        seen[gene] = number
        body.n_rows += 1
        if wanted is not None and not wanted(gene):
            continue
        if text and not leading:
            every = cells.split(b"\t")
            notes = [every[place] for place in text]
            cells = b"\t".join([every[place] for place in chosen])
        body.add(number, gene, [decode_text(note) for note in notes], cells)
    if not body.n_rows:
        raise FormatError(f"{path}: has no {kind}s")
    body.gather()
    return body


class Body:
    """The rows of a table that were kept, in file order (see `read_body`).

    For each of `genes` (their ids) `annotation` has the texts of its columns of annotation.
    `values` are ``(n_profiles, n_genes)`` float64, C order, NaN where missing. `n_rows` counts all
    rows in the file; `rows_of_text` has those without a number, by id: for each column of values
    its text.
    """

    def __init__(self, path: Path, columns: Sequence[str], text_rows: bool) -> None:
        self.genes: list[str] = []
        self.annotation: list[list[str]] = []
        self.n_rows = 0
        self.rows_of_text: dict[str, list[str]] = {}
        self._path, self._columns, self._text_rows = path, columns, text_rows
        self._pending: list[tuple[int, str, list[str], bytes]] = []
        self._pending_bytes = 0
        self._memory = machine_memory()
        self._n_bytes = 0
        self._blocks: list[Floats] = []

    def add(self, number: int, gene: str, notes: list[str], cells: bytes) -> None:
        """Add the next row; it is parsed with others."""
        self._pending.append((number, gene, notes, cells))
        self._pending_bytes += len(cells)
        if self._pending_bytes > PARSE_BYTES:
            self._parse()

    def gather(self) -> None:
        """Make one matrix of all rows, freeing the parts on the way."""
        self._parse()
        stop = len(self.genes)
        self.values = np.empty((len(self._columns), stop))
        while self._blocks:
            block = self._blocks.pop()
            self.values[:, stop - len(block) : stop] = block.T
            stop -= len(block)

    def _parse(self) -> None:
        if not self._pending:
            return
        number = self._pending[-1][0]
        values, refused = parse_cells(b"\t".join([cells for *_, cells in self._pending]))
        rows = values.reshape(len(self._pending), len(self._columns))
        if refused:
            rows = self._without_text(rows, refused)
        self._n_bytes += rows.nbytes
        if self._n_bytes > self._memory:
            raise FormatError(
                f"{self._path}: line {number}: its values need more memory than the "
                f"{self._memory / 2**30:.1f} GiB there are"
            )
        self.genes += [gene for _, gene, *_ in self._pending]
        self.annotation += [notes for _, _, notes, _ in self._pending]
        self._blocks.append(rows)
        self._pending, self._pending_bytes = [], 0

    def _without_text(self, rows: Floats, refused: list[int]) -> Floats:
        """Take out rows without a number; raise `FormatError` for a cell gone wrong."""
        by_row: dict[int, list[int]] = {}
        for place in refused:
            row, column = divmod(place, len(self._columns))
            by_row.setdefault(row, []).append(column)
        for row, columns in by_row.items():
            number, gene, _, line = self._pending[row]
            cells = split_text(line)
            only_text = np.isnan(rows[row]).all() and all(is_text(cells[one]) for one in columns)
            # One column of text in one row is a value gone wrong.
            of_text = self._text_rows and len(self._columns) > 1
            if not (of_text and (only_text or may_hold_text(gene))):
                cell = cells[columns[0]][:60]
                hint = " (numbers have decimal points, and no separators of thousands)"
                raise FormatError(
                    f"{self._path}: line {number}, row {gene!r}, column "
                    f"{self._columns[columns[0]]!r}: {cell!r} is not a number"
                    f"{hint if ',' in cell else ''}"
                )
            self.rows_of_text[gene] = cells
        self._pending = [one for row, one in enumerate(self._pending) if row not in by_row]
        return np.delete(rows, list(by_row), axis=0)


def parse_cell(cell: bytes | str) -> float | None:
    """Parse one cell of any form; ``None`` where it is neither a number nor a missing value."""
    raw = cell.encode() if isinstance(cell, str) else cell  # bytes: ASCII digits alone are digits
    try:
        value = float(raw)
    except ValueError:
        return float("nan") if raw.strip().lower() in MISSING_TEXT else None
    return None if b"_" in raw else value


def parse_cells(text: bytes) -> tuple[Floats, list[int]]:
    """Parse numbers with a tab between each two, about twice as fast as `float` cell by cell.

    Gives ``(n_cells,)`` float64, the nearest to the decimal number (as ``float`` gives it), NaN for
    a missing value (empty, ``NA`` or ``NaN`` in any case, -666), and the places of cells that are
    neither a number nor missing (their value is NaN).
    """
    values, odd, starts, ends = _parse_plain(text)
    places = np.flatnonzero(odd)
    bounds = zip(starts[places].tolist(), ends[places].tolist(), strict=True)
    parsed = [parse_cell(text[start:end]) for start, end in bounds]
    values[places] = np.array(parsed, dtype=np.float64)  # None becomes NaN
    refused = [int(place) for place, value in zip(places, parsed, strict=True) if value is None]
    values[values == MISSING] = np.nan
    return values, refused


def _parse_plain(text: bytes) -> tuple[Floats, Truths, Places, Places]:
    """Parse cells like ``-12.034`` of up to 15 digits.

    Gives for each its value, whether it is of another form (then the value means nothing), and
    where in `text` it starts and ends.
    """
    cells = np.frombuffer(text + b"\t", np.uint8)
    marks = np.flatnonzero(cells - ZERO > 9)
    kinds = cells[marks]
    is_tab, is_dot = kinds == TAB, kinds == DOT
    cell_of = np.cumsum(is_tab) - is_tab
    ends = marks[is_tab]
    n_cells = len(ends)
    starts = np.concatenate([[0], ends[:-1] + 1])

    dots, dot_cells = marks[is_dot], cell_of[is_dot]
    odd = np.bincount(dot_cells, minlength=n_cells) > 1
    decimals = np.zeros(n_cells, np.intp)
    decimals[dot_cells] = ends[dot_cells] - dots - 1

    negative = np.zeros(n_cells, np.bool_)
    others = np.flatnonzero(~(is_tab | is_dot))
    if len(others):
        other_cells = cell_of[others]
        is_sign = (kinds[others] == MINUS) & (marks[others] == starts[other_cells])
        odd[other_cells[~is_sign]] = True
        negative[other_cells[is_sign]] = True

    # Without the dots, the digits of a cell stand in one run before its tab.
    digits = np.concatenate([np.zeros(16, np.uint8), cells[cells != DOT]])
    tabs = ends - np.cumsum(is_dot)[is_tab] + 16
    n_digits = np.diff(tabs, prepend=15) - 1 - negative
    odd |= (n_digits < 1) | (n_digits > EXACT_DIGITS)
    mantissa = _eight_digits(digits, tabs - 8, n_digits)
    long = np.flatnonzero(~odd & (n_digits > 8))
    mantissa[long] += 1e8 * _eight_digits(digits, tabs[long] - 16, n_digits[long] - 8)
    values = mantissa / POWERS[np.minimum(decimals, EXACT_DIGITS)]
    values[negative] *= -1
    return values, odd, starts, ends


def _eight_digits(digits: NDArray[np.uint8], places: Places, n_digits: Places) -> Floats:
    """Value of the last `n_digits` (1 to 8; more count as 8) of eight characters from `places` on.

    Three multiplications instead of eight: neighbouring digits, pairs and fours are joined inside
    one 64-bit word (D. Lemire, "Quickly parsing eight digits", 2018).
    """
    # One word for each place a word can begin at; the first character is its lowest byte.
    every = np.ndarray((len(digits) - 7,), "<u8", buffer=digits, strides=(1,))
    words = every[places].astype(np.uint64) ^ np.uint64(0x3030303030303030)
    foreign = (8 * (8 - np.clip(n_digits, 1, 8))).astype(np.uint64)
    words = words >> foreign << foreign
    pairs = words * np.uint64(10) + (words >> np.uint64(8))
    even = np.uint64(0x000000FF000000FF)
    fours = (pairs & even) * np.uint64(100 + (1000000 << 32))
    fours += (pairs >> np.uint64(16) & even) * np.uint64(1 + (10000 << 32))
    return (fours >> np.uint64(32)).astype(np.float64)
