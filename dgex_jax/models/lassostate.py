"""Where the lasso solver stands, and the duality gap that says how good that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.models.arrays import blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

RELAXATION = 1.8
FIRST_BALANCE = 0.7
"""The first step size as a share of |multipliers| / |coefficients|."""
LARGEST = 2.0
"""Largest step size over the landmarks' mean variance, the curvature of a single coefficient."""
LARGEST_CHANGE = 5.0
"""By how much a step size may change at a time.

All are measured: they decide how many steps it takes, never the result.
"""


@dataclass(frozen=True)
class Design:
    """Centred X over sqrt(n) in its singular vectors.

    Attributes
    ----------
    right
        ``(rank, n_landmarks)`` float64, right singular vectors.
    scale
        ``(rank,)`` float64, singular values over sqrt(n).
    """

    right: NDArray[np.float64]
    scale: NDArray[np.float64]

    @property
    def largest_step(self) -> float:
        """Bound of the step sizes; any will do if all landmarks are constant."""
        variance = float(np.square(self.scale).sum()) / self.right.shape[1]
        return LARGEST * variance if variance > 0 else 1.0


def certify(
    design: Design,
    coordinates: NDArray[np.float64],
    squares: NDArray[np.float64],
    coef: NDArray[np.float64],
    lambda_: float,
) -> NDArray[np.float64]:
    """Relative duality gap of coefficients, whatever they come from.

    The dual point is the residual, scaled to be feasible and as good as a multiple of it can be.

    Parameters
    ----------
    design
        Of X.
    coordinates
        ``(n_targets, rank)`` float64, centred targets over sqrt(n) in the left singular vectors.
    squares
        ``(n_targets,)`` float64, ``|y|^2 / n``.
    coef
        ``(n_targets, n_landmarks)`` float64.
    lambda_
        Weight of the penalty.

    Returns
    -------
    NDArray
        ``(n_targets,)`` float64, (primal - dual) / ``(|y|^2 / n)``; 0 for a constant target whose
        coefficients are 0.
    """
    residual = coordinates - (coef @ design.right.T) * design.scale
    # What of y lies outside the span of X; rounding can take it below 0.
    outside = np.maximum(squares - np.square(coordinates).sum(axis=1), 0.0)
    size = outside + np.square(residual).sum(axis=1)
    along = outside + (coordinates * residual).sum(axis=1)
    steepest = np.abs((residual * design.scale) @ design.right).max(axis=1)
    bound = np.divide(lambda_, steepest, out=np.full_like(size, np.inf), where=steepest > 0)
    best = np.divide(along, size, out=np.zeros_like(size), where=size > 0)
    factor = np.clip(best, -bound, bound)
    primal = size / 2 + lambda_ * np.abs(coef).sum(axis=1)
    gap = np.maximum(primal - (factor * along - np.square(factor) * size / 2), 0.0)
    relative: NDArray[np.float64] = np.full_like(gap, np.inf)
    relative[gap == 0] = 0.0
    np.divide(gap, squares, out=relative, where=squares > 0)
    return relative


@dataclass(frozen=True)
class State:
    """The iterate of every target; `point` and `rho` change in place.

    Attributes
    ----------
    design
        Of X.
    coordinates, squares
        Of the targets, as `certify` takes them.
    point
        ``(n_targets, n_landmarks)`` float64: coefficients plus multipliers over `rho`. Clipping it
        at lambda / rho gives the multipliers (over rho), the rest is the sparse coefficients.
    rho
        ``(n_targets,)`` float64, step sizes.
    """

    design: Design
    coordinates: NDArray[np.float64]
    squares: NDArray[np.float64]
    point: NDArray[np.float64]
    rho: NDArray[np.float64]

    def gap(
        self, genes: NDArray[np.intp], coef: NDArray[np.float64], lambda_: float
    ) -> NDArray[np.float64]:
        """Relative duality gap of coefficients of some targets (see `certify`)."""
        return certify(self.design, self.coordinates[genes], self.squares[genes], coef, lambda_)

    def sparse(self, genes: NDArray[np.intp], lambda_: float) -> NDArray[np.float64]:
        """Coefficients of some targets, exactly 0 where the penalty wins."""
        threshold = lambda_ / self.rho[genes, np.newaxis]
        point = self.point[genes]
        sparse: NDArray[np.float64] = point - np.clip(point, -threshold, threshold)
        return sparse

    def change_lambda(self, before: float, after: float) -> None:
        """Go on from one lambda to the next, where multipliers per lambda are nearly the same."""
        self.rho[:] *= after / before

    def change_steps(
        self, genes: NDArray[np.intp], lambda_: float, factors: NDArray[np.float64]
    ) -> None:
        """Multiply step sizes of some targets; coefficients and multipliers stay as they are."""
        rho = self.rho[genes]
        changed = np.minimum(rho * factors, self.design.largest_step)
        sparse = self.sparse(genes, lambda_)
        self.point[genes] = sparse + (self.point[genes] - sparse) * (rho / changed)[:, np.newaxis]
        self.rho[genes] = changed


def start(
    design: Design,
    coordinates: NDArray[np.float64],
    squares: NDArray[np.float64],
    lambda_: float,
    block_size: int,
) -> State:
    """Start from a ridge solution, whose size and residual set the first step sizes."""
    n_targets = len(squares)
    point, rho = np.zeros((n_targets, design.right.shape[1])), np.empty(n_targets)
    eigenvalues = np.square(design.scale)
    shrunk = 1 / (eigenvalues + design.largest_step / LARGEST)
    for genes in blocks(n_targets, block_size):
        coef = (coordinates[genes] * design.scale * shrunk) @ design.right
        left = coordinates[genes] * design.scale * (1 - eigenvalues * shrunk)
        multipliers = np.clip(left @ design.right, -lambda_, lambda_)
        above, below = np.linalg.norm(multipliers, axis=1), np.linalg.norm(coef, axis=1)
        size = np.full(len(above), design.largest_step)
        np.divide(FIRST_BALANCE * above, below, out=size, where=(above > 0) & (below > 0))
        rho[genes] = np.minimum(size, design.largest_step)
        point[genes] = coef + multipliers / rho[genes, np.newaxis]
    return State(design, coordinates, squares, point, rho)


def step_factors(
    dense: NDArray[np.floating],
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    multipliers: NDArray[np.floating],
) -> NDArray[np.float64]:
    """By what to multiply step sizes so that both halves of the problem come along equally.

    Residual balancing (Boyd et al. 2011, section 3.4.1) with relative residuals: how far the
    `dense` iterate is from the sparse one `before` it, and how far that moved in the step, to
    `after`.
    """

    def share(part: NDArray[np.floating], whole: NDArray[np.floating]) -> NDArray[np.float64]:
        above, below = np.linalg.norm(part, axis=1), np.linalg.norm(whole, axis=1)
        shares: NDArray[np.float64] = np.zeros(len(above))
        shares[below > 0] = above[below > 0] / below[below > 0]
        return shares

    primal, dual = share(dense - before, after), share(after - before, multipliers)
    known = (primal > 0) & (dual > 0)
    ratio: NDArray[np.float64] = np.ones_like(primal)
    ratio[known] = np.exp((np.log(primal[known]) - np.log(dual[known])) / 2)
    return np.clip(ratio, 1 / LARGEST_CHANGE, LARGEST_CHANGE)
