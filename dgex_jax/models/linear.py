"""Ordinary least squares for all target genes at once (the paper's LR), in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import scipy.linalg

from dgex_jax.config import check_range
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.formats.expression import FloatArray

BLOCK_VALUES = 2**22


def blocks(length: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover ``range(length)`` in order."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def check_matrix(
    name: str, values: ArrayLike, *, n_profiles: int | None = None, n_genes: int | None = None
) -> FloatArray:
    """Return `values` as the array it is, once it can serve as profiles by genes.

    Parameters
    ----------
    name
        What the array is called in an error.
    values
        ``(n_profiles, n_genes)``, any real dtype; not copied when it is an array already.
    n_profiles, n_genes
        The lengths it must have, where they are known.

    Raises
    ------
    DgexError
        Not a table of real numbers, of another shape, empty, or with values that are not finite
        (how many, and where the first one stands).
    """
    matrix = np.asarray(values)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise DgexError(
            f"{name}: must be a table of real numbers, profiles by genes, "
            f"not {matrix.dtype} of shape {matrix.shape}"
        )
    wanted = (n_profiles or matrix.shape[0], n_genes or matrix.shape[1])
    if matrix.shape != wanted:
        raise DgexError(
            f"{name}: must be {wanted[0]} profiles x {wanted[1]} genes, "
            f"not {matrix.shape[0]} x {matrix.shape[1]}"
        )
    if matrix.size == 0:
        raise DgexError(f"{name}: is empty ({matrix.shape[0]} profiles x {matrix.shape[1]} genes)")
    _check_finite(name, matrix)
    return matrix


def _check_finite(name: str, matrix: FloatArray) -> None:
    count = 0
    first = ""
    for rows in blocks(matrix.shape[0], max(1, BLOCK_VALUES // matrix.shape[1])):
        finite = np.isfinite(matrix[rows])
        if finite.all():
            continue
        if not first:
            row, column = np.argwhere(~finite)[0]
            value = matrix[rows][row, column]
            first = f"{value} at profile {rows.start + row}, gene {column} (counted from 0)"
        count += int(np.count_nonzero(~finite))
    if count:
        raise DgexError(
            f"{name}: {count} of {matrix.size} values are not finite, the first {first}"
        )


def check_fitted(model: object, attribute: str) -> None:
    """Raise `DgexError` unless `model` has the fitted `attribute`."""
    if not hasattr(model, attribute):
        raise DgexError(f"{type(model).__name__}: not fitted yet, call fit before predict")


def centre(
    X: FloatArray, order: Literal["C", "F"] = "C"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Subtract each gene's mean.

    Parameters
    ----------
    X
        ``(n_profiles, n_genes)``, any real dtype; left as it is.
    order
        Memory order of the copy.

    Returns
    -------
    tuple
        The centred ``(n_profiles, n_genes)`` float64 copy and the means ``(n_genes,)``. A gene
        with a single value becomes exactly 0, so that the rounding of its mean can't pass for a
        signal.
    """
    centred = np.array(X, dtype=np.float64, order=order)
    mean = centred.mean(axis=0)
    constant = centred.min(axis=0) == centred.max(axis=0)
    mean[constant] = centred[0, constant]
    centred -= mean
    return centred, mean


class LeastSquares:
    """Least squares with an intercept, every target gene on all landmark genes (section 2.4).

    With as many landmarks as profiles or more, or with dependent landmarks, it is the
    minimum-norm solution of the centred problem. It rests on the singular value decomposition of
    the centred X (by way of its QR factors; never of the Gram matrix, which squares the condition
    number); singular values up to ``eps * max(n_profiles, n_landmarks)`` of the largest count
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
        n_profiles, n_landmarks = landmarks.shape
        targets = check_matrix("Y", Y, n_profiles=n_profiles)
        centred, x_mean = centre(landmarks, order="F")
        # X = QR with Q in the place of X: the singular vectors of X itself would be a second
        # array as large, and those of the small R do.
        basis, triangle = scipy.linalg.qr(
            centred, mode="economic", overwrite_a=True, check_finite=False
        )
        left, singular, right = scipy.linalg.svd(triangle, full_matrices=False, check_finite=False)
        cutoff = np.finfo(np.float64).eps * max(n_profiles, n_landmarks) * singular[0]
        rank = int(np.count_nonzero(singular > cutoff))
        left, kept, right = left[:, :rank], singular[:rank, np.newaxis], right[:rank]

        n_targets = targets.shape[1]
        coef = np.empty((n_targets, n_landmarks))
        intercept = np.empty(n_targets)
        for genes in blocks(n_targets, self.block_size):
            block, y_mean = centre(targets[:, genes])
            coef[genes] = (right.T @ ((left.T @ (basis.T @ block)) / kept)).T
            intercept[genes] = y_mean - coef[genes] @ x_mean
        self.coef_, self.intercept_ = coef, intercept
        self.singular_, self.rank_ = singular, rank
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
        landmarks = check_matrix("X", X, n_genes=self.coef_.shape[1])
        prediction = landmarks.astype(np.float64) @ self.coef_.T
        prediction += self.intercept_
        return prediction
