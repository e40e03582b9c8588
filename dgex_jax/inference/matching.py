"""A model's genes found in a file: on which axis, by which ids, and which are missing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dgex_jax.data.names import (
    ID_KINDS,
    Columns,
    Elsewhere,
    Found,
    are_row_numbers,
    find_genes,
    look_elsewhere,
    merged,
    search,
)
from dgex_jax.data.symbols import like_the_mouse
from dgex_jax.errors import FormatError
from dgex_jax.formats.decimals import parse_cell
from dgex_jax.formats.ids import check_ids
from dgex_jax.formats.opening import Subset, Transposed
from dgex_jax.inference.inputs import AnnotatedSource, axis_names
from dgex_jax.inference.mangled import mangled_hint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dgex_jax.config import IdKind
    from dgex_jax.data.names import DuplicateGene, Names
    from dgex_jax.inference.model import Model, ModelGenes

SHOWN = 20


@dataclass(frozen=True)
class Match:
    """Where a file has the genes of a model.

    Attributes
    ----------
    source
        The file, profiles by genes.
    kind, names
        How its genes are named, and their names (their ids, or a field of annotation).
    axis
        Which axis of the file has its genes, in the words of its format.
    landmarks, targets
        For each gene of the model the file's columns (see `find_genes`), none where it is missing;
        targets only where they were asked for.
    n_partial
        Genes that are there but lack some of their probes.
    renamed
        Symbol of the model → the other symbol of the same gene that the file has.
    by_other_names
        Landmark → where it was found, as the way by which most were found lacks it.
    no_guess
        Missing landmark → what the file has that it may be, but need not.
    second
        What the second best way of naming finds, in words; empty if there is none.
    """

    source: AnnotatedSource
    kind: IdKind
    names: Names
    axis: str
    landmarks: Columns
    targets: Columns | None
    n_partial: int
    renamed: Mapping[str, str] = field(default_factory=dict)
    by_other_names: Mapping[str, str] = field(default_factory=dict)
    no_guess: Mapping[str, str] = field(default_factory=dict)
    second: str = ""

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
        return f"{Found(self.kind, self.names, ()).by} on its {self.axis}"

    @property
    def turned(self) -> bool:
        """Whether the genes are on the file's axis of profiles."""
        base = self.source.base if isinstance(self.source, Subset) else self.source
        return isinstance(base, Transposed)

    @property
    def profile_places(self) -> NDArray[np.intp] | None:
        """Places of the profiles that are left; ``None`` if all are."""
        return self.source.profile_places if isinstance(self.source, Subset) else None

    def lines(self) -> list[str]:
        """Say by which names genes were found beside the usual ones, a fact a line."""
        lines = [self.second] if self.second else []
        if self.renamed:
            pairs = [f"{symbol} as {name}" for symbol, name in self.renamed.items()]
            lines.append(f"{len(pairs)} genes were found by another symbol (HGNC): {listed(pairs)}")
        if self.by_other_names:
            pairs = [f"{name} as {where}" for name, where in self.by_other_names.items()]
            lines.append(f"{len(pairs)} landmarks were found by other names: {listed(pairs)}")
        return lines


