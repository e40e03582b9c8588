"""Kernel ridge regression whose kernel is learnt, with a weight for each landmark.

The `kernels.mixture` of four kernels is learnt by gradient on the closed-form error of profiles
left out. Of the targets this needs only their products YY', so 10,000 cost no more than 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.linalg
from threadpoolctl import threadpool_limits

from dgex_jax.config import documented, setting
from dgex_jax.errors import DgexError, DivergedError
from dgex_jax.io.expression import blocks
from dgex_jax.methods.kernels import (
    GENES,
    Kernel,
    SolverConfig,
    Validation,
    absolute_error,
    descend,
    made_model,
    median_square,
    mixture,
    rows_of,
    solve,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dgex_jax.io.progress import Progress, Tick
    from dgex_jax.methods import Float32, Tables
    from dgex_jax.methods.kernels import Float64, KernelModel

AMPLITUDES, ANGLE, NOISE = (0.3, 1.0, 1.0, 1.0), 0.5, 0.03
"""What learning starts from: of the linear, RBF, Laplacian and cosine kernel; the cosine's length;
the ridge."""
CLOSEST = 1e-6
"""Squared distances, as a share of the median, below which learning gives the root no slope."""
LOWEST_NOISE = 1e-3
"""Below it float32, in which is learnt, can't invert the kernel matrix of thousands."""
GRIDS = {
    "ridge": (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0),
    "width": (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0),
    "linear": (0.0, 0.1, 0.3, 1.0, 3.0, 10.0),
    "power": (0.0, 0.5, 1.0),
}
"""Factors of what was learnt that validation chooses from, and the power of the weights."""
RIDGES = tuple(4.0**step for step in range(-3, 4))
"""Factors of the common lambda that each gene's is chosen from by the error of those left out."""
SHRINKAGE = (0.0, 0.5, 1.0)
"""How far, in logarithms, a gene's lambda goes from the common one to its own."""
ADAM = optax.scale_by_adam()
GENE_LAMBDAS_LIMIT = 5_000
"""Training profiles up to which genes have lambdas of their own (an eigendecomposition)."""


@documented
@dataclass(frozen=True)
class LearnedKernelConfig(SolverConfig):
    """A kernel learnt by gradient."""

    steps: int = setting(100, "steps of Adam, the rate falling to 0 by a cosine", low=1)
    rate: float = setting(0.05, "its rate at first", low=1e-6, high=10.0)
    whole_limit: int = setting(
        1_000,
        "training profiles up to which each step takes all of them",
        "; of more it takes `batch_size`, drawn by the seed",
        low=2,
    )
    batch_size: int = setting(500, "training profiles of a step where there are more", low=2)


def fit_learned_kernel(
    tables: Tables, config: LearnedKernelConfig, progress: Progress
) -> KernelModel:
    """Fit kernel ridge regression of all targets with a kernel learnt on profiles left out.

    Where `tables.groups` are given, whole groups are left out instead of single profiles. Then the
    validation error chooses, by `GRIDS`, how far the landmark weights act and factors of the
    widths, of the linear kernel and of the ridge (on `kernels.SEARCHED` training profiles at most).
    Up to `GENE_LAMBDAS_LIMIT` training profiles, if `memory_gb` holds three of their kernel
    matrices, each gene has a lambda by the error of profiles left out, shrunk to the common one as
    validation chooses. Otherwise all genes share one, and the model's ``shrinkage`` is ``None``.

    Raises
    ------
    DgexError
        As `kernels.solve`; groups of which there is but one.
    DivergedError
        Errors that are no longer finite.
    """
    with progress.step("learning a kernel", config.steps, "steps") as tick:
        learned, noise, _ = learn(tables, config, tick)
    validation = Validation(tables, config.seed)
    errors = lru_cache(1)(
        lambda width, linear, power: validation.errors(_changed(learned, width, linear, power))
    )
    with progress.step("choosing a kernel", sum(map(len, GRIDS.values())), "kernels") as tick:

        def error(ridge: float, width: float, linear: float, power: float) -> float:
            tick(1)
            return errors(width, linear, power)(ridge * noise)

        start = {"ridge": 1.0, "width": 1.0, "linear": 1.0, "power": 1.0}
        best = descend(error, GRIDS, start)
    lambda_ = best["ridge"] * noise
    kernel = _changed(learned, best["width"], best["linear"], best["power"])
    n, shrinkage = len(tables.X), None
    with progress.step("solving", n) as tick:
        if n <= min(GENE_LAMBDAS_LIMIT, config.exact_limit) and 24e-9 * n * n <= config.memory_gb:
            dual, shrinkage = solve_by_gene(kernel, lambda_, tables)
            solution = tables.X, dual
            tick(n)
        else:
            solution = solve(kernel, lambda_, tables, config, tick)
    chosen = best | {"lambda": lambda_, "shrinkage": shrinkage}
    return made_model("LearnedKernel", kernel, solution, **chosen)


