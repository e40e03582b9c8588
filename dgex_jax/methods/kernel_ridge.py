"""Kernel ridge regression of all targets at once: an RBF kernel and a linear one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.config import documented, setting
from dgex_jax.methods.kernels import (
    Kernel,
    SolverConfig,
    Validation,
    descend,
    made_model,
    median_square,
    solve,
)

if TYPE_CHECKING:
    from dgex_jax.io.progress import Progress
    from dgex_jax.methods import Tables
    from dgex_jax.methods.kernels import KernelModel


@documented
@dataclass(frozen=True)
class KernelRidgeConfig(SolverConfig):
    """Kernel ridge regression: ``exp(-d²/s) + linear x·y / mean |x|²``.

    Of each tuple one value is chosen, by validation error, from the middle on to its neighbours.
    """

    scales: tuple[float, ...] = setting(
        (0.25, 0.5, 1.0, 2.0, 4.0),
        "s as a factor of the median squared distance of two training profiles",
        low=1e-6,
        high=1e6,
    )
    linear: tuple[float, ...] = setting(
        (0.0, 0.1, 0.3, 1.0, 3.0), "share of the linear kernel", low=0.0, high=1e6
    )
    lambdas: tuple[float, ...] = setting(
        (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        "the ridge: what is added to the diagonal of the kernel matrix",
        low=1e-9,
        high=1e9,
    )


def fit_kernel_ridge(tables: Tables, config: KernelRidgeConfig, progress: Progress) -> KernelModel:
    """Fit kernel ridge regression of all targets, its kernel and lambda by the validation error.

    They are chosen on `kernels.SEARCHED` training profiles at most, drawn by the seed. Raises
    `DgexError` as `kernels.solve`.
    """
    median = median_square(tables.X, config.seed)
    length = float(np.square(tables.X, dtype=np.float64).sum(axis=1).mean()) or 1.0
    ones = np.ones(tables.sizes[1])

    def kernel(scale: float, linear: float) -> Kernel:
        return Kernel((linear / length, 1.0, 0.0, 0.0), (scale * median, 1.0, 1.0), ones)

    validation = Validation(tables, config.seed)
    errors = lru_cache(1)(lambda scale, linear: validation.errors(kernel(scale, linear)))
    grids = {"lambda_": config.lambdas, "scale": config.scales, "linear": config.linear}
    start = {name: grid[len(grid) // 2] for name, grid in grids.items()}
    # About as many as the descent tries.
    with progress.step("choosing a kernel", sum(map(len, grids.values())), "kernels") as tick:

        def error(lambda_: float, scale: float, linear: float) -> float:
            tick(1)
            return errors(scale, linear)(lambda_)

        best = descend(error, grids, start)
    chosen = kernel(best["scale"], best["linear"])
    with progress.step("solving", len(tables.X)) as tick:
        solution = solve(chosen, best["lambda_"], tables, config, tick)
    return made_model(
        "KernelRidge",
        chosen,
        solution,
        **{"lambda": best["lambda_"], "scale": best["scale"], "linear": best["linear"]},
    )
