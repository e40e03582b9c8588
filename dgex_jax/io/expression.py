"""Expression files in common: the reader protocol, views, ids, selections and column names."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from dgex_jax.config import GeneIds

FloatArray = NDArray[np.floating[Any]]
Places = NDArray[np.intp]
Selection = slice | NDArray[np.integer[Any]] | None
GeneFilter = Collection[str] | Callable[[str], bool] | None
"""Which rows of a text file to keep in memory: their ids, a test of an id, or all."""

MISSING = -666
"""What stands for no value, also of annotation, in files of the Connectivity Map (GCT, GCTX)."""


def _no_metadata() -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 (what writes ids alone starts sooner without it)

    return pd.DataFrame()


def annotation_frame(ids: Sequence[str], columns: Mapping[str, Any]) -> pd.DataFrame:
    """Annotation of an axis, indexed by its ids; lists of text stay text."""
    import pandas as pd  # noqa: PLC0415

    index: pd.Index[Any] = pd.Index(list(ids), dtype=object)
    series = {
        name: pd.Series(values, index=index, dtype=object if isinstance(values, list) else None)
        for name, values in columns.items()
    }
    return pd.DataFrame(series, index=index, columns=pd.Index(list(series), dtype=object))


class ExpressionSource(Protocol):
    """An expression file whose ids are known and whose values can be read in parts."""

    @property
    def path(self) -> Path:
        """The file, named in every error."""

    @property
    def profiles(self) -> tuple[str, ...]:
        """Profile (sample) ids, in file order."""

    @property
    def genes(self) -> tuple[str, ...]:
        """Probe or gene ids, in file order."""

    @property
    def gene_metadata(self) -> pd.DataFrame:
        """One line a gene, indexed by id (or no column at all)."""

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""


class AnnotatedSource(ExpressionSource, Protocol):
    """An `ExpressionSource` that also knows what its file says of the profiles."""

    @property
    def profile_metadata(self) -> pd.DataFrame:
        """One line a profile, indexed by id (or no column at all)."""


@dataclass(frozen=True)
class Expression:
    """An expression file in memory (an `AnnotatedSource`).

    `values` are ``(n_profiles, n_genes)`` float32 or float64, NaN where the file has no value; ids
    are in file order. Annotation is text and stays text. `notes` say what was left out of the
    values; `comments` are the lines of text before the table.
    """

    path: Path
    values: FloatArray
    profiles: tuple[str, ...]
    genes: tuple[str, ...]
    profile_metadata: pd.DataFrame = field(default_factory=_no_metadata)
    gene_metadata: pd.DataFrame = field(default_factory=_no_metadata)
    notes: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""
        rows = slice(None) if profiles is None else profiles
        columns = slice(None) if genes is None else genes
        return self.values[rows][:, columns]


@dataclass(frozen=True)
class View:
    """A file with some of its profiles or genes, other ids of its genes, or its axes swapped.

    `profile_places` and `gene_places` choose profiles and genes (after swapping) in their order,
    ``None`` all; `names` are other ids of the genes.
    """

    base: AnnotatedSource
    profile_places: Places | None = None
    gene_places: Places | None = None
    names: tuple[str, ...] | None = None
    swapped: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        return self.base.path

    @property
    def turned(self) -> bool:
        """Whether the genes are on the axis where the file itself has its profiles."""
        return self.swapped != (isinstance(self.base, View) and self.base.turned)

    @cached_property
    def profiles(self) -> tuple[str, ...]:
        """Ids of the profiles."""
        return _taken(self.base.genes if self.swapped else self.base.profiles, self.profile_places)

    @cached_property
    def genes(self) -> tuple[str, ...]:
        """Ids of the genes."""
        ids = self.base.profiles if self.swapped else self.base.genes
        return self.names or _taken(ids, self.gene_places)

    @cached_property
    def profile_metadata(self) -> pd.DataFrame:
        """Annotation of the profiles."""
        metadata = self.base.gene_metadata if self.swapped else self.base.profile_metadata
        return _rows_of(metadata, self.profile_places)

    @cached_property
    def gene_metadata(self) -> pd.DataFrame:
        """Annotation of the genes."""
        metadata = self.base.profile_metadata if self.swapped else self.base.gene_metadata
        metadata = _rows_of(metadata, self.gene_places)
        return metadata if self.names is None or metadata.empty else metadata.set_axis(self.names)

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""
        rows, columns = _within(self.profile_places, profiles), _within(self.gene_places, genes)
        return self.base.read(columns, rows).T if self.swapped else self.base.read(rows, columns)


def _taken(ids: tuple[str, ...], places: Places | None) -> tuple[str, ...]:
    return ids if places is None else tuple(ids[place] for place in places.tolist())


def _rows_of(metadata: pd.DataFrame, places: Places | None) -> pd.DataFrame:
    return metadata if places is None or not len(metadata) else metadata.iloc[places]


def _within(places: Places | None, chosen: Selection) -> Selection:
    if places is None:
        return chosen
    return places if chosen is None else places[chosen]


def transposed(source: AnnotatedSource) -> View:
    """Give a file with its genes as profiles and its profiles as genes."""
    return View(source, swapped=True)


def _file_of(source: AnnotatedSource) -> AnnotatedSource:
    while isinstance(source, View):
        source = source.base
    return source


def is_table(source: AnnotatedSource) -> bool:
    """Whether a file is text, in which annotation stands among the values."""
    return isinstance(_file_of(source), Expression)


def notes_of(source: AnnotatedSource) -> tuple[str, ...]:
    """Say what was left out of the values when a file was read."""
    return getattr(_file_of(source), "notes", ())


def comments_of(source: AnnotatedSource) -> tuple[str, ...]:
    """Give the lines that stood before the table of a file."""
    return getattr(_file_of(source), "comments", ())


@dataclass(frozen=True)
class Genes:
    """Genes that are looked for, each by what is known of it; empty where nothing is."""

    ensembl: tuple[str, ...]
    symbols: tuple[str, ...]
    entrez: tuple[str, ...]
    probes: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.symbols)

    def __add__(self, other: Genes) -> Genes:
        return Genes(
            self.ensembl + other.ensembl,
            self.symbols + other.symbols,
            self.entrez + other.entrez,
            self.probes + other.probes,
        )

    def ids(self, kind: GeneIds) -> tuple[str, ...]:
        """Ids of one kind."""
        return {"ensembl": self.ensembl, "symbol": self.symbols, "entrez": self.entrez}[kind]

    def columns(self) -> dict[str, tuple[str, ...]]:
        """Ids as columns of text; the probes of a gene are joined by commas."""
        kinds: tuple[GeneIds, ...] = ("ensembl", "symbol", "entrez")
        probes = tuple(map(",".join, self.probes))
        return {**{kind: self.ids(kind) for kind in kinds}, "probes": probes}


def check_ids(path: Path, kind: str, ids: Sequence[str]) -> None:
    """Raise `FormatError` unless `ids` (of a `kind`: profile, gene) are there, named and unique."""
    if not ids:
        raise FormatError(f"{path}: has no {kind}s")
    if len(set(ids)) == len(ids) and "" not in ids:
        return
    first: dict[str, int] = {}
    for place, name in enumerate(ids, start=1):
        if not name:
            raise FormatError(f"{path}: the id of {kind} {place} is empty")
        if name in first:
            raise FormatError(
                f"{path}: duplicate {kind} id {name!r} ({kind}s {first[name]} and {place})"
            )
        first[name] = place


def check_storable(path: Path, what: str, texts: Sequence[str], forbidden: str) -> None:
    r"""Raise `FormatError` if a text has a character its format can't hold (a tab; ``\0``)."""
    for text in texts:
        bad = next((character for character in forbidden if character in text), None)
        if bad is not None:
            raise FormatError(f"{path}: {what} {text!r}: the format can't hold {bad!r}")


