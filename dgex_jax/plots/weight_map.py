"""The map of the major weights of a network with one hidden layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from dgex_jax.errors import DgexError
from dgex_jax.plots.axes import axes_for
from dgex_jax.plots.style import SMALL
from dgex_jax.weight_hubs import find_hubs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.weight_hubs import WeightHubs

    Places = NDArray[np.float64]
    Numbers = NDArray[np.int64]
    Weights = NDArray[np.floating]

HUB_WIDTH = 0.024  # of a row of ROW_WIDTH: a line of text and some air
HUBS_AT_LEAST, HUBS_AT_MOST = 0.3, 0.75  # of the row
POSITIVE, NEGATIVE = "#B2182B", "#2166AC"
CONNECTED, LONE, HUB = "#4D4D4D", "#C8C8C8", "#F5E6A8"
ROW_WIDTH = 5.9  # inches
WIDTH, HEIGHT, BESIDE = 4.4, 4.0, 1.1  # inches
# The rows, from below; connections end at the edges of each.
TARGETS, HIDDEN, LANDMARKS = (-0.04, 0.0), (0.87, 1.19), (2.06, 2.10)


def hubs(
    W_in: ArrayLike,
    W_out: ArrayLike,
    found: WeightHubs | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw the major weights of a network with one hidden layer, and the units they meet in.

    Landmark genes above, hidden units in the middle, target genes below, each a short upright
    line, dark if it is connected; a kept weight is a line, red if positive, blue if negative. Hubs
    are boxes with their number (from 0) and, in brackets, how many targets they are connected with.

    Parameters
    ----------
    W_in
        ``(n_landmarks, units)`` floats: weights from the landmark genes to the hidden units.
    W_out
        ``(units, n_targets)`` floats: weights from the hidden units to the target genes.
    found
        What `dgex_jax.weight_hubs.find_hubs` keeps of these weights; by default with the paper's
        thresholds of 4 and 5 standard deviations.
    ax
        Axes to draw on, as they are; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or the new axes.

    Raises
    ------
    DgexError
        Weights that are no matrices, don't fit together or are not finite, `found` of other shapes,
        or no weight that is kept.
    """
    # Looks at the weights as well.
    by_default = find_hubs(W_in, W_out)
    first, last = np.asarray(W_in), np.asarray(W_out)
    kept = by_default if found is None else found
    if (kept.kept_in.shape, kept.kept_out.shape) != (first.shape, last.shape):
        raise DgexError(
            f"weight map: found is of weights of shapes {kept.kept_in.shape} and "
            f"{kept.kept_out.shape}, not {first.shape} and {last.shape}"
        )
    table = kept_connections(kept, first, last)
    units = [hub.unit for hub in kept.hubs]
    (n_landmarks, n_hidden), n_targets = first.shape, last.shape[1]
    with axes_for(ax, WIDTH, HEIGHT) as axes:
        width = WIDTH - BESIDE if ax is None else axes.bbox.width / axes.figure.dpi
        handles = draw_map(axes, table, n_landmarks, n_hidden, n_targets, units, width)
        axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.4, 1.05), ncols=2)
    return axes


def kept_connections(found: WeightHubs, W_in: Weights, W_out: Weights) -> pd.DataFrame:
    """List the kept connections: layer, the units they join, and the weight.

    - `found`: what is kept of the weights.
    - `W_in`, `W_out`: ``(n_landmarks, units)`` and ``(units, n_targets)``.
    """
    frames = []
    for layer, kept, weights in (
        ("input", found.kept_in, W_in),
        ("output", found.kept_out, W_out),
    ):
        start, end = np.nonzero(kept)
        columns = {"layer": layer, "from": start, "to": end, "weight": weights[start, end]}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class Layout:
    """Places along the three rows, from 0 (left) to 1, by number of the node.

    - `landmarks`, `hidden`, `targets`: ``(n_landmarks,)``, ``(n_hidden,)``, ``(n_targets,)``
      float64.
    - `hubs`: those with a connection to a target and room for a label, highest output degree first.
    """

    landmarks: Places
    hidden: Places
    targets: Places
    hubs: tuple[int, ...]


def degrees(numbers: Sequence[int] | pd.Series[int], n: int) -> Numbers:
    """Count how often each of the numbers 0 … n - 1 occurs: ``(n,)`` int64."""
    return np.bincount(np.asarray(numbers, dtype=np.int64), minlength=n)


def lay_out(
    table: pd.DataFrame,
    n_landmarks: int,
    n_hidden: int,
    n_targets: int,
    hubs: Sequence[int],
    hub_width: float = HUB_WIDTH,
) -> Layout:
    """Place all nodes so that few lines cross.

    Hidden units go from the middle of their row outwards, hubs first, each by falling output
    degree; hubs get more room than others. Genes follow the mean place of the hidden units they
    are connected with; those without a connection stand at the two ends.

    - `table`: as for `draw_map`.
    - `n_landmarks`, `n_hidden`, `n_targets`: sizes of the layers.
    - `hubs`: numbers of hidden units.
    - `hub_width`: room of a hub, as a share of the row.
    """
    into, out = table[table["layer"] == "input"], table[table["layer"] == "output"]
    n_out, n_in = degrees(out["from"], n_hidden), degrees(into["to"], n_hidden)
    is_hub = np.zeros(n_hidden, dtype=bool)
    is_hub[list(hubs)] = True
    is_hub &= n_out > 0
    ranked = np.lexsort((np.arange(n_hidden), -n_in, -n_out, ~is_hub))
    labelled = ranked[: min(is_hub.sum(), int(HUBS_AT_MOST / hub_width))]
    hidden = _hidden_places(ranked, labelled.size, hub_width)
    return Layout(
        landmarks=_beside(hidden, into["from"], into["to"], n_landmarks),
        hidden=hidden,
        targets=_beside(hidden, out["to"], out["from"], n_targets),
        hubs=tuple(int(unit) for unit in labelled),
    )