def match_genes(
    model: Model, source: AnnotatedSource, *, targets: bool, ids: IdKind | None = None
) -> Match:
    """Find the genes of a model in a file.

    All kinds of ids are looked for in the ids of both axes, in parts of composite ids and in all
    annotation; the axis of the genes is the one where at least half of the landmarks are found. The
    way that finds most of them counts. A landmark that it lacks is taken where another way finds
    it, if nothing else is there.

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
    half = len(model.landmarks) / 2
    sides = (source, Transposed(source))
    # The annotation of thousands of profiles is looked at only if no axis has genes without it.
    ways = [
        search(kinds, model.landmarks, source.genes, source.gene_metadata),
        search(kinds, model.landmarks, source.profiles, None),
    ]
    if max(side[0].count for side in ways) < half:
        ways[1] = search(kinds, model.landmarks, source.profiles, source.profile_metadata)
    enough = [side[0].count >= half for side in ways]
    columns, rows = axis_names(source)
    if all(enough):
        raise FormatError(
            f"{source.path}: both its {rows} and its {columns} have at least half of the "
            f"{len(model.landmarks)} landmarks ({ways[0][0].count} and {ways[1][0].count}): which "
            "of them are the genes can't be told"
        )
    if not any(enough):
        raise FormatError(_nothing_found(model, source, [side[0] for side in ways]))
    turned = enough[1]
    side = sides[turned]
    found, *others = ways[turned]
    duplicates = found.duplicates
    found_targets: Found | None = None
    if targets:
        found_targets = find_genes(found.kind, model.targets, found.names)
        duplicates += tuple(pair for pair in found_targets.duplicates if pair not in duplicates)
    if duplicates:
        raise FormatError(_duplicate_text(source, duplicates, found.names.texts))
    check_ids(source.path, "profile", side.profiles)
    more = found
    elsewhere: list[Elsewhere] = []
    if found.count < len(model.landmarks):
        if ids is not None or turned:
            others = search(ID_KINDS, model.landmarks, side.genes, side.gene_metadata)
        known = find_genes(found.kind, model.targets, found.names, rename=False).columns
        elsewhere = look_elsewhere([found, *others], known)
        if ids is not None:
            elsewhere = [replace(one, columns=()) for one in elsewhere]
        more = replace(found, columns=merged(found, elsewhere))
    n_partial = 0
    if found.kind == "probe":
        n_partial = _n_partial(model.landmarks, found.columns)
        n_partial += _n_partial(model.targets, found_targets.columns if found_targets else ())
    names = gene_names(model.landmarks, range(len(model.landmarks)))
    return Match(
        side,
        found.kind,
        found.names,
        columns if turned else rows,
        more.columns,
        found_targets.columns if found_targets else None,
        n_partial,
        {**(found_targets.renamed if found_targets else {}), **found.renamed},
        {names[one.place]: one.text for one in elsewhere if one.columns},
        {
            **{name: " or ".join(map(repr, may)) for name, may in found.ambiguous.items()},
            **{names[one.place]: one.text for one in elsewhere if not one.columns},
        },
        _second(found, others, len(model.landmarks)),
    )


def _second(found: Found, others: Sequence[Found], n: int) -> str:
    """Say what the best way by another kind or field finds."""
    for other in others:
        if other.count and (other.kind, other.names.where) != (found.kind, found.names.where):
            return f"{found.by} {found.count} of {n} landmarks were found; {other.by} {other.count}"
    return ""


def require_landmarks(model: Model, match: Match) -> None:
    """Raise `FormatError` listing the landmarks that are missing, if any are."""
    missing = match.missing
    if missing:
        names = gene_names(model.landmarks, missing)
        hint = mangled_hint(
            [model.landmarks.symbols[place] for place in missing], match.names.texts
        )
        there = [name for name in names if name in match.no_guess]
        if there:
            pairs = [f"{name} may be {match.no_guess[name]}" for name in there]
            hint += f"; {len(there)} of them are in the file by another name: {listed(pairs)}"
        if len(there) < len(names):
            hint += "; --impute goes on with their training means"
        raise FormatError(
            f"{match.source.path}: {len(missing)} of {len(model.landmarks)} landmarks are missing "
            f"({match.naming}): {listed(names)}{hint}"
        )


def require_absent(match: Match, genes: ModelGenes) -> None:
    """Raise `FormatError` if a landmark that is to be imputed may be in the file after all."""
    names = [name for name in gene_names(genes, match.missing) if name in match.no_guess]
    if names:
        pairs = [f"{name} may be {match.no_guess[name]}" for name in names]
        raise FormatError(
            f"{match.source.path}: {len(names)} landmarks can't be imputed, as the file has them "
            f"by another name: {listed(pairs)}; leave out --ids, or rename them"
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


def _duplicate_text(
    source: AnnotatedSource, duplicates: Sequence[DuplicateGene], names: Sequence[str]
) -> str:
    pairs = [
        repr(pair.first) if pair.first == pair.second else f"{pair.first!r} = {pair.second!r}"
        for pair in duplicates
    ]
    hint = mangled_hint((), names)
    return f"{source.path}: genes of the model are there twice: {listed(pairs)}{hint}"


TRANSCRIPT = re.compile(r"ENS[A-Z]*T\d{11}|[NX][MR]_\d+")


def _no_id_column(source: AnnotatedSource) -> str:
    """Say so if the ids of the rows are as whole and many as values are."""
    numbers = [parse_cell(name.encode()) for name in source.genes]
    if None in numbers or are_row_numbers(source.genes):
        return ""
    return "; its first column has whole numbers: is the column of ids missing?"


def _nothing_found(model: Model, source: AnnotatedSource, best: Sequence[Found]) -> str:
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
        if sum(TRANSCRIPT.match(name) is not None for name in ids) > len(ids) // 2:
            hints.append("; its ids are transcripts: sum them by gene first (R: tximport)")
        if like_the_mouse(ids):
            hints.append("; symbols written like Tspan6 are genes of the mouse")
        hints.append(mangled_hint(model.landmarks.symbols, ids))
    hints.append(_no_id_column(source))
    return (
        f"{source.path}: of {n} landmarks {' and '.join(parts)} were found, "
        f"at least {(n + 1) // 2} are needed on one{''.join(dict.fromkeys(hints))}"
    )
