"""Where a file has which genes: by every kind of id, in its ids and in all its annotation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, get_args

from dgex_jax.config import GeneIds, IdKind
from dgex_jax.io.expression import IDS, NUMBERS, Genes, plain_name
from dgex_jax.prepare.genes import ensembl_key, entrez_text, symbol_text
from dgex_jax.prepare.hgnc import hgnc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

ID_KINDS: tuple[IdKind, ...] = get_args(IdKind)
"""In the order in which they count where two kinds match the same number of genes."""

KIND_WORDS: dict[IdKind, str] = {
    "probe": "probe",
    "ensembl": "Ensembl id",
    "entrez": "Entrez id",
    "symbol": "symbol",
}
READ: dict[IdKind, Callable[[str], str]] = {
    "probe": str.strip,
    "ensembl": lambda text: ensembl_key(text.strip()),
    "entrez": entrez_text,
    "symbol": symbol_text,
}
"""How a name is read as an id of each kind; empty if it says nothing."""

Columns = tuple[tuple[int, ...], ...]
"""For each gene its places on an axis of the file; none where it is missing."""

MOUSE = re.compile(r"[A-Z][a-z0-9]*[a-z][a-z0-9]*")

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


def find_renamed(
    missing: Iterable[str], names: Names, taken: Iterable[int] = ()
) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Find symbols by their present or previous names, another case, or as R writes them.

    A present symbol goes before a previous one; what may be several genes is never guessed. Gives
    symbol → its place, none `taken` by other genes, and symbol → the names that it may be.
    """
    table = hgnc()
    available = {name: first for name, (first, *_) in places_of(names, "symbol", None).items()}
    used = set(taken)
    spellings = _spellings(available)
    places: dict[str, int] = {}
    ambiguous: dict[str, tuple[str, ...]] = {}
    for symbol in missing:
        genes = table.gene_of(symbol)
        others = [symbol]
        for gene in genes:
            others += [gene, *table.previous[gene]]
        found: dict[int, str] = {}
        present: int | None = None
        for name in dict.fromkeys(others):
            for written in spellings.get(_spelling(name), ()):
                place = available[written]
                means = table.gene_of(written) or (name,)
                # What HGNC doesn't know must be spelled alike, all else mean the same gene.
                if place in used or (genes and not {*genes, symbol} & set(means)):
                    continue
                found.setdefault(place, written)
                if len(genes) == 1 and written == genes[0]:
                    present = place
        if present is not None:
            found = {present: found[present]}
        unsure = len(genes) > 1 or any(len(table.gene_of(one)) > 1 for one in found.values())
        if len(found) == 1 and not unsure:
            (places[symbol],) = found
            used |= set(found)
        elif found:
            ambiguous[symbol] = tuple(found.values())
    return places, ambiguous


