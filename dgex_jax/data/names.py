"""Where a file has which genes: by every kind of id, in its ids and in all its annotation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, get_args

from dgex_jax.config import IdKind
from dgex_jax.data.annotation import ENTREZ_FIELDS, entrez_text, symbol_text
from dgex_jax.data.genemap import match_ensembl, strip_version
from dgex_jax.data.symbols import find_renamed
from dgex_jax.formats.annotation_names import IDS, NUMBERS, plain_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

ID_KINDS: tuple[IdKind, ...] = get_args(IdKind)
"""In the order in which they count where two kinds match the same number of genes."""

KIND_WORDS: dict[IdKind, str] = {
    "probe": "probe",
    "ensembl": "Ensembl id",
    "entrez": "Entrez id",
    "symbol": "symbol",
}

Columns = tuple[tuple[int, ...], ...]
"""For each gene its places on an axis of the file; none where it is missing."""

PARTS = (
    ("'|'", re.compile(r"([^|]*)\|([^|]*)(?:\|.*)?")),
    ("brackets", re.compile(r"(.+?) ?\(([^()]+)\)")),
    ("'_'", re.compile(r"(ENS[A-Z]*\d{11}(?:\.\d+)?)_(?!PAR_Y)(.+)")),
    ("'_'", re.compile(r"(.+)_(ENS[A-Z]*\d{11}(?:\.\d+)?)")),
    ("';'", re.compile(r"([^;]+); ?([^;]+)")),
)
"""Ids of two parts, by what is between them: ``ENSG….12|TSPAN6``, ``TSPAN6 (7105)``."""

R_NAME = re.compile(r"X(\d.*)")
"""What R's ``make.names`` makes of a name that begins with a digit."""

SHOWN = 50
"""Names that show whether a form is worth looking for in all of them."""

SURELY_ENTREZ = 20_000
"""A column of whole numbers, called otherwise than Entrez ids are, has some beyond this."""


class Genes(Protocol):
    """Genes that are looked for, each by what is known of it; empty where nothing is."""

    @property
    def probes(self) -> Sequence[tuple[str, ...]]:
        """Probe ids of each gene."""

    @property
    def ensembl(self) -> Sequence[str]:
        """Ensembl ids."""

    @property
    def entrez(self) -> Sequence[str]:
        """Entrez ids."""

    @property
    def symbols(self) -> Sequence[str]:
        """Symbols."""


@dataclass(frozen=True)
class Names:
    """One way in which a file names what is on an axis.

    Attributes
    ----------
    texts
        A name for each place of the axis; empty where it has none.
    field
        Field of annotation they are in; ``None``: the ids themselves.
    form
        What part or form of them it is, for people; empty for all of it.
    """

    texts: Sequence[str]
    field: str | None = None
    form: str = ""

    @property
    def where(self) -> str:
        """Where the names are, in words; empty for the ids as they are."""
        place = "" if self.field is None else f" in the field {self.field!r}"
        return f"{place}{f' ({self.form})' if self.form else ''}"

    def first_places(self) -> dict[str, int]:
        """Give each name, read as a symbol, with the first place that has it."""
        places: dict[str, int] = {}
        for place, name in enumerate(map(symbol_text, self.texts)):
            if name:
                places.setdefault(name, place)
        return places


@dataclass(frozen=True)
class DuplicateGene:
    """Two places of an axis that are the same gene."""

    first: str
    second: str


