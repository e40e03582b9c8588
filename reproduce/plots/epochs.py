"""Figure 5: the overall error while one architecture trains, at each dropout rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from reproduce.plots.levels import draw_levels
from reproduce.plots.style import SINGLE_COLUMN, in_style, new_figure, series_looks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure

EPOCH = "epoch"
HEIGHT = 2.7  # inches


def draw(
    table: pd.DataFrame,
    architecture: str,
    part: str,
    levels: Sequence[str] = ("LR",),
    note: str | None = None,
) -> Figure:
    """Draw one line for each dropout rate, and a level for each other method.

    Parameters
    ----------
    table
        ``epoch``, a column of overall errors for each dropout rate (named as in ``25%``, the
        lowest first), and one for each of `levels` that repeats its error.
    architecture
        As in ``D-GEX-9000x2``.
    part
        Where the errors are measured, as in ``GTEx-te``.
    levels
        The columns of other methods.
    note
        For the corner.
    """
    rates = list(table.columns.drop([EPOCH, *levels]))
    with in_style():
        figure = new_figure(SINGLE_COLUMN, HEIGHT, note)
        axes = figure.subplots()
        spacing = max(1, len(table) // 8)
        for number, (rate, look) in enumerate(zip(rates, series_looks(len(rates)), strict=True)):
            axes.plot(
                table[EPOCH],
                table[rate],
                color=look.colour,
                linestyle=look.linestyle,
                marker=look.marker,
                markersize=3.5,
                markevery=(number * spacing // max(1, len(rates)), spacing),
                label=rate,
            )
        drawn = table.drop(columns=EPOCH)
        low, high = float(drawn.min().min()), float(drawn.max().max())
        air = 0.06 * (high - low) or 0.03 * high
        axes.set_ylim(low - air, high + air)
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
        draw_levels(axes, {name: float(table[name].iloc[0]) for name in levels}, HEIGHT - 0.8)
        axes.set_xlabel("Epoch")
        axes.set_ylabel(f"Overall error on {part}\n(MAE, standardised units)")
        figure.legend(
            title=f"{architecture}, dropout rate",
            loc="outside upper center",
            ncols=min(4, len(rates)),
            columnspacing=1.5,
        )
    return figure
