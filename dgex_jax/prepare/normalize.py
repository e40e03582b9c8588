"""From probes to standardised genes: the numerical rules of the original scripts (section 2.1).

Profiles are treated independently of each other, a block at a time. After quantile normalisation a
value is ``quantile[rank]``, so ranks in two bytes each are all that has to be kept of a profile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import FiniteCheck, blocks, positions
from dgex_jax.io.progress import in_order
from dgex_jax.prepare.genes import NO_GENE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from dgex_jax.io.expression import ExpressionSource, FloatArray, Selection
    from dgex_jax.io.progress import Tick

Rule = Literal["dense", "ranks", "values"]

OFFSET = 1e-3
"""Added to every standard deviation by the original, so that constant genes stay finite."""
ROWS_AT_A_TIME = 32
"""Profiles ranked together: their sorting buffers still fit a processor's cache."""


class ProbeMeans:
    """Mean over each gene's probes: their columns (at least one) in the order of the gene map.

    Of an array of which only the columns `read`, ascending, are at hand, they are those among all.
    """

    def __init__(
        self, probes: Sequence[Sequence[int]], read: NDArray[np.intp] | None = None
    ) -> None:
        if read is not None:
            probes = [np.searchsorted(read, columns).tolist() for columns in probes]
        self._counts = np.array([len(columns) for columns in probes], dtype=np.float64)
        # Layer k adds every gene's k-th probe: the order of additions is the map's, as in a mean
        # over an axis, which a reduction over ragged runs would not keep.
        self._layers = [
            (
                np.array([g for g, c in enumerate(probes) if len(c) > k], dtype=np.intp),
                np.array([c[k] for c in probes if len(c) > k], dtype=np.intp),
            )
            for k in range(max(map(len, probes)))
        ]

    def __len__(self) -> int:
        return len(self._counts)

    def __call__(self, values: FloatArray) -> NDArray[np.float64]:
        """Gene values ``(n_profiles, n_genes)`` float64 of probe values ``(n_profiles, n)``."""
        (_, first), *others = self._layers
        means = values[:, first].astype(np.float64)
        for genes, columns in others:
            means[:, genes] += values[:, columns]
        means /= self._counts
        return means


def _sort(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.bool_]]:
    """Sort each row: order, sorted values, and where a new distinct value starts."""
    order = np.argsort(values, axis=1)
    ordered = np.empty_like(values)
    # Row by row: `take_along_axis` builds indices of all rows, which costs as much as the sorting.
    for row, places, out in zip(values, order, ordered, strict=True):
        np.take(row, places, out=out, mode="clip")
    starts = np.ones(values.shape, dtype=bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=starts[:, 1:])
    return order, ordered, starts


