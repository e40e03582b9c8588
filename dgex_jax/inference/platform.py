"""Values of any platform on the reference scale of a model (paper section 2.1).

The ranking rules are those of preparation. Where a file has fewer genes than a reference quantile,
the quantile is taken at the same rank fractions; with all genes it is the training's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.normalize import ProbeMeans, dense_rank_indices, quantile_ranks
from dgex_jax.data.ranking import ROWS_AT_A_TIME, blocks_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.config import Platform
    from dgex_jax.data.names import Columns
    from dgex_jax.formats.expression import FloatArray
    from dgex_jax.inference.matching import Match
    from dgex_jax.inference.model import Model

ENOUGH_GENES = 0.9
"""Share of a model's genes from which on a file is ranked as the training data were."""

ENOUGH_IN_RANGE = 0.99
"""Share of a file's values inside the reference range from which on L1000 values stay as they are:
single wells overshoot a quantile that is the mean of many profiles."""


@dataclass(frozen=True)
class Route:
    """How profiles of a file become landmark values on the reference scale.

    Attributes
    ----------
    columns
        ``(n_read,)`` columns of the file to read, ascending.
    genes
        Gene values of these columns; the landmarks that are there come first.
    n_landmarks
        How many of the genes these landmarks are.
    quantile
        ``(n_genes,)`` values for the ranks of a profile; ``None`` to leave values as they are.
    dense
        Rank as RNA-seq samples are ranked, not as arrays.
    note
        What is done, for the user.
    """

    columns: NDArray[np.intp]
    genes: ProbeMeans
    n_landmarks: int
    quantile: NDArray[np.float64] | None
    dense: bool
    note: str

    def __call__(self, block: FloatArray) -> NDArray[np.float64]:
        """Landmark values ``(n, n_landmarks)`` float64 of profiles ``(n, n_read)``.

        Every profile by itself: any cut into blocks gives the same values.
        """
        if self.quantile is None:
            return self.genes(block)
        values = np.empty((len(block), self.n_landmarks))
        for rows in blocks_of(len(block), ROWS_AT_A_TIME):
            genes = self.genes(block[rows])
            ranks, _ = dense_rank_indices(genes) if self.dense else quantile_ranks(genes)
            values[rows] = self.quantile[ranks[:, : self.n_landmarks]]
        return values


def as_is(match: Match, note: str) -> Route:
    """Leave landmark values as the file has them (means over a gene's probes)."""
    return _route(match, match.landmarks, None, dense=False, note=note)


def ranked_landmarks(model: Model, match: Match, *, dense: bool, why: str) -> Route:
    """Map ranks among the landmarks present on the landmarks' own quantile over GEO-tr."""
    n, n_all = sum(map(bool, match.landmarks)), len(model.landmarks)
    fewer = "" if n == n_all else f" (of {n_all}, at the same rank fractions)"
    return _route(
        match,
        match.landmarks,
        resampled(model.landmark_quantile, n),
        dense=dense,
        note=f"{why}: ranks among the {n} landmarks present, mapped to the reference quantile of "
        f"the landmarks{fewer}",
    )


def ranked_route(model: Model, match: Match, platform: Platform) -> Route:
    """Map ranks of an array or an RNA-seq sample on the reference quantile.

    Parameters
    ----------
    model
        The model.
    match
        Where the file has its landmarks and targets.
    platform
        ``microarray`` (average ranks) or ``rnaseq`` (dense ranks, as the original).

    Returns
    -------
    Route
        The joint rule of training if at least 90 % of the model's genes are there, else ranks
        among the landmarks.
    """
    if match.targets is None:
        raise AssertionError("ranks need the target genes")
    dense = platform == "rnaseq"
    genes = match.landmarks + match.targets
    n, n_all = sum(map(bool, genes)), len(genes)
    there = f"{n:,} of the model's {n_all:,} genes are there"
    if model.quantile is None:
        return ranked_landmarks(
            model, match, dense=dense, why="the model's study was not quantile-normalised"
        )
    if n < ENOUGH_GENES * n_all:
        why = f"{there}, fewer than {ENOUGH_GENES:.0%}"
        return ranked_landmarks(model, match, dense=dense, why=why)
    how = "ranks among them mapped to the reference quantile, as in training"
    fewer = "" if n == n_all else " (at the same rank fractions)"
    quantile = resampled(model.quantile, n)
    return _route(match, genes, quantile, dense=dense, note=f"{there}: {how}{fewer}")


def reference_range(model: Model) -> tuple[float, float]:
    """Lowest and highest value of the reference scale."""
    quantile = model.landmark_quantile if model.quantile is None else model.quantile
    return float(quantile[0]), float(quantile[-1])


def resampled(quantile: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Values of a quantile at the rank fractions (k + 1/2) / n, linear between its own.

    Parameters
    ----------
    quantile
        ``(n_genes,)`` growing.
    n
        Number of ranks; `quantile` itself if it has as many.
    """
    if n == len(quantile):
        return quantile
    own = (np.arange(len(quantile)) + 0.5) / len(quantile)
    return np.interp((np.arange(n) + 0.5) / n, own, quantile)


def _route(
    match: Match,
    columns: Columns,
    quantile: NDArray[np.float64] | None,
    *,
    dense: bool,
    note: str,
) -> Route:
    present = [of_gene for of_gene in columns if of_gene]
    read = np.unique(np.array([column for of_gene in present for column in of_gene], np.intp))
    means = ProbeMeans([np.searchsorted(read, of_gene).tolist() for of_gene in present])
    n_landmarks = sum(map(bool, match.landmarks))
    return Route(read, means, n_landmarks, quantile, dense, note)
