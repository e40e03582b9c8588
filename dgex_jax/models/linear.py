"""Ordinary least squares for all target genes at once (the paper's LR), in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from dgex_jax.config import check_range
from dgex_jax.models.arrays import check_fitted, check_matrix
from dgex_jax.models.factors import factorise, project_targets

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class LeastSquares:
    """Least squares with an intercept, every target gene on all landmark genes (section 2.4).

    With as many landmarks as profiles or more, or with dependent landmarks, it is the
    minimum-norm solution of the centred problem. It rests on the singular value decomposition of
    the centred X (by way of its QR factors; those of the Gram matrix would be right to half the
    digits only); singular values up to ``eps * max(n_profiles, n_landmarks)`` of the largest count
    as 0. Predictions equal those of ``sklearn.linear_model.LinearRegression`` in float64.

    Parameters
    ----------
    block_size
        Target genes held in float64 at a time; changes memory and speed, results only by rounding.

    Attributes
    ----------
    coef_
        ``(n_targets, n_landmarks)`` float64.
    intercept_
        ``(n_targets,)`` float64.
    singular_
        ``(min(n_profiles, n_landmarks),)`` float64, singular values of the centred X, falling.
    rank_
        How many of them were kept.
    """

    coef_: NDArray[np.float64]
    intercept_: NDArray[np.float64]
    singular_: NDArray[np.float64]
    rank_: int

    def __init__(self, block_size: int = 512) -> None:
        self.block_size = block_size

    def fit(self, X: ArrayLike, Y: ArrayLike) -> Self:
        """Fit all targets.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)`` standardised values; one float64 copy is made.
        Y
            ``(n_profiles, n_targets)`` standardised values; never copied as a whole.

        Raises
        ------
        DgexError
            Tables of different lengths, empty ones, or values that are not finite.
        """
        check_range("block_size", self.block_size, 1)
        landmarks = check_matrix("X", X)
        targets = check_matrix("Y", Y, n_profiles=landmarks.shape[0])
        factors = factorise(landmarks)
        projected = project_targets(factors, targets, self.block_size)
        self.coef_ = (projected.coordinates / factors.kept) @ factors.right
        self.intercept_ = projected.mean - self.coef_ @ factors.x_mean
        self.singular_, self.rank_ = factors.singular, factors.rank
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Predict all targets.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)`` standardised values.

        Returns
        -------
        NDArray
            ``(n_profiles, n_targets)`` float64.

        Raises
        ------
        DgexError
            Not fitted, another number of landmarks, or values that are not finite.
        """
        check_fitted(self, "coef_")
        return predict_linear(X, self.coef_, self.intercept_)


def predict_linear(
    X: ArrayLike, coef: NDArray[np.float64], intercept: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Predict ``(n_profiles, n_targets)`` from ``(n_targets, n_landmarks)`` coefficients."""
    landmarks = check_matrix("X", X, n_genes=coef.shape[1])
    prediction: NDArray[np.float64] = landmarks.astype(np.float64) @ coef.T
    prediction += intercept
    return prediction