def _unsorted(ordered: NDArray[np.intp], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Put what stands in the order of sorted rows back to where the values came from."""
    values = np.empty(order.shape, dtype=np.intp)
    for row, places, out in zip(ordered, order, values, strict=True):
        out[places] = row
    return values


def quantile_ranks(values: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Rank indices of GEO quantile normalisation, and the sorted values behind them.

    `values` are ``(n_profiles, n_genes)`` float64, finite: all genes of the study. The rank is
    ``int(average_rank - 1)``, ties sharing the truncated mean of their ranks, and the normalised
    value ``quantile[rank]``. The mean over profiles of the rows, sorted, is this quantile.
    """
    order, ordered, starts = _sort(values)
    n_genes = values.shape[1]
    position = np.arange(n_genes)
    if starts.all():
        middle = np.broadcast_to(position, values.shape)
    else:
        ends = np.ones_like(starts)
        ends[:, :-1] = starts[:, 1:]
        first = np.maximum.accumulate(np.where(starts, position, 0), axis=1)
        last = np.where(ends, position, n_genes)[:, ::-1]
        last = np.minimum.accumulate(last, axis=1)[:, ::-1]
        middle = (first + last) // 2
    return _unsorted(middle, order), ordered


def dense_rank_indices(values: NDArray[np.float64]) -> tuple[NDArray[np.intp], int]:
    """Quantile indices of RNA-seq samples, and how many had to be clipped.

    With U distinct values in a sample of G genes and dense rank r (1 ... U) the original computes
    ``idx = int((r / U) * G) - 1`` in double precision, kept here to the digit: rounding puts 650 of
    10,463 ranks one lower than exact arithmetic would. At some G (49, 98, 103, 107 ... with U = G)
    the lowest gene gets -1, which in Python is the *largest* value; it is clipped to 0.
    Values ``(n_samples, n_genes)`` are float64 and finite, indices lie in 0 ... n_genes - 1.
    """
    order, _, starts = _sort(values)
    n_genes = values.shape[1]
    dense = np.cumsum(starts, axis=1)
    ordered_indices = ((dense / dense[:, -1:]) * n_genes).astype(np.intp) - 1
    n_clipped = int(np.count_nonzero(ordered_indices < 0))
    return _unsorted(np.maximum(ordered_indices, 0), order), n_clipped


def standardise(
    values: NDArray[np.float64], mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Gene-wise ``(x - mean) / (sd + 1e-3)`` in float64; shapes broadcast over profiles."""
    return np.asarray((values - mean) / (deviation + OFFSET))


class RowSum:
    """Compensated float64 sum of rows (Knuth's two-sum, element by element).

    Rows are added one after the other in a fixed order, never a block at a time, so a block size
    can't change a result, and the error stays at one rounding however many profiles there are.
    """

    def __init__(self, n_columns: int) -> None:
        self.n_rows = 0
        self._total = np.zeros(n_columns)
        self._error = np.zeros(n_columns)
        self._next, self._shift, self._part = np.empty((3, n_columns))

    def add(self, block: NDArray[np.float64]) -> None:
        """Add every row of `block` ``(n, n_columns)`` float64, in order."""
        shift, part = self._shift, self._part
        # Sums beyond float64 show in `mean`, which is then not finite: no warning is needed.
        with np.errstate(over="ignore", invalid="ignore"):
            for row in block:
                np.add(self._total, row, out=self._next)
                np.subtract(self._next, self._total, out=shift)
                np.subtract(self._next, shift, out=part)
                np.subtract(self._total, part, out=part)
                self._error += part
                np.subtract(row, shift, out=part)
                self._error += part
                self._total, self._next = self._next, self._total
        self.n_rows += len(block)

    def mean(self) -> NDArray[np.float64]:
        """Mean of the rows added so far, ``(n_columns,)`` float64; not finite if they overflow."""
        return np.asarray((self._total + self._error) / self.n_rows)


def mean_and_deviation(
    read: Callable[[], Iterable[NDArray[np.float64]]], n_columns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Column means and population standard deviations (ddof 0) in two passes over the rows.

    Each call of `read` gives the same rows in the same order, as float64 blocks
    ``(n, n_columns)`` of any sizes. Both results are ``(n_columns,)`` float64, not finite where the
    values, or their squares, overflow.
    """
    total = RowSum(n_columns)
    for block in read():
        total.add(block)
    mean = total.mean()
    squares = RowSum(n_columns)
    for block in read():
        with np.errstate(over="ignore", invalid="ignore"):
            apart = (block - mean) ** 2
        squares.add(apart)
    return mean, np.sqrt(squares.mean())


class RowStore:
    """A growing ``(n_rows, n_columns)`` matrix of `dtype` in a scratch file.

    Rows are appended once, in order, and read back in any order. A read maps the file only for as
    long as it copies: memory that stays in use is what the caller holds, however large the file.
    The file is made by the first `append` and removed by whoever made its folder.
    """

    def __init__(self, path: Path, n_columns: int, dtype: DTypeLike) -> None:
        self._path = path
        self._n_rows = 0
        self.n_columns = n_columns
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    def __len__(self) -> int:
        return self._n_rows

    def append(self, block: NDArray[Any]) -> None:
        """Add the rows of `block` ``(n, n_columns)``, which must have the dtype, at the end."""
        if block.dtype != self.dtype or block.ndim != 2 or block.shape[1] != self.n_columns:
            raise TypeError(
                f"rows of {self.n_columns} {self.dtype} expected, got {block.shape} {block.dtype}"
            )
        with self._path.open("ab") as file:
            file.write(np.ascontiguousarray(block).data)
        self._n_rows += len(block)

    def read(self, rows: slice | NDArray[np.intp]) -> NDArray[Any]:
        """Return a copy ``(n, n_columns)`` of `rows`, a slice or an index array, in its order."""
        shape = (self._n_rows, self.n_columns)
        if not self._n_rows:
            return np.empty(shape, self.dtype)[rows]
        mapped = np.asarray(np.memmap(self._path, self.dtype, "r", shape=shape))
        return np.array(mapped[rows]) if isinstance(rows, slice) else mapped[rows]


class LogScale:
    """A file of counts, TPM or the like, read as logarithms: log2(x + 1), float32.

    With `per_million` x is first divided by the sum over all genes of the file, in millions; rows
    of reads that are of no gene (`NO_GENE`) don't count.
    `path`, `profiles`, `genes` and `gene_metadata` are those of the file.
    """

    def __init__(self, base: ExpressionSource, *, per_million: bool) -> None:
        self._base, self._per_million = base, per_million
        self.path, self.profiles, self.genes = base.path, base.profiles, base.genes
        self.gene_metadata = base.gene_metadata
        counted = [place for place, name in enumerate(base.genes) if not NO_GENE.fullmatch(name)]
        self._counted = slice(None) if len(counted) == len(base.genes) else counted

    def read(self, profiles: Selection = None, genes: Selection = None) -> NDArray[np.float32]:
        """Read logarithms ``(n_profiles, n_genes)``; `FormatError` for a value below 0."""
        return self.read_both(profiles, genes)[1]

    def read_both(
        self, profiles: Selection = None, genes: Selection = None
    ) -> tuple[FloatArray, NDArray[np.float32]]:
        """Read values as they stand, and their logarithms."""
        if self._per_million:
            every = self._base.read(profiles, None)
            totals = every[:, self._counted].sum(axis=1, keepdims=True, dtype=np.float64)
            self._refuse(totals == 0, profiles, "counts no reads")
            block = every[:, slice(None) if genes is None else genes]
            logs = block * (1e6 / totals)
        else:
            block = self._base.read(profiles, genes)
            logs = block.astype(np.float64)
        self._refuse(logs < 0, profiles, "has a value below 0, of which there is no log2(x + 1)")
        logs += 1
        return block, np.asarray(np.log2(logs, out=logs), np.float32)

    def _refuse(self, bad: NDArray[np.bool_], profiles: Selection, what: str) -> None:
        if bad.any():
            row = positions(profiles, len(self.profiles))[int(bad.any(axis=1).argmax())]
            raise FormatError(
                f"{self.path}: profile {self.profiles[row]!r} {what}: are its values logarithms?"
            )


@dataclass(frozen=True)
class Normalised:
    """Normalised profiles of one file: ranks of a quantile, or values."""

    profiles: tuple[str, ...]
    stored: RowStore
    """``(n_profiles, n_genes)``: unsigned indices into the quantile, or float32 values."""
    quantile: NDArray[np.float64] | None = None
    """``(n_genes,)``; ``None`` where values are stored."""
    n_clipped: int = 0
    """RNA-seq values whose index was -1 and is 0."""
    columns: Mapping[str, slice | NDArray[np.intp]] = field(default_factory=dict)
    """Those of `stored` that are X and Y, in the order of the study's genes."""

    def values(
        self, rows: NDArray[np.intp], block_size: int, columns: slice = slice(None)
    ) -> Iterator[NDArray[np.float64]]:
        """Give normalised values of `rows` in blocks ``(n, n_columns)`` float64."""

        def values_of(block: slice) -> NDArray[np.float64]:
            stored = self.stored.read(rows[block])[:, columns]
            return stored.astype(np.float64) if self.quantile is None else self.quantile[stored]

        return in_order(values_of, blocks(len(rows), block_size), workers=1)


def read_blocks(
    source: ExpressionSource, columns: NDArray[np.intp], *, block_size: int, tick: Tick
) -> Iterator[FloatArray]:
    """Read columns of all profiles; raise `FormatError` at the end if values are not finite."""
    check = FiniteCheck(source.path, tuple(source.genes[c] for c in columns))
    for rows in blocks(len(source.profiles), block_size):
        block = source.read(rows, columns)
        check.add(block, source.profiles[rows])
        yield block
        tick(len(block))
    check.raise_if_any()


def store_profiles(
    source: ExpressionSource,
    columns: NDArray[np.intp],
    path: Path,
    *,
    block_size: int,
    tick: Tick,
) -> RowStore:
    """Copy columns of all profiles of `source` into a scratch file, in its dtype.

    Raises `FormatError` if values are missing or infinite (their number and the first place).
    """
    blocks_read = read_blocks(source, columns, block_size=block_size, tick=tick)
    first = next(blocks_read)
    store = RowStore(path, len(columns), first.dtype)
    for block in chain([first], blocks_read):
        store.append(block)
    return store


def normalise_compendium(
    profiles: RowStore,
    rows: NDArray[np.intp],
    genes: ProbeMeans,
    reference: NDArray[np.bool_],
    path: Path,
    *,
    by_rank: bool,
    block_size: int,
    tick: Tick,
) -> tuple[RowStore, NDArray[np.float64]]:
    """Rank the genes of profiles, and average their sorted values to the quantile.

    `profiles` are probe values, `rows` those to rank, in file order, and `reference`
    ``(len(rows),)`` says which of them the quantile ``(n_genes,)`` float64 is the mean of. The
    ranks, or without `by_rank` the values, a row for each of `rows`, lie in the scratch file
    `path`.
    """
    n_genes = len(genes)
    stored = RowStore(path, n_genes, rank_dtype(n_genes) if by_rank else np.float32)
    total = RowSum(n_genes)

    def ranked(part: FloatArray) -> tuple[NDArray[Any], NDArray[np.float64]]:
        values = genes(part)
        if by_rank:
            indices, ordered = quantile_ranks(values)
            return indices.astype(stored.dtype), ordered
        return values.astype(np.float32), np.sort(values, axis=1)

    for block in blocks(len(rows), block_size):
        probes = profiles.read(rows[block])
        used = reference[block]
        parts = [probes[part] for part in blocks(len(probes), ROWS_AT_A_TIME)]
        done = 0
        for indices, ordered in in_order(ranked, parts):
            stored.append(indices)
            total.add(ordered[used[done : done + len(indices)]])
            done += len(indices)
        tick(len(probes))
    return stored, total.mean()


def normalise_set(
    source: ExpressionSource,
    columns: NDArray[np.intp],
    path: Path,
    rule: Rule,
    *,
    block_size: int,
    tick: Tick,
) -> Normalised:
    """Rank the genes of a set's profiles, or keep their values; a quantile is given later.

    `columns` are the study's genes in `source`. By `rule` ``dense`` (RNA-seq of the original),
    ``ranks`` (as the compendium's) or ``values``. Raises `FormatError` if values are missing or
    infinite (their number and the first place).
    """
    # A gene that is landmark and target is read once, so that a missing value counts once.
    read, place = np.unique(columns, return_inverse=True)
    dtype = np.dtype(np.float32) if rule == "values" else rank_dtype(len(columns))
    stored = RowStore(path, len(columns), dtype)
    n_clipped = 0
    for values in read_blocks(source, read, block_size=block_size, tick=tick):
        for part in blocks(len(values), ROWS_AT_A_TIME):
            genes = values[part][:, place].astype(np.float64)
            found: NDArray[Any] = genes
            if rule == "dense":
                found, n = dense_rank_indices(genes)
                n_clipped += n
            elif rule == "ranks":
                found, _ = quantile_ranks(genes)
            stored.append(found.astype(dtype))
    return Normalised(tuple(source.profiles), stored, n_clipped=n_clipped)


def rank_dtype(n_genes: int) -> np.dtype[Any]:
    """Return the smallest unsigned dtype that holds 0 ... n_genes - 1."""
    return np.dtype(np.uint16 if n_genes <= 2**16 else np.uint32)
