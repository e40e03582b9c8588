"""GCT 1.2 and 1.3 in, and the GEUVADIS table (RNA-seq of the 1000 Genomes samples) in."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import Expression, alike, check_ids, is_annotation_name
from dgex_jax.io.lines import GEUVADIS_COLUMNS, read_lines, tabbed
from dgex_jax.io.table import (
    check_width,
    fit_header,
    look_ahead,
    parse_cell,
    read_body,
    split_text,
    text_frame,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dgex_jax.io.expression import GeneFilter
    from dgex_jax.io.lines import Line
    from dgex_jax.io.table import Header

DESCRIPTIONS = ("description", "desc", "descriptions", "accession")
FILLERS = {"", "na", "nan", "n/a", "-666"}
"""What GCT 1.3 has where annotation of profiles and of genes cross."""


def read_gct(
    path: Path | str, *, genes: GeneFilter = None, accept_wrong_dimensions: bool = False
) -> Expression:
    """Read a GCT file, plain or compressed (whatever its name).

    Values are float64, NaN where the file has ``NA``, ``NaN``, -666 or nothing. Annotation is text:
    in 1.2 the gene field ``Description``, in 1.3 the row and column fields. `genes` keeps only
    these rows in memory: ids as the file writes them, or a test of such an id.
    `accept_wrong_dimensions` trusts the table where the dimension line declares other numbers.

    Raises `FormatError` for no such file, truncated or damaged, another version, a wrong dimension
    line, a short row, ids that are empty or come twice, a value that is no number.
    """
    path = Path(path)
    with closing(read_lines(path)) as raw:
        lines = tabbed(path, raw)
        n_rows, n_columns, n_fields, n_profile_fields = _read_dimensions(path, lines)
        line = _next(path, lines, "header")
        first, lines = look_ahead(lines)
        header = fit_header(path, line, first, short=False)
        profiles = header.columns[n_fields:]
        if first:
            _check_layout(path, header, n_fields, n_profile_fields, first)
        check_ids(path, "profile", profiles)
        if len(profiles) != n_columns and not accept_wrong_dimensions:
            raise FormatError(
                f"{path}: the dimension line says {n_columns} profiles, "
                f"the header (line {line[0]}) has {len(profiles)}"
            )
        fields, texts = [], []
        for _ in range(n_profile_fields):
            line = _next(path, lines, "profile annotation")
            check_width(path, line, header.width)
            cells = split_text(line[1])
            fields.append(cells[0])
            texts.append(cells[1 + n_fields : 1 + len(header.columns)])
        body = read_body(path, lines, header, range(n_fields), genes)
    if body.n_rows != n_rows and not accept_wrong_dimensions:
        raise FormatError(
            f"{path}: the dimension line says {n_rows} rows, the file has {body.n_rows} "
            "(accept_wrong_dimensions trusts the table)"
        )
    gene_fields = header.columns[:n_fields]
    for kind, names in (("profile", fields), ("gene", gene_fields)):
        twice = next((name for name, n in Counter(names).items() if n > 1), None)
        if twice is not None:
            raise FormatError(f"{path}: the {kind} field {twice!r} comes twice")
    by_profile = [list(cells) for cells in zip(*texts, strict=True)] or [[] for _ in profiles]
    return Expression(
        path,
        body.values,
        profiles,
        tuple(body.genes),
        text_frame(by_profile, profiles, fields),
        text_frame(body.annotation, body.genes, gene_fields),
    )


def _next(path: Path, lines: Iterator[Line], what: str) -> Line:
    line = next(lines, None)
    if line is None:
        raise FormatError(f"{path}: ends before its {what}")
    return line


def _read_dimensions(path: Path, lines: Iterator[Line]) -> tuple[int, int, int, int]:
    """Read the first two lines: how many genes, profiles, and fields of both there are."""
    first = _next(path, lines, "version line")[1].rstrip(b"\t ")
    if first not in {b"#1.2", b"#1.3"}:
        raise FormatError(f"{path}: is not GCT 1.2 or 1.3: its first line is {first[:40]!r}")
    number, text = _next(path, lines, "dimension line")
    cells = text.rstrip(b"\t ").split(b"\t")
    wanted = 2 if first == b"#1.2" else 4
    sizes = [cell.strip() for cell in cells]
    if len(cells) != wanted or not all(one.isdigit() and len(one) < 19 for one in sizes):
        raise FormatError(
            f"{path}: line {number} is not {wanted} numbers (the dimensions of GCT "
            f"{first[1:].decode()}) but {text[:60]!r}"
        )
    rows, columns, *fields = map(int, sizes)
    row_fields, column_fields = fields or (1, 0)
    return rows, columns, row_fields, column_fields


def _check_layout(
    path: Path, header: Header, n_fields: int, n_above: int, first: Sequence[Line]
) -> None:
    """Raise `FormatError` where a profile stands in the place of annotation.

    Numbers are annotation too (Entrez ids, lengths), so a column of them counts as values if it is
    called as the profiles are, or has fractions in the place of a Description; not if its name is
    one of annotation. In GCT 1.3 the rows of profile annotation say it as well: above the genes'
    annotation they are empty.
    """
    if n_fields > len(header.columns):
        return
    first = [row for row in first if row[1].count(b"\t") + 1 == header.width]
    above, rows = first[:n_above], first[n_above:]
    profiles = header.columns[n_fields:]
    if None not in map(parse_cell, header.columns) and any("." in name for name in header.columns):
        raise FormatError(
            f"{path}: line {header.number} has numbers, not ids: the header that names the columns "
            "is missing"
        )
    annotation = [split_text(text) for _, text in above]
    empty = [
        all(line[1 + place].strip().casefold() in FILLERS for line in annotation)
        for place in range(n_fields)
    ]
    cells = [text.split(b"\t") for _, text in rows]
    for place, name in enumerate(header.columns[:n_fields]):
        if name.casefold() in DESCRIPTIONS or is_annotation_name(name):
            continue
        values = [parse_cell(row[place + 1]) for row in cells]
        known = [value for value in values if value is not None and not math.isnan(value)]
        numbers = bool(known) and None not in values
        called = numbers and (not profiles or (not above and alike(name, profiles)))
        # GCT 1.3 has a place for scores of genes, 1.2 for a text alone.
        fractions = numbers and n_fields == 1 and any(value % 1 for value in known)
        if fractions or called or (above and empty[0] and not empty[place]):
            what = "the column Description" if n_fields == 1 else "annotation of the genes"
            raise FormatError(
                f"{path}: line {header.number}: column {place + 2}, {name!r}, stands in the place "
                f"of {what} and holds a profile: a column is missing, or the dimension line is "
                "wrong"
            )


def read_rpkm(path: Path | str, *, genes: GeneFilter = None) -> Expression:
    """Read a GEUVADIS table, plain or compressed (whatever its name), as `read_gct` reads GCT.

    Its header is ``TargetID Gene_Symbol Chr Coord sample…``; a line a gene follows, whose
    ``Gene_Symbol``, ``Chr`` and ``Coord`` are text. Raises `FormatError` as `read_gct`, and for
    another header.
    """
    path = Path(path)
    n_fields = len(GEUVADIS_COLUMNS) - 1
    with closing(read_lines(path)) as raw:
        lines = tabbed(path, raw)
        line = next(lines, (1, b""))
        found = split_text(line[1])
        if tuple(found[: 1 + n_fields]) != GEUVADIS_COLUMNS:
            raise FormatError(
                f"{path}: is not a GEUVADIS table: its header begins with "
                f"{' '.join(found[:4])[:60]!r}, not {' '.join(GEUVADIS_COLUMNS)!r}"
            )
        if len(found) == 1 + n_fields:
            raise FormatError(f"{path}: has no profiles")
        first, lines = look_ahead(lines)
        header = fit_header(path, line, first, short=False)
        profiles = header.columns[n_fields:]
        check_ids(path, "profile", profiles)
        body = read_body(path, lines, header, range(n_fields), genes)
    metadata = text_frame(body.annotation, body.genes, GEUVADIS_COLUMNS[1:])
    return Expression(path, body.values, profiles, tuple(body.genes), gene_metadata=metadata)
