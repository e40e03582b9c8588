"""How well each target gene is inferred: MAE, Pearson's r and R², in one pass over the profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.analysis.errors import Overall, overall
from dgex_jax.errors import DgexError
from dgex_jax.models.arrays import check_matrix

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.analysis.errors import GeneMask


@dataclass(frozen=True)
class GeneScores:
    """Scores of every target gene on a set of profiles.

    Attributes
    ----------
    n_profiles
        Number of profiles.
    mae
        ``(n_targets,)`` float64: mean absolute error.
    r
        ``(n_targets,)`` float64: Pearson's correlation of inferred and measured values, NaN where
        either is constant.
    r2
        ``(n_targets,)`` float64: 1 - SSE / SST, SST about the mean of these very profiles (so the
        mean of the training profiles may score below 0); NaN where the truth is constant.
    constant
        ``(n_targets,)`` bool: the truth has a single value.
    flat
        ``(n_targets,)`` bool: the inferred values are a single one.
    """

    n_profiles: int
    mae: NDArray[np.float64]
    r: NDArray[np.float64]
    r2: NDArray[np.float64]
    constant: NDArray[np.bool_]
    flat: NDArray[np.bool_]


@dataclass(frozen=True)
class Summary:
    """Scores over genes.

    Attributes
    ----------
    n_genes
        Genes counted.
    mae
        The overall error (`errors.overall`).
    r, r2
        Mean and median over the genes that have one; ``None`` if none has.
    n_constant
        Genes whose truth is constant: they have neither r nor R².
    n_flat
        Genes whose truth is not, but whose inferred values are: they have no r.
    """

    n_genes: int
    mae: Overall
    r: tuple[float, float] | None
    r2: tuple[float, float] | None
    n_constant: int
    n_flat: int


class RunningScores:
    """Scores of profiles that come block by block, in memory that does not grow with them.

    Sums are kept in float64 and about the mean of what they hold, and merged as in Chan, Golub and
    LeVeque 1983 (Am. Stat. 37:242): values far from 0 lose no digits.

    Parameters
    ----------
    n_targets
        Number of target genes.
    """

    def __init__(self, n_targets: int) -> None:
        self.n_profiles = 0
        self._absolute, self._squared = np.zeros((2, n_targets))
        # Of the inferred and of the measured values, then their product.
        self._means = np.zeros((2, n_targets))
        self._moments = np.zeros((3, n_targets))
        self._lowest = np.full((2, n_targets), np.inf)
        self._highest = np.full((2, n_targets), -np.inf)

    def add(self, prediction: ArrayLike, truth: ArrayLike) -> None:
        """Take in some profiles.

        Parameters
        ----------
        prediction, truth
            ``(n, n_targets)`` in the same units, any real dtype.

        Raises
        ------
        DgexError
            Different shapes, an empty block, or values that are not finite.
        """
        n_targets = self._absolute.size
        inferred = check_matrix("prediction", prediction, n_genes=n_targets)
        n = len(inferred)
        measured = check_matrix("truth", truth, n_profiles=n, n_genes=n_targets)
        p, t = (values.astype(np.float64) for values in (inferred, measured))
        error = p - t
        self._squared += np.square(error).sum(axis=0)
        self._absolute += np.abs(error, out=error).sum(axis=0)
        lowest, highest, means = (
            np.stack([take(values, axis=0) for values in (p, t)])
            for take in (np.min, np.max, np.mean)
        )
        self._lowest = np.minimum(self._lowest, lowest)
        self._highest = np.maximum(self._highest, highest)
        p -= means[0]
        t -= means[1]
        moments = [np.einsum("ij,ij->j", *pair) for pair in ((p, p), (t, t), (p, t))]
        self._merge(n, means, np.stack(moments))

    def _merge(self, n: int, means: NDArray[np.float64], moments: NDArray[np.float64]) -> None:
        total = self.n_profiles + n
        p, t = apart = means - self._means
        self._moments += moments + np.stack([p * p, t * t, p * t]) * (self.n_profiles * n / total)
        self._means += apart * (n / total)
        self.n_profiles = total

    def scores(self) -> GeneScores:
        """Scores of all profiles taken in so far.

        Raises
        ------
        DgexError
            There were none.
        """
        if self.n_profiles == 0:
            raise DgexError("scores: no profiles were given")
        of_p, of_t, of_both = self._moments
        flat, constant = self._lowest == self._highest
        # Differences may be too small for their squares: such a gene has no spread either.
        no_r = flat | constant | (of_p == 0) | (of_t == 0)
        r, r2 = np.full((2, of_t.size), np.nan)
        spread = np.sqrt(of_p) * np.sqrt(of_t)
        np.divide(of_both, spread, out=r, where=~no_r)
        np.divide(self._squared, of_t, out=r2, where=~constant & (of_t > 0))
        return GeneScores(
            self.n_profiles, self._absolute / self.n_profiles, r.clip(-1, 1), 1 - r2, constant, flat
        )


def summarise(scores: GeneScores, genes: GeneMask | None = None) -> Summary:
    """Summarise scores over genes.

    Parameters
    ----------
    scores
        Of every gene.
    genes
        ``(n_targets,)`` boolean, true for the genes that count; all of them if not given.

    Raises
    ------
    DgexError
        No genes to summarise, or a mask that does not fit.
    """
    mae = overall(scores.mae, genes)
    chosen = np.ones_like(scores.constant) if genes is None else np.asarray(genes)
    return Summary(
        n_genes=int(chosen.sum()),
        mae=mae,
        r=_mean_and_median(scores.r[chosen]),
        r2=_mean_and_median(scores.r2[chosen]),
        n_constant=int(scores.constant[chosen].sum()),
        n_flat=int((scores.flat & ~scores.constant)[chosen].sum()),
    )


def _mean_and_median(values: NDArray[np.float64]) -> tuple[float, float] | None:
    known = values[~np.isnan(values)]
    return (float(known.mean()), float(np.median(known))) if known.size else None
