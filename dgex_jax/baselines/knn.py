"""Nearest neighbours: among landmark genes (KNN-GE, paper section 2.5), and among profiles."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.neighbors import NearestNeighbors

from dgex_jax.baselines.arrays import BLOCK_VALUES, check_fitted, check_matrix
from dgex_jax.config import check_range
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.io.expression import FloatArray

    Doubles = NDArray[np.float64]
    Indices = NDArray[np.intp]

# A tile of sums (targets x profiles, float64, 1 MiB) stays in cache while k runs; measured.
TILE_TARGETS, TILE_PROFILES = 128, 1024
PRODUCT_TARGETS = 512
# Sums of a block of profiles (float64, 4 MiB) stay near the processor while k runs.
TILE_VALUES = 2**19


def rank_landmarks(
    X_tr: ArrayLike, Y_tr: ArrayLike, k_max: int, *, block_size: int = 4096
) -> Indices:
    """Find the `k_max` nearest landmarks of every target over GEO-tr, ``(n_targets, k_max)``.

    Indices of columns of `X_tr` ``(n_profiles, n_landmarks)``, nearest first by Euclidean distance
    to a column of `Y_tr` ``(n_profiles, n_targets)``; of equally near ones the first landmark.
    `block_size` profiles are held in float64 at a time: it changes speed, never the result.

    Raises
    ------
    DgexError
        Tables of different lengths, empty ones, values that are not finite, or `k_max` out of
        range.
    """
    landmarks = check_matrix("X", X_tr)
    n_profiles, n_landmarks = landmarks.shape
    targets = check_matrix("Y", Y_tr, n_profiles=n_profiles)
    if not 1 <= k_max <= n_landmarks:
        raise DgexError(f"k_max = {k_max}: must be between 1 and {n_landmarks}, the landmarks")
    squared, slack = _squared_distances(landmarks, targets, block_size)
    order = np.argsort(squared, axis=1, kind="stable")
    near = np.diff(np.take_along_axis(squared, order, axis=1), axis=1) <= slack[:, np.newaxis]
    # Past the last kept landmark only the run that starts among the kept ones matters.
    near[:, k_max - 1 :] = np.logical_and.accumulate(near[:, k_max - 1 :], axis=1)
    if near.any():
        doubtful = np.zeros(order.shape, dtype=bool)
        doubtful[:, 1:] = near
        doubtful[:, :-1] |= near
        genes, places = np.nonzero(doubtful)
        pairs = (order[genes, places], genes)
        squared[genes, pairs[0]] = _plain_squared_distances(landmarks, targets, pairs, block_size)
        order = np.argsort(np.sqrt(np.maximum(squared, 0.0)), axis=1, kind="stable")
    return np.ascontiguousarray(order[:, :k_max])


def _squared_distances(
    landmarks: FloatArray, targets: FloatArray, block_size: int
) -> tuple[Doubles, Doubles]:
    """Squared distances ``(n_targets, n_landmarks)`` by matrix products, quick and rounded.

    Second comes, for each target, a bound on the gap below which rounding may have swapped two
    landmarks: four times the worst case of a distance, ``n * eps * (|x|^2 + |y|^2)``.
    """
    n_profiles, n_landmarks = landmarks.shape
    n_targets = targets.shape[1]
    squared = np.zeros((n_targets, n_landmarks))
    x_squares, y_squares = np.zeros(n_landmarks), np.zeros(n_targets)
    for rows in blocks(n_profiles, block_size):
        x = landmarks[rows].astype(np.float64)
        x_squares += np.einsum("nl,nl->l", x, x)
        for genes in blocks(n_targets, PRODUCT_TARGETS):
            y = targets[rows, genes].astype(np.float64)
            squared[genes] += y.T @ x
            y_squares[genes] += np.square(y, out=y).sum(axis=0)
    squared *= -2.0
    squared += x_squares
    squared += y_squares[:, np.newaxis]
    eps = float(np.finfo(np.float64).eps)
    return squared, 4 * (n_profiles + 4) * eps * (y_squares + x_squares.max())


def _plain_squared_distances(
    landmarks: FloatArray, targets: FloatArray, pairs: tuple[Indices, Indices], block_size: int
) -> Doubles:
    """Squared distances of (landmark, target) pairs as sums of squared differences.

    Slow, but equal columns get equal values and a gene has distance 0 to its copy: every pair is
    summed in the same order whatever stands beside it.
    """
    n_pairs = pairs[0].size
    total = np.zeros(n_pairs)
    used, target_rows = np.unique(pairs[1], return_inverse=True)
    for rows in blocks(landmarks.shape[0], block_size):
        x = np.ascontiguousarray(landmarks[rows].T, dtype=np.float64)
        y = np.ascontiguousarray(targets[rows][:, used].T, dtype=np.float64)
        for part in blocks(n_pairs, max(1, BLOCK_VALUES // x.shape[1])):
            difference = x[pairs[0][part]]
            difference -= y[target_rows[part]]
            total[part] += np.square(difference, out=difference).sum(axis=1)
    return total


class _Neighbours:
    """What both methods share; a subclass fits, and predicts and measures what was checked.

    `k_max` is the largest k of the grid; all neighbours (landmarks or profiles) if there are fewer.
    """

    ks_: range  # the grid, from 1
    _n_landmarks: int
    _n_targets: int

    def __init__(self, k_max: int = 100) -> None:
        self.k_max = k_max

    def predict(self, X: ArrayLike, k: int) -> Doubles:
        """Predict ``(n_profiles, n_targets)`` float64 from the `k` nearest neighbours.

        Raises
        ------
        DgexError
            Not fitted, another number of landmarks, values that are not finite, or a `k` that
            the fit does not cover.
        """
        landmarks, (k,) = self._check(X, [k])
        prediction = np.empty((landmarks.shape[0], self._n_targets))
        self._fill(prediction, landmarks, k)
        return prediction

    def errors_by_k(self, X: ArrayLike, Y: ArrayLike, ks: Sequence[int]) -> Doubles:
        """Measure the MAE of every target, ``(n_ks, n_targets)`` float64, for many k in one pass.

        A row per entry of `ks`, each one of `ks_` and given once; over the profiles of `X`
        ``(n_profiles, n_landmarks)`` and `Y` ``(n_profiles, n_targets)``.

        Raises
        ------
        DgexError
            As `predict`, and for a `Y` of another shape.
        """
        landmarks, ks = self._check(X, ks)
        n_profiles = landmarks.shape[0]
        targets = check_matrix("Y", Y, n_profiles=n_profiles, n_genes=self._n_targets)
        errors = np.zeros((len(ks), self._n_targets))
        self._add_errors(errors, landmarks, targets, {k: row for row, k in enumerate(ks)})
        errors /= n_profiles
        return errors

    def _check(self, X: ArrayLike, ks: Sequence[int]) -> tuple[FloatArray, list[int]]:
        check_fitted(self, "ks_")
        landmarks = check_matrix("X", X, n_genes=self._n_landmarks)
        if len(ks) == 0 or len(set(ks)) != len(ks):
            raise DgexError(f"k = {list(ks)}: needs at least one value, each given once")
        for k in ks:
            if not isinstance(k, (int, np.integer)) or k not in self.ks_:
                raise DgexError(f"k = {k}: must be a whole number from 1 to {self.ks_[-1]}")
        return landmarks, list(ks)

    def _fill(self, prediction: Doubles, landmarks: FloatArray, k: int) -> None:
        raise NotImplementedError

    def _add_errors(
        self, errors: Doubles, landmarks: FloatArray, targets: FloatArray, row_of: dict[int, int]
    ) -> None:
        """Add sums over profiles of absolute errors to ``errors[row_of[k]]``."""
        raise NotImplementedError


class KnnGe(_Neighbours):
    """Gene-based nearest neighbours: the mean of the k nearest landmarks in the same profile.

    Nearness is measured over the training profiles (GEO-tr) and values are taken from the profile
    to predict; k is chosen afterwards (`dgex_jax.scores.choose`), one for all genes.
    """

    neighbours_: Indices  # (n_targets, min(k_max, n_landmarks)) landmarks, nearest first

    def fit(self, X: ArrayLike, Y: ArrayLike) -> Self:
        """Rank the landmarks of every target; raises `DgexError` as `rank_landmarks`.

        X is ``(n_profiles, n_landmarks)`` and Y ``(n_profiles, n_targets)``, standardised.
        """
        landmarks = check_matrix("X", X)
        self.neighbours_ = rank_landmarks(landmarks, Y, min(self.k_max, landmarks.shape[1]))
        self._n_landmarks = landmarks.shape[1]
        self._n_targets, n_ks = self.neighbours_.shape
        self.ks_ = range(1, n_ks + 1)
        return self

    def _fill(self, prediction: Doubles, landmarks: FloatArray, k: int) -> None:
        for rows, block in _transposed(landmarks):
            for genes in blocks(self._n_targets, TILE_TARGETS):
                nearest = self.neighbours_[genes, :k]
                total = np.zeros((len(nearest), block.shape[1]))
                for _ in _running_sums(block, nearest, total):
                    pass
                prediction[rows, genes] = (total / k).T

    def _add_errors(
        self, errors: Doubles, landmarks: FloatArray, targets: FloatArray, row_of: dict[int, int]
    ) -> None:
        tiles = list(blocks(self._n_targets, TILE_TARGETS))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for rows, block in _transposed(landmarks):

                def add(genes: slice, block: Doubles = block, rows: slice = rows) -> None:
                    truth = np.ascontiguousarray(targets[rows, genes].T, dtype=np.float64)
                    excess = np.zeros_like(truth)
                    nearest = self.neighbours_[genes, : max(row_of)]
                    for k, buffer in _running_sums(block, nearest, excess):
                        # Sum of k landmarks less k times the target: nothing is divided before
                        # the last sum.
                        excess -= truth
                        if k in row_of:
                            np.abs(excess, out=buffer)
                            errors[row_of[k], genes] += buffer.sum(axis=1) / k

                # Each adds to columns of its own: the same sums on any number of cores.
                list(pool.map(add, tiles))


def _transposed(landmarks: FloatArray) -> Iterator[tuple[slice, Doubles]]:
    """Give profiles and their landmarks, ``(n_landmarks, n_profiles)``: gathers copy rows."""
    for rows in blocks(landmarks.shape[0], TILE_PROFILES):
        yield rows, np.ascontiguousarray(landmarks[rows].T, dtype=np.float64)


def _running_sums(
    landmarks: Doubles, neighbours: Indices, total: Doubles
) -> Iterator[tuple[int, Doubles]]:
    """Add the landmarks in the order of nearness to `total`; gives ``(k, a buffer)`` after each.

    `landmarks` is ``(n_landmarks, n_profiles)``, `neighbours` ``(n_targets, k)``, `total`
    ``(n_targets, n_profiles)``; the buffer is another such, free until the next k.
    """
    gathered = np.empty_like(total)
    for k in range(1, neighbours.shape[1] + 1):
        # mode="clip" because "raise" would buffer `out`; the indices are our own.
        np.take(landmarks, neighbours[:, k - 1], axis=0, out=gathered, mode="clip")
        total += gathered
        yield k, gathered


class KnnProfiles(_Neighbours):
    """Nearest training profiles by their landmarks; all targets are the mean of theirs.

    Not in the paper's tables, which have KNN-GE alone. scikit-learn finds the neighbours; equal
    to ``sklearn.neighbors.KNeighborsRegressor(k)`` in float64, for all k by one search.
    """

    _targets: FloatArray
    _search: NearestNeighbors

    def fit(self, X: ArrayLike, Y: ArrayLike) -> Self:
        """Keep the training profiles; `Y` ``(n_profiles, n_targets)`` is referred to, not copied.

        Raises
        ------
        DgexError
            Tables of different lengths, empty ones, values that are not finite, or `k_max` < 1.
        """
        check_range("k_max", self.k_max, 1)
        landmarks = check_matrix("X", X)
        self._targets = check_matrix("Y", Y, n_profiles=landmarks.shape[0])
        self._n_landmarks, self._n_targets = landmarks.shape[1], self._targets.shape[1]
        self.ks_ = range(1, min(self.k_max, landmarks.shape[0]) + 1)
        self._search = NearestNeighbors().fit(landmarks)
        return self

    def _fill(self, prediction: Doubles, landmarks: FloatArray, k: int) -> None:
        for rows, reached, total in self._running_sums(landmarks, k):
            if reached == k:
                np.divide(total, k, out=prediction[rows])

    def _add_errors(
        self, errors: Doubles, landmarks: FloatArray, targets: FloatArray, row_of: dict[int, int]
    ) -> None:
        for rows, k, total in self._running_sums(landmarks, max(row_of)):
            if k in row_of:
                difference = total / k
                difference -= targets[rows]
                errors[row_of[k]] += np.abs(difference, out=difference).sum(axis=0)

    def _running_sums(
        self, landmarks: FloatArray, k_max: int
    ) -> Iterator[tuple[slice, int, Doubles]]:
        """Give ``(rows, k, sum of their k nearest profiles)`` for k = 1 … in reused arrays."""
        nearest = self._search.kneighbors(landmarks, k_max, return_distance=False)
        for rows in blocks(landmarks.shape[0], max(1, TILE_VALUES // self._n_targets)):
            total = np.zeros((rows.stop - rows.start, self._n_targets))
            for k in range(1, k_max + 1):
                total += self._targets[nearest[rows, k - 1]]
                yield rows, k, total
