"""From probes to standardised genes: the numerical rules of the original scripts (section 2.1).

Every function treats profiles independently of each other, so any blocks of profiles give the same
values as all profiles at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray

OFFSET = 1e-3
"""Added to every standard deviation by the original, so that constant genes stay finite."""


class ProbeMeans:
    """Mean over each gene's probes.

    Parameters
    ----------
    probes
        For each gene the columns of its probes (at least one), in the order of the gene map.
    """

    def __init__(self, probes: Sequence[Sequence[int]]) -> None:
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

    Parameters
    ----------
    values
        ``(n_profiles, n_genes)`` float64, finite; all genes of the study, landmarks first.

    Returns
    -------
    ranks
        ``(n_profiles, n_genes)``: ``int(average_rank - 1)``, ties sharing the truncated mean of
        their ranks. The normalised value of a gene is ``quantile[rank]``.
    ordered
        `values` with each row sorted; their mean over profiles is the reference quantile.
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

    Parameters
    ----------
    values
        ``(n_samples, n_genes)`` float64, finite.

    Returns
    -------
    indices
        ``(n_samples, n_genes)`` in 0 ... n_genes - 1.
    n_clipped
        Number of values whose index was -1.
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
