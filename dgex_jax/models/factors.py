"""The factorisation all linear models share: X once, the targets in its coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from dgex_jax.models.arrays import blocks, centre

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray


@dataclass(frozen=True)
class Factors:
    """Centred X as ``basis @ left * singular[:rank] @ right``.

    Attributes
    ----------
    basis
        ``(n_profiles, k)`` float64 with orthonormal columns, k = min(n_profiles, n_landmarks).
    left
        ``(k, rank)`` float64, left singular vectors in terms of `basis`.
    singular
        ``(k,)`` float64, all singular values, falling.
    right
        ``(rank, n_landmarks)`` float64, right singular vectors.
    x_mean
        ``(n_landmarks,)`` float64.
    """

    basis: NDArray[np.float64]
    left: NDArray[np.float64]
    singular: NDArray[np.float64]
    right: NDArray[np.float64]
    x_mean: NDArray[np.float64]

    @property
    def n_profiles(self) -> int:
        """Number of profiles."""
        return int(self.basis.shape[0])

    @property
    def rank(self) -> int:
        """How many singular values count."""
        return int(self.right.shape[0])

    @property
    def kept(self) -> NDArray[np.float64]:
        """``(rank,)`` singular values that count."""
        return self.singular[: self.rank]

    def project(self, centred: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates ``(rank, n_targets)`` of centred targets in the left singular vectors."""
        projected: NDArray[np.float64] = self.left.T @ (self.basis.T @ centred)
        return projected


def factorise(landmarks: FloatArray) -> Factors:
    """Factorise the centred landmarks ``(n_profiles, n_landmarks)``; one float64 copy is made.

    By way of QR, never of the Gram matrix, which squares the condition number. Singular values up
    to ``eps * max(n_profiles, n_landmarks)`` of the largest count as 0.
    """
    n_profiles, n_landmarks = landmarks.shape
    centred, x_mean = centre(landmarks, order="F")
    # X = QR with Q in the place of X: the singular vectors of X itself would be a second
    # array as large, and those of the small R do.
    basis, triangle = scipy.linalg.qr(
        centred, mode="economic", overwrite_a=True, check_finite=False
    )
    left, singular, right = scipy.linalg.svd(triangle, full_matrices=False, check_finite=False)
    cutoff = np.finfo(np.float64).eps * max(n_profiles, n_landmarks) * singular[0]
    rank = int(np.count_nonzero(singular > cutoff))
    return Factors(basis, left[:, :rank], singular, right[:rank], x_mean)


@dataclass(frozen=True)
class Targets:
    """Targets in the coordinates of the factors.

    Attributes
    ----------
    coordinates
        ``(n_targets, rank)`` float64.
    squares
        ``(n_targets,)`` float64, squared norm of each centred target.
    mean
        ``(n_targets,)`` float64.
    """

    coordinates: NDArray[np.float64]
    squares: NDArray[np.float64]
    mean: NDArray[np.float64]


def project_targets(factors: Factors, targets: FloatArray, block_size: int) -> Targets:
    """Project ``(n_profiles, n_targets)``, `block_size` targets in float64 at a time."""
    n_targets = targets.shape[1]
    coordinates = np.empty((n_targets, factors.rank))
    squares, mean = np.empty(n_targets), np.empty(n_targets)
    for genes in blocks(n_targets, block_size):
        block, mean[genes] = centre(targets[:, genes])
        coordinates[genes] = factors.project(block).T
        squares[genes] = np.square(block, out=block).sum(axis=0)
    return Targets(coordinates, squares, mean)
