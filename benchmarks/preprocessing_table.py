"""Where the time of preparations of several sizes goes, and how it grows."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from benchmarks.preprocessing_runs import mib
from benchmarks.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from benchmarks.preprocessing_runs import Prepared

QUADRATIC = "comparing profiles"
"""The one step whose work grows with the square of the profiles; the others' is linear."""
SHORT = 0.005
"""Steps that take less than this share of the largest run are put together."""


def step_table(measured: Mapping[Fraction, Prepared], n_all: int) -> Table:
    """Seconds of every step by fraction, its growth, and what follows for the paper's size.

    The exponent is that between the two largest fractions. The last column, unless the largest
    fraction is 1, draws a straight line through these two (for `QUADRATIC` a line in the square).
    """
    fractions = sorted(measured)
    largest = measured[fractions[-1]]
    names = [
        name for name, step in largest.steps.items() if step.seconds > SHORT * largest.run.seconds
    ]
    rows = {name: [measured[one].steps[name].seconds for one in fractions] for name in names}
    whole = [measured[one].run.seconds for one in fractions]
    rows["all else, start included"] = [
        total - sum(rows[name][number] for name in names) for number, total in enumerate(whole)
    ]
    counts = [measured[one].shape.n_profiles for one in fractions]
    grows = len(fractions) > 1
    expects = grows and fractions[-1] != 1
    lines, expected = [], 0.0
    for name, seconds in rows.items():
        line = [name, *(f"{one:.2f}" for one in seconds)]
        if grows:
            line.append(exponent(counts, seconds))
        if expects:
            at_full = extrapolated(counts, seconds, n_all, 2 if name == QUADRATIC else 1)
            expected += at_full
            line.append(f"{at_full:.0f}")
        lines.append(tuple(line))
    line = ["together", *(f"{one:.2f}" for one in whole)]
    peaks = [measured[one].run.peak_bytes for one in fractions]
    peak = ["peak resident MiB", *(mib(measured[one].run) for one in fractions)]
    if grows:
        line.append(exponent(counts, whole))
        peak.append(exponent(counts, peaks))
    if expects:
        line.append(f"{expected:.0f}")
        peak.append(f"{extrapolated(counts, peaks, n_all, 1) / 2**20:,.0f}")
    header = ["step", *(f"{one}" for one in fractions)]
    header += ["growth ~ n^"] * grows + ["1 (extrapolated)"] * expects
    return Table(tuple(header), (*lines, tuple(line), tuple(peak)))


def exponent(counts: Sequence[int], values: Sequence[float]) -> str:
    """Write the exponent of growth between the last two."""
    if min(values[-2:]) <= 0:
        return ""
    return f"{log(values[-1] / values[-2]) / log(counts[-1] / counts[-2]):.2f}"


def extrapolated(counts: Sequence[int], values: Sequence[float], n_all: int, power: int) -> float:
    """Go on along the line through the last two, in ``n ** power``; never below the last."""
    before, last = (count**power for count in counts[-2:])
    slope = (values[-1] - values[-2]) / (last - before)
    return float(max(values[-1], values[-1] + slope * (n_all**power - last)))
