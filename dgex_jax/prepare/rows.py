"""What the rows of a training file are, and which of its genes a study takes, by any id."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.io.expression import Expression, Genes, check_ids, listed, plain_name, positions
from dgex_jax.prepare.genes import (
    ENTREZ_FIELDS,
    NOT_TRAINED,
    SYMBOL_FIELDS,
    Annotation,
    LostGene,
    Selection,
    StudyGenes,
    ensembl_key,
    entrez_text,
    is_ensembl,
)
from dgex_jax.prepare.hgnc import complete_genes, hgnc, once
from dgex_jax.prepare.names import ID_KINDS, KIND_WORDS, READ, may_be_entrez, search, ways_to_name
from dgex_jax.prepare.probelist import choose_landmarks, find_listed, read_list, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.config import GeneIds, IdKind
    from dgex_jax.io.expression import AnnotatedSource, FloatArray
    from dgex_jax.io.expression import Selection as Places
    from dgex_jax.prepare.names import Found, Names

GENE_KINDS: tuple[GeneIds, ...] = ("entrez", "ensembl", "symbol")
"""In the order in which they tell what gene a row is."""

SEVERAL = re.compile(r"\s*(?:///|[|;,])\s*")
"""What is between the genes of one probe (Affymetrix: ``DDR1 /// MIR4640``)."""

ENOUGH: dict[GeneIds, float] = {"entrez": 0.5, "ensembl": 0.0, "symbol": 0.25}
"""Share of some names that HGNC must know to take them for ids of genes; Ensembl's show it."""

ANNOTATED = 0.25
"""Share of the rows with a gene, from which on annotation says what the rows are."""

FIELDS: dict[GeneIds, tuple[str, ...]] = {
    "entrez": ENTREZ_FIELDS,
    "ensembl": (),
    "symbol": SYMBOL_FIELDS,
}
"""Columns that are trusted by their names."""

NO_ENTREZ = {"hgncid", "hgnc", "omim", "taxid", "taxonid"}
"""Columns of numbers of which many are some gene's Entrez id by chance."""

ANNOTATION_TWICE = 0.1
"""Share of the genes of a set up to which annotation may say the same of several rows (``Y_RNA``):
such genes are not taken. Where it says so of more, or the ids do, the file is refused."""

SAME_AS_LANDMARK = "another row of a landmark's gene"

_Ids = list[tuple[str, ...]]
"""For each row its ids of one kind, none or several."""


@dataclass(frozen=True)
class RowGenes:
    """The genes of a training file: each is a row of it, or the mean of several (probes).

    `genes` has ids of every kind that is known, its `probes` the rows' ids; `ids` are unique names
    of an `id_kind`, `columns` the rows' places in the file, in file order. `notes` say what the
    rows were taken for and what was left out, a line each.
    """

    genes: Genes
    ids: tuple[str, ...]
    id_kind: IdKind
    columns: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def annotation(self) -> Annotation:
        """What is known of the genes, by the ids of their rows."""
        columns = (self.genes.symbols, self.genes.entrez, self.genes.ensembl)
        return Annotation(
            *(
                {
                    probe: text
                    for text, of_gene in zip(texts, self.genes.probes, strict=True)
                    for probe in of_gene
                    if text
                }
                for texts in columns
            )
        )

    def listing(self, path: Path, among: set[str]) -> Expression:
        """Give the genes as those of a file without profiles, its ids completed `among` others."""
        known = complete_genes(self.genes, among=among)
        columns = {"entrez": known.entrez, "symbol": known.symbols, "ensembl": known.ensembl}
        index = pd.Index(self.ids, dtype=object)
        metadata = pd.DataFrame(columns, index=index, dtype=object)
        values = np.empty((0, len(self)), np.float32)
        return Expression(path, values, (), self.ids, gene_metadata=metadata)


@dataclass(frozen=True)
class GeneMeans:
    """A file whose rows are probes, by gene (an `AnnotatedSource`): the mean of a gene's probes."""

    base: AnnotatedSource
    rows: RowGenes

    @property
    def path(self) -> Path:
        """The file."""
        return self.base.path

    @property
    def profiles(self) -> tuple[str, ...]:
        """Ids of the profiles."""
        return self.base.profiles

    @property
    def genes(self) -> tuple[str, ...]:
        """Names of the genes."""
        return self.rows.ids

    @property
    def profile_metadata(self) -> pd.DataFrame:
        """Annotation of the profiles."""
        return self.base.profile_metadata

    @cached_property
    def gene_metadata(self) -> pd.DataFrame:
        """Ids of the genes of every kind."""
        return self.rows.listing(self.path, set()).gene_metadata

    def read(self, profiles: Places = None, genes: Places = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection; NaN where one of the probes is."""
        probes = [self.rows.columns[gene] for gene in positions(genes, len(self.rows))]
        sizes = np.array([len(of_gene) for of_gene in probes], dtype=np.intp)
        columns = np.array([one for of_gene in probes for one in of_gene], dtype=np.intp)
        values = self.base.read(profiles, columns)
        return np.add.reduceat(values, np.cumsum(sizes) - sizes, axis=1) / sizes.astype(
            values.dtype
        )


def genes_of_rows(source: AnnotatedSource, gene_table: Path | None) -> RowGenes:
    """Tell by their ids and annotation which genes the rows of a training file are.

    Rows whose ids are those of genes (Entrez, Ensembl, symbols; also as parts of composite ids)
    are a gene each; other rows are probes. Probes with annotation (row metadata, or a `gene_table`
    with the ids of the rows in some column) are averaged by gene: by Entrez id, else Ensembl id,
    else symbol; those of no or of several genes are left out. Probes without any are a gene each.
    What ids of a gene are missing is completed by HGNC (`complete_genes`).

    Raises `FormatError` for an id that comes twice, for two rows that are the same gene by their
    ids, and for a gene table that has none of the rows.
    """
    check_ids(source.path, "gene", source.genes)
    notes: list[str] = []
    metadata = source.gene_metadata
    if gene_table is not None:
        metadata = _with_table(source, gene_table, notes)
    ways = list(ways_to_name(source.genes, metadata))
    own = _known([way for way in ways if way.field is None], len(source.genes) / 2)
    annotated = _known([way for way in ways if way.field is not None and not way.form], 1)
    if own:
        return _rows_are_genes(source, own, annotated, notes)
    genes = [_one_gene(*ids) for ids in zip(*_columns(annotated, len(source.genes)), strict=True)]
    if sum(any(gene or ()) for gene in genes) >= ANNOTATED * len(genes):
        return _rows_are_probes(source, genes, notes)
    notes.append(f"its {len(genes)} rows are of no known genes: each is taken as a gene of its own")
    none, ids = ("",) * len(genes), source.genes
    alone = Genes(none, none, none, tuple((one,) for one in ids))
    return RowGenes(alone, ids, "probe", tuple((n,) for n in range(len(ids))), tuple(notes))


def _with_table(source: AnnotatedSource, path: Path, notes: list[str]) -> pd.DataFrame:
    """Join annotation of the rows with that of a gene table, which goes before the file's own."""
    table = read_text(path)
    wanted = set(map(_key, source.genes))
    keys = [list(map(_key, texts)) for _, texts in table.columns]
    counts = [sum(key in wanted for key in column) for column in keys]
    best = counts.index(max(counts))
    if not counts[best]:
        raise FormatError(
            f"{path}: no column has ids of the rows of {source.path} ({source.genes[0]!r} …)"
        )
    rows: dict[str, int] = {}
    for row, key in enumerate(keys[best]):
        if key in wanted and rows.setdefault(key, row) != row:
            raise FormatError(f"{path}: has the row {table.columns[best][1][row]!r} twice")
    there = [rows.get(_key(name)) for name in source.genes]
    known = {
        name or f"column {number}": ["" if row is None else texts[row] for row in there]
        for number, (name, texts) in enumerate(table.columns, start=1)
    }
    frame = pd.DataFrame(known, index=pd.Index(source.genes, dtype=object), dtype=object)
    named = table.columns[best][0] or f"column {best + 1}"
    notes.append(f"{len(rows)} of its {len(there)} rows are in {path.name} (by {named!r})")
    old = source.gene_metadata
    return frame if old.empty else frame.join(old[old.columns.difference(frame.columns)])


def _key(text: str) -> str:
    return entrez_text(text) or ensembl_key(text.strip())


def _known(ways: Sequence[Names], least: float) -> dict[GeneIds, _Ids]:
    """Give for each kind of gene id those of the names that have most, at `least` as many."""
    found: dict[GeneIds, _Ids] = {}
    for kind in GENE_KINDS:
        most = (False, max(least, 1) - 0.5)
        for way in ways:
            ids = [tuple(_read(kind, text, split=way.field is not None)) for text in way.texts]
            filled = [one[0] for one in ids if one]
            name = plain_name(way.field or "")
            named = name in FIELDS[kind]
            if kind == "entrez" and (name in NO_ENTREZ or not may_be_entrez(way)):
                continue
            if (named, len(filled)) > most and (named or _are_known(kind, filled)):
                found[kind], most = ids, (named, len(filled))
    return found


def _are_known(kind: GeneIds, ids: Sequence[str]) -> bool:
    """Whether HGNC knows enough of some ids."""
    table = hgnc()
    known = table.gene_of if kind == "symbol" else lambda one: table.genes_by_id.get(one, ())
    return sum(bool(known(one)) for one in ids) >= ENOUGH[kind] * len(ids)


def _read(kind: GeneIds, text: str, *, split: bool) -> Iterator[str]:
    parts = SEVERAL.split(text) if split else [text]
    for one in dict.fromkeys(READ[kind](part) for part in parts):
        if one and (kind != "ensembl" or is_ensembl(one)):
            yield one


def _columns(known: Mapping[GeneIds, _Ids], n: int) -> tuple[_Ids, _Ids, _Ids]:
    """Ensembl ids, symbols and Entrez ids of `n` rows."""
    return (
        known.get("ensembl", [()] * n),
        known.get("symbol", [()] * n),
        known.get("entrez", [()] * n),
    )


def _single(ids: tuple[str, ...]) -> str:
    return ids[0] if len(ids) == 1 else ""


_Gene = tuple[str, str, str]
"""Ensembl id, symbol and Entrez id."""


def _one_gene(
    ensembl: tuple[str, ...], symbols: tuple[str, ...], entrez: tuple[str, ...]
) -> _Gene | None:
    """Give the one gene of a probe, all empty where it has none; ``None`` if it has several."""
    deciding = entrez or symbols or ensembl
    gene = (_single(ensembl), _single(symbols), _single(entrez))
    if len(deciding) < 2:
        return gene
    table = hgnc()
    meant = {
        table.gene_by(one, "", "")
        if deciding is ensembl
        else table.gene_by("", *((one, "") if deciding is symbols else ("", one)))
        for one in deciding
    }
    # Several ids may be one gene: haplotypes, a present and a previous symbol.
    return (gene[0], meant.pop(), gene[2]) if len(meant) == 1 and "" not in meant else None


def _rows_are_genes(
    source: AnnotatedSource,
    own: Mapping[GeneIds, _Ids],
    annotated: Mapping[GeneIds, _Ids],
    notes: list[str],
) -> RowGenes:
    kind = next(kind for kind in GENE_KINDS if kind in own)
    names = list(map(_single, own[kind]))
    chosen = [row for row, name in enumerate(names) if name]
    first: dict[str, int] = {}
    for row in chosen:
        if first.setdefault(names[row], row) != row:
            one, other = source.genes[first[names[row]]], source.genes[row]
            raise FormatError(f"{source.path}: rows {one!r} and {other!r} are the same gene")
    notes.append(f"its rows are genes, by {KIND_WORDS[kind]}")
    _count_left_out("without such an id", source, sorted(set(range(len(names))) - {*chosen}), notes)
    columns = _columns({**annotated, **own}, len(names))
    ensembl, symbols, entrez = (tuple(_single(ids[row]) for row in chosen) for ids in columns)
    probes = tuple((source.genes[row],) for row in chosen)
    genes = complete_genes(Genes(ensembl, symbols, entrez, probes))
    ids = tuple(names[row] for row in chosen)
    return RowGenes(genes, ids, kind, tuple((row,) for row in chosen), tuple(notes))


def _rows_are_probes(
    source: AnnotatedSource, known: Sequence[_Gene | None], notes: list[str]
) -> RowGenes:
    """Group probes by gene; `known` is the gene of each row (`_one_gene`)."""
    rows = [row for row, gene in enumerate(known) if any(gene or ())]
    ensembl, symbols, entrez = zip(*(known[row] or ("",) * 3 for row in rows), strict=True)
    full = complete_genes(Genes(ensembl, symbols, entrez, ()), repeated=True)
    groups: dict[tuple[GeneIds, str], list[int]] = {}
    for place, by in enumerate(zip(full.entrez, full.ensembl, full.symbols, strict=True)):
        key = next((kind, one) for kind, one in zip(GENE_KINDS, by, strict=True) if one)
        groups.setdefault(key, []).append(place)
    ensembl, symbols, entrez = (
        tuple(next((ids[place] for place in of if ids[place]), "") for of in groups.values())
        for ids in (full.ensembl, full.symbols, full.entrez)
    )
    columns = tuple(tuple(rows[place] for place in of_gene) for of_gene in groups.values())
    several_rows = len(groups) < len(rows)
    made = f"averaged to {len(groups)} genes" if several_rows else "are a gene each"
    kind = "probes" if several_rows else "genes"
    notes.append(f"its rows are {kind}: {len(rows)} of {len(known)} {made} by their annotation")
    several = [row for row, gene in enumerate(known) if gene is None]
    _count_left_out("of several genes", source, several, notes)
    nothing = [row for row, gene in enumerate(known) if gene == ("", "", "")]
    _count_left_out("of no known gene", source, nothing, notes)
    probes = tuple(tuple(source.genes[row] for row in of_gene) for of_gene in columns)
    counts = Counter(kind for kind, _ in groups)
    id_kind = max(GENE_KINDS, key=lambda kind: counts[kind])
    ids = tuple(name for _, name in groups)
    return RowGenes(Genes(ensembl, symbols, entrez, probes), ids, id_kind, columns, tuple(notes))


def _count_left_out(
    why: str, source: AnnotatedSource, rows: Sequence[int], notes: list[str]
) -> None:
    if rows:
        shown = listed([source.genes[row] for row in rows], 5)
        notes.append(f"{len(rows)} rows {why} are left out: {shown}")


def select(
    rows: RowGenes,
    landmarks: Path,
    targets: Path | None,
    sets: Mapping[str, tuple[AnnotatedSource, AnnotatedSource]],
    training_path: Path,
) -> Selection:
    """Keep the landmarks of a list, and as targets the genes of another list or all others.

    Lists are read as `read_probe_list` reads them, by any id (of `targets` a column ``pr_is_lm``
    means nothing); a gene of both is a landmark. All genes must be in all `sets`, each the file of
    its landmarks and that of its targets, mostly the same: they are looked for by any id that is
    known or that HGNC knows (a set of probes is given as its `GeneMeans`; training probes of no
    known gene are looked for by probe). Landmarks and listed targets come in the order of their
    list, all other targets in that of the training file; a target that is another row of a
    landmark's gene is left out. Raises `FormatError` for a fault of a list, for two rows of a set
    that are the same gene by their ids (or for many by annotation), and for a row with a comma in
    its id; `PreparationError` if no landmark or no target is left.
    """
    comma = next((one for of_gene in rows.genes.probes for one in of_gene if "," in one), None)
    if comma is not None:
        raise FormatError(f"{training_path}: id {comma!r} holds a comma, which separates probes")
    inputs = _Listed("landmark", landmarks, rows, training_path)
    notes, dropped, wanted = [*inputs.notes], [*inputs.lost], list(range(len(rows)))
    if targets is not None:
        outputs = _Listed("target", targets, rows, training_path)
        notes, dropped, wanted = notes + outputs.notes, dropped + outputs.lost, outputs.found
    taken = set(inputs.found)
    both = [rows.ids[gene] for gene in wanted if gene in taken]
    if both and targets is not None:
        notes.append(f"{len(both)} listed targets are landmarks, and stay so: {listed(both)}")
    others = [gene for gene in wanted if gene not in taken]
    others, twins = _without_twins(rows, inputs.found, others)
    dropped += twins
    places = {name: _places(name, source, rows, notes) for name, (source, _) in sets.items()}
    truths = {
        name: places[name] if truth is source else _places(f"{name} (truth)", truth, rows, notes)
        for name, (source, truth) in sets.items()
    }
    kept = {}
    for side, (role, path, chosen, there) in enumerate(
        (
            ("landmark", landmarks, inputs.found, places),
            ("target", targets or training_path, others, truths),
        )
    ):
        left = _in_all_sets(role, chosen, rows, there, dropped)
        if not left:
            files = ", ".join(map(str, (training_path, *(of[side].path for of in sets.values()))))
            raise PreparationError(f"{path}: no {role} gene is left that is in all of {files}")
        every = StudyGenes(rows.genes.symbols, rows.ids, rows.columns, there)
        kept[role] = every.take(np.array(left, dtype=np.intp))
    dropped.sort(key=lambda gene: gene.role)
    return Selection(kept["landmark"], kept["target"], tuple(dropped), (), tuple(notes))


def _in_all_sets(
    role: str,
    chosen: Sequence[int],
    rows: RowGenes,
    places: Mapping[str, NDArray[np.intp]],
    dropped: list[LostGene],
) -> list[int]:
    left = []
    for gene in chosen:
        causes = [f"missing in {name}" for name, columns in places.items() if columns[gene] < 0]
        if causes:
            dropped.append(_lost(role, gene, rows, "; ".join(causes)))
        else:
            left.append(gene)
    return left


def _lost(role: str, gene: int, rows: RowGenes, cause: str) -> LostGene:
    symbol = rows.genes.symbols[gene] or rows.ids[gene]
    return LostGene(role, symbol, rows.genes.ensembl[gene], cause, rows.genes.probes[gene])


def _without_twins(
    rows: RowGenes, landmarks: Sequence[int], targets: Sequence[int]
) -> tuple[list[int], list[LostGene]]:
    """Leave out the targets that are other rows of a landmark's gene: copies of what is known."""
    genes = rows.genes
    ids = list(zip(genes.ensembl, genes.symbols, genes.entrez, strict=True))
    meant = {hgnc().gene_by(*ids[gene]) for gene in landmarks} - {""}
    twins = [gene for gene in targets if hgnc().gene_by(*ids[gene]) in meant]
    copies = set(twins)
    left = [gene for gene in targets if gene not in copies]
    return left, [_lost("target", gene, rows, SAME_AS_LANDMARK) for gene in twins]


class _Listed:
    """The genes of a list: those `found` in the training file, in list order, and the others."""

    def __init__(self, role: str, path: Path, rows: RowGenes, training_path: Path) -> None:
        table = read_list(path)
        table.role = role
        if role == "landmark":
            choose_landmarks(table)
        # Probes that are averaged are listed by the name of their gene.
        gene_of = {
            probe: name
            for name, of_gene in zip(rows.ids, rows.genes.probes, strict=True)
            for probe in of_gene
        }
        table.columns = [
            (name, [gene_of.get(text, text) for text in texts]) for name, texts in table.columns
        ]
        among = {
            part
            for _, texts in table.columns
            for text in texts
            for kind in ("ensembl", "entrez")
            for part in _read(kind, text, split=True)
        }
        found = find_listed(table, rows.listing(path=training_path, among=among), role)
        place = {name: gene for gene, name in enumerate(rows.ids)}
        self.found = [place[name] for name in found.probes if name in place]
        known = found.annotation
        self.lost = [
            LostGene(
                role,
                known.symbols.get(name, "" if is_ensembl(name) else name),
                name if is_ensembl(name) else known.ensembl.get(name, ""),
                NOT_TRAINED,
                (),
            )
            for name in found.probes
            if name not in place
        ]
        self.notes = [f"{role}s: {note}" for note in found.notes]


def _places(
    name: str, source: AnnotatedSource, rows: RowGenes, notes: list[str]
) -> NDArray[np.intp]:
    """Find the genes in a set: ``(n_genes,)`` columns, -1 where it lacks them."""
    among = {
        one
        for way in ways_to_name(source.genes, source.gene_metadata)
        for text in way.texts
        for kind in ("ensembl", "entrez")
        for one in _read(kind, text, split=False)
    }
    known = complete_genes(rows.genes, among=among)
    ensembl, symbols, entrez = map(once, (known.ensembl, known.symbols, known.entrez))
    wanted = Genes(tuple(ensembl), tuple(symbols), tuple(entrez), rows.genes.probes)
    kinds = ID_KINDS if rows.id_kind == "probe" else ID_KINDS[1:]
    best, *rest = search(kinds, wanted, source.genes, source.gene_metadata)
    places = _take(best, {})
    notes.append(f"{name}: {len(places)} genes found {best.by} in {source.path.name}")
    twice = sorted({gene for gene, columns in enumerate(best.columns) if columns} - {*places})
    for way in rest:
        if more := _take(way, places) if _agree(way, best) else {}:
            notes.append(f"{name}: {len(more)} more genes found {way.by}")
            places |= more
    read, texts = READ[best.kind], best.names.texts
    lost = {read(texts[best.columns[gene][0]]) for gene in twice if gene not in places}
    if lost and (best.names.field is None or len(lost) > ANNOTATION_TWICE * len(places)):
        same = next(text for text in map(read, texts) if text in lost)
        pair = [one for one, text in zip(source.genes, texts, strict=True) if read(text) == same]
        shown = " and ".join(map(repr, pair[:2]))
        raise FormatError(f"{source.path}: rows {shown} are the same gene (both have {same!r})")
    if best.renamed:
        pairs = [f"{symbol} as {other}" for symbol, other in best.renamed.items()]
        notes.append(f"{name}: {len(pairs)} of them by another symbol (HGNC): {listed(pairs)}")
    unsure = [f"{text} is several rows" for text in sorted(lost)]
    unsure += [
        f"{symbol} may be {' or '.join(names)}"
        for gene, symbol in enumerate(wanted.symbols)
        if gene not in places and (names := best.ambiguous.get(symbol))
    ]
    if unsure:
        notes.append(f"{name}: {len(unsure)} genes not taken: {listed(unsure)}")
    return np.array([places.get(gene, -1) for gene in range(len(rows))], dtype=np.intp)


def _take(way: Found, places: Mapping[int, int]) -> dict[int, int]:
    """Give further genes, by their one place, if it is no other gene's."""
    counts = Counter(map(READ[way.kind], way.names.texts)) if way.count else Counter()
    taken = set(places.values())
    return {
        gene: columns[0]
        for gene, columns in enumerate(way.columns)
        if columns
        and gene not in places
        and columns[0] not in taken
        and counts[READ[way.kind](way.names.texts[columns[0]])] == 1
    }


def _agree(way: Found, best: Found) -> bool:
    """Whether a column of annotation has most genes where the best way has them.

    Numbers of other kinds (OMIM, HGNC) may be some gene's Entrez id.
    """
    both = [(a, b) for a, b in zip(way.columns, best.columns, strict=True) if a and b]
    same = sum(a == b for a, b in both)
    return way.names.field is None or (bool(both) and same >= 0.9 * len(both))