def _changed(kernel: Kernel, width: float, linear: float, power: float) -> Kernel:
    """Change a kernel by factors; the mean of the weights stays 1."""
    weights = kernel.weights**power
    rbf, laplacian, angle = kernel.lengths
    return Kernel(
        (kernel.amplitudes[0] * linear, *kernel.amplitudes[1:]),
        (rbf * width**2, laplacian * width, angle),
        weights / weights.mean(),
    )


def learn(
    tables: Tables, config: LearnedKernelConfig, tick: Tick
) -> tuple[Kernel, float, list[float]]:
    """Learn a kernel and its ridge by gradient; gives them, and the error before each step."""
    if tables.groups is not None and len(np.unique(tables.groups)) < 2:
        raise DgexError("groups: all training profiles are of one, so none can be left out")
    median = median_square(tables.X, config.seed)
    length = float(np.square(tables.X, dtype=np.float64).sum(axis=1).mean()) or 1.0
    starts: dict[str, Any] = {
        "amplitudes": [AMPLITUDES[0] / length, *AMPLITUDES[1:]],
        "lengths": [median, 2.0 * median**0.5, ANGLE],
        "weights": np.ones(tables.sizes[1]),
        "noise": NOISE,
    }
    # float32 whatever the process has enabled: gradients need no more, and take half the time.
    # JAX has threads of its own, which LAPACK's keep waiting.
    precision = jax.default_matmul_precision("highest")
    with jax.enable_x64(False), precision, threadpool_limits(1, user_api="blas"):
        params = {name: jnp.asarray(np.log(one), jnp.float32) for name, one in starts.items()}
        carry, errors = (params, ADAM.init(params)), []
        for step, batch in enumerate(_batches(tables, config)):
            rate = config.rate * (1.0 + np.cos(np.pi * step / config.steps)) / 2.0
            carry, error = _step(carry, *map(jnp.float32, (rate, median * CLOSEST)), *batch)
            errors.append(float(error))
            if not np.isfinite(errors[-1]):
                raise DivergedError(
                    f"the kernel's error is no longer finite after step {len(errors)}: lower rate "
                    f"(= {config.rate:g})"
                )
            tick(1)
        found = {name: np.asarray(value, np.float64) for name, value in _values(carry[0]).items()}
    kernel = Kernel(
        tuple(found["amplitudes"].tolist()), tuple(found["lengths"].tolist()), found["weights"]
    )
    return kernel, float(found["noise"]), errors


def _batches(tables: Tables, config: LearnedKernelConfig) -> Iterator[tuple[Any, Any, Any]]:
    """Give each step's landmarks, YY' / targets, and which pairs are left out together."""
    n = len(tables.X)
    rng = np.random.default_rng(config.seed)
    size = min(config.batch_size, n)

    def batch(rows: Any) -> tuple[Any, Any, Any]:
        Y = tables.Y[rows] / np.float32(tables.sizes[2] ** 0.5)
        together = None
        if tables.groups is not None:
            groups = np.unique(tables.groups[rows], return_inverse=True)[1]
            together = jnp.asarray(groups[:, None] == groups[None, :])
        return jnp.asarray(tables.X[rows]), jnp.asarray(Y @ Y.T), together

    every = batch(slice(None)) if n <= config.whole_limit else None
    for _ in range(config.steps):
        yield every or batch(np.sort(rng.choice(n, size, replace=False)))


def _values(params: Any) -> Any:
    """Turn the logarithms that are learnt into amplitudes, lengths, weights (mean 1) and ridge."""
    values = {name: jnp.exp(value) for name, value in params.items()}
    values["weights"] = values["weights"] / values["weights"].mean()
    values["noise"] = values["noise"] + LOWEST_NOISE
    return values


def left_out_error(
    params: Any, floor: Any, X: jax.Array, YY: jax.Array, together: jax.Array | None
) -> jax.Array:
    """Mean over profiles of the root mean square error over targets, each left out in turn.

    With ``A = (K + noise I)^-1`` and B its diagonal, what a profile left out misses is its row of
    ``B^-1 A Y``; with B the blocks of the pairs left out `together`, so for whole groups. `YY` is
    ``YY' / n_targets``.
    """
    values = _values(params)
    rows = rows_of(X, jnp.sqrt(values["weights"]))
    similar = mixture(jnp, rows, rows, values["amplitudes"], values["lengths"], floor)
    inverse = _inverse(similar + values["noise"] * jnp.eye(len(X), dtype=similar.dtype))
    if together is None:
        missed = inverse / jnp.diagonal(inverse)[:, None]
    else:
        missed = _inverse(jnp.where(together, inverse, 0.0)) @ inverse
    return jnp.sqrt(jnp.maximum(((missed @ YY) * missed).sum(axis=1), 1e-20)).mean()


