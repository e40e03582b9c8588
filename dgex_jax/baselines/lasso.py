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

from dgex_jax.baselines.linear import LinearFit, check_lambdas, factorise
from dgex_jax.config import check_range
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.baselines.linear import Problem

    Doubles = NDArray[np.float64]
    Indices = NDArray[np.intp]

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
RELAXATION = 1.8
FIRST_BALANCE = 0.7
"""The first step size as a share of |multipliers| / |coefficients|."""
LARGEST = 2.0
"""Largest step size over the landmarks' mean variance, the curvature of a single coefficient."""
LARGEST_CHANGE = 5.0
"""By how much a step size may change at a time.

All are measured: they decide how many steps it takes, never the result.
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

    Coefficients that are 0 at the optimum are exactly 0 for the targets whose sparse iterate meets
    the tolerance first, else tiny: with a wide tolerance, a small lambda, or fewer profiles than
    landmarks many are tiny.

    X is ``(n_profiles, n_landmarks)`` and Y ``(n_profiles, n_targets)``, standardised; each fit is
    made when it is asked for, in at most `max_iterations` steps. `block_size` targets are held in
    float64 at a time: it changes memory and speed, results within the tolerance.

    Raises
    ------
    DgexError
        As `factorise`; a bad lambda, or a tolerance that is not from 1e-12 to 1 (before the first
        fit is asked for); a gap not reached in `max_iterations`.
    """
    check_range("tolerance", tolerance, 1e-12, 1.0)
    check_range("max_iterations", max_iterations, 1)
    wanted = check_lambdas(lambdas)
    problem = factorise(X, Y, block_size)

    def path() -> Iterator[LinearFit]:
        solver = _Solver(problem, wanted[0], block_size)
        for lambda_ in wanted:
            coef, gap, steps = solver.solve(lambda_, tolerance, max_iterations)
            intercept = problem.intercept(coef)
            yield LinearFit(lambda_, coef, intercept, gap, int(steps.max()), float(steps.mean()))

    return path()


