"""Which genes of a model an output has, and by which ids it names them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import Genes, decode_text, listed, plain_name
from dgex_jax.io.lines import read_lines
from dgex_jax.prepare.genes import MAP_HEADERS
from dgex_jax.prepare.names import ID_KINDS, KIND_WORDS, Names, find_genes, find_renamed, places_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dgex_jax.config import GeneIds
    from dgex_jax.model.model import Model

SHOWN = 20
"""Names that an error lists."""

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
    genes = _all_genes(model)
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
        hints = _hints(left[:SHOWN], list(symbols), ambiguous)
    if left:
        shown = listed([f"{name}{hints.get(name, '')}" for name in left], SHOWN)
        text = f"{len(left):,} of the {len(wanted):,} named are not in the model"
        raise DgexError(f"genes: {text}: {shown}")
    return np.array(sorted(chosen), np.intp)


def _hints(
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
    `ids`. Raises `DgexError` if the
    model knows none of the kind, or ids of both kinds can't be told from each other.
    """
    genes = _all_genes(model)
    texts = {"symbol": genes.symbols, "ensembl": genes.ensembl, "entrez": genes.entrez}[kind]
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


def _all_genes(model: Model) -> Genes:
    one, other = model.landmarks, model.targets
    return Genes(
        one.ensembl + other.ensembl,
        one.symbols + other.symbols,
        one.entrez + other.entrez,
        one.probes + other.probes,
    )
