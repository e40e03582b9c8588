"""Ridge and KNN-GE tuned by validation, and any linear model of all targets at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dgex_jax.baselines.knn import KnnGe
from dgex_jax.baselines.linear import ridge_path
from dgex_jax.config import BaselineConfig
from dgex_jax.errors import DgexError
from dgex_jax.methods import Fitted, Float32, mean_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dgex_jax.baselines.linear import LinearFit
    from dgex_jax.methods import Tables


class Linear(Fitted):
    """Coefficients ``coef`` ``(n_landmarks, n_targets)`` and ``intercept`` ``(n_targets,)``."""

    kind: ClassVar[str] = "linear"

    def __init__(self, settings: Mapping[str, Any], tensors: Mapping[str, Float32]) -> None:
        super().__init__(settings, tensors)
        self._coef, self._intercept = tensors["coef"], tensors["intercept"]
        if self._coef.ndim != 2 or self._intercept.shape != self._coef.shape[1:]:
            raise DgexError(
                f"coefficients {self._coef.shape} don't go with intercepts {self._intercept.shape}"
            )
        self.n_landmarks, self.n_targets = map(int, self._coef.shape)

    @property
    def title(self) -> str:
        """The method that gave the coefficients, KNN-GE as ``dgex fit --method`` calls it."""
        method = str(self.settings["method"])
        return "knn-ge" if method == "KNN-GE" else method

    def facts(self) -> dict[str, str]:
        """Say which penalty, or how many landmarks."""
        told = {name: one for name, one in self.settings.items() if name != "method"}
        return {name: f"{one:.3g}" for name, one in told.items() if one}

    def infer(self, X: Float32) -> Float32:
        """Infer a batch."""
        return X @ self._coef + self._intercept


def linear(fit: LinearFit, method: str) -> Linear:
    """Take over a fit of the paper's linear methods, rounded to float32."""
    coef = np.ascontiguousarray(fit.coef.T, dtype=np.float32)
    tensors = {"coef": coef, "intercept": fit.intercept.astype(np.float32)}
    return Linear({"method": method, "lambda": fit.lambda_}, tensors)


def fit_ridge(tables: Tables, lambdas: Sequence[float] = BaselineConfig.l2_lambdas) -> Linear:
    """Fit ridge of all targets, lambda (growing, of `BaselineConfig`) by the validation error."""
    best: tuple[float, Linear] | None = None
    # From large to small, so that of equal errors the smoother model is kept.
    for fit in ridge_path(tables.X, tables.Y, lambdas[::-1]):
        made = linear(fit, "ridge")
        error = mean_error(made, tables.X_val, tables.Y_val)
        if best is None or error < best[0]:
            best = error, made
    if best is None:
        raise DgexError("no lambda to try")
    return best[1]


def fit_knn_ge(tables: Tables, k_max: int = BaselineConfig.k_max) -> Linear:
    """Fit the paper's KNN-GE, k up to `k_max` by the validation error; the smallest of equal ones.

    A mean of k landmarks is a linear model. It ignores what landmarks do together, which is what
    changes most from platform to platform.
    """
    found = KnnGe(k_max).fit(tables.X, tables.Y)
    errors = found.errors_by_k(tables.X_val, tables.Y_val, found.ks_).mean(axis=1)
    k = found.ks_[int(np.argmin(errors))]
    n_landmarks, n_targets = tables.sizes[1:]
    coef = np.zeros((n_landmarks, n_targets), np.float32)
    np.put_along_axis(coef, found.neighbours_[:, :k].T, np.float32(1 / k), axis=0)
    tensors = {"coef": coef, "intercept": np.zeros(n_targets, np.float32)}
    return Linear({"method": "KNN-GE", "k": k}, tensors)
