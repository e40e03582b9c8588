"""Which genes of a training file are the landmarks, by a list or another file (section 3.4)."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.io.expression import (
    CORNERS,
    GENE_ID,
    IDS,
    check_ids,
    is_annotation_name,
    listed,
    plain_name,
)
from dgex_jax.io.files import Closing
from dgex_jax.io.lines import kind_of, read_cells
from dgex_jax.io.open import open_expression
from dgex_jax.prepare.genes import (
    NOT_ON_ARRAY,
    Annotation,
    LostGene,
    Selection,
    StudyGenes,
    annotation_of,
    is_ensembl,
)
from dgex_jax.prepare.hgnc import hgnc
from dgex_jax.prepare.names import (
    ID_KINDS,
    KIND_WORDS,
    READ,
    Found,
    Names,
    find_renamed,
    may_be_entrez,
    places_of,
    ways_to_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dgex_jax.io.expression import AnnotatedSource, ExpressionSource

FLAGS = {"prislm", "islm", "islandmark", "landmark", "landmarks"}
"""Columns that say of each gene whether it is a landmark (LINCS: ``pr_is_lm``)."""
SPACE = "featurespace"
"""LINCS' newer column that says so: ``landmark``, ``best inferred``, ``inferred``."""
LANDMARK_LISTS = {"l1000": "l1000_landmarks.tsv"}
"""Lists of landmarks that come with the software, by name."""
TRUE, FALSE = {"1", "1.0", "true", "t", "yes"}, {"0", "0.0", "false", "f", "no", ""}


@dataclass(frozen=True)
class ProbeList:
    """Landmark probes, what their list says of them, and how many the training file has."""

    path: Path
    probes: tuple[str, ...]
    """Their ids in the training file, or as listed where it lacks them; unique, in file order."""
    annotation: Annotation
    n_found: int
    notes: tuple[str, ...]
    """By what they were found, and what of the file was no landmark, a line each."""


@dataclass
class GeneList:
    """A list as it stands: a name for each column, and its texts."""

    path: Path
    columns: list[tuple[str, list[str]]]
    role: str = "landmark"
    """What its genes are, for people."""
    notes: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """Its first column."""
        return self.columns[0][1]


_Way = tuple[int, Found]
"""A column of a list, and by which names of the training file its rows were found: all places."""


def read_probe_list(path: Path | str, array: AnnotatedSource) -> ProbeList:
    """Read the landmarks of a list or of an expression file, and find them in the training file.

    The list is text with a gene a line, or a table separated by tabs or commas; a first line that
    names its columns is no landmark. Of a GCTX, GCT or AnnData file the rows (``var``) are the
    landmarks. A column ``pr_is_lm`` or ``feature_space`` (LINCS) tells which rows are.
    Landmarks are looked for among the ids of `array` and in all annotation of its genes, by probe,
    Ensembl id (whatever its version), Entrez id or symbol (present or previous); the column of the
    list and the names of the file that agree in most of them count. Raises `FormatError` for a list
    without probes, or with one twice, and for a landmark that is several genes of the file.
    """
    table = read_list(path)
    choose_landmarks(table)
    return find_listed(table, array, "probe")


def find_listed(table: GeneList, array: AnnotatedSource, kind: str) -> ProbeList:
    """Find the rows of a list in a training file whose ids are of a `kind` (see above)."""
    ways = list(ways_to_name(array.genes, array.gene_metadata))
    best = _best(table, ways)
    if _first_is_header(table, best):
        named = [texts[0] for _, texts in table.columns]
        table.notes.append(f"its first line ({named[0]!r}) was taken for a header")
        table.columns = [(texts[0], texts[1:]) for _, texts in table.columns]
        best = _best(table, ways)
    if best is None:
        best = _by_other_symbols(table, ways)
    places = {} if best is None else _places(table, *best, array)
    probes = tuple(
        array.genes[places[row]] if row in places else name for row, name in enumerate(table.ids)
    )
    check_ids(table.path, kind, probes)
    notes = list(table.notes)
    if best is not None:
        number, way = best
        column = table.columns[number][0]
        by = f"column {column!r}" if column and number else "list"
        names = "the same names" if way.kind == "probe" else KIND_WORDS[way.kind]
        if number or way.names.where or way.kind != "probe":
            what = f"{len(places)} {table.role}s of the {by}"
            notes.append(f"{what} found by {names}{way.names.where}")
    first = table.columns[0]
    known = dict([first] if first[0] else [])
    known |= {name: texts for name, texts in table.columns[1:] if name}
    annotated = pd.DataFrame(known, index=pd.Index(probes, dtype=object), dtype=object)
    return ProbeList(table.path, probes, annotation_of(annotated), len(places), tuple(notes))


