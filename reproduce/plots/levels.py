"""Horizontal lines for methods that have one error whatever the x axis shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

from reproduce.plots.style import SMALL, look

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray


def draw_levels(axes: Axes, levels: Mapping[str, float], height: float) -> None:
    """Draw a line for each method, its name right of the axes.

    Parameters
    ----------
    axes
        With its final y limits.
    levels
        Method → error.
    height
        Roughly how high the axes will be, in inches: names keep a line's height apart.
    """
    for method, value in levels.items():
        style = look(method)
        axes.axhline(value, color=style.colour, linestyle=style.linestyle, zorder=1)
    low, high = axes.get_ylim()
    fractions = (np.array(list(levels.values()), dtype=float) - low) / (high - low)
    places = spread(fractions, 1.25 * SMALL / 72 / height)
    for method, place in zip(levels, places, strict=True):
        axes.annotate(
            method,
            (1, place),
            xycoords="axes fraction",
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=look(method).colour,
            annotation_clip=False,
        )


def spread(wanted: Sequence[float] | NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Move places apart until each two are at least `gap` apart, keeping their order.

    The places are the nearest to the wanted ones in the sense of least squares.
    """
    places = np.asarray(wanted, dtype=float)
    order = np.argsort(places, kind="stable")
    # With the gaps taken out, "at least a gap apart" is "not falling".
    steps = gap * np.arange(places.size)
    moved = np.empty_like(places)
    moved[order] = isotonic_regression(places[order] - steps).x + steps
    return moved
