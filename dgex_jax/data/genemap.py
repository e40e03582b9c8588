"""Gene maps (symbol, Ensembl id, probes) and which row of an RNA-seq file is which gene."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.access import HDF5_MAGIC, read_head
from dgex_jax.formats.annotation_names import plain_name
from dgex_jax.formats.lines import read_lines, tabbed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dgex_jax.formats.lines import Line

ENSEMBL = re.compile(r"ENS[A-Z]*\d{11}(\.\d+)?(_PAR_Y)?|ENSGR\d{10}(\.\d+)?")
VERSIONED = re.compile(r"(ENS[A-Z]*\d+)\.\d+(_PAR_Y)?")
PAR_Y = re.compile(r"ENSG0(\d{10})_PAR_Y")


@dataclass(frozen=True)
class GeneMap:
    """The genes of a map file, in its order.

    Attributes
    ----------
    path
        The file.
    symbols
        Gene symbols; not always unique (IL9R has an X and a Y copy in ``map_tg.txt``).
    ensembl
        Ensembl gene ids, unique.
    probes
        For each gene the ids of its probes, at least one.
    """

    path: Path
    symbols: tuple[str, ...]
    ensembl: tuple[str, ...]
    probes: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.symbols)

    def find_symbol(self, symbol: str) -> int:
        """Give the position of the gene called `symbol`.

        Raises
        ------
        DgexError
            No such symbol (the nearest one is named), or more than one gene (their Ensembl ids
            are named).
        """
        found = [place for place, name in enumerate(self.symbols) if name == symbol]
        if len(found) == 1:
            return found[0]
        if found:
            ids = " and ".join(self.ensembl[place] for place in found)
            raise DgexError(f"{self.path}: symbol {symbol!r} is ambiguous: {ids}")
        near = difflib.get_close_matches(symbol, self.symbols, n=1, cutoff=0.0)
        hint = f"; the nearest is {near[0]!r}" if near else ""
        raise DgexError(f"{self.path}: no gene has the symbol {symbol!r}{hint}")


def read_gene_map(path: Path | str) -> GeneMap:
    """Read a gene map of the original study's form.

    Parameters
    ----------
    path
        One gene a line, tab-separated: symbol, Ensembl gene id, comma-separated probe ids. A
        header, comments (``#``) and quotes are left out; the file may be compressed.

    Returns
    -------
    GeneMap
        In file order. A probe may serve several genes.

    Raises
    ------
    FormatError
        Not three columns, an empty field, a probe twice in one gene, an Ensembl id twice (with
        the line).
    """
    path = Path(path)
    symbols: list[str] = []
    ensembl: list[str] = []
    probes: list[tuple[str, ...]] = []
    lines: dict[str, int] = {}
    for number, raw in _map_lines(path):
        cells = [cell.strip() for cell in raw.decode().split("\t")]
        if not symbols and [plain_name(cell) for cell in cells[:2]] in MAP_HEADERS:
            continue
        while len(cells) > 3 and not cells[-1]:
            cells.pop()
        if len(cells) != 3:
            raise FormatError(
                f"{path}: line {number}: {len(cells)} tab-separated columns, not 3 "
                "(symbol, Ensembl id, probes)"
            )
        symbol, gene, of_gene = cells[0], cells[1], [one.strip() for one in cells[2].split(",")]
        if not (symbol.strip() and gene.strip() and all(probe.strip() for probe in of_gene)):
            raise FormatError(f"{path}: line {number}: an empty field in {' | '.join(cells)!r}")
        probe, times = Counter(of_gene).most_common(1)[0]
        if times > 1:
            raise FormatError(f"{path}: line {number}: gene {gene!r} has probe {probe!r} twice")
        if gene in lines:
            raise FormatError(
                f"{path}: line {number}: Ensembl id {gene!r} is already in line {lines[gene]}"
            )
        lines[gene] = number
        symbols.append(symbol)
        ensembl.append(gene)
        probes.append(tuple(of_gene))
    if not symbols:
        raise FormatError(f"{path}: has no genes")
    return GeneMap(path, tuple(symbols), tuple(ensembl), tuple(probes))


MAP_HEADERS = [
    [symbol, ensembl]
    for symbol in ("symbol", "gene", "genesymbol", "hgncsymbol", "genename", "name")
    for ensembl in ("ensembl", "ensemblid", "ensemblgene", "ensemblgeneid", "geneid", "id")
]
"""First cells, in letters and digits, of a line that names the columns of a gene map."""


def _map_lines(path: Path) -> Iterator[Line]:
    """Give the lines that are no comment, without the quotes around cells."""
    head = read_head(path)
    if head == HDF5_MAGIC:
        raise FormatError(f"{path}: is an HDF5 file, not a gene map (symbol, Ensembl id, probes)")
    for number, text in read_lines(path):
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"{path}: line {number}: is not UTF-8 text") from error
        if b"\t" in text or not text.startswith(b"#"):
            yield from tabbed(path, [(number, text)])


def is_ensembl(gene: str) -> bool:
    """Whether an id has the form of an Ensembl gene id, with or without a version."""
    return ENSEMBL.fullmatch(gene) is not None


def strip_version(gene: str) -> str:
    """Take the version off an Ensembl gene id; any other id stays as it is.

    ``ENSG00000182378.7_PAR_Y`` becomes ``ENSG00000182378_PAR_Y``: the suffix names another gene,
    not a version.
    """
    parts = VERSIONED.fullmatch(gene)
    return gene if parts is None else parts[1] + (parts[2] or "")


def match_ensembl(wanted: Sequence[str], available: Sequence[str]) -> NDArray[np.intp]:
    """Find the row of each wanted gene, versions aside.

    The pseudo-autosomal genes of chromosome Y have ids of their own, written
    ``ENSGR0000124334`` by older annotations and ``ENSG00000124334_PAR_Y`` by newer ones. These
    two are the same gene; the X copy ``ENSG00000124334`` is another and never stands in for it,
    nor the other way round.

    Parameters
    ----------
    wanted
        ``(n,)`` Ensembl ids.
    available
        Ids of a file's rows.

    Returns
    -------
    NDArray[np.intp]
        ``(n,)`` positions in `available`, -1 where the gene is missing.

    Raises
    ------
    FormatError
        Two rows are the same wanted gene (both ids in the text; the caller adds the file).
    """
    keys = [_identity(gene) for gene in wanted]
    needed = set(keys)
    rows: dict[str, int] = {}
    for row, name in enumerate(available):
        key = _identity(name)
        if key not in needed:
            continue
        if key in rows:
            raise FormatError(f"rows {available[rows[key]]!r} and {name!r} are the same gene")
        rows[key] = row
    return np.array([rows.get(key, -1) for key in keys], dtype=np.intp)


def _identity(gene: str) -> str:
    """Write `gene` without version, and a Y copy in the older way (same length: R for a 0)."""
    plain = strip_version(gene)
    return PAR_Y.sub(r"ENSGR\1", plain) if plain.endswith("_PAR_Y") else plain
