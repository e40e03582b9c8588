"""The yardstick that uses no landmark gene: predict the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from dgex_jax.models.arrays import check_fitted, check_matrix

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Mean:
    """Predict every target gene's mean, which is 0 in standardised units.

    Each data set is standardised by its own means, so 0 stands for the mean over that data set.
    The original takes GEO's means over all profiles, hence the mean over GEO-tr alone lies near 0
    and not at it; this project's definition is 0, and nothing is estimated from `Y`. Not in the
    paper: a method worse than this row has learnt nothing that carries over.

    Attributes
    ----------
    n_landmarks_, n_targets_
        Numbers of genes seen by `fit`.
    """

    n_landmarks_: int
    n_targets_: int

    def fit(self, X: ArrayLike, Y: ArrayLike) -> Self:
        """Note how many genes there are.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)`` standardised values.
        Y
            ``(n_profiles, n_targets)`` standardised values.

        Raises
        ------
        DgexError
            Tables of different lengths, empty ones, or values that are not finite.
        """
        landmarks = check_matrix("X", X)
        targets = check_matrix("Y", Y, n_profiles=landmarks.shape[0])
        self.n_landmarks_, self.n_targets_ = landmarks.shape[1], targets.shape[1]
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Predict all targets: zeros.

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
        check_fitted(self, "n_targets_")
        landmarks = check_matrix("X", X, n_genes=self.n_landmarks_)
        return np.zeros((landmarks.shape[0], self.n_targets_))
