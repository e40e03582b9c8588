"""How well a linear model on given features explains each target gene: adjusted R²."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.config import check_range
from dgex_jax.errors import DgexError
from dgex_jax.models.arrays import check_matrix
from dgex_jax.models.factors import factorise, project_targets

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class AdjustedR2:
    """Adjusted R² of every target gene on one set of features.

    Attributes
    ----------
    values
        ``(n_targets,)`` float64; NaN where there is no number: constant targets, and all of them
        if there is a `reason`.
    r2
        ``(n_targets,)`` float64, at most 1, not adjusted; NaN for constant targets.
    constant
        ``(n_targets,)`` bool, targets with the same value in all profiles.
    n_profiles, n_features
        Size of the design.
    rank
        Numerical rank p of the centred design.
    reason
        Why no target has a number, as a sentence; ``None`` if it is not so.
    """

    values: NDArray[np.float64]
    r2: NDArray[np.float64]
    constant: NDArray[np.bool_]
    n_profiles: int
    n_features: int
    rank: int
    reason: str | None


@dataclass(frozen=True)
class Comparison:
    """In how many targets one set of features has the larger adjusted R².

    Attributes
    ----------
    n_targets
        All targets.
    n_compared
        Those with a number on both sides.
    n_larger
        Those of them with a strictly larger adjusted R² on the activations.
    """

    n_targets: int
    n_compared: int
    n_larger: int

    @property
    def share(self) -> float | None:
        """`n_larger` as a share of `n_compared`, from 0 to 1; ``None`` if there are none."""
        return self.n_larger / self.n_compared if self.n_compared else None


def adjusted_r2(features: ArrayLike, targets: ArrayLike, *, block_size: int = 512) -> AdjustedR2:
    """Fit each target by least squares with an intercept (paper section 3.3, "nonlinearity").

    Adjusted R² is ``1 - (1 - R²)(n - 1)/(n - p - 1)`` for n profiles. Here p is not the number of
    features but the rank of the centred design, so that dependent features cost nothing: how many
    singular values exceed ``eps * max(n_profiles, n_features)`` of the largest, with eps that of
    float64. All of it is float64.

    Parameters
    ----------
    features
        ``(n_profiles, n_features)``, the landmarks or the activations of a hidden layer; one
        float64 copy is made.
    targets
        ``(n_profiles, n_targets)`` standardised values; never copied as a whole.
    block_size
        Target genes held in float64 at a time; changes memory and speed, results only by rounding.

    Raises
    ------
    DgexError
        Tables of different lengths, empty ones, values that are not finite, or a bad block size.
    """
    check_range("block_size", block_size, 1)
    design = check_matrix("features", features)
    n_profiles, n_features = design.shape
    truth = check_matrix("targets", targets, n_profiles=n_profiles)
    factors = factorise(design)
    projected = project_targets(factors, truth, block_size)
    explained = np.einsum("tr,tr->t", projected.coordinates, projected.coordinates)
    # Centring makes a constant target exactly 0, so this is no question of a tolerance.
    constant = projected.squares == 0
    r2 = np.full(len(explained), np.nan)
    np.divide(explained, projected.squares, out=r2, where=~constant)
    # Rounding can take a perfect fit past 1.
    np.minimum(r2, 1.0, out=r2)
    freedom = n_profiles - factors.rank - 1
    if freedom > 0:
        values, reason = 1 - (1 - r2) * (n_profiles - 1) / freedom, None
    else:
        values = np.full_like(r2, np.nan)
        reason = (
            f"{n_profiles} profiles leave no degrees of freedom for {n_features} features "
            f"(rank {factors.rank})"
        )
    return AdjustedR2(values, r2, constant, n_profiles, n_features, factors.rank, reason)


def compare(raw: ArrayLike, hidden: ArrayLike) -> Comparison:
    """Count targets with a strictly larger adjusted R² on activations than on landmarks.

    Parameters
    ----------
    raw, hidden
        ``(n_targets,)`` `AdjustedR2.values`, of one half or of both joined, in the same order of
        targets; NaN where there is no number.

    Raises
    ------
    DgexError
        Vectors of different lengths.
    """
    landmarks = np.asarray(raw, dtype=np.float64)
    activations = np.asarray(hidden, dtype=np.float64)
    if landmarks.ndim != 1 or landmarks.shape != activations.shape:
        raise DgexError(
            "adjusted R² of landmarks and of activations: must be of the same targets, "
            f"not {landmarks.shape} and {activations.shape}"
        )
    compared = np.isfinite(landmarks) & np.isfinite(activations)
    larger = activations[compared] > landmarks[compared]
    return Comparison(len(landmarks), int(compared.sum()), int(larger.sum()))
