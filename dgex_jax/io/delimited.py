"""Tables of any program in: ids in the first row and the first column, annotation beside them."""

from __future__ import annotations

import itertools
import math
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import (
    CORNERS,
    IDS,
    TEXT,
    Expression,
    alike,
    decode_text,
    is_annotation_name,
    listed,
    may_hold_text,
    plain_name,
)
from dgex_jax.io.lines import kind_of, read_lines, unquoted
from dgex_jax.io.table import (
    fit_header,
    is_text,
    look_ahead,
    parse_cell,
    parse_cells,
    read_body,
    split_text,
    text_frame,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dgex_jax.io.lines import Line
    from dgex_jax.io.table import Body, Header

MARKS = (b"\t", b",")
"""Between the cells of a line."""

MOST_COMMENT = 1 << 16
"""Characters that are kept of the comments before a table."""


def read_delimited(path: Path | str) -> Expression:
    r"""Read a table of cells between tabs or commas, or a GEO series matrix.

    The file may be compressed (gzip, bzip2, xz), whatever its name. The first row names the
    columns; its first cell is theirs (``gene``) or missing, as R's ``write.table`` has it.
    Separators at the ends of lines, quotes, a byte order mark and ``\r\n`` are accepted. Lines that
    begin with ``#`` before the header are comments. Columns of text (chromosome, biotype, …) are
    annotation of the rows, rows of text of the columns. Of a series matrix the table is read, and
    its ``!Sample_`` lines are metadata.

    Gives float64 values, NaN where the file has ``NA``, ``NaN``, -666 or nothing. Profiles are the
    columns of the file and genes the rows, as in GCT: which of them *are* genes is for the caller
    to find out. Ids are stripped of spaces around them, and one may come twice.

    Raises `FormatError` for no such file, truncated or damaged, not a table (what it is instead,
    where that can be told), a row of another width, no ids in the first row or column, an empty id,
    a cell that is no number (the first, by row and column).
    """
    path = Path(path)
    is_series = kind_of(path) == "series matrix"
    comments: list[str] = []
    samples: dict[str, list[str]] = {}
    with closing(read_lines(path)) as lines:
        table = (
            _series_matrix(path, lines, comments, samples)
            if is_series
            else _after_comments(lines, comments)
        )
        rows = _cells(path, table)
        header_line = next(rows, None)
        if header_line is None:
            raise FormatError(f"{path}: has no table")
        first, rows = look_ahead(rows)
        header = fit_header(path, header_line, first)
        fitting = [row for row in first if row[1].count(b"\t") + 1 == header.width]
        _check_ids(path, header, fitting)
        if not first:
            empty = ": the values of this series are in other files of it" if is_series else ""
            raise FormatError(f"{path}: has no rows below its header{empty}")
        text = _columns_of_text(header, fitting)
        if len(text) == len(header.columns):
            cell = decode_text(first[0][1].split(b"\t")[1][:60])
            raise FormatError(
                f"{path}: has no column of numbers: line {first[0][0]}, column "
                f"{header.columns[0]!r}: {cell!r} is not a number"
            )
        body = read_body(path, rows, header, text, kind="row")
    return _expression(path, header, text, body, comments, samples)


def _expression(
    path: Path,
    header: Header,
    text: Sequence[int],
    body: Body,
    comments: Sequence[str],
    samples: dict[str, list[str]],
) -> Expression:
    genes = tuple(map(str.strip, body.genes))
    if "" in genes:
        raise FormatError(f"{path}: the id of row {genes.index('') + 1} is empty")
    if not genes:
        raise FormatError(f"{path}: has no rows of numbers")
    profiles = tuple(name for place, name in enumerate(header.columns) if place not in text)
    fields = [header.columns[place] for place in text]
    rows_of_text = {name.strip(): cells for name, cells in body.rows_of_text.items()}
    notes = []
    if fields:
        notes.append(f"columns of text, no values: {listed([*map(repr, fields)])}")
    if rows_of_text:
        notes.append(f"rows of text, no values: {listed([*map(repr, rows_of_text)])}")
    if comments:
        notes.append(f"{len(comments)} comment lines before the table were skipped")
    texts = body.annotation
    for name, numbers in zip(profiles, body.values, strict=True):
        if plain_name(name) in IDS:  # ids of genes, whatever becomes of the column
            fields.append(name)
            ids = [str(int(one)) if one % 1 == 0 else "" for one in numbers.tolist()]
            texts = [[*cells, one] for cells, one in zip(texts, ids, strict=True)]
    # Fields of a table are found by name.
    unique = [name if name not in fields[:k] else f"{name}.{k}" for k, name in enumerate(fields)]
    by_profile = {name: cells for name, cells in samples.items() if len(cells) == len(profiles)}
    return Expression(
        path,
        body.values,
        profiles,
        genes,
        pd.DataFrame(
            by_profile | rows_of_text, index=pd.Index(profiles, dtype=object), dtype=object
        ),
        text_frame(texts, genes, unique),
        notes=tuple(notes),
        comments=tuple(comments),
    )


def _after_comments(lines: Iterator[Line], comments: list[str]) -> Iterator[Line]:
    """Skip the lines that begin with ``#``, but for a header that does."""
    comment: Line | None = None
    for line in lines:
        if line[1].startswith(b"#"):
            _keep_comment(comments, comment)
            comment = line
            continue
        if comment is not None:
            if _is_header_of(comment[1], line[1]):
                yield comment[0], comment[1].lstrip(b"#").lstrip()
            else:
                _keep_comment(comments, comment)
        yield line
        break
    yield from lines


def _keep_comment(comments: list[str], comment: Line | None) -> None:
    if comment is not None and sum(map(len, comments)) < MOST_COMMENT:
        comments.append(decode_text(comment[1][:MOST_COMMENT]))


def _is_header_of(comment: bytes, row: bytes) -> bool:
    """Whether the last comment has the cells of a header, and the line below it has numbers."""
    bare, below = (re.sub(rb'"[^"]*"', b"", line) for line in (comment, row))
    for mark in MARKS:
        n = below.count(mark)
        if n and bare.count(mark) == n:
            return None not in [parse_cell(cell.strip(b' "')) for cell in row.split(mark)[1:]]
    return False


def _series_matrix(
    path: Path, lines: Iterator[Line], comments: list[str], samples: dict[str, list[str]]
) -> Iterator[Line]:
    """Give the table of a series matrix, and keep what it says of its samples and series."""
    number, text = 0, b""
    for number, line in lines:
        if line.startswith(b"!series_matrix_table_begin"):
            break
        # A quoted text may extend over lines.
        text = text + b" " + line if text else line
        if text.count(b'"') % 2:
            continue
        if text.startswith(b"!Sample_"):
            name, *cells = split_text(unquoted(path, (number, text), "\t"))
            key = name.removeprefix("!Sample_").strip()
            n_same = sum(other.partition(".")[0] == key for other in samples)
            samples[f"{key}.{n_same + 1}" if n_same else key] = cells
        else:
            _keep_comment(comments, (number, text))
        text = b""
    else:
        raise FormatError(f"{path}: is a GEO series matrix that ends before its table")
    for number, line in lines:
        if line.startswith(b"!series_matrix_table_end"):
            break
        yield number, line
    else:
        raise FormatError(
            f"{path}: is a GEO series matrix that was cut off: it has no line "
            f"!series_matrix_table_end (its last is {number})"
        )
    for _ in lines:  # to the end, where a compressed file says whether it is complete
        pass


def _cells(path: Path, lines: Iterator[Line]) -> Iterator[Line]:
    """Give the lines with a tab between cells and no quotes."""
    known = list(itertools.islice(lines, 2))
    mark = _separator(path, [text for _, text in known])
    for line in itertools.chain(known, lines):
        number, text = line
        if b'"' in text:
            yield number, unquoted(path, line, mark.decode())
        elif mark == b"\t":
            yield line
        elif b"\t" in text:
            raise FormatError(f"{path}: line {number}: a tab in a comma-separated table")
        else:
            yield number, text.replace(mark, b"\t")


def _separator(path: Path, lines: Sequence[bytes]) -> bytes:
    """Tell it by the first line, or by the second if the first is one cell, as R writes it."""
    bare = [re.sub(rb'"[^"]*"?', b"", text) for text in lines]
    # In a line with semicolons commas are decimal; without any, separators may all be in quotes.
    for text in (*bare, *lines):
        marks = [mark for mark in (b"\t", b";", b",") if mark in text]
        if not marks:
            continue
        if marks[0] == b";" and (b"," not in text or text.count(b";") > text.count(b",")):
            raise FormatError(
                f"{path}: its cells are separated by semicolons (decimal commas, as R's write.csv2 "
                "has them): write it with tabs and decimal points (pandas: read_csv(…, sep=';', "
                "decimal=','), then to_csv(…, sep='\\t'))"
            )
        return b"\t" if marks[0] == b"\t" else b","
    first = lines[0] if lines else b""
    below = [parse_cell(cell) for cell in lines[1].split()] if len(lines) > 1 else []
    hint = ""
    if len(below) == 1 and below[0] is not None:
        hint = ": it is a single column of numbers without ids"
    elif len(below) > 1 and None not in below[1:]:
        hint = ": its cells are separated by spaces (R: write.table with sep = '\\t')"
    raise FormatError(
        f"{path}: is no table of tab- or comma-separated cells{hint}: it begins with {first[:40]!r}"
    )


def _columns_of_text(header: Header, rows: Sequence[Line]) -> tuple[int, ...]:
    """Tell which columns hold text instead of values, by the first rows, as wide as the header.

    They are called so (chromosome, strand, biotype, …) and have no fractions, or none of their
    cells is a number.
    """
    fractions = np.zeros(len(header.columns), bool)
    numbers = np.zeros(len(header.columns), bool)
    texts: set[int] = set()
    spoilt: set[int] = set()
    for _, row in rows:
        cells = row.split(b"\t")[1 : 1 + len(header.columns)]
        values, refused = parse_cells(b"\t".join(cells))
        numbers |= ~np.isnan(values)
        fractions |= np.nan_to_num(values) % 1 != 0
        for place in refused:
            (texts if is_text(decode_text(cells[place])) else spoilt).add(place)
    named = {place for place, name in enumerate(header.columns) if plain_name(name) in TEXT}
    named -= set(np.flatnonzero(fractions).tolist())
    without_numbers = texts - spoilt - set(np.flatnonzero(numbers).tolist())
    annotation = {place for place in texts | spoilt if may_hold_text(header.columns[place])}
    return tuple(sorted(named | without_numbers | annotation))


def _check_ids(path: Path, header: Header, rows: Sequence[Line]) -> None:
    """Raise `FormatError` where values stand in place of ids, or an id is empty."""
    number, columns, corner = header.number, header.columns, header.corner or ""
    if not columns:
        raise FormatError(f"{path}: line {number}: has the ids' column alone, no column of values")
    if "" in columns:
        place = columns.index("") + 1
        raise FormatError(f"{path}: line {number}: the id of column {place} is empty")
    is_corner = plain_name(corner) in CORNERS or is_annotation_name(corner)
    parsed = [*map(parse_cell, columns)]
    n_fractions = sum(map(_is_fraction, parsed))
    # Over a first row of whole numbers, Entrez ids, stands what they are, or nothing.
    are_values = n_fractions or len(set(parsed)) < len(parsed) or (corner and not is_corner)
    if (
        _is_fraction(parse_cell(corner))
        or 2 * n_fractions > len(columns)
        or (None not in parsed and are_values)
    ):
        raise FormatError(
            f"{path}: line {number} has numbers, not ids: the first row must be a header that "
            "names the columns (over numeric ids its first cell must say gene or sample)"
        )
    names = [decode_text(row.partition(b"\t")[0]).strip() for _, row in rows]
    numbers = [parse_cell(name) for name in names if name]
    if not numbers or None in numbers:
        return
    second = [parse_cell(row.split(b"\t", 2)[1]) for _, row in rows]
    strange = corner and not is_corner and alike(corner, columns)
    if any(map(_is_fraction, numbers)) or (strange and not any(map(_is_fraction, second))):
        raise FormatError(
            f"{path}: the first column ({corner!r}) has numbers, not ids: the first cell of every "
            "row must name it (pandas: to_csv with the index)"
        )


def _is_fraction(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value % 1 != 0
