"""How sure a model is: intervals calibrated on a study's validation parts, judged on its tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.io.expression import blocks
from dgex_jax.methods.uncertainty import (
    CALIBRATED_ON,
    LEFT_OUT_TARGETS,
    Uncertainty,
    learn_uncertainty,
)
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dgex_jax.methods import Fitted
    from dgex_jax.methods.uncertainty import Calibration
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


class RunningCoverage:
    """Coverage of the intervals of a level, of profiles that come block by block."""

    def __init__(self, level: float) -> None:
        self.level = level
        self._by_gene: NDArray[np.int64] = np.zeros(1, np.int64)
        self._by_profile: list[NDArray[np.float64]] = []

    def add(self, inside: NDArray[np.bool_]) -> None:
        """Take in some profiles: which values are inside, ``(n, n_targets)``."""
        self._by_gene = self._by_gene + inside.sum(axis=0)
        self._by_profile.append(inside.mean(axis=1))

    def coverage(self) -> Coverage:
        """Give the shares over all profiles taken in."""
        by_profile = np.concatenate(self._by_profile)
        by_gene = self._by_gene / len(by_profile)
        enough = self.level - 0.05
        return Coverage(
            self.level,
            float(by_gene.mean()),
            float((by_gene >= enough).mean()),
            float((by_profile >= enough).mean()),
        )


class IntervalCoverage:
    """Coverage of a model's intervals of some levels, over the targets that are `kept`."""

    def __init__(
        self,
        known: Uncertainty,
        intervals: Calibration,
        levels: Sequence[float],
        kept: slice | NDArray[np.intp] = slice(None),
    ) -> None:
        self._known, self._intervals, self._kept = known, intervals, kept
        self._running = [RunningCoverage(level) for level in levels]

    def add(self, X: NDArray[np.float32], errors: NDArray[np.float32]) -> None:
        """Take in absolute errors ``(n, n_kept)`` of profiles, given all of their landmarks."""
        distances = self._known.distances(X)
        for one in self._running:
            one.add(errors <= self._intervals.half_widths(one.level, distances)[:, self._kept])

    def by_level(self) -> list[Coverage]:
        """Give the coverage of each level over all profiles taken in."""
        return [one.coverage() for one in self._running]


def certainty_of(
    study: Prepared, method: Fitted, *, weights_only: bool = False
) -> tuple[Uncertainty, dict[str, list[Coverage]]]:
    """Learn how sure a method fitted on a study is; measure it on the parts nothing chose on.

    With `weights_only` no training profile is kept.
    """
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
        weights_only=weights_only,
    )
    tests = [part for part in study.parts.evaluated if part not in study.parts.choosers]
    return learnt, {part: _coverage(study, method, learnt, part) for part in tests}


def _coverage(study: Prepared, method: Fitted, learnt: Uncertainty, part: str) -> list[Coverage]:
    calibration = learnt.calibrated[study.parts.chooser_of(part)]
    covered = IntervalCoverage(learnt, calibration, calibration.levels)
    for rows in blocks(study.n_profiles(part), BATCH):
        X = study.X(part, rows)
        covered.add(X, np.abs(method.predict(X) - study.Y(part, rows=rows)))
    return covered.by_level()


def coverage_json(coverage: Mapping[str, list[Coverage]]) -> dict[str, Any]:
    """Give coverages as JSON values."""
    return {part: [one.to_json() for one in of_part] for part, of_part in coverage.items()}
