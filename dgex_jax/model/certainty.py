"""How sure a model is: intervals calibrated on a study's validation parts, judged on its tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.methods.uncertainty import (
    CALIBRATED_ON,
    LEFT_OUT_TARGETS,
    Uncertainty,
    learn_uncertainty,
)
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dgex_jax.methods import Fitted
    from dgex_jax.prepare.prepared import Prepared


@dataclass(frozen=True)
class Coverage:
    """Share of measured values inside the intervals of a level, on a part.

    `genes` and `profiles` are the shares of genes and of profiles of which at least the level less
    5 % is covered.
    """

    level: float
    values: float
    genes: float
    profiles: float

    def to_json(self) -> dict[str, float]:
        """Give it as JSON values."""
        return dict(vars(self))


def certainty_of(study: Prepared, method: Fitted) -> tuple[Uncertainty, dict[str, list[Coverage]]]:
    """Learn how sure a method fitted on a study is; measure it on the parts nothing chose on."""
    groups = study.groups("tr")
    of_validation = study.groups("va")
    # A study holds its targets in shuffled order.
    some = slice(0, LEFT_OUT_TARGETS)
    validation = {}
    for part in study.parts.choosers:
        # Profiles of a part are in shuffled order.
        rows = slice(0, min(study.n_profiles(part), CALIBRATED_ON))
        validation[part] = study.X(part, rows), study.Y(part, rows=rows)
    learnt = learn_uncertainty(
        method,
        study.X("tr"),
        validation,
        Y=None if groups is None else study.Y("tr", some),
        groups=groups,
        validation_groups=0 if of_validation is None else len(np.unique(of_validation)),
    )
    tests = [part for part in study.parts.evaluated if part not in study.parts.choosers]
    return learnt, {part: _coverage(study, method, learnt, part) for part in tests}


def _coverage(study: Prepared, method: Fitted, learnt: Uncertainty, part: str) -> list[Coverage]:
    calibration = learnt.calibrated[study.parts.chooser_of(part)]
    n, levels = study.n_profiles(part), calibration.levels
    by_gene = np.zeros((len(levels), study.n_targets))
    by_profile = np.zeros((len(levels), n))
    for start in range(0, n, BATCH):
        rows = slice(start, min(start + BATCH, n))
        X = study.X(part, rows)
        errors = np.abs(method.predict(X) - study.Y(part, rows=rows))
        distances = learnt.distances(X)
        for place, level in enumerate(levels):
            inside = errors <= calibration.half_widths(level, distances)
            by_gene[place] += inside.sum(axis=0)
            by_profile[place, rows] = inside.mean(axis=1)
    by_gene /= n
    return [
        Coverage(
            level,
            float(by_gene[place].mean()),
            float((by_gene[place] >= level - 0.05).mean()),
            float((by_profile[place] >= level - 0.05).mean()),
        )
        for place, level in enumerate(levels)
    ]


def coverage_json(coverage: Mapping[str, list[Coverage]]) -> dict[str, Any]:
    """Give coverages as JSON values."""
    return {part: [one.to_json() for one in of_part] for part, of_part in coverage.items()}
