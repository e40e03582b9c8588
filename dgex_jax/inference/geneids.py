"""Which rows of a file are which genes of a model, for each way of naming a gene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgex_jax.data.annotation import entrez_text, symbol_text
from dgex_jax.data.genemap import match_ensembl, strip_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dgex_jax.inference.model import ModelGenes
    from dgex_jax.inference.options import IdKind

Columns = tuple[tuple[int, ...], ...]
"""For each gene its places on an axis of the file; none where it is missing."""


@dataclass(frozen=True)
class DuplicateGene:
    """Two places of an axis that are the same gene of the model."""

    first: str
    second: str


def find_genes(
    kind: IdKind, genes: ModelGenes, available: Sequence[str]
) -> tuple[Columns, tuple[DuplicateGene, ...]]:
    """Find genes among the ids of an axis.

    Parameters
    ----------
    kind
        How the axis names genes. Ensembl ids match whatever their version, Entrez ids also where
        they are written as floats (``780.0``); probes and symbols only letter by letter.
    genes
        The genes of a model.
    available
        Ids of the axis, any of them may come twice.

    Returns
    -------
    columns
        For each gene the places of its ids, in the order of its probes (other kinds have one at
        most); the first place of an id that comes twice.
    duplicates
        Ids of the model's genes that come twice.
    """
    wanted = _wanted(kind, genes)
    needed = None if kind == "ensembl" else {name for names in wanted for name in names}
    places: dict[str, int] = {}
    twice: dict[str, DuplicateGene] = {}
    for place, name in enumerate(_keys(kind, available)):
        if name in places:
            twice[name] = DuplicateGene(available[places[name]], available[place])
        elif name and (needed is None or name in needed):
            places[name] = place
    if kind == "ensembl":
        columns = _find_ensembl(genes.ensembl, places)
    else:
        columns = tuple(tuple(places[name] for name in names if name in places) for names in wanted)
    if not twice:
        return columns, ()
    found = {place for of_gene in columns for place in of_gene}
    return columns, tuple(pair for name, pair in twice.items() if places[name] in found)


def _wanted(kind: IdKind, genes: ModelGenes) -> Sequence[tuple[str, ...]]:
    """For each gene its ids of a kind."""
    if kind == "probe":
        return genes.probes
    ids = {"ensembl": genes.ensembl, "entrez": genes.entrez, "symbol": genes.symbols}[kind]
    return [(name,) if name else () for name in ids]


def _keys(kind: IdKind, available: Sequence[str]) -> Iterable[str]:
    """Ids of an axis as the model writes them; empty where they are of another kind."""
    if kind == "entrez":
        return () if are_row_numbers(available) else map(entrez_text, available)
    if kind == "symbol":
        return map(symbol_text, available)
    plain = map(str.strip, available)
    return map(strip_version, plain) if kind == "ensembl" else plain


def _find_ensembl(wanted: Sequence[str], places: Mapping[str, int]) -> Columns:
    known = tuple(places.values())
    rows = match_ensembl(wanted, tuple(places)).tolist()
    return tuple(
        (known[row],) if name and row >= 0 else () for name, row in zip(wanted, rows, strict=True)
    )


def are_row_numbers(ids: Sequence[str]) -> bool:
    """Whether ids only count the rows, from 0 or 1: many small numbers are Entrez ids as well."""
    numbers = [name.strip().removesuffix(".0") for name in ids[:50]]
    return len(ids) > 1 and any(
        numbers == [str(start + n) for n in range(len(numbers))] for start in (0, 1)
    )
