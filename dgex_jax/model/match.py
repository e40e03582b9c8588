"""The genes of a model by name: in a file, in a list of genes, and in an output."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import (
    View,
    check_ids,
    decode_text,
    listed,
    plain_name,
    transposed,
)
from dgex_jax.io.h5ad import AnnDataSource
from dgex_jax.io.lines import read_lines
from dgex_jax.prepare.genes import MAP_HEADERS
from dgex_jax.prepare.names import (
    ID_KINDS,
    KIND_WORDS,
    Columns,
    Elsewhere,
    Found,
    Names,
    are_row_numbers,
    find_genes,
    find_renamed,
    like_the_mouse,
    look_elsewhere,
    merged,
    places_of,
    search,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from dgex_jax.config import GeneIds, IdKind
    from dgex_jax.io.expression import AnnotatedSource
    from dgex_jax.model.model import Model, ModelGenes

SHOWN = 20
"""Names that an error lists."""

TRANSCRIPT = re.compile(r"ENS[A-Z]*T\d{11}|[NX][MR]_\d+")
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = "|".join(
    (*MONTHS, "sept", "march", "april", "june", "july", "september", "october", "december")
)
DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<day>\d{{1,2}})[-. ](?P<month>{MONTH})",
        rf"(?P<month>{MONTH})[-. ](?P<day>\d{{1,2}})",
        r"\d{4}-(?P<month>0[1-9]|1[0-2])-(?P<day>\d\d)([ T]00:00:00)?",
    )
)
FAMILY = re.compile(r"(?:(MARCHF?|MARC|MTARC)|(SEPT|SEPTIN)|DEC|DELEC)(\d+)")
"""Genes that Excel takes for dates, by their older and their present names."""

Date = tuple[str, int]
"""Month, day."""

Role = Literal["landmark", "target"]
"""Which genes of a model are wanted of a file: those it infers from, or those it is judged on."""


@dataclass(frozen=True)
class Match:
    """Where a file (`source`, profiles by genes) has the genes of a model.

    `genes` are those wanted of it, which are the model's landmarks or its targets by their `role`.
    `found` says how it names them, `axis` which axis has them, in the words of its format.
    `wanted` has for each of them the file's columns, none where it is missing, and `others` (only
    if asked for) for the model's other genes; `n_partial` genes lack some of their probes.
    `renamed`: symbol of the model → the
    other symbol of the same gene that the file has; `by_other_names`: wanted gene → where it was
    found, as the way by which most were found lacks it; `no_guess`: missing gene → what the file
    has that it may be, but need not; `second`: what the second best way of naming finds, in words.
    `left_out` says what on the axis of the profiles was none.
    """

    source: AnnotatedSource
    genes: ModelGenes
    role: Role
    found: Found
    axis: str
    wanted: Columns
    others: Columns
    n_partial: int
    renamed: Mapping[str, str] = field(default_factory=dict)
    by_other_names: Mapping[str, str] = field(default_factory=dict)
    no_guess: Mapping[str, str] = field(default_factory=dict)
    second: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[int, ...]:
        """Wanted genes that the file lacks."""
        return tuple(place for place, columns in enumerate(self.wanted) if not columns)

    @property
    def present(self) -> list[int]:
        """Wanted genes that the file has."""
        return [place for place, columns in enumerate(self.wanted) if columns]

    @property
    def naming(self) -> str:
        """How the genes were found, in words."""
        return f"{self.found.by} on its {self.axis}"

    @property
    def turned(self) -> bool:
        """Whether the genes are on the file's axis of profiles."""
        return isinstance(self.source, View) and self.source.turned

    @property
    def profile_places(self) -> NDArray[np.intp] | None:
        """Places of the profiles that are left; ``None`` if all are."""
        return self.source.profile_places if isinstance(self.source, View) else None

    def lines(self) -> list[str]:
        """Say by which names genes were found beside the usual ones, a fact a line."""
        lines = [self.second] if self.second else []
        if self.renamed:
            pairs = [f"{symbol} as {name}" for symbol, name in self.renamed.items()]
            lines.append(
                f"{len(pairs)} genes were found by another symbol (HGNC): {listed(pairs, SHOWN)}"
            )
        if self.by_other_names:
            pairs = [f"{name} as {where}" for name, where in self.by_other_names.items()]
            lines.append(
                f"{len(pairs)} {self.role}s were found by other names: {listed(pairs, SHOWN)}"
            )
        return lines