def _hidden_places(ranked: Numbers, n_hubs: int, hub_width: float) -> Places:
    n = ranked.size
    share = float(np.clip(n_hubs * hub_width, HUBS_AT_LEAST, HUBS_AT_MOST)) if n_hubs else 0.0
    if n_hubs == n:
        share = 1.0
    places = np.empty(n)
    places[centre_out(ranked[:n_hubs])] = 0.5 + share * (_even(n_hubs) - 0.5)
    rest = ranked[n_hubs:]
    order, n_left = centre_out(rest), rest.size // 2
    side = (1 - share) / 2
    places[order[:n_left]] = side * _even(n_left)
    places[order[n_left:]] = 1 - side + side * _even(rest.size - n_left)
    return places


def _beside(hidden: Places, genes: pd.Series[int], units: pd.Series[int], n: int) -> Places:
    """Order genes by the mean place of their hidden units; lone ones go to both ends."""
    count = degrees(genes, n)
    near = hidden[units.to_numpy(dtype=np.int64)]
    mean = np.bincount(genes.to_numpy(dtype=np.int64), weights=near, minlength=n) / np.maximum(
        count, 1
    )
    lone = np.flatnonzero(count == 0)
    joined = np.flatnonzero(count)
    order = np.concatenate(
        [
            lone[: lone.size // 2],
            joined[np.argsort(mean[joined], kind="stable")],
            lone[lone.size // 2 :],
        ]
    )
    places = np.empty(n)
    places[order] = _even(n)
    return places


def centre_out(ranked: Numbers) -> Numbers:
    """Arrange ranks around the middle: 0, 1, 2, 3, 4 become 3, 1, 0, 2, 4."""
    return np.concatenate([ranked[1::2][::-1], ranked[0::2]])


def _even(n: int) -> Places:
    """Centres of `n` equal parts of the line from 0 to 1."""
    return (np.arange(n) + 0.5) / max(n, 1)


def draw_map(
    axes: Axes,
    table: pd.DataFrame,
    n_landmarks: int,
    n_hidden: int,
    n_targets: int,
    hubs: Sequence[int],
    width: float = ROW_WIDTH,
) -> list[Artist]:
    """Draw the kept connections as lines between three rows of nodes.

    - `table`: A line for each kept weight: ``layer`` (``input`` or ``output``), ``from`` and ``to``
      (numbers of landmark and hidden unit, or of hidden unit and target, from 0) and ``weight``.
    - `n_landmarks`, `n_hidden`, `n_targets`: sizes of the layers: nodes without a connection are
      drawn as well.
    - `hubs`: numbers of the hidden units to label: those of them that are connected with a target,
      as many as there is room for.
    - `width`: about how wide the axes will be, in inches.

    Returns what a legend is to show.

    Raises `DgexError`: no connection was kept, one is of an unknown layer, or a number is outside
    its layer.
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
    hub_width = HUB_WIDTH * (ROW_WIDTH / width) * (mpl.rcParams["font.size"] / SMALL)
    layout = lay_out(table, n_landmarks, n_hidden, n_targets, hubs, hub_width)
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
        _nodes(axes, places, row, connected, width)
        text = f"{places.size:,}\n{name},\n{connected.sum():,} of them\nconnected"
        axes.text(-0.02, sum(row) / 2, text, ha="right", va="center")
    for unit in layout.hubs:
        _hub(axes, layout.hidden[unit], hub_width, f"{unit} ({n_out[unit]})")
    return _handles(len(layout.hubs), sum(n_out[unit] > 0 for unit in set(hubs)))


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
    width: float,
) -> None:
    """Draw each node as a short upright line, dark if it is connected."""
    distance = 72 * width / places.size
    # Nodes too close to be told apart make an even band instead of an uneven grid.
    thick = min(0.6 * distance, 1.5) if distance > 0.7 else 1.05 * distance
    for chosen, colour in ((~connected, LONE), (connected, CONNECTED)):
        axes.vlines(
            places[chosen], *row, colors=colour, linewidths=thick, rasterized=True, snap=False
        )


def _hub(axes: Axes, place: float, width: float, text: str) -> None:
    """Draw a hub as a box that holds its label."""
    box = Rectangle(
        (place - 0.4 * width, HIDDEN[0]),
        0.8 * width,
        HIDDEN[1] - HIDDEN[0],
        facecolor=HUB,
        edgecolor=CONNECTED,
        linewidth=0.4,
        zorder=3,
    )
    axes.add_patch(box)
    middle = sum(HIDDEN) / 2
    axes.text(place, middle, text, rotation=90, ha="center", va="center", zorder=4)


def _handles(n_labelled: int, n_hubs: int) -> list[Artist]:
    handles: list[Artist] = [
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
    return handles