@jax.jit
def _step(carry: Any, rate: jax.Array, floor: jax.Array, *batch: Any) -> tuple[Any, jax.Array]:
    """Take one step of Adam; gives what was learnt with Adam's state, and the error before it."""
    params, state = carry
    error, slope = jax.value_and_grad(left_out_error)(params, floor, *batch)
    # optax raises a float to its whole number of steps, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        direction, state = ADAM.update(slope, state)
    return (jax.tree.map(lambda old, step: old - rate * step, params, direction), state), error


@jax.custom_vjp
def _inverse(matrix: jax.Array) -> jax.Array:
    """Invert a positive definite matrix; its slope takes two products."""
    return jax.scipy.linalg.cho_solve(
        jax.scipy.linalg.cho_factor(matrix, lower=True),
        jnp.eye(len(matrix), dtype=matrix.dtype),
    )


def _inverse_forward(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    inverse = _inverse(matrix)
    return inverse, inverse


def _inverse_backward(inverse: jax.Array, slope: jax.Array) -> tuple[jax.Array]:
    return (-inverse.T @ slope @ inverse.T,)


_inverse.defvjp(_inverse_forward, _inverse_backward)


class Spectrum:
    """The eigenvectors of a kernel matrix, by which every lambda is cheap."""

    def __init__(self, matrix: Float64, Y: Float32) -> None:
        values, self.vectors = scipy.linalg.eigh(
            matrix.T, overwrite_a=True, check_finite=False, driver="evd"
        )
        # Rounding leaves the smallest of them a little below 0.
        self._values = np.maximum(values, 0.0)
        self._rotated: Float64 = np.empty(Y.shape)
        for genes in blocks(Y.shape[1], GENES):
            self._rotated[:, genes] = self.vectors.T @ Y[:, genes]

    def coordinates(self, genes: slice, lambdas: Float64) -> Float64:
        """Return the dual of some genes in the eigenvectors, by all genes' lambdas."""
        shrunk: Float64 = self._rotated[:, genes] / (self._values[:, None] + lambdas[genes])
        return shrunk

    def left_out(self, lambda_: float, groups: NDArray[Any] | None) -> Float64:
        """Return each gene's mean absolute error ``(n_targets,)`` of profiles left out in turn.

        Single profiles, or whole groups.
        """
        n, n_targets = self._rotated.shape
        scale = 1.0 / (self._values + lambda_)
        if groups is None:
            diagonal = np.square(self.vectors) @ scale
        else:
            inverse = (self.vectors * scale) @ self.vectors.T
            members = [np.flatnonzero(groups == one) for one in np.unique(groups)]
            parts = [scipy.linalg.cho_factor(inverse[np.ix_(rows, rows)]) for rows in members]
        errors = np.empty(n_targets)
        for genes in blocks(n_targets, GENES):
            missed = self.vectors @ (self._rotated[:, genes] * scale[:, None])
            if groups is None:
                missed /= diagonal[:, None]
            else:
                for rows, factored in zip(members, parts, strict=True):
                    missed[rows] = scipy.linalg.cho_solve(factored, missed[rows])
            errors[genes] = np.abs(missed, out=missed).sum(axis=0) / n
        return errors


def solve_by_gene(kernel: Kernel, lambda_: float, tables: Tables) -> tuple[Float32, float]:
    """Return the dual ``(n, n_targets)`` with a lambda for each gene, and the shrinkage chosen."""
    spectrum = Spectrum(kernel.matrix(tables.X, tables.X), tables.Y)
    own = own_factors(spectrum, lambda_, tables.groups)
    to_val = kernel.matrix(tables.X_val, tables.X) @ spectrum.vectors

    def error(shrinkage: float) -> float:
        lambdas = lambda_ * own**shrinkage
        return absolute_error(
            lambda genes: to_val @ spectrum.coordinates(genes, lambdas), tables.Y_val
        )

    # Of equal errors the first is kept: one lambda for all.
    shrinkage = min(SHRINKAGE, key=error)
    dual = np.empty(tables.Y.shape, np.float32)
    for genes in blocks(tables.sizes[2], GENES):
        dual[:, genes] = spectrum.vectors @ spectrum.coordinates(genes, lambda_ * own**shrinkage)
    return dual, shrinkage


def own_factors(spectrum: Spectrum, lambda_: float, groups: NDArray[Any] | None) -> Float64:
    """Return of `RIDGES` each gene's best factor ``(n_targets,)`` by the error of those left out.

    Of equal ones the largest, the smoothest.
    """
    falling = np.array(RIDGES[::-1])
    errors = np.stack([spectrum.left_out(lambda_ * factor, groups) for factor in falling])
    best: Float64 = falling[errors.argmin(axis=0)]
    return best
