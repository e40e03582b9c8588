"""GCT 1.2 and 1.3 in and out."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dgex_jax.errors import FormatError
from dgex_jax.formats.annotation_names import alike, is_annotation_name
from dgex_jax.formats.decimals import parse_cell
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gct_write import write_gct
from dgex_jax.formats.ids import check_ids
from dgex_jax.formats.lines import read_lines, tabbed
from dgex_jax.formats.table import (
    GeneFilter,
    check_width,
    fit_header,
    look_ahead,
    read_body,
    split_text,
    text_frame,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dgex_jax.formats.lines import Line
    from dgex_jax.formats.table import Header

__all__ = ["read_gct", "write_gct"]

Version = Literal["1.2", "1.3"]


@dataclass(frozen=True)
class _Dimensions:
    """What the second line of a GCT file declares."""

    rows: int
    columns: int
    row_fields: int
    column_fields: int


def read_gct(
    path: Path | str, *, genes: GeneFilter = None, accept_wrong_dimensions: bool = False
) -> Expression:
    """Read a GCT file, plain or gzip-compressed (whatever its name).

    Parameters
    ----------
    path
        The file.
    genes
        Keep only these rows in memory: ids as the file writes them, or a test of such an id.
    accept_wrong_dimensions
        Trust the table where the dimension line declares other numbers of rows or columns.

    Returns
    -------
    Expression
        Float64 values, NaN where the file has ``NA``, ``NaN``, -666 or nothing. Annotation is text:
        in 1.2 the gene field ``Description``, in 1.3 the row and column fields.

    Raises
    ------
    FormatError
        No such file, truncated or damaged, another version, a wrong dimension line, a short row,
        ids that are empty or come twice, a value that is no number.
    """
    path = Path(path)
    with closing(read_lines(path)) as raw:
        lines = tabbed(path, raw)
        version = _read_version(path, lines)
        declared = _read_dimensions(path, lines, version)
        line = _next(path, lines, "header")
        first, lines = look_ahead(lines)
        header = fit_header(path, line, first, short=False)
        n_fields = declared.row_fields
        profiles = header.columns[n_fields:]
        if first:
            _check_layout(path, header, declared, first)
        check_ids(path, "profile", profiles)
        if len(profiles) != declared.columns and not accept_wrong_dimensions:
            raise FormatError(
                f"{path}: the dimension line says {declared.columns} profiles, "
                f"the header (line {line[0]}) has {len(profiles)}"
            )
        fields, texts = [], []
        for _ in range(declared.column_fields):
            line = _next(path, lines, "profile annotation")
            check_width(path, line, header.width)
            cells = split_text(line[1])
            fields.append(cells[0])
            texts.append(cells[1 + n_fields : 1 + len(header.columns)])
        body = read_body(path, lines, header, n_fields, genes)
    if body.n_rows != declared.rows and not accept_wrong_dimensions:
        raise FormatError(
            f"{path}: the dimension line says {declared.rows} rows, the file has {body.n_rows} "
            "(accept_wrong_dimensions trusts the table)"
        )
    _check_fields(path, "profile", fields)
    _check_fields(path, "gene", header.columns[:n_fields])
    by_profile = [list(cells) for cells in zip(*texts, strict=True)] or [[] for _ in profiles]
    return Expression(
        path,
        body.values,
        profiles,
        body.genes,
        text_frame(by_profile, profiles, fields),
        text_frame(body.annotation, body.genes, list(header.columns[:n_fields])),
    )


def _next(path: Path, lines: Iterator[Line], what: str) -> Line:
    try:
        return next(lines)
    except StopIteration:
        raise FormatError(f"{path}: ends before its {what}") from None


def _read_version(path: Path, lines: Iterator[Line]) -> Version:
    first = _next(path, lines, "version line")[1].rstrip(b"\t ")
    if first == b"#1.2":
        return "1.2"
    if first == b"#1.3":
        return "1.3"
    raise FormatError(f"{path}: is not GCT 1.2 or 1.3: its first line is {first[:40]!r}")


def _read_dimensions(path: Path, lines: Iterator[Line], version: Version) -> _Dimensions:
    number, text = _next(path, lines, "dimension line")
    cells = text.rstrip(b"\t ").split(b"\t")
    wanted = 2 if version == "1.2" else 4
    sizes = [cell.strip() for cell in cells]
    if len(cells) != wanted or not all(one.isdigit() and len(one) < 19 for one in sizes):
        raise FormatError(
            f"{path}: line {number} is not {wanted} numbers (the dimensions of GCT {version}) "
            f"but {text[:60]!r}"
        )
    rows, columns, *fields = map(int, sizes)
    row_fields, column_fields = fields if version == "1.3" else (1, 0)
    return _Dimensions(rows, columns, row_fields, column_fields)


DESCRIPTIONS = ("description", "desc", "descriptions", "accession")


FILLERS = {"", "na", "nan", "n/a", "-666"}


def _check_layout(path: Path, header: Header, declared: _Dimensions, first: Sequence[Line]) -> None:
    """Raise `FormatError` where a profile stands in the place of annotation.

    Numbers are annotation too (Entrez ids, lengths), so a column of them counts as values if it is
    called as the profiles are, or has fractions in the place of a Description; not if its name is
    one of annotation. In GCT 1.3 the rows of profile annotation say it as well: above the genes'
    annotation they are empty.
    """
    n_fields = declared.row_fields
    first = [row for row in first if row[1].count(b"\t") + 1 == header.width]
    above, rows = first[: declared.column_fields], first[declared.column_fields :]
    profiles = header.columns[n_fields:]
    if n_fields > len(header.columns):
        return
    if all(map(_is_number, header.columns)) and any("." in name for name in header.columns):
        raise FormatError(
            f"{path}: line {header.number} has numbers, not ids: the header that names the columns "
            "is missing"
        )
    empty = [
        all(split_text(text)[1 + place].strip().casefold() in FILLERS for _, text in above)
        for place in range(n_fields)
    ]
    for place, name in enumerate(header.columns[:n_fields]):
        if name.casefold() in DESCRIPTIONS or is_annotation_name(name):
            continue
        cells = [row.split(b"\t", place + 2)[place + 1] for _, row in rows]
        values = [parse_cell(cell) for cell in cells]
        known = [value for value in values if value is not None and not math.isnan(value)]
        numbers = bool(known) and None not in values
        called = numbers and not above and alike(name, profiles)
        # GCT 1.3 has a place for scores of genes, 1.2 for a text alone.
        fractions = numbers and n_fields == 1 and any(value % 1 for value in known)
        called = called or (numbers and not profiles)
        if fractions or called or (above and empty[0] and not empty[place]):
            what = "the column Description" if n_fields == 1 else "annotation of the genes"
            raise FormatError(
                f"{path}: line {header.number}: column {place + 2}, {name!r}, stands in the place "
                f"of {what} and holds a profile: a column is missing, or the dimension line is "
                "wrong"
            )


def _is_number(text: str) -> bool:
    return parse_cell(text.encode()) is not None


def _check_fields(path: Path, kind: str, fields: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in fields:
        if name in seen:
            raise FormatError(f"{path}: the {kind} field {name!r} comes twice")
        seen.add(name)
