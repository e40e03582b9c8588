"""Tuning k and lambda on the validation parts, and measuring what was chosen on the test parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dgex_jax.analysis.errors import mae_per_gene
from dgex_jax.config import EVALUATED
from dgex_jax.models.tuning import choose

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from dgex_jax.data.progress import Tick
    from dgex_jax.models.knn import KnnGe
    from dgex_jax.models.knn_profiles import KnnProfiles
    from dgex_jax.models.penalised import LinearFit
    from dgex_jax.training.arrays import Float32, StudyArrays

TUNED_ON = {"va": "va", "te": "va", "1000G": "1000G", "GTEx": "1000G"}
"""Which validation part chooses k and lambda for each column of errors (paper section 2.2)."""

VALIDATION = ("va", "1000G")
PROFILES_AT_A_TIME = 2048


class Model(Protocol):
    """A fitted model."""

    def predict(self, X: Float32) -> NDArray[np.float64]:
        """Predict ``(n_profiles, n_targets)``."""


@dataclass(frozen=True)
class Measured:
    """What a method reaches.

    Attributes
    ----------
    errors
        Part → ``(n_targets,)`` float64, MAE of each gene.
    chosen
        Validation part → the value chosen there (``k`` or ``lambda``), whether it is ``at_edge``
        of the grid, and of an iterative solution the largest relative duality ``gap``; empty for a
        method with nothing to choose.
    curve
        A row for each value tried, growing: the value, the overall error on each validation part,
        and the gap.
    """

    errors: Mapping[str, NDArray[np.float64]]
    chosen: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    curve: Sequence[dict[str, float]] = ()


def model_errors(model: Model, arrays: StudyArrays, part: str) -> NDArray[np.float64]:
    """MAE per gene ``(n_targets,)``, inferred in blocks of profiles."""
    X, Y = arrays.X[part], arrays.Y[part]
    total = np.zeros(Y.shape[1])
    for start in range(0, len(X), PROFILES_AT_A_TIME):
        rows = slice(start, start + PROFILES_AT_A_TIME)
        total += mae_per_gene(model.predict(X[rows]), Y[rows]) * len(X[rows])
    return total / len(X)


def measure(model: Model, arrays: StudyArrays) -> Measured:
    """Errors of a model with nothing to choose."""
    return Measured({part: model_errors(model, arrays, part) for part in EVALUATED})


def tune_k(model: KnnGe | KnnProfiles, arrays: StudyArrays) -> Measured:
    """Errors with k tuned on GEO-va for GEO and on 1000G-va for RNA-seq."""
    by_k = {
        part: model.errors_by_k(arrays.X[part], arrays.Y[part], model.ks_) for part in VALIDATION
    }
    overall = {part: by_k[part].mean(axis=1) for part in VALIDATION}
    chosen: dict[str, dict[str, Any]] = {}
    for part in VALIDATION:
        choice = choose(model.ks_, overall[part])
        chosen[part] = {"k": int(choice.value), "at_edge": bool(choice.at_edge)}
    errors = {}
    for part, tuned in TUNED_ON.items():
        k = chosen[tuned]["k"]
        if part in by_k:
            errors[part] = by_k[part][model.ks_.index(k)]
        else:
            errors[part] = model.errors_by_k(arrays.X[part], arrays.Y[part], [k])[0]
    curve = [
        {"k": k} | {part: float(overall[part][row]) for part in VALIDATION}
        for row, k in enumerate(model.ks_)
    ]
    return Measured(errors, chosen, curve)


def tune_lambda(fits: Iterable[LinearFit], arrays: StudyArrays, tick: Tick) -> Measured:
    """Errors with lambda tuned as k is; of all fits only the best two so far are held.

    Test parts are measured once all is chosen.
    """
    best: dict[str, tuple[float, LinearFit, NDArray[np.float64]]] = {}
    curve: list[dict[str, float]] = []
    for fit in fits:
        row = {"lambda": fit.lambda_}
        for part in VALIDATION:
            mae = model_errors(fit, arrays, part)
            row[part] = float(mae.mean())
            if part not in best or row[part] < best[part][0]:
                best[part] = (row[part], fit, mae)
        if fit.gap is not None:
            row["gap"] = float(fit.gap.max())
        curve.append(row)
        tick(1)
    chosen: dict[str, dict[str, Any]] = {}
    for part in VALIDATION:
        choice = choose([row["lambda"] for row in curve], [row[part] for row in curve])
        chosen[part] = {"lambda": choice.value, "at_edge": bool(choice.at_edge)}
        gap = best[part][1].gap
        if gap is not None:
            chosen[part]["gap"] = float(gap.max())
    errors = {
        part: best[part][2] if part in best else model_errors(best[tuned][1], arrays, part)
        for part, tuned in TUNED_ON.items()
    }
    return Measured(errors, chosen, sorted(curve, key=lambda row: row["lambda"]))
