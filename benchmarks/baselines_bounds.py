"""The least operations that each baseline needs, and the rates of this machine to hold them to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.machine import usable_cores
from benchmarks.rates import GIGA, numpy_product_rate, product_operations, quickest
from benchmarks.report import Bound
from dgex_jax.baselines.lasso import STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Rates:
    """Operations a second.

    Attributes
    ----------
    double, single
        Of products in NumPy.
    adding
        Of float64 additions of arrays in cache, on all cores together.
    """

    double: float
    single: float
    adding: float

    def lines(self) -> list[str]:
        """Say it."""
        double, single, adding = (one / GIGA for one in (self.double, self.single, self.adding))
        return [
            f"products: {double:.0f} GFLOP/s float64, {single:.0f} float32",
            f"additions in cache, all cores together: {adding:.2f} G/s float64",
        ]


def measured_rates(size: int = 2048, seconds: float = 1.0) -> Rates:
    """Measure them here."""
    a = np.random.default_rng(0).standard_normal((size, size))
    double = product_operations(size, size, size) / quickest(lambda: a @ a, seconds)
    return Rates(double, numpy_product_rate(size, seconds), adding_rate(seconds))


def adding_rate(seconds: float) -> float:
    """Additions a second to arrays of 128 KiB, one on every core."""
    cores, n, repeats = usable_cores(), 2**14, 1000

    def add(_core: int) -> None:
        a, b = np.zeros(n), np.ones(n)
        for _ in range(repeats):
            np.add(a, b, out=a)

    with ThreadPoolExecutor(cores) as pool:
        return cores * n * repeats / quickest(lambda: list(pool.map(add, range(cores))), seconds)


@dataclass(frozen=True)
class Size:
    """What is fitted: profiles of each part, landmarks, targets, lambdas and the largest k."""

    profiles: Mapping[str, int]
    n_landmarks: int
    n_targets: int
    n_lambdas: int = 10
    k_max: int = 100

    @property
    def gram(self) -> int:
        """Operations of XᵀX (one half of it, it is symmetric) and XᵀY."""
        n, p = self.profiles["tr"], self.n_landmarks
        return n * p * p + product_operations(p, n, self.n_targets)

    def predictions(self, fits: int) -> int:
        """Operations of so many fits on both validation parts and one on the test parts."""
        tried = fits * (self.profiles["va"] + self.profiles["1000G"])
        tested = self.profiles["te"] + self.profiles["GTEx"]
        return product_operations(tried + tested, self.n_landmarks, self.n_targets)

    @property
    def coefficients(self) -> int:
        """Operations of one product of all targets with a matrix of landmarks by landmarks."""
        return product_operations(self.n_targets, self.n_landmarks, self.n_landmarks)


def bound(method: str, size: Size, rates: Rates, steps: Sequence[float] = ()) -> Bound:
    """Shortest time of a method, products and additions at the machine's rates.

    Parameters
    ----------
    method
        ``lr``, ``lr-l2``, ``lr-l1`` or ``knn-ge``.
    size
        Of the study.
    rates
        Of the machine.
    steps
        Of LR-L1, mean over targets, for each lambda.
    """
    per = GIGA * 1000
    if method == "knn-ge":
        # XᵀY alone; then for each k two additions: of a landmark, and of an absolute error.
        products = product_operations(size.n_landmarks, size.profiles["tr"], size.n_targets)
        tried = size.profiles["va"] + size.profiles["1000G"]
        additions = 2 * size.k_max * tried * size.n_targets
        text = f"{products / per:.2f} TFLOP of XᵀY in float64, {additions / per:.3f} T additions"
        return Bound(products / rates.double + additions / rates.adding, text)
    fits = 1 if method == "lr" else size.n_lambdas
    double = size.gram + size.predictions(fits)
    text = f"{size.gram / per:.2f} TFLOP of XᵀX and XᵀY, "
    text += f"{size.predictions(fits) / per:.2f} of predictions"
    single = 0.0
    if method == "lr-l2":
        double += fits * size.coefficients
    elif method == "lr-l1":
        # A step is two products in float32; a look at the gap every few steps two in float64.
        single = 2 * sum(steps) * size.coefficients
        looks = 2 * sum(steps) / STEPS * size.coefficients
        double += round(looks)
        text += f", {looks / per:.2f} of duality gaps"
    text += " in float64"
    if single:
        text += f"; {single / per:.2f} in float32 of {sum(steps):.0f} steps a target"
    return Bound(double / rates.double + single / rates.single, text)
