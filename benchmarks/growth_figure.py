"""The figure of growth: time above, memory below; a column for profiles, genes and hidden units."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.growth_law import AXES, Point
from dgex_jax.plots.style import DOUBLE_COLUMN, in_style, series_looks
from reproduce.plots.style import new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

HEIGHT = 4.4  # inches
NAMES = {"profiles": "profiles", "genes": "genes", "units": "hidden units"}


def draw(points: Sequence[Point]) -> Figure:
    """Draw a line for each stage, both axes logarithmic.

    Parameters
    ----------
    points
        Those of one stage and axis one after the other.
    """
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
