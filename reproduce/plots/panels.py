"""Figures 3, 4, S2 and S3, and the comparison beyond the paper: panels of `dgex_jax.plots`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.plots.by_gene import draw_genes, opaque
from dgex_jax.plots.curves import learning_curve
from dgex_jax.plots.style import DOUBLE_COLUMN, SINGLE_COLUMN, in_style
from dgex_jax.plots.weight_map import draw_map
from reproduce.plots.style import new_figure, settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COPY_COLUMN = "copy_of_landmark"
MAP_HEIGHT = 5.0  # inches


def draw_genewise(
    table: pd.DataFrame,
    ours: str,
    others: Sequence[str],
    quantity: str,
    *,
    larger: bool = False,
    copies: bool = False,
    note: str | None = None,
) -> Figure:
    """Draw a panel for each other method: a point for each gene, and the share on each side.

    - `table`: A line for each target gene; a column for each method, named as it shall be labelled.
      A gene for which a panel's method has no value (NaN) is not in that panel nor its shares.
    - `ours`: the column on every y axis.
    - `others`: the columns on the x axes, one panel each.
    - `quantity`: what the values are, as in ``MAE on GEO-te (standardised units)``.
    - `larger`: whether larger values are better.
    - `copies`: mark the genes that are copies of a landmark (column ``copy_of_landmark``, boolean
      or 0/1) if there are any.
    - `note`: for the corner.

    Raises `DgexError`: no gene has both values of a panel, or a value is infinite.
    """
    with in_style():
        n_panels = len(others)
        width = SINGLE_COLUMN if n_panels == 1 else DOUBLE_COLUMN
        figure = new_figure(width, width / n_panels + 0.1, note)
        panels = figure.subplots(1, n_panels, squeeze=False).ravel()
        for number, (axes, other) in enumerate(zip(panels, others, strict=True)):
            here = table[table[ours].notna() & table[other].notna()]
            marked = here[COPY_COLUMN].to_numpy(dtype=bool) if copies else None
            draw_genes(
                axes,
                here[ours],
                here[other],
                (ours, other),
                quantity,
                larger=larger,
                copies=marked,
            )
            if n_panels > 1:
                axes.set_title(f"({'abcdefgh'[number]})", loc="left", fontweight="bold")
        handles, labels = panels[0].get_legend_handles_labels()
        if len(labels) > 1:
            legend = figure.legend(
                handles, labels, loc="outside upper center", ncols=2, markerscale=3
            )
            opaque(legend)
    return figure


def draw_weight_map(
    table: pd.DataFrame,
    n_landmarks: int,
    n_hidden: int,
    n_targets: int,
    hubs: Sequence[int],
    note: str | None = None,
) -> Figure:
    """Draw the kept connections as lines between three rows of nodes.

    As `draw_map`, with a `note` for the corner.
    """
    with in_style():
        figure = new_figure(DOUBLE_COLUMN, MAP_HEIGHT, note)
        handles = draw_map(figure.subplots(), table, n_landmarks, n_hidden, n_targets, hubs)
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def draw_beyond(table: pd.DataFrame, curve: pd.DataFrame, *, note: str | None = None) -> Figure:
    """Draw the errors of all methods by part, a panel a kind of split, and the learning curve.

    `table` has ``split``, ``label``, ``method``, ``error`` and ``sd``; `curve` ``part``, ``label``,
    ``method``, ``n_train`` and ``error``, of which part ``te`` is drawn; it may be empty.
    """
    kinds = list(dict.fromkeys(table["split"]))
    n = len(kinds) + bool(len(curve))
    with in_style():
        figure = new_figure(DOUBLE_COLUMN, 2.9, note)
        panels = np.atleast_1d(figure.subplots(1, n))
        for axes, kind in zip(panels, kinds, strict=False):
            _draw_methods(axes, table[table["split"] == kind], kind)
        if len(curve):
            of_test = curve[curve["part"] == "te"]
            label = of_test["label"].iloc[0]
            learning_curve(of_test, quantity=f"error on {label}", ax=panels[-1])
        settle(figure)
    return figure


def _draw_methods(axes: Axes, rows: pd.DataFrame, kind: str) -> None:
    methods = list(dict.fromkeys(rows["method"]))[::-1]
    labels = [one for one in dict.fromkeys(rows["label"]) if one.endswith("-te")]
    for place, label in enumerate(labels):
        of_label = rows[rows["label"] == label].set_index("method").loc[methods]
        shift = (place - (len(labels) - 1) / 2) * 0.22
        axes.errorbar(
            of_label["error"],
            np.arange(len(methods)) - shift,
            xerr=of_label["sd"].fillna(0),
            fmt="os^Dv"[place % 5],
            color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#555555"][place % 5],
            label=label,
            elinewidth=0.8,
        )
    axes.set_yticks(np.arange(len(methods)), methods)
    axes.set_xlabel("overall error")
    axes.set_title(kind)
    axes.grid(axis="x", linewidth=0.3)
    axes.legend()