def aligned(rows: Sequence[Sequence[str]], marks: str) -> list[str]:
    """Lay out a table in lines; `marks` has for each column ``<`` or ``>``, its side."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = list(zip(marks, widths, strict=True))
    return [
        "  ".join(
            f"{cell:{mark}{width}}" for cell, (mark, width) in zip(row, columns, strict=True)
        ).rstrip()
        for row in rows
    ]


def listed(texts: Sequence[str], most: int = 10) -> str:
    """Join the first texts by commas, and say how many more there are."""
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def decode_text(raw: bytes) -> str:
    """Text of `raw`: UTF-8 where that is valid, else Latin-1 (older Matlab writers)."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class FiniteCheck:
    """Count what is missing or infinite in a file read in blocks, whose columns are `genes`."""

    def __init__(self, path: Path, genes: Sequence[str]) -> None:
        self.path, self.genes = path, genes
        self.n_missing = self.n_infinite = 0
        self._first = ""

    def add(self, block: FloatArray, profile_ids: Sequence[str]) -> None:
        """Count the next block ``(n, n_genes)``, whose rows have `profile_ids`."""
        bad = ~np.isfinite(block)
        if not bad.any():
            return
        self.n_missing += int(np.isnan(block).sum())
        self.n_infinite += int(np.isinf(block).sum())
        if not self._first:
            row, column = divmod(int(bad.argmax()), bad.shape[1])
            self._first = (
                f"{block[row, column]} in profile {profile_ids[row]!r}, gene {self.genes[column]!r}"
            )

    def raise_if_any(self) -> None:
        """Raise `FormatError` with the counts and the first place, if any block had one."""
        if self._first:
            raise FormatError(
                f"{self.path}: {self.n_missing} missing and {self.n_infinite} infinite values; "
                f"the first is {self._first}"
            )