def landmark_file(name: str) -> Path:
    """Give the list of landmarks that has a built-in name: ``l1000`` (LINCS' 978 genes)."""
    return Path(str(files("dgex_jax.prepare") / LANDMARK_LISTS[name]))


def read_list(path: Path | str) -> GeneList:
    """Read a list of genes, or the rows of an expression file; all columns as they stand."""
    path = Path(path)
    if kind_of(path) not in {"gctx", "h5ad", "archs4", "gct"}:
        return read_text(path)
    source = open_expression(path)
    with source if isinstance(source, Closing) else nullcontext():
        metadata = source.gene_metadata
        columns = [("", list(source.genes))]
        columns += [(str(name), list(map(str, metadata[name]))) for name in metadata.columns]
    return GeneList(source.path, columns)


def read_text(path: Path) -> GeneList:
    """Read a list or table of text; raises `FormatError` with the line of a fault."""
    rows: list[list[str]] = []
    seen: set[str] = set()
    for _, row in read_cells(path):
        rows.append(row)
        if len(row) == 1 and (not row[0] or row[0] in seen):
            break  # `check_ids` says where, without the rest of an endless file
        seen.add(row[0])
    header = [""] * len(rows[0]) if rows else []
    if rows and any(map(_is_heading, rows[0])):
        header = rows.pop(0)
        if rows and len(rows[0]) == len(header) + 1:
            header = ["", *header]  # R's write.table: no name above the row names
    if not rows:
        raise FormatError(f"{path}: has no probes")
    width = len(header)
    cells = [(row + [""] * width)[:width] for row in rows]
    return GeneList(path, [(name, [row[k] for row in cells]) for k, name in enumerate(header)])


def _is_heading(cell: str) -> bool:
    name = plain_name(cell)
    known = name in CORNERS or is_annotation_name(cell) or name in FLAGS or name == SPACE
    return known and cell not in hgnc().previous


def choose_landmarks(table: GeneList) -> None:
    """Keep the rows that a column of the list says are landmarks."""
    for name, texts in table.columns:
        plain = plain_name(name)
        values = [text.strip().casefold() for text in texts]
        if plain == SPACE:
            chosen = [row for row, value in enumerate(values) if value == "landmark"]
        elif plain in FLAGS and set(values) <= TRUE | FALSE:
            chosen = [row for row, value in enumerate(values) if value in TRUE]
        else:
            continue
        if not chosen:
            raise FormatError(f"{table.path}: no gene is a landmark by its column {name!r}")
        if len(chosen) < len(values):
            table.notes.append(
                f"{len(chosen)} of its {len(values)} genes are landmarks by the column {name!r}"
            )
        table.columns = [(title, [cells[row] for row in chosen]) for title, cells in table.columns]
        return


def _best(table: GeneList, ways: Sequence[Names]) -> _Way | None:
    """Give the column, kind and names that agree in most landmarks; of equals the first."""
    best: _Way | None = None
    for column, (name, texts) in enumerate(table.columns):
        field = None if column == 0 or plain_name(name) in IDS else name or "?"
        for names in ways:
            for kind in ID_KINDS:
                if kind == "entrez" and not (
                    may_be_entrez(Names(texts, field)) and may_be_entrez(names)
                ):
                    continue
                ids = list(map(READ[kind], texts))
                places = places_of(names, kind, ids)
                rows = tuple(
                    tuple(places.get(one, ())) if kind != "ensembl" or is_ensembl(one) else ()
                    for one in ids
                )
                found = Found(kind, names, rows)
                if found.count > (best[1].count if best else 0):
                    best = column, found
    return best


