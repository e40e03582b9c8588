"""Least squares with an L1 penalty (the paper's LR-L1) for all targets and many lambdas.

The alternating direction method of multipliers in Douglas-Rachford form (Eckstein and Bertsekas
1992; Boyd et al. 2011, section 6.4) with over-relaxation. A step is two matrix products with the
right singular vectors of X, for many targets at a time, and one factorisation serves every lambda
and every step size, so each target has a step size of its own. Coordinate descent needs ten to a
hundred times as many passes where profiles are fewer than landmarks. Nothing is trusted but the
duality gap of the coefficients that are handed out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.config import check_range
from dgex_jax.errors import DgexError
from dgex_jax.models.arrays import blocks, check_matrix
from dgex_jax.models.factors import factorise, project_targets
from dgex_jax.models.lassostate import RELAXATION, Design, State, start, step_factors
from dgex_jax.models.penalised import LinearFit, check_lambdas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

TOLERANCE = 1e-9
MAX_ITERATIONS = 20_000
STEPS = 8
"""Steps between two looks at the gap, which costs as much as one or two."""
BALANCE_AT = 16
"""Steps until the step sizes are changed; then twice as many, and so on, so that they settle."""
SINGLE_TOLERANCE, SINGLE_ITERATIONS = 1e-5, 1000
"""Steps are in float32 (twice as quick) for tolerances it can reach, as long as that seems to do.

The gap is always computed in float64.
"""


def lasso_path(
    X: ArrayLike,
    Y: ArrayLike,
    lambdas: Sequence[float],
    *,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
    block_size: int = 512,
) -> Iterator[LinearFit]:
    """Fit ``(1/2n)|y - Xw - b|^2 + lambda |w|_1`` for every lambda (paper section 2.4).

    Each fit starts where the one before ended, so order the lambdas from large to small. A target
    is done when its duality gap is at most `tolerance` times ``|y|^2 / n`` (y centred); the
    predictions then differ from the optimum's by at most ``sqrt(2 * gap)`` in the root mean square
    over the training profiles. Equal to ``sklearn.linear_model.Lasso(alpha=lambda)``.

    Parameters
    ----------
    X
        ``(n_profiles, n_landmarks)`` standardised values.
    Y
        ``(n_profiles, n_targets)`` standardised values; never copied as a whole.
    lambdas
        In the order in which fits are wanted; each above 0.
    tolerance
        The largest relative duality gap, from 1e-12 to 1.
    max_iterations
        How many steps a lambda may take.
    block_size
        Targets in float64 at a time; changes memory and speed, results within the tolerance.

    Returns
    -------
    Iterator
        A `LinearFit` per lambda, made when asked for. Coefficients that are 0 at the optimum are
        exactly 0 for the targets whose sparse iterate meets the tolerance first, else tiny: with a
        wide tolerance, a small lambda, or fewer profiles than landmarks many are tiny.

    Raises
    ------
    DgexError
        Tables of different lengths, empty ones, values that are not finite, a bad lambda or
        tolerance (before the first fit is asked for); a gap not reached in `max_iterations`.
    """
    check_range("tolerance", tolerance, 1e-12, 1.0)
    check_range("max_iterations", max_iterations, 1)
    check_range("block_size", block_size, 1)
    wanted = check_lambdas(lambdas)
    landmarks = check_matrix("X", X)
    targets = check_matrix("Y", Y, n_profiles=landmarks.shape[0])
    factors = factorise(landmarks)
    constant = landmarks.min(axis=0) == landmarks.max(axis=0)
    # Rounding of the singular vectors must not give a constant landmark a weight.
    design = Design(
        np.where(constant, 0.0, factors.right), factors.kept / np.sqrt(factors.n_profiles)
    )
    projected = project_targets(factors, targets, block_size)
    coordinates = projected.coordinates / np.sqrt(factors.n_profiles)
    squares = projected.squares / factors.n_profiles

    def path() -> Iterator[LinearFit]:
        state = start(design, coordinates, squares, wanted[0], block_size)
        before = wanted[0]
        for lambda_ in wanted:
            state.change_lambda(before, lambda_)
            before = lambda_
            coef, gap, steps = _solve(state, lambda_, tolerance, max_iterations, block_size)
            intercept = projected.mean - coef @ factors.x_mean
            yield LinearFit(lambda_, coef, intercept, gap, int(steps.max()), float(steps.mean()))

    return path()


def _solve(
    state: State, lambda_: float, tolerance: float, max_iterations: int, block_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Give coefficients ``(n_targets, n_landmarks)``, relative gaps and the steps each took."""
    n_targets = len(state.point)
    coef, gap, factors = np.empty(state.point.shape), np.full(n_targets, np.inf), np.ones(n_targets)
    active, taken = np.arange(n_targets), np.zeros(n_targets, np.intp)
    iterations, balance_at = 0, BALANCE_AT
    while active.size:
        if iterations >= max_iterations:
            raise DgexError(
                f"lasso: lambda = {lambda_:g}: {active.size} of {n_targets} targets not solved in "
                f"{iterations} iterations; the largest duality gap is {gap[active].max():.1e} of "
                f"|y|^2/n, not {tolerance:g}"
            )
        steps = min(STEPS, max_iterations - iterations)
        single = tolerance >= SINGLE_TOLERANCE and iterations < SINGLE_ITERATIONS
        for part in blocks(active.size, block_size):
            genes = active[part]
            dense, factors[genes] = _advance(
                state, genes, lambda_, steps, np.float32 if single else np.float64
            )
            coef[genes], gap[genes] = dense, state.gap(genes, dense, lambda_)
            reached = genes[gap[genes] <= tolerance]
            sparse = state.sparse(reached, lambda_)
            sparse_gap = state.gap(reached, sparse, lambda_)
            good = sparse_gap <= tolerance
            coef[reached[good]], gap[reached[good]] = sparse[good], sparse_gap[good]
        iterations += steps
        taken[active] = iterations
        active = active[gap[active] > tolerance]
        if iterations >= balance_at:
            for part in blocks(active.size, block_size):
                genes = active[part]
                state.change_steps(genes, lambda_, factors[genes])
            balance_at *= 2
    return coef, gap, taken


