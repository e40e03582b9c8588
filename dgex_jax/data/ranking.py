"""Raw profiles to rank indices, a block at a time: finite, gene by gene, ready for a quantile.

After quantile normalisation a value is ``quantile[rank]``, so ranks in two bytes each are all that
has to be kept of a profile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dgex_jax.data.ahead import in_order
from dgex_jax.data.normalize import dense_rank_indices, quantile_ranks
from dgex_jax.data.rowstore import RowStore
from dgex_jax.data.summation import RowSum
from dgex_jax.formats.finite import FiniteCheck

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dgex_jax.data.normalize import ProbeMeans
    from dgex_jax.data.progress import Tick
    from dgex_jax.formats.expression import ExpressionSource, FloatArray

See = Callable[[NDArray[Any], Sequence[str], NDArray[np.intp]], None]

ROWS_AT_A_TIME = 32
"""Profiles ranked together: their sorting buffers still fit a processor's cache."""


def blocks_of(n: int, size: int) -> Iterator[slice]:
    """Cut 0 ... n - 1 into consecutive slices of at most `size`."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


@dataclass(frozen=True)
class Ranked:
    """Profiles of one data set as rank indices.

    Attributes
    ----------
    profiles
        Ids of the rows.
    ranks
        ``(n_profiles, n_genes)`` unsigned indices into the reference quantile.
    n_clipped
        RNA-seq values whose index was -1 and is 0.
    columns
        Columns of `ranks` in the order of the study's genes; ``None`` if they stand in it.
    """

    profiles: tuple[str, ...]
    ranks: RowStore
    n_clipped: int = 0
    columns: NDArray[np.intp] | None = None

    def values(
        self,
        quantile: NDArray[np.float64],
        rows: NDArray[np.intp],
        block_size: int,
        n_genes: int | None = None,
    ) -> Iterator[NDArray[np.float64]]:
        """Give quantile-normalised values of `rows` in blocks ``(n, n_genes)`` float64.

        With `n_genes` only those of the first genes.
        """
        columns = slice(n_genes) if self.columns is None else self.columns[:n_genes]

        def values_of(block: slice) -> NDArray[np.float64]:
            return np.asarray(quantile[self.ranks.read(rows[block])[:, columns]])

        return in_order(values_of, blocks_of(len(rows), block_size), workers=1)


def landmark_quantile(
    ranked: Ranked,
    quantile: NDArray[np.float64],
    rows: NDArray[np.intp],
    n_landmarks: int,
    *,
    block_size: int,
    tick: Tick,
) -> NDArray[np.float64]:
    """Average the sorted landmark values of profiles after quantile normalisation.

    Parameters
    ----------
    ranked
        Array profiles; their first `n_landmarks` genes are the landmarks.
    quantile
        Reference quantile of all genes.
    rows
        The profiles to average, in ascending order.
    n_landmarks
        Number of landmarks.
    block_size, tick
        Profiles read at a time; called with their number.

    Returns
    -------
    ndarray
        ``(n_landmarks,)`` float64, never falling: the reference quantile of the landmarks alone,
        on the scale of the normalised values of all genes.
    """
    total = RowSum(n_landmarks)
    for block in ranked.values(quantile, rows, block_size, n_landmarks):
        total.add(np.sort(block, axis=1))
        tick(len(block))
    return total.mean()


def store_profiles(
    source: ExpressionSource,
    columns: NDArray[np.intp],
    path: Path,
    *,
    block_size: int,
    tick: Tick,
    see: See | None = None,
) -> RowStore:
    """Copy columns of all profiles of `source` into a scratch file, in its dtype.

    `see` gets each block, its profiles' ids and its columns.

    Raises
    ------
    FormatError
        Some of these values are missing or infinite (their number and the first place).
    """
    check = FiniteCheck(source.path, tuple(source.genes[c] for c in columns))
    store = RowStore(path, len(columns), source.read(slice(0, 1), columns[:1]).dtype)
    for rows in blocks_of(len(source.profiles), block_size):
        block = source.read(rows, columns)
        check.add(block, source.profiles[rows])
        if see is not None:
            see(block, source.profiles[rows], columns)
        store.append(block)
        tick(len(block))
    check.raise_if_any()
    return store


def rank_geo(
    profiles: RowStore,
    rows: NDArray[np.intp],
    genes: ProbeMeans,
    reference: NDArray[np.bool_],
    path: Path,
    *,
    n_genes: int,
    block_size: int,
    tick: Tick,
) -> tuple[RowStore, NDArray[np.float64]]:
    """Rank the genes of array profiles and average their sorted values.

    Parameters
    ----------
    profiles
        Probe values.
    rows
        The profiles to rank, in file order.
    genes
        Gene values of probe values.
    reference
        ``(len(rows),)``: profiles that the reference quantile is the mean of.
    path
        Scratch file of the ranks.
    n_genes
        Number of genes.
    block_size, tick
        Profiles read at a time; called with their number.

    Returns
    -------
    ranks
        A row for each of `rows`.
    quantile
        ``(n_genes,)`` float64, ascending.
    """
    ranks = RowStore(path, n_genes, rank_dtype(n_genes))
    total = RowSum(n_genes)

    def ranked(part: FloatArray) -> tuple[NDArray[Any], NDArray[np.float64]]:
        indices, ordered = quantile_ranks(genes(part))
        return indices.astype(ranks.dtype), ordered

    for block in blocks_of(len(rows), block_size):
        probes = profiles.read(rows[block])
        used = reference[block]
        parts = [probes[part] for part in blocks_of(len(probes), ROWS_AT_A_TIME)]
        done = 0
        for indices, ordered in in_order(ranked, parts):
            ranks.append(indices)
            total.add(ordered[used[done : done + len(indices)]])
            done += len(indices)
        tick(len(probes))
    return ranks, total.mean()


def rank_rna(
    source: ExpressionSource,
    columns: NDArray[np.intp],
    path: Path,
    *,
    block_size: int,
    tick: Tick,
    see: See | None = None,
) -> Ranked:
    """Rank the genes of RNA-seq samples; `columns` are the study's genes in `source`.

    `see` gets each block, its profiles' ids and its columns.

    Raises
    ------
    FormatError
        Some of these values are missing or infinite (their number and the first place).
    """
    # A gene that is landmark and target is read once, so that a missing value counts once.
    read, place = np.unique(columns, return_inverse=True)
    check = FiniteCheck(source.path, tuple(source.genes[c] for c in read))
    ranks = RowStore(path, len(columns), rank_dtype(len(columns)))
    n_clipped = 0
    for rows in blocks_of(len(source.profiles), block_size):
        values = source.read(rows, read)
        check.add(values, source.profiles[rows])
        if see is not None:
            see(values, source.profiles[rows], read)
        for part in blocks_of(len(values), ROWS_AT_A_TIME):
            indices, n = dense_rank_indices(values[part][:, place].astype(np.float64))
            ranks.append(indices.astype(ranks.dtype))
            n_clipped += n
        tick(len(values))
    check.raise_if_any()
    return Ranked(tuple(source.profiles), ranks, n_clipped)


def rank_dtype(n_genes: int) -> np.dtype[Any]:
    """Return the smallest unsigned dtype that holds 0 ... n_genes - 1."""
    return np.dtype(np.uint16 if n_genes <= 2**16 else np.uint32)
