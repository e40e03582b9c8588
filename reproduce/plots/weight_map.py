"""Figure S3: the major weights of a network with one hidden layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from dgex_jax.errors import DgexError
from reproduce.plots.style import DOUBLE_COLUMN, in_style, new_figure
from reproduce.plots.weight_order import HUB_WIDTH, degrees, lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

POSITIVE, NEGATIVE = "#B2182B", "#2166AC"
CONNECTED, LONE, HUB = "#4D4D4D", "#C8C8C8", "#F5E6A8"
HEIGHT, ROW_WIDTH = 5.0, 5.9  # inches
# The rows, from below; connections end at the edges of each.
TARGETS, HIDDEN, LANDMARKS = (-0.04, 0.0), (0.87, 1.19), (2.06, 2.10)


def draw(
    table: pd.DataFrame,
    n_landmarks: int,
    n_hidden: int,
    n_targets: int,
    hubs: Sequence[int],
    note: str | None = None,
) -> Figure:
    """Draw the kept connections as lines between three rows of nodes.

    Parameters
    ----------
    table
        A line for each kept weight: ``layer`` (``input`` or ``output``), ``from`` and ``to``
        (numbers of landmark and hidden unit, or of hidden unit and target, from 0) and ``weight``.
    n_landmarks, n_hidden, n_targets
        Sizes of the layers: nodes without a connection are drawn as well.
    hubs
        Numbers of the hidden units to label: those of them that are connected with a target, as
        many as there is room for.
    note
        For the corner.

    Raises
    ------
    DgexError
        No connection was kept, one is of an unknown layer, or a number is outside its layer.
    """
    table = table.astype({"from": np.int64, "to": np.int64})
    into, out = table[table["layer"] == "input"], table[table["layer"] == "output"]
    if table.empty or len(into) + len(out) < len(table):
        raise DgexError("weight map: no weight was kept, or one of neither input nor output")
    used = {
        "landmark genes": (into["from"].to_numpy(), n_landmarks),
        "hidden units": (np.concatenate([into["to"], out["from"]]), n_hidden),
        "target genes": (out["to"].to_numpy(), n_targets),
        "hubs": (np.asarray(hubs, dtype=np.int64), n_hidden),
    }
    for kind, (numbers, size) in used.items():
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < size:
            raise DgexError(f"weight map: {kind} must be numbered from 0 to {size - 1}")
    layout = lay_out(table, n_landmarks, n_hidden, n_targets, hubs)
    with in_style():
        figure = new_figure(DOUBLE_COLUMN, HEIGHT, note)
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set(xlim=(-0.005, 1.005), ylim=(TARGETS[0] - 0.02, LANDMARKS[1] + 0.02))
        for part, start, end in (
            (into, (layout.landmarks, LANDMARKS[0]), (layout.hidden, HIDDEN[1])),
            (out, (layout.hidden, HIDDEN[0]), (layout.targets, TARGETS[1])),
        ):
            _connections(axes, part, start, end, len(table))
        n_out = degrees(out["from"], n_hidden)
        for name, places, row in (
            ("landmark genes", layout.landmarks, LANDMARKS),
            ("hidden units", layout.hidden, HIDDEN),
            ("target genes", layout.targets, TARGETS),
        ):
            connected = np.zeros(places.size, dtype=bool)
            connected[used[name][0]] = True
            _nodes(axes, places, row, connected)
            text = f"{places.size:,}\n{name},\n{connected.sum():,} of them\nconnected"
            axes.text(-0.02, sum(row) / 2, text, ha="right", va="center")
        for unit in layout.hubs:
            _hub(axes, layout.hidden[unit], f"{unit} ({n_out[unit]})")
        _legend(figure, len(layout.hubs), sum(n_out[unit] > 0 for unit in set(hubs)))
    return figure


def line_look(n: int) -> tuple[float, float]:
    """Width in points and opacity of each of `n` lines: thinner and paler the more there are."""
    crowd = 300 / max(n, 1)
    return float(np.clip(0.8 * crowd**0.25, 0.2, 0.8)), float(np.clip(0.9 * crowd**0.5, 0.05, 0.9))


def _connections(
    axes: Axes,
    part: pd.DataFrame,
    start: tuple[NDArray[np.float64], float],
    end: tuple[NDArray[np.float64], float],
    n_lines: int,
) -> None:
    """Draw the lines of one layer, the largest weights last."""
    weights = part["weight"].to_numpy(dtype=np.float64)
    order = np.argsort(np.abs(weights), kind="stable")
    segments = np.empty((order.size, 2, 2))
    for side, (places, y), column in ((0, start, "from"), (1, end, "to")):
        segments[:, side, 0] = places[part[column].to_numpy()[order]]
        segments[:, side, 1] = y
    width, alpha = line_look(n_lines)
    axes.add_collection(
        LineCollection(
            list(segments),
            colors=list(np.where(weights[order] > 0, POSITIVE, NEGATIVE)),
            linewidths=width,
            alpha=alpha,
            rasterized=True,
            zorder=1,
        ),
        autolim=False,
    )


def _nodes(
    axes: Axes,
    places: NDArray[np.float64],
    row: tuple[float, float],
    connected: NDArray[np.bool_],
) -> None:
    """Draw each node as a short upright line, dark if it is connected."""
    distance = 72 * ROW_WIDTH / places.size
    # Nodes too close to be told apart make an even band instead of an uneven grid.
    width = min(0.6 * distance, 1.5) if distance > 0.7 else 1.05 * distance
    for chosen, colour in ((~connected, LONE), (connected, CONNECTED)):
        axes.vlines(
            places[chosen], *row, colors=colour, linewidths=width, rasterized=True, snap=False
        )


def _hub(axes: Axes, place: float, text: str) -> None:
    """Draw a hub as a box that holds its label."""
    box = Rectangle(
        (place - 0.4 * HUB_WIDTH, HIDDEN[0]),
        0.8 * HUB_WIDTH,
        HIDDEN[1] - HIDDEN[0],
        facecolor=HUB,
        edgecolor=CONNECTED,
        linewidth=0.4,
        zorder=3,
    )
    axes.add_patch(box)
    middle = sum(HIDDEN) / 2
    axes.text(place, middle, text, rotation=90, ha="center", va="center", zorder=4)


def _legend(figure: Figure, n_labelled: int, n_hubs: int) -> None:
    handles = [
        Line2D([], [], color=POSITIVE, label="positive weight"),
        Line2D([], [], color=NEGATIVE, label="negative weight"),
    ]
    if n_labelled:
        which = "hub units" if n_labelled == n_hubs else f"{n_labelled} of {n_hubs} hub units"
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="s",
                markersize=6,
                markerfacecolor=HUB,
                markeredgecolor=CONNECTED,
                markeredgewidth=0.4,
                label=f"{which}: number (connections to targets)",
            )
        )
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
