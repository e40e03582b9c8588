"""Which probes of an array are the landmarks, for a study of arrays alone (paper section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dgex_jax.data.annotation import Annotation, annotation_of
from dgex_jax.errors import FormatError
from dgex_jax.formats.access import HDF5_MAGIC, read_head
from dgex_jax.formats.gctx import Gctx
from dgex_jax.formats.ids import check_ids
from dgex_jax.formats.lines import read_lines
from dgex_jax.formats.opening import open_expression

if TYPE_CHECKING:
    from collections.abc import Collection

    from dgex_jax.formats.expression import ExpressionSource

HEADERS = {"id", "rid", "pr_id", "probe", "probe_id", "probeset", "probe_set"}
"""First cells, of whatever case, that make the first line of a list its header."""


@dataclass(frozen=True)
class ProbeList:
    """Landmark probes.

    Attributes
    ----------
    path
        The file.
    probes
        Their ids, unique, in file order.
    annotation
        What the file says of them.
    """

    path: Path
    probes: tuple[str, ...]
    annotation: Annotation


def read_probe_list(path: Path | str, array: Collection[str]) -> ProbeList:
    """Read the landmark probes of a list or of an expression file.

    Parameters
    ----------
    path
        Text with a probe a line, or tab-separated with the probe in the first column; its first
        line may be a header (`HEADERS`), which then names symbols and Entrez ids as row metadata
        do. Or a GCTX or GCT file: its rows are the landmarks, by their ids or, if none of these is
        a probe of the array, by the first field of row metadata that holds such probes (LINCS
        files by Entrez id have ``pr_id``).
    array
        Ids of the array's probes.

    Raises
    ------
    FormatError
        It can't be read, has no probes, or a probe twice.
    """
    path = Path(path)
    if read_head(path) == HDF5_MAGIC:
        with Gctx(path) as source:
            return _of_rows(source, array)
    _, first = next(read_lines(path), (0, b""))
    if first.startswith(b"#1."):
        return _of_rows(open_expression(path), array)
    return _of_text(path)


def _of_rows(source: ExpressionSource, array: Collection[str]) -> ProbeList:
    known, metadata = set(array), source.gene_metadata
    if known.isdisjoint(source.genes):
        for name in metadata.columns:
            ids = tuple(map(str, metadata[name]))
            if not known.isdisjoint(ids):
                check_ids(source.path, f"{name} of gene", ids)
                annotated = metadata.set_axis(pd.Index(ids, dtype=object), axis=0)
                return ProbeList(source.path, ids, annotation_of(annotated))
    return ProbeList(source.path, source.genes, annotation_of(metadata))


def _of_text(path: Path) -> ProbeList:
    rows = []
    for number, raw in read_lines(path):
        try:
            rows.append([cell.strip() for cell in raw.decode().split("\t")])
        except UnicodeDecodeError as error:
            raise FormatError(f"{path}: line {number}: is not UTF-8 text") from error
    header: list[str] = []
    if rows and rows[0][0].casefold() in HEADERS:
        header = rows.pop(0)
    probes = tuple(row[0] for row in rows)
    check_ids(path, "probe", probes)
    if not header:
        return ProbeList(path, probes, Annotation())
    cells = [(row + [""] * len(header))[1 : len(header)] for row in rows]
    columns = [name or f"column {number}" for number, name in enumerate(header[1:], start=2)]
    table = pd.DataFrame(cells, index=pd.Index(probes, dtype=object), columns=columns, dtype=object)
    return ProbeList(path, probes, annotation_of(table))
