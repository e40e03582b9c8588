"""Methods beyond the paper: their errors by part, and by the number of training profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.plots.curves import learning_curve
from dgex_jax.plots.style import DOUBLE_COLUMN, in_style
from reproduce.plots.style import new_figure, settle

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
