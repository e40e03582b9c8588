"""One baseline fitted, tuned and measured on arrays on disk, in a process of its own.

``python -m benchmarks.baselines_run METHOD FOLDER RESULT`` does what `reproduce.baselines` does
with a prepared study: all parts are read into memory, then the method is fitted on GEO-tr, tuned on
both validation parts and measured on the test parts.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.madeup_study import load_study
from benchmarks.script import in_child
from dgex_jax.baselines.lasso import lasso_path
from dgex_jax.config import BaselineConfig
from reproduce.baselines import LARGEST_GAP, fit_baseline, tune_lambda

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from benchmarks.memory import ChildRun
    from dgex_jax.baselines.linear import LinearFit

METHODS = {"lr": "LR", "lr-l2": "LR-L2", "lr-l1": "LR-L1", "knn-ge": "KNN-GE"}
"""As an option → as `reproduce.baselines` calls it."""


@dataclass(frozen=True)
class Outcome:
    """What one method did.

    - `reading`, `fitting`: seconds; fitting is everything after reading: fit, tuning, errors of all
      parts.
    - `mae`: part → mean of the genes' MAE.
    - `chosen`: as `reproduce.baselines.Measured.chosen`.
    - `lambdas`, `gaps`, `steps`: of LR-L1, for each fit: largest relative duality gap, mean steps
      of a target.
    """

    reading: float
    fitting: float
    mae: Mapping[str, float]
    chosen: Mapping[str, dict[str, Any]]
    lambdas: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)


def fit_one(method: str, folder: Path) -> Outcome:
    """Fit one of `METHODS` (as an option) on `benchmarks.madeup_study`'s arrays."""
    start = time.perf_counter()
    arrays = load_study(folder)
    read = time.perf_counter()
    config = BaselineConfig()
    lambdas, gaps, steps = list[float](), list[float](), list[float]()

    def noted(fits: Iterable[LinearFit]) -> Iterator[LinearFit]:
        for fit in fits:
            if fit.gap is None:
                raise RuntimeError("a fit of LR-L1 without a duality gap")
            lambdas.append(fit.lambda_)
            gaps.append(float(fit.gap.max()))
            steps.append(fit.mean_iterations)
            yield fit

    if method == "lr-l1":
        fits = lasso_path(
            arrays.X["tr"], arrays.Y["tr"], config.l1_lambdas[::-1], tolerance=LARGEST_GAP
        )
        measured = tune_lambda(noted(fits), arrays, lambda _n: None)
    else:
        measured = fit_baseline(METHODS[method], config, arrays, lambda _n: None)
    done = time.perf_counter()
    mae = {part: float(errors.mean()) for part, errors in measured.errors.items()}
    return Outcome(read - start, done - read, mae, measured.chosen, lambdas, gaps, steps)


def fit_in_child(method: str, folder: Path) -> tuple[ChildRun, Outcome]:
    """Run `fit_one` in a new process; gives its time and memory, and what it found."""
    result = folder / f"{method}.json"
    child = in_child("benchmarks.baselines_run", method, folder, result)
    return child, Outcome(**json.loads(result.read_text(encoding="utf-8")))


if __name__ == "__main__":
    outcome = fit_one(sys.argv[1], Path(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(asdict(outcome)), encoding="utf-8")
