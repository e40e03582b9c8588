"""The paper's error measures: MAE per gene, overall error, and comparisons of two methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import DgexError
from dgex_jax.models.arrays import BLOCK_VALUES, blocks, check_matrix

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    GeneMask = NDArray[np.bool_]


@dataclass(frozen=True)
class Overall:
    """The overall error of a method on a data set, in standardised units.

    Attributes
    ----------
    mean
        Mean of the genes' MAE.
    sd
        Standard deviation of the genes' MAE over those genes (ddof = 0), the tables' "±".
    """

    mean: float
    sd: float


def mae_per_gene(prediction: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Mean absolute error of every target gene (paper section 2.2).

    Parameters
    ----------
    prediction, truth
        ``(n_profiles, n_targets)`` in standardised units, any real dtype; differences are taken
        in float64, a block of profiles at a time, so neither is copied as a whole.

    Returns
    -------
    NDArray
        ``(n_targets,)`` float64, mean over profiles of ``|prediction - truth|``.

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

    Parameters
    ----------
    mae
        ``(n_targets,)`` MAE of each gene, of both halves together.
    genes
        ``(n_targets,)`` boolean, true for the genes that count (to leave out targets that are
        copies of a landmark, say); all of them if not given.

    Raises
    ------
    DgexError
        No genes to average, a mask that does not fit, or errors that are not finite.
    """
    (chosen,) = _select(genes, mae=mae)
    return Overall(mean=float(chosen.mean()), sd=float(chosen.std(ddof=0)))


def relative_improvement(reference: float, ours: float) -> float:
    """By what share of the reference's overall error ours is smaller.

    Parameters
    ----------
    reference, ours
        Overall errors, `Overall.mean` (of LR and of D-GEX, say).

    Returns
    -------
    float
        ``(reference - ours) / reference``, 0.1533 for the paper's 15.33 %; negative where
        ours is the larger error.

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

    Parameters
    ----------
    ours, reference
        ``(n_targets,)`` MAE of each gene, in the same order of genes.
    genes
        ``(n_targets,)`` boolean, true for the genes that count; all of them if not given.

    Raises
    ------
    DgexError
        No genes to compare, lengths that differ, or errors that are not finite.
    """
    chosen, other = _select(genes, ours=ours, reference=reference)
    return float(np.mean(chosen < other))


def _select(genes: GeneMask | None, **errors: ArrayLike) -> list[NDArray[np.float64]]:
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
    if genes is None:
        mask = np.ones(length, dtype=bool)
    else:
        mask = np.asarray(genes)
        if mask.dtype != np.bool_ or mask.shape != (length,):
            raise DgexError(
                f"genes: must be {length} booleans, one a gene, not {mask.dtype} {mask.shape}"
            )
    if not mask.any():
        cause = "there are no genes" if length == 0 else f"the selection leaves none of {length}"
        raise DgexError(f"{', '.join(vectors)}: no genes to average over, {cause}")
    return [vector[mask] for vector in vectors.values()]
