"""How time and memory of each stage grow with profiles, genes and hidden units, in one figure.

Every point is a whole command in a process of its own on made-up data: ``prepare``, ``train``
(seconds of an epoch, without the first), the baselines, ``predict``. One size changes at a time.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.growth_stages import AXES, STAGES, Point, plan
from benchmarks.report import RESULTS, Report, Table
from benchmarks.script import progress, script
from benchmarks.timing import show
from dgex_jax.io.files import atomic_path
from dgex_jax.plots.style import DOUBLE_COLUMN, in_style, series_looks
from reproduce.plots.style import new_figure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from matplotlib.figure import Figure

NAME = "growth"
FIGURE = f"{NAME}.svg"
HEIGHT = 4.4  # inches
NAMES = {"profiles": "profiles", "genes": "genes", "units": "hidden units"}
CAVEATS = (
    "seconds are those of whole commands, from the start of Python; train: of an epoch, 2 halves",
    "exponent: slope of a straight line through logarithms; what stays the same flattens it",
    "each point was measured once",
)


def measure(options: argparse.Namespace) -> Report:
    """Measure every point of the stages asked for, draw them, and give them as tables."""
    points: list[Point] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for number, work in enumerate(plan(options.only, small=options.small)):
            progress(str(work))
            place = folder / str(number)
            place.mkdir()
            points.append(work.measured(place))
    laws = tuple(
        (law.stage, law.axis, law.text(law.time), law.text(law.memory)) for law in exponents(points)
    )
    notes = list(CAVEATS)
    if options.write:
        with atomic_path(RESULTS / FIGURE) as temporary:
            draw(points).savefig(temporary, metadata={"Date": None})
        notes.insert(0, f"![time and memory against profiles, genes and units]({FIGURE})")
    return Report(
        NAME,
        "How time and memory grow (made-up data)",
        tables=[
            ("Exponents", Table(("stage", "grows with", "time", "memory"), laws)),
            (
                "Points",
                Table(("stage", "of", "size", "time", "peak memory"), tuple(map(_row, points))),
            ),
        ],
        notes=notes,
    )


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


def draw(points: Sequence[Point]) -> Figure:
    """Draw time above, memory below, a line a stage; points of a stage and axis lie together."""
    stages = list(dict.fromkeys(point.stage for point in points))
    with in_style():
        looks = dict(zip(stages, series_looks(len(stages)), strict=True))
        figure = new_figure(DOUBLE_COLUMN, HEIGHT)
        panels = figure.subplots(2, len(AXES), sharex="col", sharey="row", squeeze=False)
        for column, size in enumerate(AXES):
            chosen = [point for point in points if point.axis == size]
            for stage, group in groupby(chosen, lambda point: point.stage):
                same, look = list(group), looks[stage]
                for row, values in enumerate(
                    ([one.seconds for one in same], [one.peak_bytes / 1e9 for one in same])
                ):
                    panels[row, column].plot(
                        [one.size for one in same],
                        values,
                        color=look.colour,
                        marker=look.marker,
                        linestyle=look.linestyle,
                        label=stage,
                    )
            panels[1, column].set_xlabel(NAMES[size])
        for panel in panels.ravel():
            panel.set_xscale("log")
            panel.set_yscale("log")
            for axis, steps in ((panel.xaxis, (1, 3)), (panel.yaxis, (1, 2, 5))):
                axis.set_major_locator(LogLocator(subs=steps))
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
                axis.set_minor_locator(NullLocator())
        panels[0, 0].set_ylabel("seconds")
        panels[1, 0].set_ylabel("peak memory (GB)")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(stages))
    return figure


def _row(point: Point) -> tuple[str, ...]:
    memory = f"{point.peak_bytes / 1e6:,.0f} MB"
    return point.stage, point.axis, f"{point.size:,}", show(point.seconds), memory


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    command.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    command.add_argument("--folder", type=Path, help="where 3 GB may be written (default: /tmp)")


main = script(NAME, __doc__ or "", measure, add_options)

if __name__ == "__main__":
    sys.exit(main())
