"""How well target genes are inferred: MAE (the paper's error), Pearson's r and R²; and choosing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from dgex_jax.baselines.arrays import BLOCK_VALUES, check_matrix
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Doubles = NDArray[np.float64]
    GeneMask = NDArray[np.bool_]

V = TypeVar("V", int, float)


@dataclass(frozen=True)
class Overall:
    """The overall error of a method on a data set, in standardised units."""

    mean: float  # of the genes' MAE
    sd: float  # of the genes' MAE over those genes (ddof = 0), the tables' "±"


def mae_per_gene(prediction: ArrayLike, truth: ArrayLike) -> Doubles:
    """Mean absolute error ``(n_targets,)`` float64 of every target gene (paper section 2.2).

    `prediction` and `truth` are ``(n_profiles, n_targets)`` in standardised units, of any real
    dtype; differences are taken in float64, a block of profiles at a time, so neither is copied as
    a whole.

    Raises
    ------
    DgexError
        Different shapes, empty tables, or values that are not finite.
    """
    predicted = check_matrix("prediction", prediction)
    n_profiles, n_targets = predicted.shape
    measured = check_matrix("truth", truth, n_profiles=n_profiles, n_genes=n_targets)
    total = np.zeros(n_targets)
    for rows in blocks(n_profiles, max(1, BLOCK_VALUES // n_targets)):
        difference = np.subtract(predicted[rows], measured[rows], dtype=np.float64)
        total += np.abs(difference, out=difference).sum(axis=0)
    total /= n_profiles
    return total


def overall(mae: ArrayLike, genes: GeneMask | None = None) -> Overall:
    """Overall error: mean and standard deviation over genes of the genes' MAE.

    `mae` is ``(n_targets,)``, of both halves together; `genes` is a boolean mask of those that
    count (to leave out targets that are copies of a landmark, say), all of them if not given.

    Raises
    ------
    DgexError
        No genes to average, a mask that does not fit, or errors that are not finite.
    """
    (chosen,) = _select(genes, mae=mae)
    return Overall(mean=float(chosen.mean()), sd=float(chosen.std(ddof=0)))


def relative_improvement(reference: float, ours: float) -> float:
    """By what share of the reference's overall error ours is smaller.

    Both are `Overall.mean` (of LR and of D-GEX, say): ``(reference - ours) / reference``, 0.1533
    for the paper's 15.33 %; negative where ours is the larger error.

    Raises
    ------
    DgexError
        A reference that is not above 0, or errors that are not finite.
    """
    if not (0.0 < reference < np.inf and 0.0 <= ours < np.inf):
        raise DgexError(
            f"relative improvement of {ours} over {reference}: errors must be finite and not "
            "negative, the reference above 0"
        )
    return (reference - ours) / reference


def share_better(ours: ArrayLike, reference: ArrayLike, genes: GeneMask | None = None) -> float:
    """Share of genes, from 0 to 1, whose MAE is strictly smaller than the reference's.

    `ours` and `reference` are ``(n_targets,)`` in the same order of genes, `genes` as in `overall`.

    Raises
    ------
    DgexError
        No genes to compare, lengths that differ, or errors that are not finite.
    """
    chosen, other = _select(genes, ours=ours, reference=reference)
    return float(np.mean(chosen < other))


def _select(genes: GeneMask | None, **errors: ArrayLike) -> list[Doubles]:
    """Return the selected genes of each vector of errors, once all of them fit together."""
    vectors = {name: np.asarray(values, dtype=np.float64) for name, values in errors.items()}
    length = next(iter(vectors.values())).size
    for name, vector in vectors.items():
        if vector.shape != (length,):
            raise DgexError(f"{name}: must be {length} errors, one a gene, not {vector.shape}")
        bad = np.flatnonzero(~np.isfinite(vector))
        if bad.size:
            raise DgexError(
                f"{name}: {bad.size} of {length} errors are not finite, the first "
                f"{vector[bad[0]]} at gene {bad[0]} (counted from 0)"
            )
    mask = np.ones(length, dtype=bool) if genes is None else np.asarray(genes)
    if mask.dtype != np.bool_ or mask.shape != (length,):
        raise DgexError(
            f"genes: must be {length} booleans, one a gene, not {mask.dtype} {mask.shape}"
        )
    if not mask.any():
        cause = "there are no genes" if length == 0 else f"the selection leaves none of {length}"
        raise DgexError(f"{', '.join(vectors)}: no genes to average over, {cause}")
    return [vector[mask] for vector in vectors.values()]


class Choice(NamedTuple, Generic[V]):
    """The value chosen from a grid, and whether it is the grid's smallest or largest.

    At an edge the true optimum may lie outside the grid, so tables mark it.
    """

    value: V
    at_edge: bool


def choose(values: Sequence[V], errors: ArrayLike) -> Choice[V]:
    """Take the value (of k or lambda) with the smallest error; of equal errors the first.

    `values` is the grid, each value once and in any order; both ends count as edges, for k also 1
    and "all landmarks". `errors` are the overall error of each on GEO-va (for GEO columns) or on
    1000G-va (for RNA-seq columns); never on a test set (paper sections 2.4 and 2.5).

    Raises
    ------
    DgexError
        An empty grid, a value given twice, a number of errors other than that of the values, or
        an error that is not finite.
    """
    measured = np.asarray(errors, dtype=np.float64)
    if len(values) == 0:
        raise DgexError("tuning: the grid has no values to choose from")
    if len(set(values)) != len(values):
        raise DgexError(f"tuning: the grid has a value twice: {', '.join(map(str, values))}")
    if measured.shape != (len(values),):
        raise DgexError(f"tuning: {len(values)} values need as many errors, not {measured.shape}")
    if not np.isfinite(measured).all():
        first = int(np.flatnonzero(~np.isfinite(measured))[0])
        raise DgexError(
            f"tuning: the error of {values[first]} is {measured[first]}, so nothing can be chosen"
        )
    best = values[int(np.argmin(measured))]
    return Choice(best, best in {min(values), max(values)})


@dataclass(frozen=True)
class GeneScores:
    """Scores of every target gene, each ``(n_targets,)``, on a set of profiles."""

    n_profiles: int
    mae: Doubles  # mean absolute error
    r: Doubles  # Pearson's, of inferred and measured values; NaN where either is constant
    # 1 - SSE / SST, SST about the mean of these very profiles (so the mean of the training profiles
    # may score below 0); NaN where the truth is constant.
    r2: Doubles
    constant: GeneMask  # the truth has a single value
    flat: GeneMask  # the inferred values are a single one


@dataclass(frozen=True)
class Summary:
    """Scores over genes."""

    n_genes: int
    mae: Overall
    r: tuple[float, float] | None  # mean and median over the genes that have one, if any has
    r2: tuple[float, float] | None
    n_constant: int  # genes whose truth is constant: they have neither r nor R²
    n_flat: int  # genes whose truth is not, but whose inferred values are: they have no r


class RunningScores:
    """Scores of profiles that come block by block, in memory that does not grow with them.

    Sums are kept in float64 and about the mean of what they hold, and merged as in Chan, Golub and
    LeVeque 1983 (Am. Stat. 37:242): values far from 0 lose no digits.
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
        """Take in some profiles, ``(n, n_targets)`` in the same units and of any real dtype.

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
        moments = np.stack([np.einsum("ij,ij->j", *pair) for pair in ((p, p), (t, t), (p, t))])
        total = self.n_profiles + n
        p, t = apart = means - self._means
        self._moments += moments + np.stack([p * p, t * t, p * t]) * (self.n_profiles * n / total)
        self._means += apart * (n / total)
        self.n_profiles = total

    def scores(self) -> GeneScores:
        """Scores of all profiles taken in so far; raises `DgexError` if there were none."""
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
    """Summarise scores over all genes, or over those of a mask as in `overall`.

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


def _mean_and_median(values: Doubles) -> tuple[float, float] | None:
    known = values[~np.isnan(values)]
    return (float(known.mean()), float(np.median(known))) if known.size else None
