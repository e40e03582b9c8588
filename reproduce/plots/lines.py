"""Figures 1, 2 and 5: errors by architecture, by gene, and by epoch, as lines."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from dgex_jax.errors import DgexError
from dgex_jax.plots import by_gene
from dgex_jax.plots.curves import draw_by_epoch
from dgex_jax.plots.style import NORMAL, SINGLE_COLUMN, in_style, series_looks
from reproduce.plots.style import draw_levels, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Levels = Mapping[str, float]

MAIN_HEIGHT, FAR_HEIGHT, MARGINS = 1.9, 0.4, 0.8  # inches
REACH = 3.0
UPRIGHT = 6  # so many widths fit side by side
EPOCH, LEVEL, EPOCHS_HEIGHT = "epoch", "LR", 2.7  # inches


def draw_architectures(table: pd.DataFrame, part: str, note: str | None = None) -> Figure:
    """Draw a line of D-GEX over the widths for each depth, and a level for each other method.

    Methods so far from the networks that these would lie on one flat line get a panel of their
    own, above or below; the axis is broken between the panels, and their scales differ.

    - `table`: A line for each network and each other method: ``method``, ``hidden_layers``,
      ``units``, ``dropout`` (these three empty where the method is no network), ``mean`` and
      ``sd``. All networks have one dropout rate. ``sd`` is over the genes and not drawn: it is many
      times the differences between the means.
    - `part`: where the errors are measured, as in ``GEO-te``.
    - `note`: for the corner.

    Raises `DgexError`: no network, several dropout rates, or a network that is there twice.
    """
    is_network = table["units"].notna()
    networks, others = table[is_network], table[~is_network]
    rates = networks["dropout"].unique()
    if len(rates) != 1 or networks.duplicated(["hidden_layers", "units"]).any():
        raise DgexError(
            f"figure 1: needs every network once, all of one dropout rate (rates: {list(rates)})"
        )
    levels = dict(zip(others["method"].astype(str), others["mean"].astype(float), strict=True))
    above, near, below = split_levels(networks["mean"].tolist(), levels)
    panels = [panel for panel in (above, near, below) if panel or panel is near]
    heights = [
        MAIN_HEIGHT if panel is near else FAR_HEIGHT + 0.15 * (len(panel) - 1) for panel in panels
    ]
    with in_style():
        figure = new_figure(SINGLE_COLUMN, sum(heights) + MARGINS, note)
        rows: list[Axes] = (
            figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
            .ravel()
            .tolist()
        )
        for axes, panel, height in zip(rows, panels, heights, strict=True):
            drawn = list(panel.values())
            if panel is near:
                _draw_networks(axes, networks)
                drawn += networks["mean"].tolist()
            _limit(axes, drawn, share=0.08 if panel is near else 0.25)
            draw_levels(axes, panel, height)
        _break(rows)
        _label_widths(rows[-1], networks)
        figure.supylabel(
            f"Overall error on {part}\n(MAE, standardised units)",
            fontsize=NORMAL,
            multialignment="center",
        )
        figure.legend(
            *rows[panels.index(near)].get_legend_handles_labels(),
            title=f"D-GEX-{100 * rates[0]:.4g}%, hidden layers",
            loc="outside upper center",
            ncols=6,
        )
    return figure


def split_levels(errors: Sequence[float], levels: Levels) -> tuple[Levels, Levels, Levels]:
    """Part methods into those far above the networks, those near them, and those far below.

    Near is within three times the networks' spread (which counts as at least 5 % of their error).
    A single network without a method near it has no line that could look flat: all are near.

    - `errors`: overall errors of the networks.
    - `levels`: method → overall error.
    """
    low, high = min(errors), max(errors)
    reach = REACH * max(high - low, 0.05 * high)
    above = {method: error for method, error in levels.items() if error > high + reach}
    below = {method: error for method, error in levels.items() if error < low - reach}
    near = {method: error for method, error in levels.items() if method not in above | below}
    return (above, near, below) if near or len(errors) > 1 else ({}, levels, {})


def _draw_networks(axes: Axes, networks: pd.DataFrame) -> None:
    """Draw a line for each depth; widths stand at equal distances."""
    widths = sorted(networks["units"].unique())
    depths = sorted(networks["hidden_layers"].unique())
    for depth, own in zip(depths, series_looks(len(depths)), strict=True):
        line = networks[networks["hidden_layers"] == depth].sort_values("units")
        axes.plot(
            [widths.index(units) for units in line["units"]],
            line["mean"],
            color=own.colour,
            marker=own.marker,
            linestyle=own.linestyle,
            label=f"{int(depth)}",
        )


def _label_widths(axes: Axes, networks: pd.DataFrame) -> None:
    widths = sorted(networks["units"].unique())
    labels = [f"{int(units):,}" for units in widths]
    slanted = len(widths) > UPRIGHT
    axes.set_xticks(
        range(len(widths)), labels, rotation=45 * slanted, ha="right" if slanted else "center"
    )
    axes.set_xlim(-0.4, len(widths) - 0.6)
    axes.set_xlabel("Hidden units in each hidden layer")


def _limit(axes: Axes, drawn: Sequence[float], share: float) -> None:
    """Leave a share of the panel's span as air above and below what it shows."""
    low, high = min(drawn), max(drawn)
    air = share * (high - low) or 0.03 * high or 1.0
    axes.set_ylim(low - air, high + air)
    locator = MaxNLocator(nbins=6 if share < 0.1 else 3, steps=[1, 2, 5, 10], min_n_ticks=2)
    axes.yaxis.set_major_locator(locator)


