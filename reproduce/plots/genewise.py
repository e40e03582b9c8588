"""Figures 3, 4 and S2: one method against another, gene by gene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import DgexError
from reproduce.plots.style import (
    COPIES,
    DOUBLE_COLUMN,
    POINTS,
    SINGLE_COLUMN,
    SMALL,
    in_style,
    new_figure,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

COPY_COLUMN = "copy_of_landmark"
TEXT_WIDTH, TEXT_HEIGHT = 0.62, 0.14  # of a panel: two lines on the shares


@dataclass(frozen=True)
class Shares:
    """In how many genes each side is strictly better.

    - `ours`, `other`, `equal`: numbers of genes; they sum to the genes compared.
    """

    ours: int
    other: int
    equal: int

    def text(self, count: int) -> str:
        """Write one of the numbers as a share."""
        total = self.ours + self.other + self.equal
        return f"{100 * count / total:.2f} % ({count:,} gene{'' if count == 1 else 's'})"


def shares(ours: Values, other: Values, *, larger: bool) -> Shares:
    """Count the genes in which each of two methods is strictly better.

    - `ours`, `other`: ``(n_targets,)``, finite.
    - `larger`: whether larger is better (adjusted R²) or smaller (errors).
    """
    greater, smaller = int((ours > other).sum()), int((ours < other).sum())
    equal = ours.size - greater - smaller
    return Shares(greater, smaller, equal) if larger else Shares(smaller, greater, equal)


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
            marked = (
                here[COPY_COLUMN].to_numpy(dtype=bool)
                if copies
                else np.zeros(len(here), dtype=bool)
            )
            _panel(axes, here, ours, other, marked, larger=larger)
            axes.set_xlabel(f"{other}\n{quantity}")
            axes.set_ylabel(f"{ours}\n{quantity}")
            if n_panels > 1:
                axes.set_title(f"({'abcdefgh'[number]})", loc="left", fontweight="bold")
        handles, labels = panels[0].get_legend_handles_labels()
        if len(labels) > 1:
            legend = figure.legend(
                handles, labels, loc="outside upper center", ncols=2, markerscale=3
            )
            for handle in legend.legend_handles:
                if handle is not None:
                    handle.set_alpha(1)
    return figure


def _panel(
    axes: Axes,
    table: pd.DataFrame,
    ours: str,
    other: str,
    marked: NDArray[np.bool_],
    *,
    larger: bool,
) -> None:
    x, y = table[other].to_numpy(dtype=np.float64), table[ours].to_numpy(dtype=np.float64)
    if not x.size or not (np.isfinite(x) & np.isfinite(y)).all():
        raise DgexError(f"{ours} against {other}: no gene has both values, or one is infinite")
    size, alpha = point_size(x.size), 0.6 if x.size < 3000 else 0.35
    for chosen, look, label, above in (
        (~marked, POINTS, "other target genes" if marked.any() else "target genes", 0),
        (marked, COPIES, "copies of a landmark gene", 1),
    ):
        if chosen.any():
            axes.scatter(
                x[chosen],
                y[chosen],
                s=size * (2.0 if above else 1.0),
                c=look.colour,
                marker=look.marker,
                alpha=0.8 if above else alpha,
                linewidths=0,
                rasterized=True,
                zorder=2 + above,
                label=label,
            )
    # From 0, which both errors and R² have: room for the corners' text, and honest distances.
    low, high = min(0.0, x.min(), y.min()), max(x.max(), y.max())
    air = 0.04 * (high - low) or 0.1
    axes.set(xlim=(low - air, high + air), ylim=(low - air, high + air), aspect="equal")
    axes.locator_params(nbins=6)
    axes.axline((low, low), slope=1, color="k", linewidth=0.7, linestyle=(0, (5, 2)), zorder=4)
    count = shares(y, x, larger=larger)
    texts = [
        f"{other} better:\n{count.text(count.other)}",
        f"{ours} better:\n{count.text(count.ours)}",
    ]
    if count.equal:
        texts[0] += f"\nequal: {count.text(count.equal)}"
    _write_shares(axes, x, y, *(reversed(texts) if larger else texts))


def point_size(n: int) -> float:
    """Area of a point in points²: smaller the more there are, from 9 to 1.5."""
    return float(np.clip(9 * np.sqrt(200 / n), 1.5, 9))


def _write_shares(axes: Axes, x: Values, y: Values, upper: str, lower: str) -> None:
    """Write each side's share into its corner, or both into the other if points lie in one."""
    span = axes.get_xlim()[1] - axes.get_xlim()[0]
    across, up = (x - axes.get_xlim()[0]) / span, (y - axes.get_xlim()[0]) / span

    def taken(lines: int) -> tuple[bool, bool]:
        high = TEXT_HEIGHT * lines / 2
        return (
            bool(((across < TEXT_WIDTH) & (up > 1 - high)).any()),
            bool(((across > 1 - TEXT_WIDTH) & (up < high)).any()),
        )

    n_upper, n_lower = upper.count("\n") + 1, lower.count("\n") + 1
    alone = taken(n_upper)[0], taken(n_lower)[1]
    together = taken(n_upper + n_lower)
    if alone[1] and not together[0]:
        upper, lower = f"{upper}\n{lower}", ""
    elif alone[0] and not together[1]:
        upper, lower = "", f"{upper}\n{lower}"
    for text, place, alignment in (
        (upper, (0.03, 0.97), ("left", "top")),
        (lower, (0.97, 0.03), ("right", "bottom")),
    ):
        if text:
            axes.text(
                *place,
                text,
                transform=axes.transAxes,
                ha=alignment[0],
                va=alignment[1],
                fontsize=SMALL,
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
                zorder=5,
            )
