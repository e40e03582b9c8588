"""The GEUVADIS table (RNA-seq of the 1000 Genomes samples) in and out."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.ids import check_ids
from dgex_jax.formats.lines import read_lines, tabbed, write_lines
from dgex_jax.formats.recognise import GEUVADIS_COLUMNS
from dgex_jax.formats.table import (
    GeneFilter,
    fit_header,
    look_ahead,
    read_body,
    split_text,
    text_frame,
)
from dgex_jax.formats.table_write import annotation_texts, check_texts, joined, value_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = GEUVADIS_COLUMNS


def read_rpkm(path: Path | str, *, genes: GeneFilter = None) -> Expression:
    """Read a GEUVADIS table, plain or gzip-compressed (whatever its name).

    Parameters
    ----------
    path
        The file: a header ``TargetID Gene_Symbol Chr Coord sample…``, then one line a gene.
    genes
        Keep only these rows in memory: ids as the file writes them, or a test of such an id.

    Returns
    -------
    Expression
        Float64 values, NaN where the file has ``NA``, ``NaN``, -666 or nothing. The gene fields
        ``Gene_Symbol``, ``Chr`` and ``Coord`` are text.

    Raises
    ------
    FormatError
        No such file, truncated or damaged, another header, a short row, ids that are empty or come
        twice, a value that is no number.
    """
    path = Path(path)
    with closing(read_lines(path)) as raw:
        lines = tabbed(path, raw)
        line = next(lines, (1, b""))
        found = split_text(line[1])
        if tuple(found[: len(COLUMNS)]) != COLUMNS:
            raise FormatError(
                f"{path}: is not a GEUVADIS table: its header begins with "
                f"{' '.join(found[:4])[:60]!r}, not {' '.join(COLUMNS)!r}"
            )
        if len(found) == len(COLUMNS):
            raise FormatError(f"{path}: has no profiles")
        first, lines = look_ahead(lines)
        header = fit_header(path, line, first, short=False)
        n_fields = len(COLUMNS) - 1
        profiles = header.columns[n_fields:]
        check_ids(path, "profile", profiles)
        body = read_body(path, lines, header, n_fields, genes)
    metadata = text_frame(body.annotation, body.genes, list(COLUMNS[1:]))
    return Expression(path, body.values, profiles, body.genes, gene_metadata=metadata)


def write_rpkm(path: Path | str, expression: Expression) -> None:
    """Write a GEUVADIS table (gzip-compressed if the suffix is ``.gz``), all or nothing.

    Parameters
    ----------
    path
        The file to be written.
    expression
        What it shall hold. Of its gene metadata ``Gene_Symbol``, ``Chr`` and ``Coord`` are
        written, ``NA`` where there is none; the format has no place for other metadata. Values
        are written with as many digits as their dtype needs to be read back the same.

    Raises
    ------
    FormatError
        Ids or annotation the format can't hold.
    DgexError
        A place that can't be written to.
    """
    path = Path(path)
    check_texts(path, expression.profiles, expression.genes)
    annotation = annotation_texts(path, expression.gene_metadata, expression.genes, COLUMNS[1:])

    def lines() -> Iterator[str]:
        yield joined([*COLUMNS, *expression.profiles]) + "\n"
        rows = value_rows(path, expression, None)
        for gene, texts, cells in zip(expression.genes, annotation, rows, strict=True):
            yield "\t".join([joined([gene, *texts]), *cells]) + "\n"

    write_lines(path, lines())
