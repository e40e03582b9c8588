"""Linear models of all target genes at once, in float64: least squares (LR) and ridge (LR-L2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import scipy.linalg

from dgex_jax.baselines.arrays import centre, check_fitted, check_matrix
from dgex_jax.config import check_range
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.io.expression import FloatArray

    Doubles = NDArray[np.float64]

TILE_PROFILES = 2048
"""With 512 targets 8 MiB of float64, which stay in a cache between the steps done to them."""

NEARLY_ORTHONORMAL = 0.1
"""How far the Gram matrix of a first turn may be from the identity (Frobenius norm)."""


@dataclass(frozen=True)
class Problem:
    """A regression in the singular vectors of the centred X, which every linear model shares.

    Singular values count as 0 up to ``eps * max(n_profiles, n_landmarks)`` of the largest.
    """

    n_profiles: int
    singular: Doubles  # (min(n_profiles, n_landmarks),) all singular values, falling
    right: Doubles  # (rank, n_landmarks) right singular vectors of those that count
    constant: NDArray[np.bool_]  # (n_landmarks,) landmarks with a single value
    coordinates: Doubles  # (n_targets, rank) centred targets in the left singular vectors
    squares: Doubles  # (n_targets,) squared norms of centred targets; a constant one's is exactly 0
    x_mean: Doubles  # (n_landmarks,)
    y_mean: Doubles  # (n_targets,)

    @property
    def rank(self) -> int:
        """How many singular values count."""
        return int(self.right.shape[0])

    @property
    def kept(self) -> Doubles:
        """``(rank,)`` singular values that count."""
        return self.singular[: self.rank]

    def intercept(self, coef: Doubles) -> Doubles:
        """``(n_targets,)`` intercepts that go with ``(n_targets, n_landmarks)`` coefficients."""
        intercept: Doubles = self.y_mean - coef @ self.x_mean
        return intercept


def factorise(
    X: ArrayLike, Y: ArrayLike, block_size: int, names: tuple[str, str] = ("X", "Y")
) -> Problem:
    """Factorise X ``(n_profiles, n_landmarks)`` once for all targets Y ``(n_profiles, n_targets)``.

    One float64 copy of X is made; of Y `block_size` targets at a time. By way of QR: singular
    values of the Gram matrix would be right to half the digits only. `names` stand in errors.

    Raises
    ------
    DgexError
        Tables of different lengths, empty ones, values that are not finite, or a bad block size.
    """
    check_range("block_size", block_size, 1)
    landmarks = check_matrix(names[0], X)
    n_profiles, n_landmarks = landmarks.shape
    targets = check_matrix(names[1], Y, n_profiles=n_profiles)
    centred, x_mean, constant = centre(landmarks, order="F")
    made = _cholesky_qr(centred) if n_profiles > n_landmarks else None
    if made is None:
        # Again, as it is spoilt; freed before, so that there are never two.
        del centred
        centred = centre(landmarks, order="F")[0]
        # X = QR with Q in the place of X: the singular vectors of X itself would be a second
        # array as large, and those of the small R do.
        made = scipy.linalg.qr(centred, mode="economic", overwrite_a=True, check_finite=False)
    basis, triangle = made
    left, singular, right = scipy.linalg.svd(triangle, full_matrices=False, check_finite=False)
    cutoff = np.finfo(np.float64).eps * max(n_profiles, n_landmarks) * singular[0]
    rank = int(np.count_nonzero(singular > cutoff))
    coordinates, squares, y_mean = _project(basis, left[:, :rank], targets, block_size)
    return Problem(
        n_profiles, singular, right[:rank], constant, coordinates, squares, x_mean, y_mean
    )


def _cholesky_qr(X: Doubles) -> tuple[Doubles, Doubles] | None:
    """QR in matrix products alone, several times as quick as Householder's and as accurate.

    CholeskyQR2 (Yamamoto, Nakatsukasa, Yanagisawa and Fukaya 2015): the Gram matrix's Cholesky
    factor makes X nearly orthonormal, with an error that grows with the square of the condition
    number; a second turn removes that error. It is refused where the first turn leaves more than
    a second can remove, which is seen from its outcome and needs no estimate.

    X is ``(n, p)`` in Fortran order, n >= p, and is overwritten. Returns Q ``(n, p)`` with
    orthonormal columns, in the place of X, and upper triangular R ``(p, p)``; ``None`` for
    dependent or nearly dependent columns, X is then spoilt.
    """
    product = identity = np.eye(X.shape[1])
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
        product = triangle @ product
    return X, product


def _project(
    basis: Doubles, left: Doubles, targets: FloatArray, block_size: int
) -> tuple[Doubles, Doubles, Doubles]:
    """Coordinates, squared norms and means of targets (see `Problem`)."""
    n_profiles, n_targets = targets.shape
    coordinates = np.empty((n_targets, left.shape[1]))
    squares, mean = np.zeros(n_targets), np.empty(n_targets)
    tile = np.empty((min(TILE_PROFILES, n_profiles), min(block_size, n_targets)))
    for genes in blocks(n_targets, block_size):
        first = targets[0, genes].astype(np.float64)
        # From the first profile on a constant target is 0 already.
        shift = sum(part.sum(axis=0) for _, part in _tiles(targets, genes, first, tile))
        mean[genes] = first + shift / n_profiles
        total = np.zeros((basis.shape[1], len(first)))
        product = np.empty_like(total)
        for rows, part in _tiles(targets, genes, mean[genes], tile):
            total += np.matmul(basis[rows].T, part, out=product)
            squares[genes] += np.square(part, out=part).sum(axis=0)
        coordinates[genes] = total.T @ left
    return coordinates, squares, mean


def _tiles(
    targets: FloatArray, genes: slice, less: Doubles, buffer: Doubles
) -> Iterator[tuple[slice, Doubles]]:
    """Give profiles and their targets minus something, in a buffer that stays in cache."""
    for rows in blocks(targets.shape[0], TILE_PROFILES):
        part = buffer[: rows.stop - rows.start, : len(less)]
        yield rows, np.subtract(targets[rows, genes], less, out=part)


def predict_linear(X: ArrayLike, coef: Doubles, intercept: Doubles) -> Doubles:
    """Predict ``(n_profiles, n_targets)`` from ``(n_targets, n_landmarks)`` coefficients.

    Raises
    ------
    DgexError
        Another number of landmarks, or values that are not finite.
    """
    landmarks = check_matrix("X", X, n_genes=coef.shape[1])
    prediction: Doubles = landmarks.astype(np.float64) @ coef.T
    prediction += intercept
    return prediction


class Mean:
    """Predict every target gene's mean, which is 0 in standardised units.

    Each data set is standardised by its own means, so 0 stands for the mean over that data set.
    The original takes GEO's means over all profiles, hence the mean over GEO-tr alone lies near 0
    and not at it; this project's definition is 0, and nothing is estimated from `Y`. Not in the
    paper: a method worse than this row has learnt nothing that carries over.
    """

    n_landmarks_: int
    n_targets_: int

    def fit(self, X: ArrayLike, Y: ArrayLike) -> Self:
        """Note how many genes X and Y have; raises `DgexError` as `LeastSquares.fit`."""
        landmarks = check_matrix("X", X)
        targets = check_matrix("Y", Y, n_profiles=landmarks.shape[0])
        self.n_landmarks_, self.n_targets_ = landmarks.shape[1], targets.shape[1]
        return self

    def predict(self, X: ArrayLike) -> Doubles:
        """Predict zeros ``(n_profiles, n_targets)``; raises `DgexError` as `predict_linear`."""
        check_fitted(self, "n_targets_")
        landmarks = check_matrix("X", X, n_genes=self.n_landmarks_)
        return np.zeros((landmarks.shape[0], self.n_targets_))


class LeastSquares:
    """Least squares with an intercept, every target gene on all landmark genes (section 2.4).

    With as many landmarks as profiles or more, or with dependent landmarks, it is the
    minimum-norm solution of the centred problem (see `Problem` for what counts as dependent).
    Predictions equal those of ``sklearn.linear_model.LinearRegression`` in float64.

    `block_size` targets are held in float64 at a time: it changes memory and speed, results only
    by rounding.
    """

    coef_: Doubles  # (n_targets, n_landmarks)
    intercept_: Doubles  # (n_targets,)
    singular_: Doubles  # (min(n_profiles, n_landmarks),) singular values of the centred X, falling
    rank_: int  # how many of them were kept

    def __init__(self, block_size: int = 512) -> None:
        self.block_size = block_size

    def fit(self, X: ArrayLike, Y: ArrayLike) -> Self:
        """Fit all targets ``(n_profiles, n_targets)``; raises `DgexError` as `factorise`."""
        problem = factorise(X, Y, self.block_size)
        self.coef_ = (problem.coordinates / problem.kept) @ problem.right
        self.intercept_ = problem.intercept(self.coef_)
        self.singular_, self.rank_ = problem.singular, problem.rank
        return self

    def predict(self, X: ArrayLike) -> Doubles:
        """Predict ``(n_profiles, n_targets)``; raises `DgexError` as `predict_linear`."""
        check_fitted(self, "coef_")
        return predict_linear(X, self.coef_, self.intercept_)


@dataclass(frozen=True)
class LinearFit:
    """A penalised linear model of all target genes at one lambda."""

    lambda_: float  # weight of the penalty, the same for all targets
    coef: Doubles  # (n_targets, n_landmarks)
    intercept: Doubles  # (n_targets,), not penalised
    # (n_targets,) duality gap as a share of the target's |y|^2 / n (y centred); ``None`` where the
    # solution is in closed form.
    gap: Doubles | None
    iterations: int  # of the solver, until the last target was done; 0 for a closed form
    mean_iterations: float = 0.0  # over targets, each of which stops when done: what the fit cost

    def predict(self, X: ArrayLike) -> Doubles:
        """Predict all targets, ``(n_profiles, n_targets)`` float64; see `predict_linear`."""
        return predict_linear(X, self.coef, self.intercept)


def check_lambdas(lambdas: Sequence[float]) -> list[float]:
    """Return the lambdas as floats; raise `DgexError` unless all are finite and above 0."""
    values = [float(one) for one in lambdas]
    if not values:
        raise DgexError("lambda: needs at least one value")
    for one in values:
        if not 0.0 < one < np.inf:
            raise DgexError(f"lambda = {one}: must be above 0 and finite")
    return values


def ridge_path(
    X: ArrayLike, Y: ArrayLike, lambdas: Sequence[float], *, block_size: int = 512
) -> Iterator[LinearFit]:
    """Fit ``(1/2n)|y - Xw - b|^2 + (lambda/2)|w|^2`` for every lambda (paper section 2.4).

    One factorisation serves all: a further lambda costs one matrix product. Equal to
    ``sklearn.linear_model.Ridge(alpha=n * lambda)`` in float64.

    X is ``(n_profiles, n_landmarks)`` and Y ``(n_profiles, n_targets)``, standardised; each fit is
    made when it is asked for. `block_size` targets are held in float64 at a time: it changes memory
    and speed, results only by rounding.

    Raises
    ------
    DgexError
        As `factorise`, or for a lambda that is not above 0; before the first fit is asked for.
    """
    wanted = check_lambdas(lambdas)
    problem = factorise(X, Y, block_size)
    return (_ridge(problem, one, block_size) for one in wanted)


def _ridge(problem: Problem, lambda_: float, block_size: int) -> LinearFit:
    n_targets = len(problem.y_mean)
    coef = np.empty((n_targets, problem.right.shape[1]))
    scale = problem.kept / (np.square(problem.kept) + problem.n_profiles * lambda_)
    for genes in blocks(n_targets, block_size):
        coef[genes] = (problem.coordinates[genes] * scale) @ problem.right
    return LinearFit(lambda_, coef, problem.intercept(coef), gap=None, iterations=0)
