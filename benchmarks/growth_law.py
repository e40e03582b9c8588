"""Power laws through measured points."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

AXES = ("profiles", "genes", "units")


@dataclass(frozen=True)
class Point:
    """What one command took at one size.

    Attributes
    ----------
    stage
        The command.
    axis, size
        Which of `AXES` was changed, and its value.
    seconds, peak_bytes
        Time, and largest resident memory of the process.
    """

    stage: str
    axis: str
    size: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Law:
    """Exponents of one stage along one axis; ``None`` for fewer than two sizes."""

    stage: str
    axis: str
    time: float | None
    memory: float | None

    @staticmethod
    def text(exponent: float | None) -> str:
        """Write an exponent for a table."""
        return "" if exponent is None else f"{exponent:.2f}"


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """Slope of a least-squares line through the logarithms; ``None`` for fewer than two sizes."""
    if len(set(sizes)) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def exponents(points: Sequence[Point]) -> list[Law]:
    """Find the laws of all stages and axes, in the order of the points."""
    laws = []
    for (stage, axis), group in groupby(points, lambda point: (point.stage, point.axis)):
        same = list(group)
        sizes = [point.size for point in same]
        time = exponent(sizes, [point.seconds for point in same])
        memory = exponent(sizes, [point.peak_bytes for point in same])
        laws.append(Law(stage, axis, time, memory))
    return laws
