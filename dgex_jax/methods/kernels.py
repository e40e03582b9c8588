"""Kernel ridge regression: the kernel, its validation errors, its solution, and what is fitted.

A prediction is ``k(x, centres) @ dual`` without an intercept: training values are standardised, so
their means are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.linalg

from dgex_jax.config import Settings, documented, setting
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import blocks
from dgex_jax.methods import Fitted
from dgex_jax.methods.means import made_up

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from dgex_jax.io.progress import Tick
    from dgex_jax.methods import Float32, Tables

    Float64 = NDArray[np.float64]

ROWS, GENES = 512, 1024
"""Rows of a kernel matrix, and targets, that are worked on at a time."""
SEARCHED = 2000
"""Training profiles, drawn with the seed where there are more, that settings are chosen on: the
best ones hardly change with their number (of the demo study the same on 2,000 as on all 4,125)."""
PAIRED = 2000
"""Training profiles, drawn with the seed where there are more, whose distances give the scale."""
LAMBDA_FACTORS = tuple(4.0**step for step in range(-3, 5))
"""Factors of a fitted lambda that validation chooses from when the centres are others."""
CONSTANT = 1e-6
"""Share of its squared length that a profile keeps, at least, when its mean is taken away."""


@documented
@dataclass(frozen=True)
class SolverConfig(Settings):
    """How kernel ridge regression is solved."""

    exact_limit: int = setting(
        20_000,
        "training profiles up to which all are centres and the solution is exact, if their kernel "
        "matrix fits in `memory_gb`; of more the Nyström approximation is solved",
        low=1,
    )
    centres: int = setting(
        8_000,
        "centres of the Nyström approximation: training profiles drawn by the seed",
        low=1,
    )
    memory_gb: float = setting(
        4.0,
        "memory that kernel matrices may take, in GB",
        "; the fitted model, its tables and blocks of some hundred rows come on top",
        low=1e-3,
        high=1e6,
    )
    seed: int = setting(1, "of the profiles drawn where there are many", low=0, high=2**32 - 1)


@dataclass(frozen=True)
class Rows:
    """Profiles as a kernel takes them: landmarks times the root of their weights."""

    values: Any
    squares: Any
    sums: Any


def rows_of(X: Any, roots: Any) -> Rows:
    """Weigh ``(n, n_landmarks)`` by the roots of the weights (NumPy's or JAX's arrays)."""
    values = X * roots[None, :]
    return Rows(values, (values * values).sum(axis=1), values.sum(axis=1))


def mixture(xp: Any, left: Rows, right: Rows, amplitudes: Any, lengths: Any, floor: float) -> Any:
    """Return the ``(n, m)`` kernel matrix; `xp` is NumPy or JAX's NumPy.

    The sum of ``x·y``, ``exp(-d²/l1)``, ``exp(-d/l2)`` and ``exp((c - 1)/l3)`` times their four
    amplitudes; d is the Euclidean distance, c the cosine of the profiles centred over their
    landmarks (0 for a profile of zeros), all of weighted landmarks. No d² is below `floor`.
    """
    products = left.values @ right.values.T
    d2 = left.squares[:, None] + right.squares[None, :] - 2.0 * products
    d2 = xp.maximum(d2, floor)
    n_landmarks = left.values.shape[1]
    norms = [
        xp.sqrt(
            xp.maximum(
                one.squares - one.sums * one.sums / n_landmarks, CONSTANT * one.squares + 1e-30
            )
        )
        for one in (left, right)
    ]
    cosine = products - left.sums[:, None] * (right.sums / n_landmarks)[None, :]
    cosine = cosine / norms[0][:, None] / norms[1][None, :]
    linear, rbf, laplacian, angular = (amplitudes[place] for place in range(4))
    return (
        linear * products
        + rbf * xp.exp(-d2 / lengths[0])
        + laplacian * xp.exp(-xp.sqrt(d2) / lengths[1])
        + angular * xp.exp((cosine - 1.0) / lengths[2])
    )


@dataclass(frozen=True)
class Kernel:
    """A `mixture` in float64: four amplitudes, three lengths, ``(n_landmarks,)`` weights."""

    amplitudes: tuple[float, ...]
    lengths: tuple[float, ...]
    weights: NDArray[Any]

    def rows(self, X: Float32) -> Rows:
        """Weigh ``(n, n_landmarks)`` profiles."""
        return rows_of(np.asarray(X, np.float64), np.sqrt(self.weights, dtype=np.float64))

    def between(self, left: Rows, right: Rows) -> Float64:
        """Return the ``(n, m)`` kernel matrix of some hundred rows, by arrays of that size."""
        made: Float64 = mixture(np, left, right, self.amplitudes, self.lengths, floor=0.0)
        return made

    def matrix(self, left: Float32, right: Float32) -> Float64:
        """Return the ``(n, m)`` kernel matrix, `ROWS` of them at a time."""
        made = np.empty((len(left), len(right)))
        columns = self.rows(right)
        for rows in blocks(len(left), ROWS):
            made[rows] = self.between(self.rows(left[rows]), columns)
        return made


class KernelModel(Fitted):
    """Centres ``(m, n_landmarks)``, dual ``(m, n_targets)``, landmark weights ``(n_landmarks,)``.

    Its settings hold the kernel's ``amplitudes`` and ``lengths`` (see `mixture`) and ``method``.
    Kernels are computed in float64, the product with the dual in float32.
    """

    kind: ClassVar[str] = "kernel"

    def __init__(self, settings: Mapping[str, Any], tensors: Mapping[str, Float32]) -> None:
        super().__init__(settings, tensors)
        centres, self._dual, weights = (tensors[name] for name in ("centres", "dual", "weights"))
        if (
            centres.ndim != 2
            or self._dual.ndim != 2
            or len(centres) != len(self._dual)
            or weights.shape != centres.shape[1:]
        ):
            raise DgexError(
                f"centres {centres.shape}, dual {self._dual.shape} and weights {weights.shape} "
                "don't go together"
            )
        amplitudes, lengths = (
            tuple(float(one) for one in settings[name]) for name in ("amplitudes", "lengths")
        )
        if (len(amplitudes), len(lengths)) != (4, 3) or min(lengths) <= 0 or weights.min() < 0:
            raise DgexError("a kernel has 4 amplitudes, 3 lengths above 0 and weights not below 0")
        self.kernel = Kernel(amplitudes, lengths, weights)
        self._centres = self.kernel.rows(centres)
        self.n_landmarks, self.n_targets = centres.shape[1], self._dual.shape[1]

    @property
    def title(self) -> str:
        """The method that gave the kernel, as ``dgex fit --method`` calls it."""
        words = {"KernelRidge": "kernel-ridge", "LearnedKernel": "learned-kernel"}
        method = str(self.settings["method"])
        return words.get(method, method)

    def infer(self, X: Float32) -> Float32:
        """Infer a batch."""
        similar = self.kernel.between(self.kernel.rows(X), self._centres)
        return similar.astype(np.float32) @ self._dual

    def heaviest(self, k: int) -> tuple[NDArray[np.intp], Float32]:
        """Give the landmarks of the largest weights; see `Fitted.heaviest`."""
        weights = self.tensors["weights"]
        if (weights == weights[0]).all():
            return super().heaviest(k)
        places = np.argsort(-weights, kind="stable")[:k]
        return places, weights[places]


def made_model(
    method: str, kernel: Kernel, solution: tuple[Float32, Float32], **more: Any
) -> KernelModel:
    """Make the model of a kernel with its centres and dual; `more` goes to its settings."""
    centres, dual = solution
    settings = {"method": method, "amplitudes": kernel.amplitudes, "lengths": kernel.lengths}
    tensors = {"centres": centres, "dual": dual, "weights": kernel.weights.astype(np.float32)}
    settings = {name: list(value) for name, value in settings.items() if name != "method"}
    return KernelModel({"method": method, **settings, **more}, tensors)


def drawn(n: int, wanted: int, seed: int) -> slice | NDArray[np.intp]:
    """Return all rows, or if there are more than wanted, these drawn without repeats, growing."""
    if n <= wanted:
        return slice(None)
    return np.sort(np.random.default_rng(seed).choice(n, wanted, replace=False))


def median_square(X: Float32, seed: int) -> float:
    """Median squared distance of pairs among `PAIRED` profiles at most; 1 where that is 0."""
    rows = rows_of(X[drawn(len(X), PAIRED, seed)].astype(np.float64), np.ones(X.shape[1]))
    first, second = np.triu_indices(len(rows.values), k=1)
    products = rows.values @ rows.values.T
    d2 = rows.squares[first] + rows.squares[second] - 2.0 * products[first, second]
    return float(np.median(d2)) or 1.0 if len(d2) else 1.0


def factor(matrix: Float64, lambda_: float) -> Any:
    """Cholesky of ``matrix + lambda I``, for `scipy.linalg.cho_solve`; it is overwritten."""
    matrix[np.diag_indices_from(matrix)] += lambda_
    # Transposed, since LAPACK overwrites arrays in the order of Fortran alone.
    return scipy.linalg.cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)


class Validation:
    """The error on validation profiles of kernels fitted to `SEARCHED` profiles at most."""

    def __init__(self, tables: Tables, seed: int) -> None:
        rows = drawn(len(tables.X), SEARCHED, seed)
        self._X, self._Y = tables.X[rows], tables.Y[rows]
        self._held_out = tables.X_val, tables.Y_val

    def errors(self, kernel: Kernel) -> Callable[[float], float]:
        """Return the mean absolute error by lambda."""
        X_val, Y_val = self._held_out
        known, to_val = kernel.matrix(self._X, self._X), kernel.matrix(self._X, X_val)

        def error(lambda_: float) -> float:
            smoother = scipy.linalg.cho_solve(
                factor(known.copy(), lambda_), to_val, check_finite=False
            ).astype(np.float32)
            return absolute_error(lambda genes: smoother.T @ self._Y[:, genes], Y_val)

        return error


def absolute_error(inferred: Callable[[slice], NDArray[Any]], Y: Float32) -> float:
    """Mean absolute error of what is inferred, `GENES` targets at a time."""
    return (
        sum(
            float(np.abs(inferred(genes) - Y[:, genes]).sum(dtype=np.float64))
            for genes in blocks(Y.shape[1], GENES)
        )
        / Y.size
    )


def descend(
    error: Callable[..., float], grids: Mapping[str, Sequence[float]], start: Mapping[str, float]
) -> dict[str, float]:
    """Search a grid: from `start` one setting after the other as long as the error falls.

    The settings are taken in turn, each moved to its neighbour on its grid while that is better,
    until none moves; each point is tried once.
    """
    known: dict[tuple[float, ...], float] = {}

    def tried(point: Mapping[str, float]) -> float:
        key = tuple(point[name] for name in grids)
        if key not in known:
            known[key] = error(**point)
        return known[key]

    best, moved = dict(start), True
    while moved:
        moved = False
        for name, grid in grids.items():
            for step in (1, -1):
                while 0 <= (place := grid.index(best[name]) + step) < len(grid):
                    there = best | {name: grid[place]}
                    if tried(there) >= tried(best):
                        break
                    best, moved = there, True
    return best


def solve(
    kernel: Kernel, lambda_: float, tables: Tables, config: SolverConfig, tick: Tick
) -> tuple[Float32, Float32]:
    """Return centres ``(m, n_landmarks)`` and dual ``(m, n_targets)`` of kernel ridge regression.

    Exact, ``(K + lambda I)^-1 Y``, or with fewer centres the Nyström approximation; `tick` is told
    of the training profiles done.

    Raises
    ------
    DgexError
        `memory_gb` does not hold the centres of the Nyström approximation.
    """
    n, _, n_targets = tables.sizes
    if n <= config.exact_limit and 8e-9 * n * n <= config.memory_gb:
        factored = factor(kernel.matrix(tables.X, tables.X), lambda_)
        dual = np.empty((n, n_targets), np.float32)
        for genes in blocks(n_targets, GENES):
            dual[:, genes] = scipy.linalg.cho_solve(
                factored, tables.Y[:, genes].astype(np.float64), check_finite=False
            )
        tick(n)
        return tables.X, dual
    m = min(n, config.centres)
    needed = 8e-9 * m * (2 * m + n_targets)
    if needed > config.memory_gb:
        raise DgexError(
            f"memory_gb = {config.memory_gb:g}: {m} centres need {needed:.2g} GB; raise it, or "
            "take fewer centres"
        )
    centres = tables.X[drawn(n, m, config.seed)]
    return centres, _Nystroem(kernel, tables, centres, tick).dual(lambda_)


def without_profiles(model: KernelModel, tables: Tables, config: SolverConfig) -> KernelModel:
    """Solve a fitted model again by centres that are nobody's profile (`means.made_up`).

    They are as many as the training profiles, or `config.centres` if that is less. Validation
    chooses the lambda anew, one for all targets. Raises `DgexError` as `means.means_of_similar`.
    """
    centres = made_up(tables.X, min(len(tables.X), config.centres), config.seed)
    solved = _Nystroem(model.kernel, tables, centres, lambda _n: None)
    to_val = model.kernel.matrix(tables.X_val, centres).astype(np.float32)

    def error(lambda_: float) -> float:
        dual = solved.dual(lambda_)
        return absolute_error(lambda genes: to_val @ dual[:, genes], tables.Y_val)

    start = float(model.settings["lambda"])
    grid = [start * factor for factor in LAMBDA_FACTORS]
    best = descend(error, {"lambda_": grid}, {"lambda_": start})["lambda_"]
    settings = {**model.settings, "centres": "made up", "lambda": best}
    if "shrinkage" in settings:
        settings["shrinkage"] = None
    return KernelModel(settings, {**model.tensors, "centres": centres, "dual": solved.dual(best)})


class _Nystroem:
    """Ridge on the features ``L^-1 k(centres, x)`` with ``L L' = k(centres, centres)``."""

    def __init__(self, kernel: Kernel, tables: Tables, centres: Float32, tick: Tick) -> None:
        between = kernel.matrix(centres, centres)
        # As much as rounding may take from the smallest eigenvalues.
        self._lower, _ = factor(between, 1e-10 * float(between.trace()) / len(between))
        self._gram = np.zeros((len(centres), len(centres)), order="F")
        self._moments = np.zeros((len(centres), tables.sizes[2]))
        for rows in blocks(len(tables.X), ROWS):
            features = scipy.linalg.solve_triangular(
                self._lower, kernel.matrix(centres, tables.X[rows]), lower=True, check_finite=False
            )
            self._gram += features @ features.T
            self._moments += features @ tables.Y[rows]
            tick(len(tables.X[rows]))

    def dual(self, lambda_: float) -> Float32:
        """Return the dual ``(m, n_targets)`` of a ridge."""
        factored = factor(self._gram.T.copy(), lambda_)
        dual = np.empty(self._moments.shape, np.float32)
        for genes in blocks(dual.shape[1], GENES):
            coef = scipy.linalg.cho_solve(factored, self._moments[:, genes], check_finite=False)
            dual[:, genes] = scipy.linalg.solve_triangular(
                self._lower, coef, lower=True, trans="T", check_finite=False
            )
        return dual