def match_genes(
    model: Model,
    source: AnnotatedSource,
    *,
    targets: bool,
    ids: IdKind | None = None,
    role: Role = "landmark",
) -> Match:
    """Find the genes of a model in a file.

    All kinds of ids (or only `ids`) are looked for in the ids of both axes, in parts of composite
    ids and in all annotation; the axis of the genes is the one where at least half of the wanted
    (those of `role`) are found. The way that finds most of them counts; one that it lacks is taken
    where another way finds it, if nothing else is there. `targets`: the model's other genes are
    looked for too. Raises `FormatError` if neither axis has half of the wanted, or both have, or a
    gene of the model or a profile is there twice.
    """
    wanted, rest = model.landmarks, model.targets
    if role == "target":
        wanted, rest = rest, wanted
    half = len(wanted) / 2
    kinds = ID_KINDS if ids is None else (ids,)
    # The annotation of thousands of profiles is looked at only if no axis has genes without it.
    ways = [
        search(kinds, wanted, source.genes, source.gene_metadata),
        search(kinds, wanted, source.profiles, None),
    ]
    if max(way[0].count for way in ways) < half:
        ways[1] = search(kinds, wanted, source.profiles, source.profile_metadata)
    counts = [way[0].count for way in ways]
    axes = ("var", "obs") if isinstance(source, AnnDataSource) else ("rows", "columns")
    if min(counts) >= half:
        raise FormatError(
            f"{source.path}: both its {axes[0]} and its {axes[1]} have at least half of the "
            f"{len(wanted)} {role}s ({counts[0]} and {counts[1]}): which of them are the "
            "genes can't be told"
        )
    if max(counts) < half:
        raise FormatError(_nothing_found(wanted, f"{role}s", source, axes, counts))
    turned = counts[1] >= half
    side = transposed(source) if turned else source
    found, *others = ways[turned]
    of_others = Found(found.kind, found.names, ())
    if targets:
        of_others = find_genes(found.kind, rest, found.names)
    twice = dict.fromkeys(found.duplicates + of_others.duplicates)
    if twice:
        pairs = [
            repr(pair.first) if pair.first == pair.second else f"{pair.first!r} = {pair.second!r}"
            for pair in twice
        ]
        hint = _mangled((), found.names.texts)
        raise FormatError(
            f"{source.path}: genes of the model are there twice: {listed(pairs, SHOWN)}{hint}"
        )
    check_ids(source.path, "profile", side.profiles)
    elsewhere: list[Elsewhere] = []
    if found.count < len(wanted):
        if ids is not None or turned:
            others = search(ID_KINDS, wanted, side.genes, side.gene_metadata)
        known = find_genes(found.kind, rest, found.names, rename=False).columns
        elsewhere = look_elsewhere([found, *others], known)
        if ids is not None:
            elsewhere = [replace(one, columns=()) for one in elsewhere]
    names = wanted.names(range(len(wanted)))
    may_be = {name: " or ".join(map(repr, may)) for name, may in found.ambiguous.items()}
    may_be |= {names[one.place]: one.text for one in elsewhere if not one.columns}
    return Match(
        side,
        wanted,
        role,
        found,
        axes[turned],
        merged(found, elsewhere),
        of_others.columns,
        _n_partial(found, wanted) + _n_partial(of_others, rest),
        renamed={**of_others.renamed, **found.renamed},
        by_other_names={names[one.place]: one.text for one in elsewhere if one.columns},
        no_guess=may_be,
        second=_second(found, others, f"{len(wanted)} {role}s"),
    )