def _by_other_symbols(table: GeneList, ways: Sequence[Names]) -> _Way | None:
    """Give the names of the file that have most symbols of the list in another spelling."""
    texts = [text for text in table.ids if text]
    counts = [len(find_renamed(texts, names)[0]) for names in ways]
    if not max(counts):
        return None
    return 0, Found("symbol", ways[counts.index(max(counts))], ((),) * len(table.ids))


def _first_is_header(table: GeneList, best: _Way | None) -> bool:
    """Whether the first line names a column in words that are no gene's."""
    if best is None or any(name for name, _ in table.columns) or len(table.ids) < 3:
        return False
    first = [texts[0] for _, texts in table.columns]
    return (
        not best[1].columns[0]
        and 2 * best[1].count >= len(table.ids) - 1
        and not any(GENE_ID.fullmatch(cell) or cell.isdigit() for cell in first)
        and not any(hgnc().gene_of(cell) for cell in first)
    )


def _places(table: GeneList, column: int, best: Found, array: AnnotatedSource) -> dict[int, int]:
    """For each landmark that the training file has its place there."""
    texts = table.columns[column][1]
    for row, places in enumerate(best.columns):
        if len(places) > 1:
            ids = [array.genes[place] for place in places]
            raise FormatError(
                f"{table.path}: {table.role} {texts[row]!r} is {len(ids)} genes of {array.path}: "
                f"{', '.join(ids[:3])}{' …' if ids[3:] else ''}; list {table.role}s by their ids"
            )
    found = {row: places[0] for row, places in enumerate(best.columns) if places}
    n_symbols = sum(bool(hgnc().gene_of(text)) for text in texts)
    if best.kind == "symbol" or 2 * n_symbols > len(texts):
        missing = {text: row for row, text in enumerate(texts) if row not in found and text}
        other, _ = find_renamed(missing, best.names, found.values())
        found |= {missing[symbol]: place for symbol, place in other.items()}
        if other:
            pairs = [f"{symbol} as {best.names.texts[place]}" for symbol, place in other.items()]
            table.notes.append(f"{len(pairs)} found by another symbol (HGNC): {listed(pairs)}")
    return found


def select_probes(landmarks: ProbeList, geo: ExpressionSource, annotation: Annotation) -> Selection:
    """Take the probes of an array as genes: some are landmarks, all others targets (section 3.4).

    Landmarks that the array lacks are dropped; `annotation` gives the symbols. Raises
    `PreparationError` if no landmark is on the array, or no probe is left for a target.
    """
    comma = next((probe for probe in geo.genes if "," in probe), None)
    if comma is not None:
        raise FormatError(f"{geo.path}: probe id {comma!r} holds a comma, which separates probes")
    place = {probe: column for column, probe in enumerate(geo.genes)}
    chosen = [place[probe] for probe in landmarks.probes if probe in place]
    if not chosen:
        raise PreparationError(
            f"{landmarks.path}: none of its {len(landmarks.probes)} landmark probes "
            f"(the first is {landmarks.probes[0]!r}) is in {geo.path}"
        )
    others = sorted(set(range(len(geo.genes))) - set(chosen))
    if not others:
        raise PreparationError(
            f"{landmarks.path}: has all {len(chosen)} probes of {geo.path}, none is left to infer"
        )

    def genes(columns: list[int]) -> StudyGenes:
        ids = tuple(geo.genes[column] for column in columns)
        symbols = tuple(annotation.symbols.get(probe, "") for probe in ids)
        return StudyGenes(symbols, ids, tuple((column,) for column in columns), {})

    dropped = tuple(
        LostGene("landmark", annotation.symbols.get(probe, ""), "", NOT_ON_ARRAY, (probe,))
        for probe in landmarks.probes
        if probe not in place
    )
    return Selection(genes(chosen), genes(others), dropped, ())