@dataclass(frozen=True)
class Found:
    """Genes found by one kind of id in one way of naming.

    Attributes
    ----------
    kind, names
        The kind, and the names it was looked for in.
    columns
        For each gene the places of its ids, in the order of its probes (other kinds have one at
        most); the first place of an id that comes twice.
    duplicates
        Genes that are there twice.
    renamed
        Symbol looked for → the other symbol of the same gene that was found.
    ambiguous
        Symbol looked for → names in the file that it may be; none of them was taken.
    """

    kind: IdKind
    names: Names
    columns: Columns
    duplicates: tuple[DuplicateGene, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    ambiguous: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many genes were found."""
        return sum(map(bool, self.columns))

    @property
    def score(self) -> int:
        """How many were found and are there once."""
        return self.count - len(self.duplicates)

    @property
    def by(self) -> str:
        """How the genes were found, in words."""
        return f"by {KIND_WORDS[self.kind]}{self.names.where}"


def ways_to_name(ids: Sequence[str], metadata: pd.DataFrame | None) -> Iterator[Names]:
    """Give every way in which an axis names what is on it, the ids first.

    Parameters
    ----------
    ids
        Ids of the axis.
    metadata
        Its annotation, all fields of text and whole numbers; ``None`` to leave that out.
    """
    yield Names(ids)
    yield from _forms(ids)
    if metadata is None:
        return
    for name in metadata.columns:
        column = metadata[name]
        kind = plain_name(str(name))
        if column.dtype.kind in "fbcmM" and kind not in IDS:
            continue
        if kind in NUMBERS - IDS:
            continue
        texts = list(map(str, column))
        yield Names(texts, str(name))
        for form in _forms(texts):
            yield replace(form, field=str(name))


def _forms(ids: Sequence[str]) -> Iterator[Names]:
    """Parts of composite names, and names without the X that R puts before digits."""
    for between, pattern in PARTS:
        if not _in_most(pattern, ids[:SHOWN]):
            continue
        parts = [pattern.fullmatch(name.strip()) for name in ids]
        if 2 * sum(part is not None for part in parts) >= len(ids):
            for number in (1, 2):
                whole = ids if number == 1 else [""] * len(ids)
                texts = [
                    part[number].strip() if part else name
                    for part, name in zip(parts, whole, strict=True)
                ]
                yield Names(texts, form=f"part {number} of names with {between}")
    if not _in_most(R_NAME, ids[:SHOWN]):
        return
    stripped = [R_NAME.fullmatch(name.strip()) for name in ids]
    if 2 * sum(one is not None for one in stripped) >= len(ids):
        texts = [one[1] if one else name for one, name in zip(stripped, ids, strict=True)]
        yield Names(texts, form="without the X that R puts before them")


def _in_most(pattern: re.Pattern[str], ids: Sequence[str]) -> bool:
    return 4 * sum(pattern.fullmatch(name.strip()) is not None for name in ids) >= len(ids)


def find_genes(kind: IdKind, genes: Genes, names: Names, *, rename: bool = True) -> Found:
    """Find genes among the names of an axis.

    Parameters
    ----------
    kind
        How the axis names genes. Ensembl ids match whatever their version, Entrez ids also where
        they are written as floats (``780.0``); probes letter by letter, symbols also by the gene's
        present and previous ones (`find_renamed`).
    genes
        The genes looked for.
    names
        Of the axis, any of them may come twice.
    rename
        Whether to look for other symbols of the genes that are missing.
    """
    available = names.texts
    wanted = _wanted(kind, genes)
    needed = None if kind == "ensembl" else {name for of_gene in wanted for name in of_gene}
    places: dict[str, int] = {}
    twice: dict[str, DuplicateGene] = {}
    for place, name in enumerate(_keys(kind, names)):
        if name in places:
            twice[name] = DuplicateGene(available[places[name]], available[place])
        elif name and (needed is None or name in needed):
            places[name] = place
    if kind == "ensembl":
        columns = _find_ensembl(genes.ensembl, places)
    else:
        columns = tuple(tuple(places[name] for name in of if name in places) for of in wanted)
    found = Found(kind, names, columns)
    if twice:
        there = {place for of_gene in columns for place in of_gene}
        pairs = tuple(pair for name, pair in twice.items() if places[name] in there)
        found = replace(found, duplicates=pairs)
    return _with_renamed(found, genes) if rename and kind == "symbol" else found


def _with_renamed(found: Found, genes: Genes) -> Found:
    missing = [
        symbol
        for symbol, columns in zip(genes.symbols, found.columns, strict=True)
        if symbol and not columns
    ]
    taken = {place for of_gene in found.columns for place in of_gene}
    texts = found.names.texts
    if not missing:
        return found
    other = find_renamed(missing, found.names.first_places(), taken)
    columns = tuple(
        (other.places[symbol],) if not of_gene and symbol in other.places else of_gene
        for symbol, of_gene in zip(genes.symbols, found.columns, strict=True)
    )
    renamed = {symbol: texts[place].strip() for symbol, place in other.places.items()}
    return replace(found, columns=columns, renamed=renamed, ambiguous=other.ambiguous)


def search(
    kinds: Iterable[IdKind], genes: Genes, ids: Sequence[str], metadata: pd.DataFrame | None
) -> list[Found]:
    """Look for genes by every kind of id in every way of naming; the best way first.

    The best finds most genes (less those that are there twice); of equals ids go before annotation,
    and kinds as in `ID_KINDS`.
    """
    kinds = tuple(kinds)
    ways = list(ways_to_name(ids, metadata))
    found = [
        find_genes(kind, genes, names, rename=False)
        for names in ways
        for kind in kinds
        if kind != "entrez" or may_be_entrez(names)
    ]
    # Other symbols are looked up where symbols are: the table is large.
    found = [
        _with_renamed(one, genes) if one.kind == "symbol" and _are_symbols(one, genes) else one
        for one in found
    ]
    return sorted(found, key=lambda one: -one.score)


def _are_symbols(found: Found, genes: Genes) -> bool:
    """Whether some genes were found, or none could be for case or for the X of R."""
    if found.count * 10 >= len(genes.symbols):
        return True
    wanted = {name.casefold() for name in genes.symbols if name}
    there = {name.strip().casefold() for name in found.names.texts}
    return bool(wanted) and 10 * len(wanted & there) >= len(wanted)


def may_be_entrez(names: Names) -> bool:
    """Whether numbers may be Entrez ids: most small whole numbers are some gene's."""
    if are_row_numbers(names.texts):
        return False
    if (
        names.field is None
        or plain_name(names.field) in IDS
        or names.field.casefold() in ENTREZ_FIELDS
    ):
        return True
    numbers = [int(text) for text in map(entrez_text, names.texts) if text and len(text) < 12]
    return bool(numbers) and max(numbers) >= SURELY_ENTREZ


def are_row_numbers(ids: Sequence[str]) -> bool:
    """Whether ids only count the rows, from 0 or 1: many small numbers are Entrez ids as well."""
    numbers = [name.strip().removesuffix(".0") for name in ids[:50]]
    return len(ids) > 1 and any(
        numbers == [str(start + n) for n in range(len(numbers))] for start in (0, 1)
    )


def _wanted(kind: IdKind, genes: Genes) -> Sequence[tuple[str, ...]]:
    """For each gene its ids of a kind."""
    if kind == "probe":
        return genes.probes
    ids = {"ensembl": genes.ensembl, "entrez": genes.entrez, "symbol": genes.symbols}[kind]
    return [(name,) if name else () for name in ids]


def _keys(kind: IdKind, names: Names) -> Iterable[str]:
    """Names of an axis as the genes' are written; empty where they are of another kind."""
    if kind == "entrez":
        return map(entrez_text, names.texts) if may_be_entrez(names) else ()
    if kind == "symbol":
        return map(symbol_text, names.texts)
    plain = map(str.strip, names.texts)
    return map(strip_version, plain) if kind == "ensembl" else plain


def _find_ensembl(wanted: Sequence[str], places: Mapping[str, int]) -> Columns:
    known = tuple(places.values())
    rows = match_ensembl(wanted, tuple(places)).tolist()
    return tuple(
        (known[row],) if name and row >= 0 else () for name, row in zip(wanted, rows, strict=True)
    )


@dataclass(frozen=True)
class Elsewhere:
    """A gene that the best way of naming lacks, and where the file has it.

    Attributes
    ----------
    place
        Of the gene among those looked for.
    columns
        Its places on the axis, if these are no other gene's; else none.
    text
        Where, for people.
    """

    place: int
    columns: tuple[int, ...]
    text: str


def look_elsewhere(ways: Sequence[Found], others: Columns = ()) -> list[Elsewhere]:
    """Look for the genes that the best way lacks in all other ways.

    Parameters
    ----------
    ways
        All ways, the best first (see `search`).
    others
        Places of other genes, by the best way.
    """
    best, *rest = ways
    taken = {place for of_gene in (*best.columns, *others) for place in of_gene}
    found = []
    for gene, columns in enumerate(best.columns):
        if columns:
            continue
        for way in rest:
            there = way.columns[gene]
            if there:
                twice = {pair.first for pair in way.duplicates}
                names = [way.names.texts[place] for place in there]
                free = taken.isdisjoint(there) and twice.isdisjoint(names)
                shown = " and ".join(repr(name) for name in names[:3])
                found.append(Elsewhere(gene, there if free else (), f"{shown} {way.by}"))
                taken |= set(there)
                break
    return found


def merged(best: Found, elsewhere: Sequence[Elsewhere]) -> Columns:
    """Places of all genes, those found elsewhere included."""
    more = {one.place: one.columns for one in elsewhere}
    return tuple(columns or more.get(gene, ()) for gene, columns in enumerate(best.columns))
