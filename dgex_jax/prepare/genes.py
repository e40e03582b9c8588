"""The genes of a study: gene maps, what files say of their probes, and which genes are kept."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.io.expression import plain_name
from dgex_jax.io.files import HDF5_MAGIC, read_head
from dgex_jax.io.lines import read_lines, tabbed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from dgex_jax.io.expression import ExpressionSource
    from dgex_jax.io.lines import Line

ENSEMBL = re.compile(r"ENS[A-Z]*\d{11}(\.\d+)?(_PAR_Y)?|ENSGR\d{10}(\.\d+)?")
VERSIONED = re.compile(r"(ENS[A-Z]*\d+)\.\d+(_PAR_Y)?")
PAR_Y = re.compile(r"ENSG0(\d{10})_PAR_Y")
ENTREZ = re.compile(r"([1-9]\d*)(\.0*)?")
NO_GENE = re.compile(
    r"__(no_feature|ambiguous|too_low_aQual|not_aligned|alignment_not_unique)"
    r"|N_(unmapped|multimapping|noFeature|ambiguous)"
)
"""Rows of reads that are of no gene, as HTSeq and STAR count them beside the genes."""
NOTHING = {"", "-666", "---", "na", "nan", "<na>", "none"}

MAP_HEADERS = [
    [symbol, ensembl]
    for symbol in ("symbol", "gene", "genesymbol", "hgncsymbol", "genename", "name")
    for ensembl in ("ensembl", "ensemblid", "ensemblgene", "ensemblgeneid", "geneid", "id")
]
"""First cells, in letters and digits, of a line that names the columns of a gene map."""

SYMBOL_FIELDS = (
    *("prgenesymbol", "genesymbol", "symbol"),
    *("genesymbols", "genename", "genenames", "featurename"),
)
ENTREZ_FIELDS = ("prgeneid", "prentrezid", "entrezid", "entrezgeneid", "entrez")
ENSEMBL_FIELDS = ("ensembl", "ensemblid", "ensemblgeneid", "geneids", "geneid", "featureid")
"""Annotation columns, in letters and digits; the first that a file has counts (LINCS: ``pr_…``; the
last names of each kind are those of AnnData files)."""

NOT_ON_ARRAY = "missing on the array"
NOT_TRAINED = "missing in the training data"


def is_ensembl(gene: str) -> bool:
    """Whether an id has the form of an Ensembl gene id, with or without a version."""
    return ENSEMBL.fullmatch(gene) is not None


def strip_version(gene: str) -> str:
    """Take the version off an Ensembl gene id; any other id stays as it is.

    ``ENSG00000182378.7_PAR_Y`` becomes ``ENSG00000182378_PAR_Y``: the suffix names another gene,
    not a version.
    """
    parts = VERSIONED.fullmatch(gene)
    return gene if parts is None else parts[1] + (parts[2] or "")


def ensembl_key(gene: str) -> str:
    """Write an Ensembl gene id in the one way that all spellings of the gene have in common.

    It has no version. The pseudo-autosomal genes of chromosome Y have ids of their own, written
    ``ENSGR0000124334`` by older annotations and ``ENSG00000124334_PAR_Y`` by newer ones: these two
    are the same gene. The X copy ``ENSG00000124334`` is another and never stands in for it.
    """
    plain = strip_version(gene)
    return PAR_Y.sub(r"ENSGR\1", plain) if plain.endswith("_PAR_Y") else plain


def match_ensembl(
    wanted: Sequence[str], available: Sequence[str], path: Path | None = None
) -> NDArray[np.intp]:
    """Find the row of each of the `wanted` Ensembl ids ``(n,)`` among `available`; -1: missing.

    By their `ensembl_key`. Raises `FormatError` (of the file `path`, if it is known) if two rows
    are the same gene of these.
    """
    keys = [ensembl_key(gene) for gene in wanted]
    needed = set(keys)
    rows: dict[str, int] = {}
    for row, name in enumerate(available):
        key = ensembl_key(name)
        if key in rows:
            of_file = "" if path is None else f"{path}: "
            pair = f"{available[rows[key]]!r} and {name!r}"
            raise FormatError(f"{of_file}rows {pair} are the same gene")
        if key in needed:
            rows[key] = row
    return np.array([rows.get(key, -1) for key in keys], dtype=np.intp)


def symbol_text(value: object) -> str:
    """Read a symbol; empty if it is one of the usual ways to say nothing, or reads of no gene."""
    text = str(value).strip()
    return "" if text.casefold() in NOTHING or NO_GENE.fullmatch(text) else text


def entrez_text(value: object) -> str:
    """Read an Entrez id: ``780``, also written ``780.0``; empty for all that is no such number."""
    number = ENTREZ.fullmatch(str(value).strip())
    return "" if number is None else number[1]


def _ensembl_text(value: object) -> str:
    text = str(value).strip()
    return text if is_ensembl(text) else ""


@dataclass(frozen=True)
class Annotation:
    """What is known of probes, by id: symbol, Entrez id (decimal text), Ensembl id (as written)."""

    symbols: Mapping[str, str] = field(default_factory=dict)
    entrez: Mapping[str, str] = field(default_factory=dict)
    ensembl: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, other: Annotation) -> Annotation:
        """Join both; where they differ `other` counts."""
        return Annotation(
            {**self.symbols, **other.symbols},
            {**self.entrez, **other.entrez},
            {**self.ensembl, **other.ensembl},
        )


def annotation_of(metadata: pd.DataFrame) -> Annotation:
    """Take what is known from row metadata ``(n_probes, n_fields)``, indexed by probe."""
    return Annotation(
        _column(metadata, SYMBOL_FIELDS, symbol_text),
        _column(metadata, ENTREZ_FIELDS, entrez_text),
        _column(metadata, ENSEMBL_FIELDS, _ensembl_text),
    )


def _column(
    metadata: pd.DataFrame, names: Sequence[str], read: Callable[[object], str]
) -> dict[str, str]:
    """Read the first of some annotation columns, by probe; nothing where there is none of them."""
    fields = [plain_name(str(name)) for name in metadata.columns]
    place = next((fields.index(name) for name in names if name in fields), None)
    if place is None:
        return {}
    texts = map(read, metadata.iloc[:, place])
    return {str(probe): text for probe, text in zip(metadata.index, texts, strict=True) if text}


@dataclass(frozen=True)
class GeneMap:
    """The genes of a map file, in its order: symbols, unique Ensembl ids, and ids of their probes.

    Symbols are not unique: IL9R has an X and a Y copy in ``map_tg.txt``.
    """

    path: Path
    symbols: tuple[str, ...]
    ensembl: tuple[str, ...]
    probes: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.symbols)


def read_gene_map(path: Path | str) -> GeneMap:
    """Read a gene map of the original study's form; a probe may serve several genes.

    One gene a line, tab-separated: symbol, Ensembl gene id, comma-separated probe ids. A header,
    comments (``#``) and quotes are left out; the file may be compressed. Raises `FormatError`, with
    the line, for a number of columns other than three, an empty field, a probe twice in one gene,
    an Ensembl id twice.
    """
    path = Path(path)
    genes: list[tuple[str, str, tuple[str, ...]]] = []
    lines: dict[str, int] = {}
    for number, raw in _map_lines(path):
        cells = [cell.strip() for cell in raw.decode().split("\t")]
        if not genes and [plain_name(cell) for cell in cells[:2]] in MAP_HEADERS:
            continue
        while len(cells) > 3 and not cells[-1]:
            cells.pop()
        if len(cells) != 3:
            raise FormatError(
                f"{path}: line {number}: {len(cells)} tab-separated columns, not 3 "
                "(symbol, Ensembl id, probes)"
            )
        symbol, gene, probes = cells[0], cells[1], [one.strip() for one in cells[2].split(",")]
        if not (symbol and gene and all(probes)):
            raise FormatError(f"{path}: line {number}: an empty field in {' | '.join(cells)!r}")
        probe, times = Counter(probes).most_common(1)[0]
        if times > 1:
            raise FormatError(f"{path}: line {number}: gene {gene!r} has probe {probe!r} twice")
        if gene in lines:
            raise FormatError(
                f"{path}: line {number}: Ensembl id {gene!r} is already in line {lines[gene]}"
            )
        lines[gene] = number
        genes.append((symbol, gene, tuple(probes)))
    if not genes:
        raise FormatError(f"{path}: has no genes")
    return GeneMap(path, *zip(*genes, strict=True))


def is_gene_map(path: Path) -> bool:
    """Whether a text file is written as a gene map is: its first gene has an Ensembl id in between.

    Then it should be read by `read_gene_map`, which names the faults of its other lines.
    """
    if read_head(path) == HDF5_MAGIC:
        return False
    for _, raw in read_lines(path):
        cells = [cell.strip(' "') for cell in raw.decode("latin-1").rstrip("\t").split("\t")]
        if raw.startswith(b"#") or [plain_name(cell) for cell in cells[:2]] in MAP_HEADERS:
            continue
        return len(cells) == 3 and all(cells) and cells[1].startswith("ENS")
    return False


def _map_lines(path: Path) -> Iterator[Line]:
    """Give the lines that are no comment, without the quotes around cells."""
    if read_head(path) == HDF5_MAGIC:
        raise FormatError(f"{path}: is an HDF5 file, not a gene map (symbol, Ensembl id, probes)")
    for number, text in read_lines(path):
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"{path}: line {number}: is not UTF-8 text") from error
        if b"\t" in text or not text.startswith(b"#"):
            yield from tabbed(path, [(number, text)])


@dataclass(frozen=True)
class LostGene:
    """A gene of the maps that platforms lack, or a kept one that lacks some of its probes.

    `cause` lists these platforms, joined by ``; ``. A kept gene has none, and in `probes` those
    that are missing: its value is the mean over the others.
    """

    role: str
    symbol: str
    ensembl: str
    cause: str
    probes: tuple[str, ...]


@dataclass(frozen=True)
class StudyGenes:
    """Kept genes of one role (or of both, landmarks first), with where each platform has them.

    `ids` are Ensembl ids, or what the compendium names its genes by (of arrays alone, probes).
    `probes` are the columns of their probes in the compendium, in its or the map's order; `columns`
    those in each set, ``(n_genes,)`` each.
    """

    symbols: tuple[str, ...]
    ids: tuple[str, ...]
    probes: tuple[tuple[int, ...], ...]
    columns: Mapping[str, NDArray[np.intp]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def probe_columns(self) -> NDArray[np.intp]:
        """All columns of their probes, ascending."""
        return np.unique(np.concatenate([np.array(columns) for columns in self.probes]))

    def take(self, order: NDArray[np.intp]) -> StudyGenes:
        """Return some of the genes, in the given order."""
        return StudyGenes(
            tuple(self.symbols[g] for g in order),
            tuple(self.ids[g] for g in order),
            tuple(self.probes[g] for g in order),
            {name: columns[order] for name, columns in self.columns.items()},
        )

    def __add__(self, other: StudyGenes) -> StudyGenes:
        return StudyGenes(
            self.symbols + other.symbols,
            self.ids + other.ids,
            self.probes + other.probes,
            {n: np.concatenate([self.columns[n], other.columns[n]]) for n in self.columns},
        )


@dataclass(frozen=True)
class Selection:
    """The genes of a study and what became of the others, landmarks first."""

    landmarks: StudyGenes
    targets: StudyGenes
    dropped: tuple[LostGene, ...]
    partial: tuple[LostGene, ...]
    notes: tuple[str, ...] = ()
    """By which names genes were found, and what was not taken, a line each."""

    @property
    def all_genes(self) -> StudyGenes:
        """Landmarks, then targets: the genes that quantile normalisation ranks.

        A gene that is both stands twice, as in the original.
        """
        return self.landmarks + self.targets

    @property
    def copy_of_landmark(self) -> NDArray[np.bool_]:
        """``(n_targets,)``: the target's Ensembl id is a kept landmark's too.

        On the array these are other probes; in RNA-seq the target is a copy of an input (445 of
        the paper's 9,520 targets). Never so in a study of arrays alone.
        """
        if not self.landmarks.columns:
            return np.zeros(len(self.targets), dtype=bool)
        return match_ensembl(self.targets.ids, self.landmarks.ids) >= 0

    def without(self, left_out: NDArray[np.bool_], cause: str) -> Selection:
        """Leave out some genes (of `all_genes`), dropped for `cause`."""
        n = len(self.landmarks)
        every = self.all_genes
        lost = tuple(
            LostGene(
                "landmark" if place < n else "target",
                every.symbols[place],
                every.ids[place],
                cause,
                (),
            )
            for place in np.flatnonzero(left_out).tolist()
        )
        return replace(
            self,
            landmarks=self.landmarks.take(np.flatnonzero(~left_out[:n])),
            targets=self.targets.take(np.flatnonzero(~left_out[n:])),
            dropped=(*self.dropped, *lost),
        )

    def taken(
        self, targets: NDArray[np.intp], landmarks: NDArray[np.intp] | None = None
    ) -> Selection:
        """Return the same genes in the given orders."""
        kept = self.landmarks if landmarks is None else self.landmarks.take(landmarks)
        return replace(self, landmarks=kept, targets=self.targets.take(targets))


def select_genes(
    landmarks: GeneMap,
    targets: GeneMap,
    geo: ExpressionSource,
    sets: Mapping[str, tuple[ExpressionSource, ExpressionSource]],
) -> Selection:
    """Keep the landmarks and targets that the compendium and all sets have.

    Only the ids of the sources are looked at: probes of `geo`, genes of `sets`, each the file of
    its landmarks and that of its targets, mostly the same. Raises `PreparationError` if no landmark
    or no target is on every platform, `FormatError` if two rows of a file are the same gene of the
    study.
    """
    place = {probe: column for column, probe in enumerate(geo.genes)}
    kept, dropped, partial = {}, [], []
    for side, (role, genes) in enumerate((("landmark", landmarks), ("target", targets))):
        match_ensembl(genes.ensembl, genes.ensembl, genes.path)
        files = {name: both[side] for name, both in sets.items()}
        columns = {
            name: match_ensembl(genes.ensembl, file.genes, file.path)
            for name, file in files.items()
        }
        chosen = []
        for g, (symbol, ensembl, probes) in enumerate(
            zip(genes.symbols, genes.ensembl, genes.probes, strict=True)
        ):
            missing = tuple(probe for probe in probes if probe not in place)
            causes = [NOT_ON_ARRAY] if len(missing) == len(probes) else []
            causes += [f"missing in {name}" for name, found in columns.items() if found[g] < 0]
            if causes:
                dropped.append(LostGene(role, symbol, ensembl, "; ".join(causes), probes))
                continue
            chosen.append(g)
            if missing:
                partial.append(LostGene(role, symbol, ensembl, "", missing))
        if not chosen:
            every = ", ".join(str(source.path) for source in (geo, *files.values()))
            raise PreparationError(
                f"{genes.path}: none of its {len(genes)} {role} genes is in all of {every}"
            )
        places = tuple(tuple(place[p] for p in of if p in place) for of in genes.probes)
        known = StudyGenes(genes.symbols, genes.ensembl, places, columns)
        kept[role] = known.take(np.array(chosen, dtype=np.intp))
    return Selection(kept["landmark"], kept["target"], tuple(dropped), tuple(partial))
