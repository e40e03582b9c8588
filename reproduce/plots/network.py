"""Figure S1: the layers of one D-GEX architecture, with its two networks."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.collections import CircleCollection, LineCollection

from dgex_jax.plots.style import DOUBLE_COLUMN, LOOKS, in_style
from reproduce.plots.style import new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

BAND, STEP, RADIUS = 2.0, 0.24, 0.075  # inches
LEFT, RIGHT = 0.75, 1.35  # inches, for the labels beside the first and the last layer
UNITS = {"input": "landmark genes", "hidden": "units, tanh", "output": "units, linear"}
COLOURS = {"input": "#555555", "hidden": LOOKS["D-GEX"].colour, "output": LOOKS["KNN-GE"].colour}


def network_table(
    n_landmarks: int, hidden: Sequence[int], n_targets: Sequence[int]
) -> pd.DataFrame:
    """Count units, weights and biases layer by layer (paper section 2.3).

    - `n_landmarks`: landmark genes, the input units.
    - `hidden`: units of each hidden layer.
    - `n_targets`: target genes of each half: a network each.

    Returns ``half`` (from 1), ``layer`` (``input``, ``hidden 1`` …, ``output``), ``units``, and the
    ``weights`` and ``biases`` that lead into the layer.
    """
    rows = []
    for half, targets in enumerate(n_targets, start=1):
        sizes = [n_landmarks, *hidden, targets]
        names = ["input", *(f"hidden {number + 1}" for number in range(len(hidden))), "output"]
        incoming = [0, *(before * after for before, after in pairwise(sizes))]
        for name, units, weights in zip(names, sizes, incoming, strict=True):
            biases = 0 if name == "input" else units
            rows.append((half, name, units, weights, biases))
    return pd.DataFrame(rows, columns=["half", "layer", "units", "weights", "biases"])


def draw_network(table: pd.DataFrame, note: str | None = None) -> Figure:
    """Draw the layers of a `network_table`, a few units each, one network above the other.

    `note` is for the corner.
    """
    halves = [half for _, half in table.groupby("half", sort=True)]
    height = BAND * len(halves)
    with in_style():
        figure = new_figure(DOUBLE_COLUMN, height, note)
        axes = figure.subplots()
        axes.set(xlim=(0, DOUBLE_COLUMN), ylim=(0, height), aspect="equal")
        axes.set_axis_off()
        columns = np.linspace(LEFT, DOUBLE_COLUMN - RIGHT, len(halves[0]))
        for number, half in enumerate(halves):
            middle = height - BAND * (number + 0.5)
            layers = []
            for x, layer, units, weights, biases in zip(
                columns, half["layer"], half["units"], half["weights"], half["biases"], strict=True
            ):
                kind = str(layer).split()[0]
                layers.append(_column(axes, x, middle, kind))
                top, bottom = layers[-1][[0, -1], 1]
                name = str(layer).replace("hidden", "hidden layer")
                text = f"{name}\n{units:,} {UNITS[kind]}"
                axes.text(x, top + 0.15, text, ha="center", va="bottom")
                if weights:
                    count = f"{weights:,} weights\n{biases:,} biases"
                    axes.text(x, bottom - 0.15, count, ha="center", va="top", color="#555555")
            _connect(axes, layers)
            _describe(axes, half, columns[-1] + 0.5, middle, len(halves))
    return figure


def _column(axes: Axes, x: float, middle: float, kind: str) -> Points:
    """Draw the first units of a layer, dots, and its last unit; returns their centres."""
    y = middle + STEP * np.array([2.0, 1.0, 0.0, -2.0])
    centres = np.column_stack([np.full(y.size, x), y])
    circles = CircleCollection(
        [np.pi * (72 * RADIUS) ** 2],
        offsets=centres,
        offset_transform=axes.transData,
        facecolors=COLOURS[kind],
        edgecolors="white",
        linewidths=0.6,
        zorder=3,
    )
    axes.add_collection(circles)
    dots = y[-1] + STEP * np.array([0.8, 1.0, 1.2])
    axes.plot(np.full(3, x), dots, "k.", markersize=2, zorder=3)
    return centres


def _connect(axes: Axes, layers: Sequence[Points]) -> None:
    """Connect each unit of a layer with each of the next."""
    for before, after in pairwise(layers):
        lines = [(start, end) for start in before for end in after]
        axes.add_collection(LineCollection(lines, colors="#999999", linewidths=0.4, zorder=1))


def _describe(axes: Axes, half: pd.DataFrame, x: float, y: float, n_halves: int) -> None:
    """Say beside the output layer which network this is and how large."""
    parameters = int(half["weights"].sum() + half["biases"].sum())
    which = (
        f"half {half['half'].iloc[0]} of the\ntarget genes" if n_halves > 1 else "all target genes"
    )
    axes.text(x, y, f"network for\n{which}:\n{parameters:,}\nparameters", ha="left", va="center")