def _n_partial(found: Found, genes: ModelGenes) -> int:
    """Count the genes of which some probes were found, but not all."""
    if found.kind != "probe":
        return 0
    # Nothing at all was found of genes that were not looked for.
    pairs = zip(found.columns, genes.probes, strict=False)
    return sum(0 < len(there) < len(probes) for there, probes in pairs)


def _second(found: Found, others: Sequence[Found], of: str) -> str:
    """Say what the best way by another kind or field finds."""
    for other in others:
        if other.count and other.by != found.by:
            return f"{found.by} {found.count} of {of} were found; {other.by} {other.count}"
    return ""


def check_missing(match: Match, *, impute: bool) -> None:
    """Raise `FormatError` listing the landmarks that are missing.

    With `impute` only those that the file may have after all, by another name.
    """
    names = match.genes.names(match.missing)
    there = [name for name in names if name in match.no_guess]
    pairs = listed([f"{name} may be {match.no_guess[name]}" for name in there], SHOWN)
    if impute and there:
        raise FormatError(
            f"{match.source.path}: {len(there)} landmarks can't be imputed, as the file has them "
            f"by another name: {pairs}; leave out --input-ids, or rename them"
        )
    if names and not impute:
        symbols = [match.genes.symbols[place] for place in match.missing]
        hint = _mangled(symbols, match.found.names.texts)
        if there:
            hint += f"; {len(there)} of them are in the file by another name: {pairs}"
        if len(there) < len(names):
            hint += "; --impute takes their training means"
        raise FormatError(
            f"{match.source.path}: {len(names)} of {len(match.genes)} landmarks are missing "
            f"({match.naming}): {listed(names, SHOWN)}{hint}"
        )


def _nothing_found(
    genes: ModelGenes,
    what: str,
    source: AnnotatedSource,
    axes: Sequence[str],
    counts: Sequence[int],
) -> str:
    """Say that no axis has the wanted genes, and what its ids look like instead."""
    n = len(genes)
    parts: list[str] = []
    hints: list[str] = []
    for axis, count, ids in zip(axes, counts, (source.genes, source.profiles), strict=True):
        examples = ", ".join(map(repr, ids[:3]))
        parts.append(f"{count} on its {axis} ({examples} …)")
        hints += _hints(ids)
        hints.append(_mangled(genes.symbols, ids))
    # As whole and as many as values are.
    numbers = all(NUMBER.fullmatch(name) for name in source.genes)
    if numbers and not are_row_numbers(source.genes):
        hints.append("; its first column has whole numbers: is the column of ids missing?")
    return (
        f"{source.path}: of {n} {what} {' and '.join(parts)} were found, "
        f"at least {(n + 1) // 2} are needed on one{''.join(dict.fromkeys(hints))}"
    )


def _hints(ids: Sequence[str]) -> Iterator[str]:
    if are_row_numbers(ids):
        yield "; row numbers are no ids"
    if sum(name.startswith("ENSMUSG") for name in ids) > len(ids) // 2:
        yield "; ENSMUSG ids are genes of the mouse"
    if sum(TRANSCRIPT.match(name) is not None for name in ids) > len(ids) // 2:
        yield "; its ids are transcripts: sum them by gene first (R: tximport)"
    if like_the_mouse(ids):
        yield "; symbols written like Tspan6 are genes of the mouse"


def _mangled(missing: Sequence[str], ids: Sequence[str]) -> str:
    """Say which ids are dates that a spreadsheet made, and which missing symbols they may be."""
    dates = {date: name for name in ids if (date := _date_of(name)) is not None}
    if not dates:
        return ""
    shown = ", ".join(map(repr, list(dates.values())[:5]))
    pairs = [
        f"{symbol} may be {dates[date]!r}"
        for symbol in missing
        if (date := _date_of_symbol(symbol)) is not None and date in dates
    ]
    lost = f": {'; '.join(pairs[:5])}" if pairs else ""
    return f"; a spreadsheet has turned symbols into dates ({shown}){lost}"