class _Solver:
    """The iterate of every target, which one lambda hands on to the next.

    `point` ``(n_targets, n_landmarks)`` is coefficients plus multipliers over the step sizes `rho`
    ``(n_targets,)``: clipping it at lambda / rho gives the multipliers (over rho), the rest is the
    sparse coefficients. X and targets are those of `problem`, over sqrt(n).
    """

    def __init__(self, problem: Problem, lambda_: float, block_size: int) -> None:
        """Start from a ridge solution, whose size and residual set the first step sizes."""
        root = np.sqrt(problem.n_profiles)
        # Rounding of the singular vectors must not give a constant landmark a weight.
        self.right = np.where(problem.constant, 0.0, problem.right)
        self.scale = problem.kept / root
        self.coordinates = problem.coordinates / root
        self.squares = problem.squares / problem.n_profiles
        self.block_size, self.lambda_ = block_size, lambda_
        variance = float(np.square(self.scale).sum()) / self.right.shape[1]
        # Any step will do if all landmarks are constant.
        self.largest_step = LARGEST * variance if variance > 0 else 1.0

        n_targets = len(self.squares)
        self.point, self.rho = np.zeros((n_targets, self.right.shape[1])), np.empty(n_targets)
        eigenvalues = np.square(self.scale)
        shrunk = 1 / (eigenvalues + self.largest_step / LARGEST)
        for genes in blocks(n_targets, block_size):
            coef = (self.coordinates[genes] * self.scale * shrunk) @ self.right
            left = self.coordinates[genes] * self.scale * (1 - eigenvalues * shrunk)
            multipliers = np.clip(left @ self.right, -lambda_, lambda_)
            above, below = np.linalg.norm(multipliers, axis=1), np.linalg.norm(coef, axis=1)
            size = np.full(len(above), self.largest_step)
            np.divide(FIRST_BALANCE * above, below, out=size, where=(above > 0) & (below > 0))
            self.rho[genes] = np.minimum(size, self.largest_step)
            self.point[genes] = coef + multipliers / self.rho[genes, np.newaxis]

    def solve(
        self, lambda_: float, tolerance: float, max_iterations: int
    ) -> tuple[Doubles, Doubles, Indices]:
        """Give coefficients ``(n_targets, n_landmarks)``, relative gaps and the steps each took."""
        # From one lambda to the next multipliers per lambda are nearly the same.
        self.rho *= lambda_ / self.lambda_
        self.lambda_ = lambda_
        n_targets = len(self.point)
        coef, gap = np.empty(self.point.shape), np.full(n_targets, np.inf)
        factors, taken = np.ones(n_targets), np.zeros(n_targets, np.intp)
        active, iterations, balance_at = np.arange(n_targets), 0, BALANCE_AT
        while active.size:
            if iterations >= max_iterations:
                raise DgexError(
                    f"lasso: lambda = {lambda_:g}: {active.size} of {n_targets} targets not solved "
                    f"in {iterations} iterations; the largest duality gap is "
                    f"{gap[active].max():.1e} of |y|^2/n, not {tolerance:g}"
                )
            steps = min(STEPS, max_iterations - iterations)
            single = tolerance >= SINGLE_TOLERANCE and iterations < SINGLE_ITERATIONS
            for part in blocks(active.size, self.block_size):
                genes = active[part]
                dtype = np.float32 if single else np.float64
                coef[genes], factors[genes] = self.advance(genes, steps, dtype)
                gap[genes] = self._gap(genes, coef[genes])
                reached = genes[gap[genes] <= tolerance]
                sparse = self._sparse(reached)
                sparse_gap = self._gap(reached, sparse)
                good = sparse_gap <= tolerance
                coef[reached[good]], gap[reached[good]] = sparse[good], sparse_gap[good]
            iterations += steps
            taken[active] = iterations
            active = active[gap[active] > tolerance]
            if iterations >= balance_at:
                for part in blocks(active.size, self.block_size):
                    self._change_steps(active[part], factors[active[part]])
                balance_at *= 2
        return coef, gap, taken

    def advance(
        self, genes: Indices, steps: int, dtype: type[np.floating]
    ) -> tuple[Doubles, Doubles]:
        """Take some steps with targets; gives their dense iterate and `_step_factors`, in float64.

        An iterate has two faces that become one at the optimum: a sparse one (`_sparse`) and a
        dense one, which fits the profiles exactly as the penalty asks. The gap of the dense one is
        far smaller where profiles are fewer than landmarks and lambda is small.
        """
        right = self.right.astype(dtype)
        rho = self.rho[genes, np.newaxis]
        threshold = (self.lambda_ / rho).astype(dtype)
        scale = self.scale / (np.square(self.scale) + rho)
        shrunk = (self.scale * scale).astype(dtype)
        constant = (self.coordinates[genes] * scale).astype(dtype)
        point = self.point[genes].astype(dtype)
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
        self.point[genes] = point
        before = dense - move / dtype(RELAXATION)
        after = point - np.clip(point, -threshold, threshold)
        return dense.astype(np.float64), _step_factors(dense, before, after, clipped)

    def _sparse(self, genes: Indices) -> Doubles:
        """Coefficients of some targets, exactly 0 where the penalty wins."""
        threshold = self.lambda_ / self.rho[genes, np.newaxis]
        point = self.point[genes]
        sparse: Doubles = point - np.clip(point, -threshold, threshold)
        return sparse

    def _change_steps(self, genes: Indices, factors: Doubles) -> None:
        """Multiply step sizes of some targets; coefficients and multipliers stay as they are."""
        rho = self.rho[genes]
        changed = np.minimum(rho * factors, self.largest_step)
        sparse = self._sparse(genes)
        self.point[genes] = sparse + (self.point[genes] - sparse) * (rho / changed)[:, np.newaxis]
        self.rho[genes] = changed

    def _gap(self, genes: Indices, coef: Doubles) -> Doubles:
        """Relative duality gap ``(primal - dual) / (|y|^2 / n)`` of coefficients of some targets.

        The dual point is the residual, scaled to be feasible and as good as a multiple of it can
        be. A constant target whose coefficients are 0 has gap 0.
        """
        coordinates, squares = self.coordinates[genes], self.squares[genes]
        residual = coordinates - (coef @ self.right.T) * self.scale
        # What of y lies outside the span of X; rounding can take it below 0.
        outside = np.maximum(squares - np.square(coordinates).sum(axis=1), 0.0)
        size = outside + np.square(residual).sum(axis=1)
        along = outside + (coordinates * residual).sum(axis=1)
        steepest = np.abs((residual * self.scale) @ self.right).max(axis=1)
        bound = np.full_like(size, np.inf)
        np.divide(self.lambda_, steepest, out=bound, where=steepest > 0)
        best = np.divide(along, size, out=np.zeros_like(size), where=size > 0)
        factor = np.clip(best, -bound, bound)
        primal = size / 2 + self.lambda_ * np.abs(coef).sum(axis=1)
        gap = np.maximum(primal - (factor * along - np.square(factor) * size / 2), 0.0)
        relative: Doubles = np.full_like(gap, np.inf)
        relative[gap == 0] = 0.0
        np.divide(gap, squares, out=relative, where=squares > 0)
        return relative


def _step_factors(
    dense: NDArray[np.floating],
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    multipliers: NDArray[np.floating],
) -> Doubles:
    """By what to multiply step sizes so that both halves of the problem come along equally.

    Residual balancing (Boyd et al. 2011, section 3.4.1) with relative residuals: how far the
    `dense` iterate is from the sparse one `before` it, and how far that moved in the step, to
    `after`.
    """

    def share(part: NDArray[np.floating], whole: NDArray[np.floating]) -> Doubles:
        above, below = np.linalg.norm(part, axis=1), np.linalg.norm(whole, axis=1)
        shares: Doubles = np.zeros(len(above))
        shares[below > 0] = above[below > 0] / below[below > 0]
        return shares

    primal, dual = share(dense - before, after), share(after - before, multipliers)
    known = (primal > 0) & (dual > 0)
    ratio: Doubles = np.ones_like(primal)
    ratio[known] = np.exp((np.log(primal[known]) - np.log(dual[known])) / 2)
    return np.clip(ratio, 1 / LARGEST_CHANGE, LARGEST_CHANGE)
