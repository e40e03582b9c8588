"""The standard nearest-neighbour regression: a profile is the mean of the nearest profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.neighbors import NearestNeighbors

from dgex_jax.config import check_range
from dgex_jax.models.arrays import blocks, check_fitted, check_ks, check_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.formats.expression import FloatArray

# Sums of a block of profiles (float64, 4 MiB) stay near the processor while k runs.
TILE_VALUES = 2**19


class KnnProfiles:
    """Nearest training profiles by their landmarks; all targets are the mean of theirs.

    Not in the paper's tables, which have KNN-GE alone. scikit-learn finds the neighbours; equal
    to ``sklearn.neighbors.KNeighborsRegressor(k)`` in float64, for all k by one search.

    Parameters
    ----------
    k_max
        The largest k of the grid; all training profiles if there are fewer.

    Attributes
    ----------
    ks_
        The grid, 1 to `k_max` or the number of training profiles.
    """

    ks_: range

    def __init__(self, k_max: int = 100) -> None:
        self.k_max = k_max

    def fit(self, X: ArrayLike, Y: ArrayLike) -> Self:
        """Keep the training profiles.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)`` standardised values.
        Y
            ``(n_profiles, n_targets)`` standardised values; referred to, not copied.

        Raises
        ------
        DgexError
            Tables of different lengths, empty ones, values that are not finite, or `k_max` < 1.
        """
        check_range("k_max", self.k_max, 1)
        landmarks = check_matrix("X", X)
        self._targets = check_matrix("Y", Y, n_profiles=landmarks.shape[0])
        self._n_landmarks = landmarks.shape[1]
        self.ks_ = range(1, min(self.k_max, landmarks.shape[0]) + 1)
        self._search = NearestNeighbors().fit(landmarks)
        return self

    def predict(self, X: ArrayLike, k: int) -> NDArray[np.float64]:
        """Predict all targets from the `k` nearest training profiles.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)`` standardised values.
        k
            One of `ks_`.

        Returns
        -------
        NDArray
            ``(n_profiles, n_targets)`` float64.

        Raises
        ------
        DgexError
            Not fitted, another number of landmarks, values that are not finite, or a `k` that
            the fit does not cover.
        """
        landmarks, (k,) = self._check(X, [k])
        prediction = np.empty((landmarks.shape[0], self._targets.shape[1]))
        for rows, reached, total in self._running_sums(landmarks, k):
            if reached == k:
                np.divide(total, k, out=prediction[rows])
        return prediction

    def errors_by_k(self, X: ArrayLike, Y: ArrayLike, ks: Sequence[int]) -> NDArray[np.float64]:
        """Measure the error of every target for many k in one pass.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)`` standardised values.
        Y
            ``(n_profiles, n_targets)`` standardised values.
        ks
            Numbers of neighbours, each one of `ks_` and given once.

        Returns
        -------
        NDArray
            ``(n_ks, n_targets)`` float64: mean absolute error of each gene over the profiles, in
            standardised units, one row per entry of `ks`.

        Raises
        ------
        DgexError
            As `predict`, and for a `Y` of another shape.
        """
        landmarks, ks = self._check(X, ks)
        n_profiles, n_targets = landmarks.shape[0], self._targets.shape[1]
        truth = check_matrix("Y", Y, n_profiles=n_profiles, n_genes=n_targets)
        row_of = {k: row for row, k in enumerate(ks)}
        errors = np.zeros((len(ks), n_targets))
        for rows, k, total in self._running_sums(landmarks, max(ks)):
            if k in row_of:
                difference = total / k
                difference -= truth[rows]
                errors[row_of[k]] += np.abs(difference, out=difference).sum(axis=0)
        errors /= n_profiles
        return errors

    def _check(self, X: ArrayLike, ks: Sequence[int]) -> tuple[FloatArray, list[int]]:
        check_fitted(self, "ks_")
        return check_matrix("X", X, n_genes=self._n_landmarks), check_ks(ks, self.ks_)

    def _running_sums(
        self, landmarks: FloatArray, k_max: int
    ) -> Iterator[tuple[slice, int, NDArray[np.float64]]]:
        """Give ``(rows, k, sum of their k nearest profiles)`` for k = 1 … in reused arrays."""
        nearest = self._search.kneighbors(landmarks, k_max, return_distance=False)
        n_targets = self._targets.shape[1]
        for rows in blocks(landmarks.shape[0], max(1, TILE_VALUES // n_targets)):
            total = np.zeros((rows.stop - rows.start, n_targets))
            for k in range(1, k_max + 1):
                total += self._targets[nearest[rows, k - 1]]
                yield rows, k, total