def _spellings(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by what is left of them without case and punctuation, not those of the mouse."""
    names = list(names)
    fold = not like_the_mouse(names)
    found: dict[str, list[str]] = {}
    for name in names:
        if fold or MOUSE.fullmatch(name) is None:
            found.setdefault(_spelling(name), []).append(name)
    return found


def _spelling(name: str) -> str:
    # R writes ``HLA-A`` as ``HLA.A``.
    return re.sub(r"[-.@/ ]", ".", name).casefold()


def like_the_mouse(names: Sequence[str]) -> bool:
    """Whether most names are written as symbols of the mouse are (``Tspan6``)."""
    return sum(MOUSE.fullmatch(name) is not None for name in names) * 2 > len(names) > 3


@dataclass(frozen=True)
class Names:
    """One way in which a file names what is on an axis."""

    texts: Sequence[str]
    """A name for each place of the axis; empty where it has none."""
    field: str | None = None
    """Annotation column they are in; ``None``: the ids themselves."""
    form: str = ""
    """What part or form of them it is, for people; empty for all of it."""

    @property
    def where(self) -> str:
        """Where the names are, in words; empty for the ids as they are."""
        place = "" if self.field is None else f" in the field {self.field!r}"
        return f"{place}{f' ({self.form})' if self.form else ''}"


@dataclass(frozen=True)
class DuplicateGene:
    """Two places of an axis that are the same gene."""

    first: str
    second: str


@dataclass(frozen=True)
class Found:
    """Genes found by one kind of id in one way of naming."""

    kind: IdKind
    names: Names
    columns: Columns
    """For each gene the places of its ids, in the order of its probes (other kinds have one at
    most); the first place of an id that comes twice."""
    duplicates: tuple[DuplicateGene, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Symbol looked for → the other symbol of the same gene that was found."""
    ambiguous: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Symbol looked for → names in the file that it may be; none of them was taken."""
    genes: Genes | None = None
    """The genes looked for."""

    @property
    def count(self) -> int:
        """How many genes were found."""
        return sum(map(bool, self.columns))

    @cached_property
    def by(self) -> str:
        """How the genes were found, in words."""
        kind = self.kind
        if kind == "probe" and self.genes is not None:
            kind = kind_of_probes(self.genes)
        return f"by {KIND_WORDS[kind]}{self.names.where}"


def kind_of_probes(genes: Genes) -> IdKind:
    """Say what the probes of genes are: where the compendium had genes as rows, ids of genes."""
    kinds: tuple[GeneIds, ...] = get_args(GeneIds)
    for kind in kinds:
        read = READ[kind]
        pairs = zip(genes.ids(kind), genes.probes, strict=True)
        same = sum(bool(one) and read(one) in map(read, probes) for one, probes in pairs)
        if 2 * same > sum(map(bool, genes.probes)):
            return kind
    return "probe"


def ways_to_name(ids: Sequence[str], metadata: pd.DataFrame | None) -> Iterator[Names]:
    """Give every way in which an axis names what is on it, its ids first.

    Then all annotation columns of text and whole numbers in `metadata` (``None`` leaves them out),
    and parts of composite names of either.
    """
    yield Names(ids)
    yield from _forms(ids)
    if metadata is None:
        return
    for name in metadata.columns:
        column = metadata[name]
        kind = plain_name(str(name))
        if kind not in IDS and (column.dtype.kind in "fbcmM" or kind in NUMBERS):
            continue
        texts = list(map(str, column))
        yield Names(texts, str(name))
        for form in _forms(texts):
            yield replace(form, field=str(name))


def _forms(ids: Sequence[str]) -> Iterator[Names]:
    """Parts of composite names, and names without the X that R puts before digits."""
    for between, pattern in PARTS:
        if parts := _in_half(pattern, ids):
            for number in (1, 2):
                texts = [
                    part[number].strip() if part else name if number == 1 else ""
                    for part, name in zip(parts, ids, strict=True)
                ]
                yield Names(texts, form=f"part {number} of names with {between}")
    if stripped := _in_half(R_NAME, ids):
        texts = [one[1] if one else name for one, name in zip(stripped, ids, strict=True)]
        yield Names(texts, form="without the X that R puts before them")


def _in_half(pattern: re.Pattern[str], ids: Sequence[str]) -> list[re.Match[str] | None]:
    """Match a pattern with names; empty if it fits less than half of them."""
    shown = ids[:SHOWN]
    if 4 * sum(pattern.fullmatch(name.strip()) is not None for name in shown) < len(shown):
        return []
    found = [pattern.fullmatch(name.strip()) for name in ids]
    return found if 2 * sum(one is not None for one in found) >= len(ids) else []


def places_of(names: Names, kind: IdKind, needed: Iterable[str] | None) -> dict[str, list[int]]:
    """Give each name, read as an id of a kind, with all places that have it.

    Of the `needed` ids alone, ``None`` for all; empty names are left out.
    """
    wanted = None if needed is None else set(needed)
    places: dict[str, list[int]] = {}
    for place, name in enumerate(map(READ[kind], names.texts)):
        if name and (wanted is None or name in wanted):
            places.setdefault(name, []).append(place)
    return places


def find_genes(kind: IdKind, genes: Genes, names: Names, *, rename: bool = True) -> Found:
    """Find genes among the names of an axis, which may come twice.

    Ensembl ids match whatever their version, Entrez ids also where they are written as floats
    (``780.0``); probes letter by letter, symbols also by the gene's present and previous ones
    unless not to `rename` (`find_renamed`).
    """
    wanted = genes.probes
    if kind != "probe":
        read = ensembl_key if kind == "ensembl" else str
        wanted = tuple((read(name),) for name in genes.ids(kind))
    places: dict[str, list[int]] = {}
    if kind != "entrez" or may_be_entrez(names):
        places = places_of(names, kind, (name for of_gene in wanted for name in of_gene))
    columns = tuple(tuple(places[one][0] for one in of if one in places) for of in wanted)
    there = {place for of_gene in columns for place in of_gene}
    twice = sorted(
        (found[1], found[0], found[-1])
        for found in places.values()
        if len(found) > 1 and found[0] in there
    )
    pairs = tuple(DuplicateGene(names.texts[one], names.texts[last]) for _, one, last in twice)
    found = Found(kind, names, columns, pairs, genes=genes)
    return _with_renamed(found, genes) if rename and kind == "symbol" else found


def _with_renamed(found: Found, genes: Genes) -> Found:
    missing = [
        symbol
        for symbol, columns in zip(genes.symbols, found.columns, strict=True)
        if symbol and not columns
    ]
    if not missing:
        return found
    taken = {place for of_gene in found.columns for place in of_gene}
    places, ambiguous = find_renamed(missing, found.names, taken)
    columns = tuple(
        (places[symbol],) if not of_gene and symbol in places else of_gene
        for symbol, of_gene in zip(genes.symbols, found.columns, strict=True)
    )
    texts = found.names.texts
    renamed = {symbol: texts[place].strip() for symbol, place in places.items()}
    return replace(found, columns=columns, renamed=renamed, ambiguous=ambiguous)


def search(
    kinds: Iterable[IdKind], genes: Genes, ids: Sequence[str], metadata: pd.DataFrame | None
) -> list[Found]:
    """Look for genes by every kind of id in every way of naming (`ways_to_name`); the best first.

    The best finds most genes (less those that are there twice); of equals ids go before annotation,
    and kinds as in `ID_KINDS`.
    """
    kinds = tuple(kinds)
    found = [
        find_genes(kind, genes, names, rename=False)
        for names in ways_to_name(ids, metadata)
        for kind in kinds
    ]
    # Other symbols are looked up where symbols are: the table is large.
    found = [
        _with_renamed(one, genes) if one.kind == "symbol" and _are_symbols(one, genes) else one
        for one in found
    ]
    return sorted(found, key=lambda one: len(one.duplicates) - one.count)


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
    if names.field is None or plain_name(names.field) in IDS:
        return True
    numbers = [int(text) for text in map(entrez_text, names.texts) if text and len(text) < 12]
    return bool(numbers) and max(numbers) >= SURELY_ENTREZ


def are_row_numbers(ids: Sequence[str]) -> bool:
    """Whether ids only count the rows, from 0 or 1: many small numbers are Entrez ids as well."""
    numbers = [name.strip().removesuffix(".0") for name in ids[:50]]
    return len(ids) > 1 and any(
        numbers == [str(start + n) for n in range(len(numbers))] for start in (0, 1)
    )


@dataclass(frozen=True)
class Elsewhere:
    """A gene that the best way of naming lacks, and where the file has it, for people."""

    place: int
    """Of the gene among those looked for."""
    columns: tuple[int, ...]
    """Its places on the axis, if these are no other gene's; else none."""
    text: str


def look_elsewhere(ways: Sequence[Found], others: Columns = ()) -> list[Elsewhere]:
    """Look for the genes that the best way lacks in all other ways.

    `ways` are all of them, the best first (see `search`); `others` the places of other genes by
    the best way.
    """
    best, *rest = ways
    taken = {place for of_gene in (*best.columns, *others) for place in of_gene}
    found = []
    for gene, columns in enumerate(best.columns):
        way = None if columns else next((way for way in rest if way.columns[gene]), None)
        if way is not None:
            there = way.columns[gene]
            twice = {pair.first for pair in way.duplicates}
            names = [way.names.texts[place] for place in there]
            free = taken.isdisjoint(there) and twice.isdisjoint(names)
            shown = " and ".join(repr(name) for name in names[:3])
            found.append(Elsewhere(gene, there if free else (), f"{shown} {way.by}"))
            taken |= set(there)
    return found


def merged(best: Found, elsewhere: Sequence[Elsewhere]) -> Columns:
    """Places of all genes, those found elsewhere included."""
    more = {one.place: one.columns for one in elsewhere}
    return tuple(columns or more.get(gene, ()) for gene, columns in enumerate(best.columns))
