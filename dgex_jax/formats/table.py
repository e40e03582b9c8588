"""The body that GCT and GEUVADIS tables share: annotation columns, then one column a profile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError
from dgex_jax.formats.decimals import parse_cells
from dgex_jax.formats.hdf5_text import decode_text
from dgex_jax.formats.memory import machine_memory

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.formats.lines import Line

GeneFilter = Collection[str] | Callable[[str], bool] | None
"""Which rows of a table to keep in memory: their ids, a test of an id, or all."""

PARSE_BYTES = 1 << 17
"""Rows are parsed together up to about this much text: what fits a processor's cache."""


@dataclass(frozen=True)
class Body:
    """The rows of a table.

    Attributes
    ----------
    genes
        Ids of the rows kept, in file order.
    annotation
        For each row kept the texts of its annotation columns, without the id.
    values
        ``(n_profiles, n_genes)`` float64, C order; NaN where missing.
    n_rows
        Rows in the file, kept or not.
    """

    genes: tuple[str, ...]
    annotation: list[list[str]]
    values: NDArray[np.float64]
    n_rows: int


def split_text(line: bytes) -> list[str]:
    """Cells of `line` as text."""
    return [decode_text(cell) for cell in line.split(b"\t")]


def check_width(path: Path, line: Line, width: int) -> None:
    """Raise `FormatError` unless `line` has `width` cells."""
    number, text = line
    found = text.count(b"\t") + 1
    if found != width:
        name = decode_text(text.partition(b"\t")[0][:60])
        raise FormatError(
            f"{path}: line {number}, row {name!r}: {found} columns, but the header has {width}"
        )


def text_frame(texts: list[list[str]], ids: tuple[str, ...], fields: list[str]) -> pd.DataFrame:
    """Annotation as it stands in the file: ``(n_ids, n_fields)`` of str, indexed by id."""
    return pd.DataFrame(
        texts,
        index=pd.Index(ids, dtype=object),
        columns=pd.Index(fields, dtype=object),
        dtype=object,
    )


def read_body(
    path: Path,
    lines: Iterator[Line],
    profiles: tuple[str, ...],
    n_annotation: int,
    genes: GeneFilter = None,
    *,
    kind: str = "gene",
    unique: bool = True,
) -> Body:
    """Read the rows of a table.

    Parameters
    ----------
    path
        The file, for the text of errors.
    lines
        Its lines after the header.
    profiles
        Ids of the value columns.
    n_annotation
        Columns before the values, the id included.
    genes
        Which rows to keep. The others are checked for their width and a repeated id only.
    kind
        What a row is called in an error.
    unique
        Whether an id that comes twice is an error.

    Raises
    ------
    FormatError
        A row that is too short or too long, an id that is empty or comes twice, a value that is
        no number (row and column named), no rows at all.
    """
    keep = _keeper(genes)
    width = n_annotation + len(profiles)
    seen: dict[str, int] = {}
    values = _Values(path, profiles)
    annotation: list[list[str]] = []
    n_rows = 0
    for number, line in lines:
        check_width(path, (number, line), width)
        *head, cells = line.split(b"\t", n_annotation)
        gene = decode_text(head[0])
        if not gene:
            raise FormatError(f"{path}: line {number}: the {kind} id is empty")
        if unique and gene in seen:
            raise FormatError(
                f"{path}: duplicate {kind} id {gene!r} (lines {seen[gene]} and {number})"
            )
        seen[gene] = number
        n_rows += 1
        if keep(gene):
            annotation.append([decode_text(cell) for cell in head[1:]])
            values.add(number, gene, cells)
    if not n_rows:
        raise FormatError(f"{path}: has no {kind}s")
    return Body(tuple(values.genes), annotation, values.gather(), n_rows)


def _keeper(genes: GeneFilter) -> Callable[[str], bool]:
    if genes is None:
        return lambda _: True
    return genes if callable(genes) else frozenset(genes).__contains__


class _Values:
    """Rows of text on their way to a matrix of profiles by genes."""

    def __init__(self, path: Path, profiles: tuple[str, ...]) -> None:
        self.path = path
        self.profiles = profiles
        self.genes: list[str] = []
        self._numbers: list[int] = []
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._memory = machine_memory()
        self._n_bytes = 0
        self._blocks: list[NDArray[np.float64]] = []

    def add(self, number: int, gene: str, cells: bytes) -> None:
        """Add the value cells of one row."""
        self.genes.append(gene)
        self._numbers.append(number)
        self._pending.append(cells)
        self._pending_bytes += len(cells)
        if self._pending_bytes > PARSE_BYTES:
            self._parse()

    def gather(self) -> NDArray[np.float64]:
        """Give all rows as ``(n_profiles, n_genes)``, freeing the parts on the way."""
        self._parse()
        values = np.empty((len(self.profiles), len(self.genes)))
        stop = len(self.genes)
        while self._blocks:
            block = self._blocks.pop()
            values[:, stop - len(block) : stop] = block.T
            stop -= len(block)
        return values

    def _parse(self) -> None:
        if not self._pending:
            return
        first = len(self.genes) - len(self._pending)
        values, refused = parse_cells(b"\t".join(self._pending))
        if refused:
            row, column = divmod(refused[0], len(self.profiles))
            cell = decode_text(self._pending[row].split(b"\t")[column][:60])
            raise FormatError(
                f"{self.path}: line {self._numbers[first + row]}, row {self.genes[first + row]!r}, "
                f"column {self.profiles[column]!r}: {cell!r} is not a number"
            )
        self._n_bytes += values.nbytes
        if self._n_bytes > self._memory:
            raise FormatError(
                f"{self.path}: line {self._numbers[-1]}: its values need more memory than the "
                f"{self._memory / 2**30:.1f} GiB there are"
            )
        self._blocks.append(values.reshape(len(self._pending), len(self.profiles)))
        self._pending = []
        self._pending_bytes = 0
