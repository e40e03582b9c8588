"""How time and memory of each stage grow with profiles, genes and hidden units, in one figure.

Every point is a whole command in a process of its own on made-up data: ``prepare``, ``train``
(seconds of an epoch, without the first), the baselines, ``predict``. One size changes at a time.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.growth_figure import draw
from benchmarks.growth_law import Point, exponents
from benchmarks.growth_stages import STAGES, plan
from benchmarks.machine import describe
from benchmarks.report import RESULTS, Report
from benchmarks.script import command_line, progress, run_benchmark
from benchmarks.table import Table
from benchmarks.timing import show
from dgex_jax.io.files import atomic_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

NAME = "growth"
FIGURE = f"{NAME}.svg"
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
        command_line(NAME),
        describe(),
        tables=[
            ("Exponents", Table(("stage", "grows with", "time", "memory"), laws)),
            (
                "Points",
                Table(("stage", "of", "size", "time", "peak memory"), tuple(map(_row, points))),
            ),
        ],
        notes=notes,
    )


def _row(point: Point) -> tuple[str, ...]:
    memory = f"{point.peak_bytes / 1e6:,.0f} MB"
    return point.stage, point.axis, f"{point.size:,}", show(point.seconds), memory


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    command.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    command.add_argument("--folder", type=Path, help="where 3 GB may be written (default: /tmp)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    return run_benchmark(NAME, __doc__ or "", measure, arguments, add_options)


if __name__ == "__main__":
    sys.exit(main())
