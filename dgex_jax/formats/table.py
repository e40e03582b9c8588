"""What all tables of text share: which cell belongs to which column, and the rows of values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError
from dgex_jax.formats.annotation_names import is_text_name, may_hold_text
from dgex_jax.formats.decimals import parse_cells
from dgex_jax.formats.hdf5_text import decode_text
from dgex_jax.formats.memory import machine_memory

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.formats.lines import Line

GeneFilter = Collection[str] | Callable[[str], bool] | None
"""Which rows of a table to keep in memory: their ids, a test of an id, or all."""

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


@dataclass(frozen=True)
class Header:
    """The columns of a table.

    Attributes
    ----------
    number
        The line it is in.
    corner
        What stands above the row ids; ``None`` where the header begins with the first column, as
        R's ``write.table`` has it.
    columns
        Ids of all columns but that of the row ids.
    extra
        Empty cells at the end of every row, beyond the columns.
    """

    number: int
    corner: str | None
    columns: tuple[str, ...]
    extra: int = 0

    @property
    def width(self) -> int:
        """Cells of a row."""
        return 1 + len(self.columns) + self.extra


@dataclass(frozen=True)
class Body:
    """The rows of a table.

    Attributes
    ----------
    genes
        Ids of the rows kept, in file order.
    annotation
        For each row kept the texts of its annotation columns, without the id.
    values
        ``(n_profiles, n_genes)`` float64, C order; NaN where missing.
    n_rows
        Rows in the file, kept or not.
    texts
        For each row kept the texts of the columns of `columns_of_text`.
    rows_of_text
        Rows without a number, by id: for each column its text.
    """

    genes: tuple[str, ...]
    annotation: list[list[str]]
    values: NDArray[np.float64]
    n_rows: int
    texts: list[list[str]] = field(default_factory=list)
    rows_of_text: dict[str, list[str]] = field(default_factory=dict)


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
    """Tell which header cell belongs to which column of the rows.

    Cells that are empty at the end of the header, of every row, or of both are separators at the
    ends of lines. Without those, a header one cell shorter than the rows has no cell above the row
    ids (R's ``write.table``).

    Parameters
    ----------
    path
        The file, for the text of errors.
    line
        The header, tab-separated.
    rows
        The first rows.
    short
        Whether the header may lack the cell above the row ids.

    Raises
    ------
    FormatError
        The first row has other columns than the header.
    """
    number, text = line
    header = [cell.strip() if short else cell for cell in split_text(text)]
    n_named = len(header) - _n_empty_last(header)
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


def _n_empty_last(cells: Sequence[str]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda cell: not cell, reversed(cells)))


def check_width(path: Path, line: Line, width: int) -> None:
    """Raise `FormatError` unless `line` has `width` cells."""
    number, text = line
    found = text.count(b"\t") + 1
    if found != width:
        name = decode_text(text.partition(b"\t")[0][:60])
        raise FormatError(
            f"{path}: line {number}, row {name!r}: {found} columns, but the header has {width}"
        )


def columns_of_text(header: Header, rows: Sequence[Line]) -> tuple[int, ...]:
    """Tell which columns hold text instead of values.

    They are called so (chromosome, strand, biotype, …) and have no fractions, or none of their
    cells in the first rows is a number.

    Parameters
    ----------
    header
        The columns.
    rows
        The first rows, as wide as the header says.
    """
    named = {place for place, name in enumerate(header.columns) if is_text_name(name)}
    fractions = np.zeros(len(header.columns), bool)
    n_text: dict[int, int] = {}
    n_missing = np.zeros(len(header.columns), int)
    texts: set[int] = set()
    spoilt: set[int] = set()
    for _, row in rows:
        cells = row.split(b"\t")[1 : 1 + len(header.columns)]
        values, refused = parse_cells(b"\t".join(cells))
        n_missing += np.isnan(values)
        fractions |= np.nan_to_num(values) % 1 != 0
        for place in refused:
            n_missing[place] -= 1
            n_text[place] = n_text.get(place, 0) + 1
            (texts if is_text(decode_text(cells[place])) else spoilt).add(place)
    whole = {place for place in texts - spoilt if n_text[place] == len(rows) - n_missing[place]}
    annotation = {place for place in n_text if may_hold_text(header.columns[place])}
    named -= set(np.flatnonzero(fractions).tolist())
    return tuple(sorted(named | whole | annotation))


def is_text(cell: str) -> bool:
    """Whether a cell that is no number is a text, and not a number gone wrong."""
    plain = cell.strip()
    # A letter comes before all that a number begins with.
    return plain.casefold() not in NO_TEXT and re.match(r"[^-+.\d]*[^\W\d_]", plain) is not None


def text_frame(texts: list[list[str]], ids: tuple[str, ...], fields: list[str]) -> pd.DataFrame:
    """Annotation as it stands in the file: ``(n_ids, n_fields)`` of str, indexed by id."""
    return pd.DataFrame(
        texts,
        index=pd.Index(ids, dtype=object),
        columns=pd.Index(fields, dtype=object),
        dtype=object,
    )


def read_body(
    path: Path,
    lines: Iterator[Line],
    header: Header,
    n_annotation: int = 0,
    genes: GeneFilter = None,
    *,
    text: tuple[int, ...] = (),
    kind: str = "gene",
    unique: bool = True,
) -> Body:
    """Read the rows of a table.

    Parameters
    ----------
    path
        The file, for the text of errors.
    lines
        Its lines after the header.
    header
        Its columns.
    n_annotation
        Columns between the id and the values.
    genes
        Which rows to keep. The others are checked for their width and a repeated id only.
    text
        Columns (places in the header's `columns`) that hold text; none where `n_annotation`.
    kind
        What a row is called in an error. ``row``: a row without a number is annotation.
    unique
        Whether an id that comes twice is an error.

    Raises
    ------
    FormatError
        A row that is too short or too long, an id that is empty or comes twice, a value that is
        no number (row and column named), no rows at all.
    """
    keep = _keeper(genes)
    width, beyond = header.width, b"\t" * header.extra
    chosen = [place for place in range(len(header.columns)) if place not in text]
    chosen = chosen[n_annotation:]
    seen: dict[str, int] = {}
    values = _Values(path, [header.columns[place] for place in chosen], kind == "row")
    annotation: list[list[str]] = []
    texts: list[list[str]] = []
    n_rows = 0
    for number, line in lines:
        check_width(path, (number, line), width)
        if beyond and not line.endswith(beyond):
            raise FormatError(f"{path}: line {number}: has a cell beyond the last column's name")
        row = line[: -header.extra] if beyond else line
        *head, cells = row.split(b"\t", n_annotation + 1)
        gene = decode_text(head[0])
        if not gene:
            raise FormatError(f"{path}: line {number}: the {kind} id is empty")
        if unique and gene in seen:
            raise FormatError(
                f"{path}: duplicate {kind} id {gene!r} (lines {seen[gene]} and {number})"
            )
        seen[gene] = number
        n_rows += 1
        if keep(gene):
            annotation.append([decode_text(cell) for cell in head[1:]])
            if text:
                every = cells.split(b"\t")
                texts.append([decode_text(every[place]) for place in text])
                cells = b"\t".join([every[place] for place in chosen])
            values.add(number, gene, cells)
    if not n_rows:
        raise FormatError(f"{path}: has no {kind}s")
    matrix = values.gather()
    if values.rows_of_text:
        kept = [place for place in range(len(values.genes)) if place not in values.rows_of_text]
        annotation = [annotation[place] for place in kept]
        texts = [texts[place] for place in kept] if texts else texts
    else:
        kept = list(range(len(values.genes)))
    return Body(
        tuple(values.genes[place] for place in kept),
        annotation,
        matrix,
        n_rows,
        texts,
        {values.genes[place]: cells for place, cells in values.rows_of_text.items()},
    )


def _keeper(genes: GeneFilter) -> Callable[[str], bool]:
    if genes is None:
        return lambda _: True
    return genes if callable(genes) else frozenset(genes).__contains__


class _Values:
    """Rows of text on their way to a matrix of profiles by genes."""

    def __init__(self, path: Path, profiles: Sequence[str], text_rows: bool) -> None:
        self.path = path
        self.profiles = profiles
        self.genes: list[str] = []
        self.rows_of_text: dict[int, list[str]] = {}
        self._text_rows = text_rows
        self._numbers: list[int] = []
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._memory = machine_memory()
        self._n_bytes = 0
        self._blocks: list[NDArray[np.float64]] = []

    def add(self, number: int, gene: str, cells: bytes) -> None:
        """Add the value cells of one row."""
        self.genes.append(gene)
        self._numbers.append(number)
        self._pending.append(cells)
        self._pending_bytes += len(cells)
        if self._pending_bytes > PARSE_BYTES:
            self._parse()

    def gather(self) -> NDArray[np.float64]:
        """Give all rows as ``(n_profiles, n_genes)``, freeing the parts on the way."""
        self._parse()
        stop = len(self.genes) - len(self.rows_of_text)
        values = np.empty((len(self.profiles), stop))
        while self._blocks:
            block = self._blocks.pop()
            values[:, stop - len(block) : stop] = block.T
            stop -= len(block)
        return values

    def _parse(self) -> None:
        if not self._pending:
            return
        first = len(self.genes) - len(self._pending)
        values, refused = parse_cells(b"\t".join(self._pending))
        rows = values.reshape(len(self._pending), len(self.profiles))
        if refused:
            rows = self._without_text(rows, refused, first)
        self._n_bytes += rows.nbytes
        if self._n_bytes > self._memory:
            raise FormatError(
                f"{self.path}: line {self._numbers[-1]}: its values need more memory than the "
                f"{self._memory / 2**30:.1f} GiB there are"
            )
        self._blocks.append(rows)
        self._pending = []
        self._pending_bytes = 0

    def _without_text(
        self, rows: NDArray[np.float64], refused: list[int], first: int
    ) -> NDArray[np.float64]:
        """Take out rows without a number; raise `FormatError` for a cell gone wrong."""
        by_row: dict[int, list[int]] = {}
        for place in refused:
            row, column = divmod(place, len(self.profiles))
            by_row.setdefault(row, []).append(column)
        for row, columns in by_row.items():
            cells = [decode_text(cell) for cell in self._pending[row].split(b"\t")]
            only_text = np.isnan(rows[row]).all() and all(is_text(cells[one]) for one in columns)
            only_text = only_text or may_hold_text(self.genes[first + row])
            # One column of text in one row is a value gone wrong.
            if not (self._text_rows and only_text and len(self.profiles) > 1):
                cell = cells[columns[0]][:60]
                hint = "" if "," not in cell else NO_COMMAS
                raise FormatError(
                    f"{self.path}: line {self._numbers[first + row]}, row "
                    f"{self.genes[first + row]!r}, column {self.profiles[columns[0]]!r}: "
                    f"{cell!r} is not a number{hint}"
                )
            self.rows_of_text[first + row] = cells
        return np.delete(rows, list(by_row), axis=0)


NO_COMMAS = " (numbers have decimal points, and no separators of thousands)"
