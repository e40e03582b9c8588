"""Least squares with an L2 penalty (the paper's LR-L2) for all targets and many lambdas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.config import check_range
from dgex_jax.models.arrays import blocks, check_matrix
from dgex_jax.models.factors import factorise, project_targets
from dgex_jax.models.penalised import LinearFit, check_lambdas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike

    from dgex_jax.models.factors import Factors, Targets


def ridge_path(
    X: ArrayLike, Y: ArrayLike, lambdas: Sequence[float], *, block_size: int = 512
) -> Iterator[LinearFit]:
    """Fit ``(1/2n)|y - Xw - b|^2 + (lambda/2)|w|^2`` for every lambda (paper section 2.4).

    One factorisation serves all: a further lambda costs one matrix product. Equal to
    ``sklearn.linear_model.Ridge(alpha=n * lambda)`` in float64.

    Parameters
    ----------
    X
        ``(n_profiles, n_landmarks)`` standardised values.
    Y
        ``(n_profiles, n_targets)`` standardised values; never copied as a whole.
    lambdas
        In the order in which fits are wanted; each above 0.
    block_size
        Target genes held in float64 at a time; changes memory and speed, results only by rounding.

    Returns
    -------
    Iterator
        A `LinearFit` per lambda, made when asked for.

    Raises
    ------
    DgexError
        Tables of different lengths, empty ones, values that are not finite, or a bad lambda;
        before the first fit is asked for.
    """
    check_range("block_size", block_size, 1)
    wanted = check_lambdas(lambdas)
    landmarks = check_matrix("X", X)
    targets = check_matrix("Y", Y, n_profiles=landmarks.shape[0])
    factors = factorise(landmarks)
    projected = project_targets(factors, targets, block_size)
    return (_fit(factors, projected, one, block_size) for one in wanted)


def _fit(factors: Factors, targets: Targets, lambda_: float, block_size: int) -> LinearFit:
    n_targets = len(targets.mean)
    coef = np.empty((n_targets, factors.right.shape[1]))
    scale = factors.kept / (np.square(factors.kept) + factors.n_profiles * lambda_)
    for genes in blocks(n_targets, block_size):
        coef[genes] = (targets.coordinates[genes] * scale) @ factors.right
    intercept = targets.mean - coef @ factors.x_mean
    return LinearFit(lambda_, coef, intercept, gap=None, iterations=0)
