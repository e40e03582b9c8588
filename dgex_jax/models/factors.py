"""The factorisation all linear models share: X once, the targets in its coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from dgex_jax.models.arrays import blocks, centre

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray

TILE_PROFILES = 2048
"""With 512 targets 8 MiB of float64, which stay in a cache between the steps done to them."""

NEARLY_ORTHONORMAL = 0.1
"""How far the Gram matrix of a first turn may be from the identity (Frobenius norm)."""


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


def factorise(landmarks: FloatArray) -> Factors:
    """Factorise the centred landmarks ``(n_profiles, n_landmarks)``; one float64 copy is made.

    By way of QR: singular values of the Gram matrix would be right to half the digits only.
    Singular values up to ``eps * max(n_profiles, n_landmarks)`` of the largest count as 0.
    """
    n_profiles, n_landmarks = landmarks.shape
    centred, x_mean = centre(landmarks, order="F")
    made = cholesky_qr(centred) if n_profiles > n_landmarks else None
    if made is None:
        # Anew, as it is spoilt; freed before, so that there are never two.
        del centred
        centred, _ = centre(landmarks, order="F")
        # X = QR with Q in the place of X: the singular vectors of X itself would be a second
        # array as large, and those of the small R do.
        made = scipy.linalg.qr(centred, mode="economic", overwrite_a=True, check_finite=False)
    basis, triangle = made
    left, singular, right = scipy.linalg.svd(triangle, full_matrices=False, check_finite=False)
    cutoff = np.finfo(np.float64).eps * max(n_profiles, n_landmarks) * singular[0]
    rank = int(np.count_nonzero(singular > cutoff))
    return Factors(basis, left[:, :rank], singular, right[:rank], x_mean)


def cholesky_qr(
    X: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """QR in matrix products alone, several times as quick as Householder's and as accurate.

    CholeskyQR2 (Yamamoto, Nakatsukasa, Yanagisawa and Fukaya 2015): the Gram matrix's Cholesky
    factor makes X nearly orthonormal, with an error that grows with the square of the condition
    number; a second turn removes that error. It is refused where the first turn leaves more than
    a second can remove, which is seen from its outcome and needs no estimate.

    Parameters
    ----------
    X
        ``(n, p)`` float64 in Fortran order, n >= p; overwritten.

    Returns
    -------
    tuple or None
        Q ``(n, p)`` with orthonormal columns, in the place of X, and upper triangular R
        ``(p, p)``; ``None`` for dependent or nearly dependent columns, X is then spoilt.
    """
    whole = identity = np.eye(X.shape[1])
    for turn in range(2):
        with np.errstate(over="ignore", invalid="ignore"):
            gram = X.T @ X
        near = turn == 0 or np.linalg.norm(gram - identity) <= NEARLY_ORTHONORMAL
        if not near or not np.isfinite(gram).all():
            return None
        try:
            triangle = scipy.linalg.cholesky(gram, overwrite_a=True, check_finite=False)
        except scipy.linalg.LinAlgError:
            return None
        X = scipy.linalg.blas.dtrsm(1.0, triangle, X, side=1, overwrite_b=True)
        whole = triangle @ whole
    return X, whole


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
    """Project ``(n_profiles, n_targets)``, `block_size` targets at a time.

    A constant target becomes exactly 0 and its mean its value, so that the rounding of a mean
    can't pass for a signal.
    """
    n_targets, width = targets.shape[1], factors.basis.shape[1]
    coordinates = np.empty((n_targets, factors.rank))
    squares, mean = np.zeros(n_targets), np.empty(n_targets)
    tile = np.empty((min(TILE_PROFILES, factors.n_profiles), min(block_size, n_targets)))
    for genes in blocks(n_targets, block_size):
        first = targets[0, genes].astype(np.float64)
        # From the first profile on a constant target is 0 already.
        shift = sum(part.sum(axis=0) for _, part in _tiles(targets, genes, first, tile))
        mean[genes] = first + shift / factors.n_profiles
        total = np.zeros((width, len(first)))
        product = np.empty_like(total)
        for rows, part in _tiles(targets, genes, mean[genes], tile):
            total += np.matmul(factors.basis[rows].T, part, out=product)
            squares[genes] += np.square(part, out=part).sum(axis=0)
        coordinates[genes] = total.T @ factors.left
    return Targets(coordinates, squares, mean)


def _tiles(
    targets: FloatArray, genes: slice, less: NDArray[np.float64], buffer: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Give profiles and their targets minus something, in a buffer that stays in cache."""
    for rows in blocks(targets.shape[0], TILE_PROFILES):
        part = buffer[: rows.stop - rows.start, : len(less)]
        yield rows, np.subtract(targets[rows, genes], less, out=part)