def blocks(length: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover ``range(length)`` in order."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def positions(selection: Selection, size: int) -> Places:
    """Turn a selection on an axis of `size` into positions in ``[0, size)``, in its order.

    Arrays may have any order, repeat positions and count from the end; ``None`` is all. Raises
    `IndexError` for a position out of bounds, or an array that is not one of integers.
    """
    if selection is None:
        return np.arange(size)
    if isinstance(selection, slice):
        return np.arange(*selection.indices(size))
    chosen = np.asarray(selection)
    if chosen.ndim != 1 or (chosen.size and not np.issubdtype(chosen.dtype, np.integer)):
        raise IndexError(f"a selection is a slice or a 1-D integer array, not {chosen.dtype}")
    chosen = chosen.astype(np.intp)
    if chosen.size and not (-size <= chosen.min() and chosen.max() < size):
        raise IndexError(f"selection {chosen.min()}..{chosen.max()} is out of bounds for {size}")
    return np.where(chosen < 0, chosen + size, chosen)


def as_slice(chosen: Places) -> slice | Places:
    """Write positions (not none) as a slice where they ascend without a gap: that copies less."""
    first, last = int(chosen[0]), int(chosen[-1])
    if last - first == len(chosen) - 1 and np.all(np.diff(chosen) == 1):
        return slice(first, last + 1)
    return chosen


# How columns are called that hold annotation of genes, not the values of a profile.

TEXT = {
    *("chr", "chrom", "chromosome", "chromosomename", "seqname", "seqnames", "seqid", "contig"),
    *("strand", "band", "cytoband", "map", "maplocation", "location", "locus"),
    *("biotype", "genebiotype", "genetype", "transcripttype", "transcriptbiotype", "type"),
    *("description", "genedescription", "definition", "title", "genetitle", "source", "species"),
    *("symbol", "symbols", "genesymbol", "genesymbols", "hugosymbol", "hgncsymbol", "prgenesymbol"),
    *("genename", "genenames", "featurename", "featuretype", "feature", "unigene", "refseq"),
    *("alias", "aliases", "synonym", "synonyms", "ensembl", "ensemblid", "ensemblgeneid"),
    *("ensemblgene", "transcriptid", "transcriptids", "ensembltranscriptid", "tssid"),
}
"""Columns of text, also where the first rows have only numbers (chromosomes)."""

IDS = {
    *("entrez", "entrezid", "entrezgene", "entrezgeneid", "prgeneid", "prentrezid", "ncbigeneid"),
    *("geneid", "geneids", "hgncid", "hgnc", "omim", "taxid", "taxonid", "locuslink", "uniprot"),
}
POSITIONS = {
    *("start", "end", "stop", "chromstart", "chromend", "txstart", "txend", "genestart", "geneend"),
    *("startposition", "endposition", "position", "pos", "coord", "coordinate", "bp", "tss"),
    *("length", "genelength", "len", "width", "genewidth", "exonlength", "exonlengths", "size"),
    *("transcriptlength", "efflength", "effectivelength", "bplength", "lengthbp", "genesize"),
    *("exons", "nexons", "exoncount", "numexons", "ntranscripts", "transcriptcount"),
    *("prislm", "prisbing", "prislmark", "pranalytenum", "prpoolid"),
}
SHARES = {"gc", "gccontent", "percentgc", "gcpercent", "percentgccontent", "percentagegccontent"}
STATISTICS = {
    *("total", "totals", "sum", "rowsum", "rowsums", "totalcount", "totalcounts", "totalreads"),
    *("mean", "rowmean", "rowmeans", "average", "avg", "avgexpr", "aveexpr", "basemean", "median"),
    *("sd", "stdev", "std", "stddev", "var", "variance", "cv", "mad", "iqr", "rank"),
    *("logfc", "log2fc", "log2foldchange", "foldchange", "lfcse", "stat", "pvalue", "pval", "padj"),
    *("adjpval", "adjpvalue", "qvalue", "qval", "fdr", "ncells", "dispersions", "dispersionsnorm"),
    *("highlyvariable", "ndetected", "pctdropoutbycounts"),
}
NUMBERS = IDS | POSITIONS | SHARES | STATISTICS
"""Columns of numbers that are no expression values."""

SAMPLES = {
    *("age", "agegroup", "ageatdiagnosis", "sex", "gender", "race", "ethnicity", "bmi", "weight"),
    *("batch", "plate", "lane", "replicate", "dose", "time", "timepoint", "rin", "rna", "purity"),
    *("tumorpurity", "stage", "grade", "status", "survival", "os", "ostime", "osmonths", "dfs"),
    *("group", "label", "cluster", "class", "condition", "treatment", "tissue", "disease"),
    *("ncounts", "ngenes", "ngenesbycounts", "nfeaturerna", "ncountrna", "log1ptotalcounts"),
    *("pctcountsmt", "percentmt", "percentmito", "pctmito", "sizefactor", "sizefactors"),
    *("libsize", "librarysize", "mappedreads", "mappingrate"),
}
"""Columns that annotate profiles, where the genes are columns."""

CORNERS = {
    *("gene", "genes", "id", "ids", "idref", "name", "names", "probe", "probes", "probeid"),
    *("probeset", "probesetid", "affyid", "target", "targetid", "feature", "features", "featureid"),
    *("transcript", "tracking", "trackingid", "sample", "samples", "sampleid", "sampleids"),
    *("samplename", "barcode", "cell", "cells", "cellid", "cellline", "patient", "patientid"),
    *("subject", "subjectid", "case", "caseid", "donor", "donorid", "individual", "profile"),
    *("profileid", "rid", "cid", "index", "row", "rownames", "rowname", "unnamed0", "x", "well"),
    *("run", "accession", "geoaccession", "depmapid", "modelid", "file", "filename", "obs", "var"),
    *("prid", "symbolid", "ensgid", "ensg", "ensemblgeneidversion", "hgnc", "key", "identifier"),
}
"""What stands above the ids of a table, in letters and digits; names of annotation do as well."""

ENDINGS = {"length", "len", "start", "end", "version", "strand", "biotype"}
"""Last words of such names (``cds_length``, ``gene_version``)."""

GENE_ID = re.compile(r"ENS[A-Z]*\d{6,}(\.\d+)?|.*\d_at|LOC\d+|[NX][MR]_\d+(\.\d+)?")


def plain_name(name: str) -> str:
    """Give the letters and digits of a column's name, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def may_hold_text(name: str) -> bool:
    """Whether annotation of this name may be text: also lists of positions (``11869;12010``)."""
    return plain_name(name) in TEXT | POSITIONS


def is_annotation_name(name: str) -> bool:
    """Whether a column is called as columns of annotation are, of text or of numbers."""
    if plain_name(name) in TEXT or plain_name(name) in NUMBERS:
        return True
    return re.sub(r".*[^a-z0-9]", "", name.casefold().strip()) in ENDINGS


def alike(one: str, others: Sequence[str]) -> bool:
    """Whether an id is written as some others are: the same runs of letters and digits.

    Ids of genes of the same kind are, with or without a version.
    """
    shown = others[:1000]
    if GENE_ID.fullmatch(one) and any(map(GENE_ID.fullmatch, shown)):
        return True
    return _form(one) in set(map(_form, shown))


def _form(text: str) -> str:
    text = re.sub(r"\d+", "9", text)
    text = re.sub(r"[A-Z]+", "A", text)
    return re.sub(r"[a-z]+", "a", text)
