"""Figures 3, 4 and S2: one method against another, gene by gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgex_jax.plots.by_gene import draw_genes, opaque
from dgex_jax.plots.style import DOUBLE_COLUMN, SINGLE_COLUMN, in_style
from reproduce.plots.style import new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure

COPY_COLUMN = "copy_of_landmark"


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