def _date_of(text: str) -> Date | None:
    """Give month and day of an id that is written as a date; ``None`` for any other id."""
    for pattern in DATES:
        if parts := pattern.fullmatch(text.strip()):
            month = parts["month"].lower()[:3]
            return MONTHS[int(month) - 1] if month.isdigit() else month, int(parts["day"])
    return None


def _date_of_symbol(symbol: str) -> Date | None:
    """Give the date that a spreadsheet makes of a symbol; ``None`` if it leaves it alone."""
    parts = FAMILY.fullmatch(symbol)
    if parts is None:
        return None
    return "mar" if parts[1] else "sep" if parts[2] else "dec", int(parts[3])


# Which genes an output has, and their ids

INFERRED = ":inferred"
"""Added to the id of a target that is a landmark's as well: ids of a file are unique."""


@dataclass(frozen=True)
class WrittenGenes:
    """Genes of an output, in the model's order: landmarks, then targets.

    `places` are theirs in that order, ascending, `ids` unique; `notes` say what ids they have.
    """

    places: NDArray[np.intp]
    ids: tuple[str, ...]
    notes: tuple[str, ...]

    def targets(self, model: Model) -> NDArray[np.intp]:
        """Places of the targets among them, in the order of the model's targets."""
        n = len(model.landmarks)
        return self.places[self.places >= n] - n


HEADERS = {cell for line in MAP_HEADERS for cell in line} | {"entrez", "entrezid", "probe"}
FILE_ENDINGS = (".txt", ".tsv", ".csv", ".gz", ".lst", ".list")


def read_gene_list(given: str) -> list[str]:
    """Read ``--genes``: the file of that name, a gene a line, or else names between commas.

    In a file, compressed or not, lines that begin with ``#`` are comments, quotes around names are
    taken off, and a first line like ``gene`` or ``symbol`` is no gene. Raises `FormatError` if it
    can't be read, or there is no such file and it is called as a file.
    """
    path = Path(given)
    if not path.is_file():
        if "/" in given or given.endswith(FILE_ENDINGS):
            raise FormatError(f"{given}: no such file")
        return given.split(",")
    lines = [decode_text(line).strip().strip('"') for _, line in read_lines(path)]
    names = [line for line in lines if not line.startswith("#")]
    return names[1:] if names and plain_name(names[0]) in HEADERS else names


def written_genes(
    model: Model, kind: GeneIds | None = None, names: Sequence[str] | None = None
) -> WrittenGenes:
    """Choose the genes that are named (`choose_genes`), and name them by ids of a `kind`.

    Without one by the model's (`model_ids`). Raises as `choose_genes` and `name_genes` do.
    """
    ids, notes = model_ids(model), []
    places = choose_genes(model, ids, names)
    if kind is not None:
        ids, kept = name_genes(model, ids, kind)
        if n := len(kept.intersection(places.tolist())):
            why = f"no {KIND_WORDS[kind]}, or one that another gene has too"
            notes.append(f"{n:,} genes of the output have the model's id: {why}")
    return WrittenGenes(places, tuple(ids[place] for place in places.tolist()), tuple(notes))


def model_ids(model: Model) -> tuple[str, ...]:
    """Give unique ids of landmarks, then targets.

    Ensembl where the model has them, else probes, else symbols; a target that has a landmark's id
    gets ``:inferred`` behind it. Raises `FormatError` for a model without such ids.
    """
    landmarks, targets = model.landmarks, model.targets
    for kind in ("ensembl", "probes", "symbols", "entrez"):
        ids, others = (
            [of if isinstance(of, str) else ",".join(of) for of in getattr(genes, kind)]
            for genes in (landmarks, targets)
        )
        if all("" not in names and len({*names}) == len(names) for names in (ids, others)):
            known = set(ids)
            return (*ids, *(f"{name}{INFERRED}" if name in known else name for name in others))
    raise FormatError("the model's genes have no ids that are unique")


