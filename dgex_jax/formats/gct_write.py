"""GCT 1.2 and 1.3 out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dgex_jax.errors import FormatError
from dgex_jax.formats.ids import check_storable
from dgex_jax.formats.lines import write_lines
from dgex_jax.formats.table_write import (
    FORBIDDEN,
    annotation_texts,
    check_texts,
    joined,
    value_rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from dgex_jax.formats.expression import Expression
    from dgex_jax.formats.table_write import WholeGenes

MISSING = "-666"


def write_gct(
    path: Path | str,
    expression: Expression,
    *,
    version: Literal["1.2", "1.3"] = "1.2",
    digits: int | None = None,
) -> None:
    """Write a GCT file (gzip-compressed if the suffix is ``.gz``), all or nothing.

    Parameters
    ----------
    path
        The file to be written.
    expression
        What it shall hold.
    version
        ``1.2`` has place for the gene field ``Description`` (``NA`` where there is none) and no
        other metadata; ``1.3`` holds all of it, as text, ``-666`` where it is missing.
    digits
        Significant digits; ``None`` for as many as it takes to read the same value of the same
        dtype again.

    Raises
    ------
    FormatError
        Ids or metadata the format can't hold.
    DgexError
        A place that can't be written to.
    """
    path = Path(path)
    if version not in ("1.2", "1.3"):
        raise ValueError(f"GCT version {version!r}: must be '1.2' or '1.3'")
    write_lines(path, gct_lines(path, expression, version, digits))


def gct_lines(
    path: Path, expression: WholeGenes, version: str, digits: int | None
) -> Iterator[str]:
    """Yield the lines of a GCT file; ids and metadata are checked before the first.

    Parameters
    ----------
    path
        The file to be written, for the text of errors.
    expression
        What it shall hold.
    version, digits
        See `write_gct`.
    """
    profiles, genes = expression.profiles, expression.genes
    check_texts(path, profiles, genes)
    by_gene, by_profile = expression.gene_metadata, expression.profile_metadata
    if version == "1.2":
        fields, profile_fields = ["Description"], []
        first, missing = "Name", "NA"
        size = [len(genes), len(profiles)]
    else:
        fields, profile_fields = _names(path, by_gene), _names(path, by_profile)
        first, missing = "id", MISSING
        size = [len(genes), len(profiles), len(fields), len(profile_fields)]
    texts = annotation_texts(path, by_profile, profiles, profile_fields, missing)
    annotation = annotation_texts(path, by_gene, genes, fields, missing)
    yield f"#{version}\n"
    yield "\t".join(map(str, size)) + "\n"
    yield joined([first, *fields, *profiles]) + "\n"
    for place, field in enumerate(profile_fields):
        filler = [missing] * len(fields)
        yield joined([field, *filler, *(cells[place] for cells in texts)]) + "\n"
    rows = value_rows(path, expression, digits)
    for gene, notes, cells in zip(genes, annotation, rows, strict=True):
        yield "\t".join([joined([gene, *notes]), *cells]) + "\n"


def _names(path: Path, metadata: pd.DataFrame) -> list[str]:
    names = [str(name) for name in metadata.columns]
    if len(set(names)) < len(names) or names != list(metadata.columns) or "" in names:
        raise FormatError(f"{path}: metadata fields must be distinct names, not {names}")
    check_storable(path, "metadata field", names, FORBIDDEN)
    return names
