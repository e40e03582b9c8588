"""A model's genes found in a file: on which axis, by which ids, and which are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError
from dgex_jax.formats.ids import check_ids
from dgex_jax.inference.geneids import Columns, are_row_numbers, find_genes
from dgex_jax.inference.inputs import AnnotatedSource, Transposed, axis_names
from dgex_jax.inference.mangled import mangled_hint
from dgex_jax.inference.options import ID_KINDS, IdKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from dgex_jax.inference.geneids import DuplicateGene
    from dgex_jax.inference.model import Model, ModelGenes

FIELDS = {
    *("pr_id", "probe", "probe_id", "probe_set_id"),
    *("ensembl", "ensembl_id", "ensembl_gene_id", "ensemblid"),
    *("gene_ids", "gene_id", "geneid", "feature_id"),
    *("entrez", "entrez_id", "entrez_gene_id", "entrezid", "pr_gene_id", "pr_entrez_id"),
    *("symbol", "gene_symbol", "gene_symbols", "pr_gene_symbol"),
    *("gene_name", "gene_names", "feature_name"),
    *("gene", "name", "description"),
}
"""Fields of metadata that may hold gene ids, of whatever case. Others are never looked at: a field
of small whole numbers (``pr_analyte_num``) would pass for Entrez ids."""

SHOWN = 20


@dataclass(frozen=True)
class Match:
    """Where a file has the genes of a model.

    Attributes
    ----------
    source
        The file, profiles by genes.
    kind, field
        How its genes are named, and the metadata field with these names (``None``: their ids).
    axis
        Which axis of the file has its genes, in the words of its format.
    landmarks, targets
        For each gene of the model the file's columns (see `find_genes`), none where it is missing;
        targets only where they were asked for.
    n_partial
        Genes that are there but lack some of their probes.
    """

    source: AnnotatedSource
    kind: IdKind
    field: str | None
    axis: str
    landmarks: Columns
    targets: Columns | None
    n_partial: int

    @property
    def missing(self) -> tuple[int, ...]:
        """Landmarks that the file lacks."""
        return tuple(place for place, columns in enumerate(self.landmarks) if not columns)

    @property
    def present(self) -> list[int]:
        """Landmarks that the file has."""
        return [place for place, columns in enumerate(self.landmarks) if columns]

    @property
    def naming(self) -> str:
        """How the genes were found, in words."""
        by = {"ensembl": "Ensembl id", "entrez": "Entrez id"}.get(self.kind, self.kind)
        where = "" if self.field is None else f" in the field {self.field!r}"
        return f"by {by}{where} on its {self.axis}"


@dataclass(frozen=True)
class _Found:
    """Landmarks found on one axis by one way of naming."""

    kind: IdKind
    field: str | None
    landmarks: Columns
    duplicates: tuple[DuplicateGene, ...]

    @property
    def count(self) -> int:
        return sum(map(bool, self.landmarks))


def match_genes(
    model: Model, source: AnnotatedSource, *, targets: bool, ids: IdKind | None = None
) -> Match:
    """Find the genes of a model in a file.

    The axis of the genes is the one where at least half of the landmarks are: first by its ids,
    then, if neither axis has them there, by fields of its metadata (`FIELDS`).

    Parameters
    ----------
    model
        The model.
    source
        The file; its ids may come twice.
    targets
        Whether to look for the target genes as well.
    ids
        The only kind of ids to look for; ``None`` for the one that finds most landmarks.

    Raises
    ------
    FormatError
        Neither axis has half of the landmarks, or both have; a gene of the model is there twice, or
        a profile.
    """
    kinds = ID_KINDS if ids is None else (ids,)
    sides = (source, Transposed(source))
    best = [_best(_by_ids(kinds, model.landmarks, side.genes)) for side in sides]
    enough = [2 * found.count >= len(model.landmarks) for found in best]
    if not any(enough):
        by_field = [
            _best([best[place], *_by_fields(kinds, model.landmarks, side.gene_metadata)])
            for place, side in enumerate(sides)
        ]
        best = by_field
        enough = [2 * found.count >= len(model.landmarks) for found in best]
    columns, rows = axis_names(source)
    if all(enough):
        raise FormatError(
            f"{source.path}: both its {rows} and its {columns} have at least half of the "
            f"{len(model.landmarks)} landmarks ({best[0].count} and {best[1].count}): which of "
            "them are the genes can't be told"
        )
    if not any(enough):
        raise FormatError(_nothing_found(model, source, best))
    turned = enough[1]
    side, found = (sides[1], best[1]) if turned else (sides[0], best[0])
    names = _names(side, found.field)
    duplicates = found.duplicates
    found_targets: Columns | None = None
    if targets:
        found_targets, more = find_genes(found.kind, model.targets, names)
        duplicates += tuple(pair for pair in more if pair not in duplicates)
    if duplicates:
        raise FormatError(_duplicate_text(source, duplicates, names))
    check_ids(source.path, "profile", side.profiles)
    n_partial = 0
    if found.kind == "probe":
        n_partial = _n_partial(model.landmarks, found.landmarks)
        n_partial += _n_partial(model.targets, found_targets or ())
    axis = columns if turned else rows
    return Match(side, found.kind, found.field, axis, found.landmarks, found_targets, n_partial)


def require_landmarks(model: Model, match: Match) -> None:
    """Raise `FormatError` listing the landmarks that are missing, if any are."""
    missing = match.missing
    if missing:
        names = gene_names(model.landmarks, missing)
        hint = mangled_hint(
            [model.landmarks.symbols[place] for place in missing],
            _names(match.source, match.field),
        )
        raise FormatError(
            f"{match.source.path}: {len(missing)} of {len(model.landmarks)} landmarks are missing "
            f"({match.naming}): {listed(names)}{hint}; --impute goes on with their training means"
        )


def gene_names(genes: ModelGenes, places: Sequence[int]) -> list[str]:
    """Name genes as a reader knows them: by symbol, else by the first id they have."""
    return [
        genes.symbols[place]
        or genes.ensembl[place]
        or genes.entrez[place]
        or ",".join(genes.probes[place])
        for place in places
    ]


def listed(names: Sequence[str]) -> str:
    """Join the first names, and say how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _n_partial(genes: ModelGenes, columns: Columns) -> int:
    pairs = zip(genes.probes, columns, strict=False)
    return sum(0 < len(found) < len(probes) for probes, found in pairs)


