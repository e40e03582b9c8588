"""Checks and steps on arrays of profiles by genes that baselines, scores and models share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from dgex_jax.errors import DgexError
from dgex_jax.io.expression import blocks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.io.expression import FloatArray

BLOCK_VALUES = 2**22
"""Values of a block that a check or a sum holds in float64 at a time."""


def check_matrix(
    name: str, values: ArrayLike, *, n_profiles: int | None = None, n_genes: int | None = None
) -> FloatArray:
    """Return `values` as the array it is, once it can serve as profiles by genes.

    Not copied when it is an array already, of any real dtype; `name` is what errors call it.

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
    count, first = 0, ""
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
    return matrix


def check_fitted(model: object, attribute: str) -> None:
    """Raise `DgexError` unless `model` has the fitted `attribute`."""
    if not hasattr(model, attribute):
        raise DgexError(f"{type(model).__name__}: not fitted yet, call fit before predict")


def centre(
    X: FloatArray, order: Literal["C", "F"] = "C"
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Subtract each gene's mean from ``(n_profiles, n_genes)``, which is left as it is.

    Returns the centred float64 copy, the means ``(n_genes,)``, and which genes have a single
    value: those become exactly 0, so that the rounding of a mean can't pass for a signal.
    """
    centred = np.array(X, dtype=np.float64, order=order)
    mean = centred.mean(axis=0)
    constant = centred.min(axis=0) == centred.max(axis=0)
    mean[constant] = centred[0, constant]
    centred -= mean
    return centred, mean, constant
