"""Paired timing: ours and its peers take turns, so that what disturbs one disturbs the other."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NOISY = 0.1
"""A spread beyond this share of the median is named in the report."""


@dataclass(frozen=True)
class Timing:
    """Repeated measurements of one thing, in seconds, in the order they were taken."""

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.seconds or not all(0 < one < float("inf") for one in self.seconds):
            raise ValueError(f"not positive finite times: {self.seconds}")

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    @property
    def low(self) -> float:
        """The quickest."""
        return min(self.seconds)

    @property
    def high(self) -> float:
        """The slowest."""
        return max(self.seconds)

    @property
    def spread(self) -> float:
        """Quickest to slowest, as a share of the median."""
        return (self.high - self.low) / self.median

    def per(self, count: float) -> Timing:
        """Divide by the number of things done in that time."""
        return Timing(tuple(one / count for one in self.seconds))

    def __str__(self) -> str:
        """Median and, in brackets, quickest to slowest."""
        if len(self.seconds) == 1:
            return show(self.median)
        return f"{show(self.median)} ({show(self.low)} to {show(self.high)})"


@dataclass(frozen=True)
class Ratio:
    """How many times the peer's time is ours, round by round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.rounds)

    def __str__(self) -> str:
        """Median and, in brackets, smallest to largest."""
        if len(self.rounds) == 1:
            return f"{self.median:.2f}"
        return f"{self.median:.2f} ({min(self.rounds):.2f} to {max(self.rounds):.2f})"


def ratio(ours: Timing, peer: Timing) -> Ratio:
    """Compare two timings of the same rounds."""
    return Ratio(
        tuple(theirs / mine for mine, theirs in zip(ours.seconds, peer.seconds, strict=True))
    )


def paired(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    warmups: int = 1,
    pause: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Call everything in turns; every second round in the reverse order.

    - `calls`: name → what to time; it must return only when the work is done.
    - `rounds`: measured turns of each.
    - `warmups`: turns before that are not measured (compilation, caches).
    - `pause`: seconds of rest before each call, so that threads of the previous one come to rest.
    - `clock`: returns seconds.
    """
    if rounds < 1:
        raise ValueError(f"rounds = {rounds}: must be at least 1")
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-warmups, rounds):
        names = list(calls) if turn % 2 == 0 else list(calls)[::-1]
        for name in names:
            if pause:
                time.sleep(pause)
            start = clock()
            calls[name]()
            if turn >= 0:
                seconds[name].append(clock() - start)
            else:
                clock()
    return {name: Timing(tuple(one)) for name, one in seconds.items()}


def noise_note(timings: Mapping[str, Timing]) -> str:
    """Say which timings spread widely; empty if none does."""
    wide = [
        f"{name} {timing.spread:.0%}" for name, timing in timings.items() if timing.spread > NOISY
    ]
    return f"noisy (quickest to slowest, share of the median): {', '.join(wide)}" if wide else ""


def show(seconds: float) -> str:
    """Write a time with three digits in a fitting unit."""
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1, 1e3, "ms"), (600, 1, "s")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds / 60:.3g} min" if seconds < 36000 else f"{seconds / 3600:.3g} h"