def _break(rows: Sequence[Axes]) -> None:
    """Mark the places where the axis is broken between two panels."""
    for upper, lower in pairwise(rows):
        upper.spines.bottom.set_visible(False)
        upper.tick_params(bottom=False)
        for axes, end in ((upper, 0), (lower, 1)):
            axes.plot(
                [0],
                [end],
                color="k",
                linestyle="none",
                marker=[(-1, -0.5), (1, 0.5)],
                markersize=6,
                markeredgewidth=0.6,
                clip_on=False,
                transform=axes.transAxes,
            )


def draw_densities(table: pd.DataFrame, part: str, note: str | None = None) -> Figure:
    """Draw one curve for each method.

    - `table`: of `by_gene.density_table`; the columns' order is the legend's.
    - `part`: where the errors are measured, as in ``GEO-te``.
    - `note`: for the corner.
    """
    with in_style():
        figure = new_figure(SINGLE_COLUMN, 2.4, note)
        axes = figure.subplots()
        by_gene.draw_densities(axes, table)
        axes.set_xlabel(f"MAE of a target gene on {part} (standardised units)")
    return figure


def draw_epochs(
    table: pd.DataFrame,
    architecture: str,
    part: str,
    note: str | None = None,
) -> Figure:
    """Draw one line for each dropout rate, and the level of LR.

    - `table`: ``epoch``, a column of overall errors for each dropout rate (named as in ``25%``, the
      lowest first), and ``LR``, which repeats its error.
    - `architecture`: as in ``D-GEX-9000x2``.
    - `part`: where the errors are measured, as in ``GTEx-te``.
    - `note`: for the corner.
    """
    rates = list(table.columns.drop([EPOCH, LEVEL]))
    with in_style():
        figure = new_figure(SINGLE_COLUMN, EPOCHS_HEIGHT, note)
        axes = figure.subplots()
        level = float(table[LEVEL].iloc[0])
        by_rate = {rate: table[rate].to_numpy(np.float64) for rate in rates}
        looks = dict(zip(rates, series_looks(len(rates)), strict=True))
        draw_by_epoch(axes, table[EPOCH], by_rate, looks, also=[level])
        draw_levels(axes, {LEVEL: level}, EPOCHS_HEIGHT - 0.8)
        axes.set_ylabel(f"Overall error on {part}\n(MAE, standardised units)")
        figure.legend(
            title=f"{architecture}, dropout rate",
            loc="outside upper center",
            ncols=min(4, len(rates)),
            columnspacing=1.5,
        )
    return figure
