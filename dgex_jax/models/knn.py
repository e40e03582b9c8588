"""KNN-GE: a target gene is the mean of its nearest landmark genes (paper section 2.5)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np

from dgex_jax.errors import DgexError
from dgex_jax.models.arrays import BLOCK_VALUES, blocks, check_fitted, check_ks, check_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.formats.expression import FloatArray

# A tile of sums (targets x profiles, float64, 1 MiB) stays in cache while k runs; measured.
TILE_TARGETS, TILE_PROFILES = 128, 1024
PRODUCT_TARGETS = 512


def rank_landmarks(
    X_tr: ArrayLike, Y_tr: ArrayLike, k_max: int, *, block_size: int = 4096
) -> NDArray[np.intp]:
    """Find the nearest landmarks of every target.

    Parameters
    ----------
    X_tr
        ``(n_profiles, n_landmarks)`` standardised values over GEO-tr.
    Y_tr
        ``(n_profiles, n_targets)`` standardised values of the same profiles.
    k_max
        How many landmarks to keep, at most ``n_landmarks``.
    block_size
        Profiles held in float64 at a time; changes memory and speed, never the result.

    Returns
    -------
    NDArray
        ``(n_targets, k_max)`` indices of landmarks, nearest first by Euclidean distance between
        columns; of equally near ones the first landmark.

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
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared distances ``(n_targets, n_landmarks)`` by matrix products, quick and rounded.

    Second comes, for each target, a bound on the gap below which rounding may have swapped two
    landmarks: four times the worst case of a distance, ``n * eps * (|x|^2 + |y|^2)``.
    """
    n_profiles, n_landmarks = landmarks.shape
    n_targets = targets.shape[1]
    squared = np.zeros((n_targets, n_landmarks))
    x_squares = np.zeros(n_landmarks)
    y_squares = np.zeros(n_targets)
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
    landmarks: FloatArray,
    targets: FloatArray,
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    block_size: int,
) -> NDArray[np.float64]:
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


def _transposed(landmarks: FloatArray) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Give profiles and their landmarks, ``(n_landmarks, n_profiles)``: gathers copy whole rows."""
    for rows in blocks(landmarks.shape[0], TILE_PROFILES):
        yield rows, np.ascontiguousarray(landmarks[rows].T, dtype=np.float64)


def _running_sums(
    landmarks: NDArray[np.float64], neighbours: NDArray[np.intp], total: NDArray[np.float64]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
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


def _absolute_errors(
    landmarks: NDArray[np.float64],
    targets: FloatArray,
    neighbours: NDArray[np.intp],
    ks: Sequence[int],
    genes: slice,
) -> NDArray[np.float64]:
    """Sum over profiles of absolute errors of some targets, ``(n_ks, n_targets)``."""
    row_of = {k: row for row, k in enumerate(ks)}
    truth = np.ascontiguousarray(targets[:, genes].T, dtype=np.float64)
    errors = np.empty((len(ks), len(truth)))
    excess = np.zeros_like(truth)
    for k, buffer in _running_sums(landmarks, neighbours[genes, : max(ks)], excess):
        # Sum of k landmarks less k times the target: nothing is divided before the last sum.
        excess -= truth
        if k in row_of:
            np.abs(excess, out=buffer).sum(axis=1, out=errors[row_of[k]])
            errors[row_of[k]] /= k
    return errors


class KnnGe:
    """Gene-based nearest neighbours: the mean of the k nearest landmarks in the same profile.

    Nearness is measured over the training profiles (GEO-tr) and values are taken from the profile
    to predict; k is chosen afterwards (`dgex_jax.models.tuning.choose`), one for all genes.

    Parameters
    ----------
    k_max
        The largest k of the grid; all landmarks if there are fewer.

    Attributes
    ----------
    neighbours_
        ``(n_targets, min(k_max, n_landmarks))`` indices of landmarks, nearest first.
    ks_
        The grid, 1 to the number of columns of `neighbours_`.
    n_landmarks_
        Number of landmarks seen by `fit`.
    """

    neighbours_: NDArray[np.intp]
    ks_: range
    n_landmarks_: int

    def __init__(self, k_max: int = 100) -> None:
        self.k_max = k_max

    def fit(self, X: ArrayLike, Y: ArrayLike) -> Self:
        """Rank the landmarks of every target.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)`` standardised values.
        Y
            ``(n_profiles, n_targets)`` standardised values.

        Raises
        ------
        DgexError
            As `rank_landmarks`.
        """
        landmarks = check_matrix("X", X)
        self.neighbours_ = rank_landmarks(landmarks, Y, min(self.k_max, landmarks.shape[1]))
        self.n_landmarks_ = landmarks.shape[1]
        self.ks_ = range(1, self.neighbours_.shape[1] + 1)
        return self

    def predict(self, X: ArrayLike, k: int) -> NDArray[np.float64]:
        """Predict all targets from their `k` nearest landmarks.

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
        prediction = np.empty((landmarks.shape[0], self.neighbours_.shape[0]))
        for rows, block in _transposed(landmarks):
            for genes in blocks(self.neighbours_.shape[0], TILE_TARGETS):
                nearest = self.neighbours_[genes, :k]
                total = np.zeros((len(nearest), block.shape[1]))
                for _ in _running_sums(block, nearest, total):
                    pass
                prediction[rows, genes] = (total / k).T
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
        n_profiles, n_targets = landmarks.shape[0], self.neighbours_.shape[0]
        targets = check_matrix("Y", Y, n_profiles=n_profiles, n_genes=n_targets)
        errors = np.zeros((len(ks), n_targets))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for rows, block in _transposed(landmarks):
                tiles = list(blocks(n_targets, TILE_TARGETS))
                add = partial(_absolute_errors, block, targets[rows], self.neighbours_, ks)
                # In order, and each to columns of its own: the same sums on any number of cores.
                for genes, part in zip(tiles, pool.map(add, tiles), strict=True):
                    errors[:, genes] += part
        errors /= n_profiles
        return errors

    def _check(self, X: ArrayLike, ks: Sequence[int]) -> tuple[FloatArray, list[int]]:
        check_fitted(self, "neighbours_")
        landmarks = check_matrix("X", X, n_genes=self.n_landmarks_)
        return landmarks, check_ks(ks, self.ks_)