def _by_ids(
    kinds: Sequence[IdKind], genes: ModelGenes, ids: Sequence[str], field: str | None = None
) -> list[_Found]:
    return [_Found(kind, field, *find_genes(kind, genes, ids)) for kind in kinds]


def _by_fields(
    kinds: Sequence[IdKind], genes: ModelGenes, metadata: pd.DataFrame
) -> Iterator[_Found]:
    for field in metadata.columns:
        if str(field).casefold() in FIELDS:
            yield from _by_ids(kinds, genes, _texts(metadata, field), str(field))


def _best(found: Sequence[_Found]) -> _Found:
    """Give the way that finds most landmarks; of equals the first."""
    return max(found, key=lambda one: one.count)


def _texts(metadata: pd.DataFrame, field: str) -> list[str]:
    return [str(value) for value in metadata[field]]


def _names(source: AnnotatedSource, field: str | None) -> Sequence[str]:
    return source.genes if field is None else _texts(source.gene_metadata, field)


def _duplicate_text(
    source: AnnotatedSource, duplicates: Sequence[DuplicateGene], names: Sequence[str]
) -> str:
    pairs = [
        repr(pair.first) if pair.first == pair.second else f"{pair.first!r} = {pair.second!r}"
        for pair in duplicates
    ]
    hint = mangled_hint((), names)
    return f"{source.path}: genes of the model are there twice: {listed(pairs)}{hint}"


def _nothing_found(model: Model, source: AnnotatedSource, best: Sequence[_Found]) -> str:
    n = len(model.landmarks)
    parts = []
    for name, found, ids in zip(
        reversed(axis_names(source)), best, (source.genes, source.profiles), strict=True
    ):
        examples = ", ".join(map(repr, ids[:3]))
        parts.append(f"{found.count} on its {name} ({examples} …)")
    hints = []
    for ids in (source.genes, source.profiles):
        if are_row_numbers(ids):
            hints.append("; row numbers are no ids")
        if sum(name.startswith("ENSMUSG") for name in ids) > len(ids) // 2:
            hints.append("; ENSMUSG ids are genes of the mouse")
        hints.append(mangled_hint(model.landmarks.symbols, ids))
    return (
        f"{source.path}: of {n} landmarks {' and '.join(parts)} were found, "
        f"at least {(n + 1) // 2} are needed on one{''.join(dict.fromkeys(hints))}"
    )