def _advance(
    state: State,
    genes: NDArray[np.intp],
    lambda_: float,
    steps: int,
    dtype: type[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take some steps with targets; gives their dense iterate and `step_factors`, in float64.

    An iterate has two faces that become one at the optimum: a sparse one (`State.sparse`) and a
    dense one, which fits the profiles exactly as the penalty asks. The gap of the dense one is far
    smaller where profiles are fewer than landmarks and lambda is small.
    """
    right = state.design.right.astype(dtype)
    rho = state.rho[genes, np.newaxis]
    threshold = (lambda_ / rho).astype(dtype)
    scale = state.design.scale / (np.square(state.design.scale) + rho)
    shrunk = (state.design.scale * scale).astype(dtype)
    constant = (state.coordinates[genes] * scale).astype(dtype)
    point = state.point[genes].astype(dtype)
    clipped, reflected, move = np.empty_like(point), np.empty_like(point), np.empty_like(point)
    for _ in range(steps):
        np.clip(point, -threshold, threshold, out=clipped)
        np.multiply(clipped, -2, out=reflected)
        reflected += point
        inner = reflected @ right.T
        inner *= shrunk
        np.subtract(constant, inner, out=inner)
        np.matmul(inner, right, out=move)
        dense = np.add(reflected, move, out=reflected)
        move -= clipped
        move *= dtype(RELAXATION)
        point += move
    state.point[genes] = point
    before = dense - move / dtype(RELAXATION)
    after = point - np.clip(point, -threshold, threshold)
    return dense.astype(np.float64), step_factors(dense, before, after, clipped)
