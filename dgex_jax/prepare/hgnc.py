"""The human genes of the HUGO Gene Nomenclature Committee (genenames.org; CC0): names and ids.

Two packed tables, a gene a line in the same order: ``hgnc.txt.xz`` has approved and previous
symbols, ``hgnc_ids.txt.xz`` the digits of Ensembl ids and Entrez ids (several joined by ``|``:
haplotypes, read-throughs). ``python -m tests.prepare.test_hgnc`` packs them.
"""

from __future__ import annotations

import lzma
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from dgex_jax.io.expression import Genes
from dgex_jax.prepare.genes import ensembl_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

SYMBOLS, IDS = "hgnc.txt.xz", "hgnc_ids.txt.xz"


class KnownIds(NamedTuple):
    """Ensembl ids (without version) and Entrez ids of a gene."""

    ensembl: tuple[str, ...] = ()
    entrez: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hgnc:
    """The symbols of human genes of today and of earlier years, and their ids."""

    previous: Mapping[str, tuple[str, ...]]
    """Approved symbol → the symbols that the gene had before."""
    genes_of: Mapping[str, tuple[str, ...]]
    """Previous symbol → the approved symbols of the genes that had it."""

    def gene_of(self, symbol: str) -> tuple[str, ...]:
        """Give the genes a symbol may mean, by approved symbol: a present one goes before all."""
        return (symbol,) if symbol in self.previous else self.genes_of.get(symbol, ())

    @cached_property
    def ids(self) -> Mapping[str, KnownIds]:
        """Approved symbol → the gene's ids; read when they are first needed."""
        found = {}
        for symbol, line in zip(self.previous, _lines(IDS), strict=True):
            ensembl, _, entrez = line.partition("\t")
            numbers = (f"ENSG{int(one):011d}" for one in _several(ensembl))
            found[symbol] = KnownIds(tuple(numbers), _several(entrez))
        return found

    @cached_property
    def genes_by_id(self) -> Mapping[str, tuple[str, ...]]:
        """Ensembl or Entrez id → the approved symbols of the genes that have it."""
        found: dict[str, list[str]] = {}
        for symbol, ids in self.ids.items():
            for one in (*ids.ensembl, *ids.entrez):
                found.setdefault(one, []).append(symbol)
        return {one: tuple(genes) for one, genes in found.items()}

    def gene_by(self, ensembl: str, symbol: str, entrez: str) -> str:
        """Give the one gene, by approved symbol, that all ids known to HGNC agree in, or nothing.

        Empty ids say nothing. A pseudo-autosomal gene of chromosome Y is none: HGNC's ids are
        those of the X copy.
        """
        key = ensembl_key(ensembl)
        if key.startswith("ENSGR"):
            return ""
        by_id = self.genes_by_id
        meant = (by_id.get(key, ()), self.gene_of(symbol), by_id.get(entrez, ()))
        agreed = set.intersection(*known) if (known := [set(one) for one in meant if one]) else ()
        return next(iter(agreed)) if len(agreed) == 1 else ""


def _lines(name: str) -> Iterator[str]:
    text = lzma.decompress((files("dgex_jax.prepare") / name).read_bytes()).decode()
    return (line for line in text.splitlines() if not line.startswith("#"))


def _several(text: str) -> tuple[str, ...]:
    return tuple(text.split("|")) if text else ()


@lru_cache(maxsize=1)
def hgnc() -> Hgnc:
    """Read the packed symbols once."""
    previous: dict[str, tuple[str, ...]] = {}
    genes_of: dict[str, list[str]] = {}
    for line in _lines(SYMBOLS):
        symbol, _, before = line.partition("\t")
        previous[symbol] = _several(before)
        for one in previous[symbol]:
            genes_of.setdefault(one, []).append(symbol)
    return Hgnc(previous, {one: tuple(genes) for one, genes in genes_of.items()})


def complete_genes(genes: Genes, *, among: Collection[str] = (), repeated: bool = False) -> Genes:
    """Fill the empty ids of genes through HGNC, where what is known of a gene means one gene.

    Nothing is guessed: of several ids that HGNC has for a gene the only one `among` some ids
    (Ensembl ids as `ensembl_key` writes them) is taken, else none; and no id that then two of the
    genes had, unless they may be `repeated`.
    """
    table = hgnc()
    symbols = set(genes.symbols)
    ensembl, names, entrez = [], [], []
    for known in zip(genes.ensembl, genes.symbols, genes.entrez, strict=True):
        gene = "" if all(known) else table.gene_by(*known)
        # A present symbol goes before a previous one of the same file.
        if gene and known[1] not in {"", gene} and gene in symbols and not repeated:
            gene = ""
        ids = table.ids[gene] if gene else KnownIds()
        ensembl.append(known[0] or _only(ids.ensembl, among))
        names.append(known[1] or gene)
        entrez.append(known[2] or _only(ids.entrez, among))
    if not repeated:
        ensembl = once(ensembl, genes.ensembl)
        names, entrez = once(names, genes.symbols), once(entrez, genes.entrez)
    return Genes(tuple(ensembl), tuple(names), tuple(entrez), genes.probes)


def _only(ids: Sequence[str], among: Collection[str]) -> str:
    there = ids if len(ids) == 1 else [one for one in ids if one in among]
    return there[0] if len(there) == 1 else ""


def once(ids: Sequence[str], stated: Sequence[str] | None = None) -> list[str]:
    """Empty the ids that several genes have, for they tell none of them; not those `stated`."""
    counts = Counter(map(ensembl_key, ids))
    return [
        old or (one if counts[ensembl_key(one)] == 1 else "")
        for one, old in zip(ids, stated or [""] * len(ids), strict=True)
    ]
