"""Which probes of an array are the landmarks, for a study of arrays alone (paper section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dgex_jax.data.annotation import (
    ENSEMBL_FIELDS,
    ENTREZ_FIELDS,
    SYMBOL_FIELDS,
    Annotation,
    annotation_of,
    ensembl_text,
    entrez_text,
    field_texts,
    symbol_text,
)
from dgex_jax.data.genemap import strip_version
from dgex_jax.errors import FormatError
from dgex_jax.formats.gctx import Gctx
from dgex_jax.formats.h5ad import H5ad
from dgex_jax.formats.ids import check_ids
from dgex_jax.formats.lines import read_lines
from dgex_jax.formats.opening import kind_of, open_expression

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from dgex_jax.formats.expression import ExpressionSource

HEADERS = {"id", "rid", "pr_id", "probe", "probe_id", "probeset", "probe_set"}
"""First cells, of whatever case, that make the first line of a list its header."""


def _plain_ensembl(value: object) -> str:
    return strip_version(ensembl_text(value))


FIELDS = (
    (SYMBOL_FIELDS, symbol_text),
    (ENSEMBL_FIELDS, _plain_ensembl),
    (ENTREZ_FIELDS, entrez_text),
)
"""Fields by which landmarks may be listed, and how their values are read."""


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
        do. Or a GCTX, GCT or AnnData file: its rows (``var``) are the landmarks, by their ids or,
        if none of these is a probe of the array, by the first field of row metadata that holds such
        probes (LINCS files by Entrez id have ``pr_id``).
    array
        Ids of the array's probes.

    Raises
    ------
    FormatError
        It can't be read, has no probes, or a probe twice.
    """
    path = Path(path)
    if kind_of(path) not in {"gctx", "h5ad", "gct"}:
        return _of_text(path)
    source = open_expression(path)
    if isinstance(source, Gctx | H5ad):
        with source:
            return _of_rows(source, array)
    return _of_rows(source, array)


def as_probes(landmarks: ProbeList, array: ExpressionSource) -> ProbeList:
    """Name landmarks by the ids of the array where they stand in a field of its row metadata.

    Parameters
    ----------
    landmarks
        As listed: by symbols, Ensembl ids (whatever their version) or Entrez ids.
    array
        Of ids and row metadata (``var`` of AnnData).

    Returns
    -------
    ProbeList
        Those that the field with most of them has, by their ids, the others as they were; all as
        they were if one is an id of the array.

    Raises
    ------
    FormatError
        A landmark is several genes of the array: which of them is meant can't be told.
    """
    if not set(landmarks.probes).isdisjoint(array.genes):
        return landmarks
    found = max((_found(landmarks, array, *one) for one in FIELDS), key=len, default={})
    for name, ids in found.items():
        if len(ids) > 1:
            raise FormatError(
                f"{landmarks.path}: landmark {name!r} is {len(ids)} genes of {array.path}: "
                f"{', '.join(ids[:3])}{' …' if ids[3:] else ''}; list landmarks by their ids"
            )
    renamed = {name: ids[0] for name, ids in found.items()}
    probes = tuple(renamed.get(name, name) for name in landmarks.probes)
    check_ids(landmarks.path, "landmark", probes)

    def known(texts: Mapping[str, str]) -> dict[str, str]:
        return {renamed.get(name, name): text for name, text in texts.items()}

    annotation = landmarks.annotation
    return ProbeList(
        landmarks.path,
        probes,
        Annotation(known(annotation.symbols), known(annotation.entrez), known(annotation.ensembl)),
    )


def _found(
    landmarks: ProbeList,
    array: ExpressionSource,
    names: Sequence[str],
    read: Callable[[object], str],
) -> dict[str, list[str]]:
    """For each landmark that a field of the array names, the ids of these genes."""
    texts = field_texts(array.gene_metadata, names, read) or []
    listed = {key: name for name in landmarks.probes if (key := read(name))}
    found: dict[str, list[str]] = {}
    for gene, text in zip(array.genes, texts, strict=False):
        if text in listed:
            found.setdefault(listed[text], []).append(gene)
    return found


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
    rows: list[list[str]] = []
    header: list[str] = []
    seen: set[str] = set()
    for number, raw in read_lines(path):
        try:
            row = [cell.strip() for cell in raw.decode().split("\t")]
        except UnicodeDecodeError as error:
            raise FormatError(f"{path}: line {number}: is not UTF-8 text") from error
        if not (rows or header) and row[0].casefold() in HEADERS:
            header = row
            continue
        rows.append(row)
        if not row[0] or row[0] in seen:
            break  # `check_ids` says where, without the rest of an endless file
        seen.add(row[0])
    probes = tuple(row[0] for row in rows)
    check_ids(path, "probe", probes)
    if not header:
        return ProbeList(path, probes, Annotation())
    cells = [(row + [""] * len(header))[1 : len(header)] for row in rows]
    columns = [name or f"column {number}" for number, name in enumerate(header[1:], start=2)]
    table = pd.DataFrame(cells, index=pd.Index(probes, dtype=object), columns=columns, dtype=object)
    return ProbeList(path, probes, annotation_of(table))
