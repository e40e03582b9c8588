"""The baselines beside scikit-learn on a smaller study: times, and how far the answers differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.linear_model import lasso_path as sklearn_lasso_path
from sklearn.neighbors import NearestNeighbors

from benchmarks.report import Line
from benchmarks.script import progress
from benchmarks.timing import paired
from dgex_jax.baselines.knn import KnnGe
from dgex_jax.baselines.lasso import lasso_path
from dgex_jax.baselines.linear import LeastSquares, ridge_path
from dgex_jax.config import BaselineConfig
from reproduce.baselines import LARGEST_GAP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from dgex_jax.train.arrays import StudyArrays

    Double = NDArray[np.float64]

PEER = "scikit-learn"
MOST_PASSES = 100_000


@dataclass(frozen=True)
class Compared:
    """One method beside its peer.

    - `line`: times.
    - `what`: is compared.
    - `difference`: largest absolute difference of the answers.
    - `allowed`: by rounding, or by the duality gap that both were asked for.
    """

    line: Line
    what: str
    difference: float
    allowed: float


class Answers:
    """Keeps what timed calls return."""

    def __init__(self) -> None:
        self.of: dict[str, list[Double]] = {}

    def call(self, name: str, work: Callable[[], list[Double]]) -> Callable[[], None]:
        """Make a call that keeps its answer."""

        def keep() -> None:
            self.of[name] = work()

        return keep

    def difference(self) -> float:
        """Largest absolute difference of the two."""
        return max(
            float(np.abs(a - b).max())
            for a, b in zip(self.of["ours"], self.of["peer"], strict=True)
        )


def compare(method: str, arrays: StudyArrays, rounds: int, lasso_targets: int) -> Compared:
    """Compare one of ``lr``, ``lr-l2``, ``lr-l1`` and ``knn-ge`` with its peer.

    Peers get arrays in float64, ready beforehand; ours get the study's float32.
    """
    X, Y = arrays.X["tr"], arrays.Y["tr"]
    progress(f"{method} beside {PEER}: {X.shape[0]} x {X.shape[1]} to {Y.shape[1]}")
    wide = X.astype(np.float64), Y.astype(np.float64)
    if method == "lr-l1":
        return _lasso(arrays, wide, min(lasso_targets, Y.shape[1]))
    what, allowed = "coefficients", 1e-8
    config, answers = BaselineConfig(), Answers()
    lambdas = config.l2_lambdas
    ours: Callable[[], list[Double]]
    peer: Callable[[], list[Double]]
    if method == "lr":
        name = f"{PEER} LinearRegression"
        ours = lambda: [LeastSquares().fit(X, Y).coef_]  # noqa: E731
        peer = lambda: [LinearRegression().fit(*wide).coef_]  # noqa: E731
    elif method == "lr-l2":
        name = f"{PEER} Ridge(solver='cholesky')"
        ours = lambda: [fit.coef for fit in ridge_path(X, Y, lambdas)]  # noqa: E731
        peer = partial(_ridge, *wide, lambdas)
    else:
        name, what, allowed = f"{PEER} NearestNeighbors + NumPy", "errors of every k", 1e-10
        ours = partial(_knn, arrays, config.k_max)
        peer = partial(_knn_peer, arrays, wide, config.k_max)
    times = paired({"ours": answers.call("ours", ours), "peer": answers.call("peer", peer)}, rounds)
    line = Line(_title(method, X.shape, Y.shape[1]), times["ours"], name, times["peer"])
    return Compared(line, what, answers.difference(), allowed)


def _title(method: str, shape: Sequence[int], targets: int) -> str:
    names = {
        "lr": "LR",
        "lr-l2": "LR-L2, 10 lambdas",
        "lr-l1": "LR-L1, 10 lambdas, a target",
        "knn-ge": "KNN-GE, every k",
    }
    return f"{names[method]}: {shape[0]:,} x {shape[1]} to {targets}"


def _ridge(X: Double, Y: Double, lambdas: Sequence[float]) -> list[Double]:
    return [Ridge(alpha=len(X) * one, solver="cholesky").fit(X, Y).coef_ for one in lambdas]


def _knn(arrays: StudyArrays, k_max: int) -> list[Double]:
    model = KnnGe(k_max).fit(arrays.X["tr"], arrays.Y["tr"])
    return [model.errors_by_k(arrays.X["va"], arrays.Y["va"], model.ks_)]


def _knn_peer(arrays: StudyArrays, wide: tuple[Double, Double], k_max: int) -> list[Double]:
    X, Y = wide
    k_max = min(k_max, X.shape[1])
    search = NearestNeighbors(n_neighbors=k_max, algorithm="brute").fit(X.T)
    nearest = search.kneighbors(Y.T, return_distance=False)
    new, truth = (one["va"].astype(np.float64) for one in (arrays.X, arrays.Y))
    ks = np.arange(1, k_max + 1)
    errors = np.empty((k_max, len(nearest)))
    for gene, order in enumerate(nearest):
        means = new[:, order].cumsum(axis=1) / ks
        errors[:, gene] = np.abs(means - truth[:, [gene]]).mean(axis=0)
    return [errors]


def _lasso(arrays: StudyArrays, wide: tuple[Double, Double], few: int) -> Compared:
    """Ours fits all targets and its peer a few of them, once each: times are those of a target."""
    X, Y = arrays.X["tr"], arrays.Y["tr"]
    lambdas, answers = BaselineConfig().l1_lambdas[::-1], Answers()

    def ours() -> list[Double]:
        return [
            np.column_stack([fit.coef, fit.intercept])
            for fit in lasso_path(X, Y, lambdas, tolerance=LARGEST_GAP)
        ]

    times = paired(
        {
            "ours": answers.call("ours", ours),
            "peer": answers.call("peer", lambda: _lasso_peer(*wide, lambdas, few)),
        },
        rounds=1,
        warmups=0,
    )
    reached = {
        name: [
            _objective(*wide, one[:few], lambda_)
            for one, lambda_ in zip(fits, lambdas, strict=True)
        ]
        for name, fits in answers.of.items()
    }
    difference = max(
        float(np.abs(a - b).max()) for a, b in zip(reached["ours"], reached["peer"], strict=True)
    )
    line = Line(
        _title("lr-l1", X.shape, Y.shape[1]),
        times["ours"].per(Y.shape[1]),
        f"{PEER} lasso_path on {few}",
        times["peer"].per(few),
    )
    # Both are above the optimum by their gap at most.
    return Compared(line, "objective / (|y|^2/n)", difference, LARGEST_GAP)


def _objective(X: Double, Y: Double, weights: Double, lambda_: float) -> Double:
    """Compute what LR-L1 minimises, ``(few,)`` as a share of ``|y|^2 / n`` (y centred)."""
    Y = Y[:, : len(weights)]
    residual = Y - X @ weights[:, :-1].T - weights[:, -1]
    penalty = lambda_ * np.abs(weights[:, :-1]).sum(axis=1)
    objective: Double = (np.square(residual).mean(axis=0) / 2 + penalty) / Y.var(axis=0)
    return objective


def _lasso_peer(X: Double, Y: Double, lambdas: Sequence[float], few: int) -> list[Double]:
    """Coefficients and intercept ``(few, n_landmarks + 1)`` of each lambda.

    As `sklearn.linear_model.Lasso` does it with one Gram matrix for all targets and lambdas.
    """
    x_mean, y_mean = X.mean(axis=0), Y[:, :few].mean(axis=0)
    X = np.asfortranarray(X - x_mean)
    Y = np.asfortranarray(Y[:, :few] - y_mean)
    gram, along = X.T @ X, np.asfortranarray(X.T @ Y)
    fits = [np.empty((few, X.shape[1] + 1)) for _ in lambdas]
    for gene in range(few):
        _, coefs, _ = sklearn_lasso_path(
            X,
            Y[:, gene],
            alphas=lambdas,
            precompute=gram,
            Xy=along[:, gene],
            tol=LARGEST_GAP,
            max_iter=MOST_PASSES,
        )
        for fit, coef in zip(fits, coefs.T, strict=True):
            fit[gene] = [*coef, y_mean[gene] - coef @ x_mean]
    return fits
