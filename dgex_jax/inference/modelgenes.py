"""``genes.tsv`` of a model: a line for each landmark, then for each target.

Numbers are written with as many digits as it takes to read the same float64 again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from dgex_jax.config import EVALUATED
from dgex_jax.errors import FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.ids import check_storable
from dgex_jax.inference.model import ModelGenes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.inference.model import Model

ROLES = LANDMARK, TARGET = ("landmark", "target")
IDS = ("ensembl", "symbol", "entrez")
NAMES = ("role", *IDS, "probes")
SCALE = ("mean", "sd")
ABOUT_TARGETS = ("half", "copy_of_landmark")
ERROR = "MAE_"
FORBIDDEN = "\t\n\r\0"


@dataclass(frozen=True)
class GeneTable:
    """What the table holds, as in `model.Model`."""

    landmarks: ModelGenes
    targets: ModelGenes
    half_sizes: tuple[int, ...]
    copy_of_landmark: NDArray[np.bool_] | None
    errors: Mapping[str, NDArray[np.float64]]


def write_genes(path: Path, model: Model) -> None:
    """Write the table.

    Raises
    ------
    FormatError
        An id holds a tab or a line end, a probe is empty or holds a comma.
    """
    parts = [part for part in EVALUATED if part in model.errors]
    halves = chain.from_iterable(
        repeat(str(number), size) for number, size in enumerate(model.half_sizes, start=1)
    )
    copies: Iterable[str] = repeat("")
    if model.copy_of_landmark is not None:
        copies = map(str, model.copy_of_landmark.astype(int).tolist())
    errors = [_texts(model.errors[part]) for part in parts]
    nothing = [repeat("")] * (len(ABOUT_TARGETS) + len(parts))
    lines = ["\t".join([*NAMES, *SCALE, *ABOUT_TARGETS, *(f"{ERROR}{part}" for part in parts)])]
    for role, genes, columns in (
        (LANDMARK, model.landmarks, nothing),
        (TARGET, model.targets, [halves, copies, *errors]),
    ):
        cells = zip(*_gene_columns(path, role, genes), *columns, strict=False)
        lines += map("\t".join, cells)
    path.write_bytes(("\n".join(lines) + "\n").encode())


def _gene_columns(path: Path, role: str, genes: ModelGenes) -> list[Sequence[str]]:
    for name, texts in zip(IDS, (genes.ensembl, genes.symbols, genes.entrez), strict=True):
        check_storable(path, f"{name} of a {role}", texts, FORBIDDEN)
    for probes in genes.probes:
        check_storable(path, f"probe of a {role}", probes, FORBIDDEN + ",")
        if "" in probes:
            raise FormatError(f"{path}: a probe of a {role} has no name")
    probes_of = [",".join(probes) for probes in genes.probes]
    ids = [genes.ensembl, genes.symbols, genes.entrez, probes_of]
    return [[role] * len(genes), *ids, _texts(genes.mean), _texts(genes.sd)]


def _texts(values: NDArray[np.float64]) -> list[str]:
    return [repr(value) for value in values.tolist()]


def read_genes(path: Path) -> GeneTable:
    """Read what `write_genes` wrote.

    Raises
    ------
    FormatError
        Not such a table (with the line), or a value in it is not finite.
    """
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error
    header, *lines = text.removesuffix("\n").split("\n")
    names = header.split("\t")
    parts = [name.removeprefix(ERROR) for name in names if name.startswith(ERROR)]
    if names != [*NAMES, *SCALE, *ABOUT_TARGETS, *(f"{ERROR}{part}" for part in parts)] or not (
        set(parts) <= set(EVALUATED)
    ):
        raise FormatError(f"{path}: line 1: are not the columns of a model's genes")
    rows = [line.split("\t") for line in lines]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise FormatError(f"{path}: line {number}: {len(row)} columns, not {len(names)}")
    roles = [row[0] for row in rows]
    n_landmarks, n_targets = map(roles.count, ROLES)
    if roles != [LANDMARK] * n_landmarks + [TARGET] * n_targets or not (n_landmarks and n_targets):
        raise FormatError(f"{path}: are not the landmarks, then the targets of a model")
    table = _Columns(path, names, rows)
    targets = slice(n_landmarks, None)
    return GeneTable(
        landmarks=table.genes(slice(0, n_landmarks)),
        targets=table.genes(targets),
        half_sizes=table.half_sizes(targets),
        copy_of_landmark=table.copies(targets),
        errors={part: table.numbers(f"{ERROR}{part}", targets) for part in parts},
    )


class _Columns:
    """The cells of the table by column."""

    def __init__(self, path: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._path = path
        self._cells = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))

    def genes(self, rows: slice) -> ModelGenes:
        """Ids and scale of some rows."""
        probes = (tuple(cell.split(",")) if cell else () for cell in self._cells["probes"][rows])
        ensembl, symbols, entrez = (tuple(self._cells[name][rows]) for name in IDS)
        mean, sd = self.numbers("mean", rows), self.numbers("sd", rows)
        for place in np.flatnonzero(sd <= 0)[:1]:
            self._refuse(rows, int(place), f"sd: {sd[place]} is not above 0")
        return ModelGenes(ensembl, symbols, entrez, tuple(probes), mean, sd)

    def numbers(self, name: str, rows: slice) -> NDArray[np.float64]:
        """Finite numbers of some rows."""
        cells = self._cells[name][rows]
        values = np.empty(len(cells))
        for place, cell in enumerate(cells):
            try:
                values[place] = float(cell)
            except ValueError:
                self._refuse(rows, place, f"{name}: {cell!r} is no number")
            if not np.isfinite(values[place]):
                self._refuse(rows, place, f"{name}: {cell} is not finite")
        return values

    def half_sizes(self, rows: slice) -> tuple[int, ...]:
        """Count the targets of each half."""
        cells = self._cells["half"][rows]
        sizes = tuple(cells.count(number) for number in ("1", "2"))
        if cells != ["1"] * sizes[0] + ["2"] * sizes[1]:
            raise FormatError(f"{self._path}: half is not a run of 1, then a run of 2")
        return sizes if sizes[1] else sizes[:1]

    def copies(self, rows: slice) -> NDArray[np.bool_] | None:
        """Which targets copy a landmark, if that is known."""
        cells = self._cells["copy_of_landmark"][rows]
        if not any(cells):
            return None
        for place, cell in enumerate(cells):
            if cell not in {"0", "1"}:
                self._refuse(rows, place, f"copy_of_landmark: {cell!r} is neither 0 nor 1")
        return np.array([cell == "1" for cell in cells])

    def _refuse(self, rows: slice, place: int, cause: str) -> NoReturn:
        raise FormatError(f"{self._path}: line {(rows.start or 0) + place + 2}: {cause}")
