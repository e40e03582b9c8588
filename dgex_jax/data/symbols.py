"""Gene symbols of today and of earlier years (HGNC), so that either finds the other."""

from __future__ import annotations

import lzma
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from dgex_jax.data.annotation import symbol_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TABLE = "hgnc.txt.xz"
"""Approved and previous symbols of the HUGO Gene Nomenclature Committee (genenames.org; CC0)."""

MOUSE = re.compile(r"[A-Z][a-z0-9]*[a-z][a-z0-9]*")


@dataclass(frozen=True)
class Hgnc:
    """The symbols of human genes.

    Attributes
    ----------
    previous
        Approved symbol → the symbols that the gene had before.
    genes_of
        Previous symbol → the approved symbols of the genes that had it.
    """

    previous: Mapping[str, tuple[str, ...]]
    genes_of: Mapping[str, tuple[str, ...]]

    def gene_of(self, symbol: str) -> tuple[str, ...]:
        """Give the genes a symbol may mean, by approved symbol: a present one goes before all."""
        return (symbol,) if symbol in self.previous else self.genes_of.get(symbol, ())


@lru_cache(maxsize=1)
def hgnc() -> Hgnc:
    """Read the packed table once."""
    text = lzma.decompress((files("dgex_jax.data") / TABLE).read_bytes()).decode()
    previous: dict[str, tuple[str, ...]] = {}
    genes_of: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            symbol, _, before = line.partition("\t")
            previous[symbol] = tuple(before.split("|")) if before else ()
            for one in previous[symbol]:
                genes_of.setdefault(one, []).append(symbol)
    return Hgnc(previous, {one: tuple(genes) for one, genes in genes_of.items()})


@dataclass(frozen=True)
class Renamed:
    """Symbols found under another spelling or another year's name.

    Attributes
    ----------
    places
        Symbol → its place among the names of the file.
    ambiguous
        Symbol → the names in the file that it may be, of which none was taken.
    """

    places: Mapping[str, int]
    ambiguous: Mapping[str, tuple[str, ...]]


def find_renamed(
    missing: Sequence[str], available: Mapping[str, int], taken: Sequence[int] | set[int]
) -> Renamed:
    """Find symbols by their present or previous names, another case, or as R writes them.

    A present symbol goes before a previous one; what may be several genes is never guessed.

    Parameters
    ----------
    missing
        Symbols that are not among the names as they are.
    available
        Name in the file → its place.
    taken
        Places that are other genes already.
    """
    table = hgnc()
    used = set(taken)
    spellings = _spellings(available)
    places: dict[str, int] = {}
    ambiguous: dict[str, tuple[str, ...]] = {}
    for symbol in missing:
        genes = table.gene_of(symbol)
        names = [symbol]
        for gene in genes:
            names += [gene, *table.previous[gene]]
        found: dict[int, str] = {}
        present: int | None = None
        for name in dict.fromkeys(names):
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
    return Renamed(places, ambiguous)


def _spellings(available: Mapping[str, int]) -> dict[str, list[str]]:
    """Names by what is left of them without case and punctuation, not those of the mouse."""
    names = [name for name in map(symbol_text, available) if name in available]
    fold = not like_the_mouse(names)
    found: dict[str, list[str]] = {}
    for name in names:
        if fold or MOUSE.fullmatch(name) is None:
            found.setdefault(_spelling(name), []).append(name)
    return found


def _spelling(name: str) -> str:
    """Case and punctuation aside: R writes ``HLA-A`` as ``HLA.A``."""
    return re.sub(r"[-.@/ ]", ".", name).casefold()


def like_the_mouse(names: Sequence[str]) -> bool:
    """Whether most names are written as symbols of the mouse are (``Tspan6``)."""
    return sum(MOUSE.fullmatch(name) is not None for name in names) * 2 > len(names) > 3