def choose_genes(model: Model, ids: Sequence[str], names: Sequence[str] | None) -> NDArray[np.intp]:
    """Give the places of genes among the landmarks, then the targets, ascending; ``None``: of all.

    `ids` are those of the model's genes in an output. A name is an id of any kind, found as the
    genes of a file are (`find_genes`), and means every gene that has it: the landmark as measured
    and the target that is the same gene, or both targets that share a symbol. One of `ids` that
    ends in ``:inferred`` means that target alone. Raises `DgexError` if no gene is named, or for
    names that the model lacks, with the nearest.
    """
    genes = model.landmarks + model.targets
    if names is None:
        return np.arange(len(genes))
    wanted = list(dict.fromkeys(filter(None, map(str.strip, names))))
    if not wanted:
        raise DgexError("genes: none is named")
    targets = {name: place for place, name in enumerate(ids) if name.endswith(INFERRED)}
    chosen = {targets[name] for name in wanted if name in targets}
    left = [name for name in wanted if name not in targets]
    for kind in ID_KINDS:
        # Two names of the list may be one id (with and without its version).
        texts = places_of(Names(left), kind, None)
        columns = find_genes(kind, genes, Names(list(texts)), rename=False).columns
        chosen |= {place for place, found in enumerate(columns) if found}
        there = {text for found in columns for text in found}
        known = {place for n, of in enumerate(texts.values()) if n in there for place in of}
        left = [name for place, name in enumerate(left) if place not in known]
    hints: dict[str, str] = {}
    if left:
        symbols = dict.fromkeys(filter(None, genes.symbols))
        renamed, ambiguous = find_renamed(symbols, Names(left))
        chosen |= {place for place, symbol in enumerate(genes.symbols) if symbol in renamed}
        known = set(renamed.values())
        left = [name for place, name in enumerate(left) if place not in known]
        hints = _nearest(left[:SHOWN], list(symbols), ambiguous)
    if left:
        shown = listed([f"{name}{hints.get(name, '')}" for name in left], SHOWN)
        text = f"{len(left):,} of the {len(wanted):,} named are not in the model"
        raise DgexError(f"genes: {text}: {shown}")
    return np.array(sorted(chosen), np.intp)


def _nearest(
    left: Sequence[str], symbols: Sequence[str], ambiguous: dict[str, tuple[str, ...]]
) -> dict[str, str]:
    """Say what names may be: the genes that a symbol may mean, or the nearest symbol."""
    hints = {}
    for name in left:
        may_be = [symbol for symbol, texts in ambiguous.items() if name in texts]
        nearest = get_close_matches(name.upper(), symbols, 1)
        if may_be:
            hints[name] = f" (may be {' or '.join(may_be)})"
        elif nearest:
            hints[name] = f" (nearest: {nearest[0]})"
    return hints


def name_genes(model: Model, ids: Sequence[str], kind: GeneIds) -> tuple[tuple[str, ...], set[int]]:
    """Name genes by ids of a `kind`, unique ones; `ids` are those of the model in an output.

    A gene without one, or that shares its own with another gene, keeps the model's; the places of
    these are given too. A target that is a landmark as well gets ``:inferred`` behind its id, as in
    `ids`. Raises `DgexError` if the model knows none of the kind, or ids of both kinds can't be
    told from each other.
    """
    genes = model.landmarks + model.targets
    texts = genes.ids(kind)
    own = [name.removesuffix(INFERRED) for name in ids]
    owners: dict[str, set[str]] = defaultdict(set)
    for text, name in zip(texts, own, strict=True):
        owners[text].add(name)
    kept = {place for place, text in enumerate(texts) if not text or len(owners[text]) > 1}
    names = tuple(
        name if place in kept else texts[place] + name[len(own[place]) :]
        for place, name in enumerate(ids)
    )
    if not any(texts):
        raise DgexError(f"ids = {kind!r}: the model knows no {KIND_WORDS[kind]} of its genes")
    if len({*names}) < len(names):
        raise DgexError(f"ids = {kind!r}: some are also ids of the model, of other genes")
    return names, kept
