"""Inferred against measured values, and how many of these the intervals hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, PercentFormatter

from dgex_jax.baselines.arrays import check_matrix
from dgex_jax.errors import DgexError
from dgex_jax.plots.axes import axes_for, check_vectors
from dgex_jax.plots.by_gene import point_size
from dgex_jax.plots.style import GREY, POINTS, SINGLE_COLUMN, looks_of
from dgex_jax.scores import RunningScores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

MOST_BARS = 40


def calibration(
    nominal: ArrayLike, reached: Mapping[str, ArrayLike], *, ax: Axes | None = None
) -> Axes:
    """Draw the share of values that intervals hold against the share that they promise.

    On the diagonal intervals hold what they say; above it they are wider than need be, below it
    too narrow.

    Parameters
    ----------
    nominal
        ``(n_levels,)`` levels of the intervals, between 0 and 1.
    reached
        Name (of a method, or of a set of profiles) → ``(n_levels,)`` shares of the measured values
        that lie inside its intervals, from 0 to 1, in the order of `nominal`.
    ax
        Axes to draw on, as they are; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or the new axes.

    Raises
    ------
    DgexError
        No levels or no name, lengths that differ, or shares that are not finite or outside 0 to 1.
    """
    if not reached:
        raise DgexError("calibration: nothing to draw")
    levels, *shares = check_vectors("calibration", "level", {"nominal": nominal, **reached})
    drawn = np.concatenate([levels, *shares])
    if drawn.min() < 0 or drawn.max() > 1:
        raise DgexError("calibration: levels and shares must be from 0 to 1")
    order = np.argsort(levels, kind="stable")
    low = max(0.0, float(drawn.min()) - 0.06)
    with axes_for(ax, SINGLE_COLUMN, SINGLE_COLUMN) as axes:
        axes.axline((1, 1), slope=1, color="k", linewidth=0.7, linestyle=(0, (5, 2)), zorder=1)
        for (name, own), of_name in zip(looks_of(reached).items(), shares, strict=True):
            axes.plot(
                levels[order],
                of_name[order],
                color=own.colour,
                marker=own.marker,
                linestyle=own.linestyle,
                label=name,
            )
        axes.set(xlim=(low, 1.02), ylim=(low, 1.02), aspect="equal")
        axes.text(0.03, 0.97, "too wide", transform=axes.transAxes, va="top", color=GREY)
        axes.text(0.97, 0.03, "too narrow", transform=axes.transAxes, ha="right", color=GREY)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.set_xlabel("Level of the intervals")
        axes.set_ylabel("Measured values inside")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.08))
    return axes


def coverage_by_gene(
    lower: ArrayLike,
    upper: ArrayLike,
    truth: ArrayLike,
    level: float,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw how the share of values inside their intervals is distributed over target genes.

    Parameters
    ----------
    lower, upper
        ``(n_profiles, n_targets)`` bounds of the intervals, of any real dtype.
    truth
        ``(n_profiles, n_targets)`` measured values, in the units of the bounds. A value on a bound
        is inside.
    level
        Level of the intervals, between 0 and 1, drawn as a line beside the mean over genes.
    ax
        Axes to draw on, as they are; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or the new axes.

    Raises
    ------
    DgexError
        Shapes that differ, empty tables, values that are not finite, a lower bound above its upper
        one, or a level outside 0 to 1.
    """
    what = "coverage by gene"
    low = check_matrix(f"{what}: lower", lower)
    n_profiles, n_targets = low.shape
    high, measured = (
        check_matrix(f"{what}: {name}", values, n_profiles=n_profiles, n_genes=n_targets)
        for name, values in (("upper", upper), ("truth", truth))
    )
    if not 0 < level < 1:
        raise DgexError(f"{what}: level must be between 0 and 1, not {level}")
    if (low > high).any():
        raise DgexError(f"{what}: a lower bound is above its upper bound")
    inside = ((low <= measured) & (measured <= high)).sum(axis=0)
    # Bars as wide as a whole number of profiles: shares are multiples of 1 / n_profiles.
    step = -(-(int(np.ptp(inside)) + 1) // MOST_BARS)
    edges = np.arange(inside.min(), inside.max() + step + 1, step) - 0.5
    mean = float(inside.mean() / n_profiles)
    with axes_for(ax, height=2.4) as axes:
        axes.hist(
            inside / n_profiles, bins=list(edges / n_profiles), color=POINTS.colour, alpha=0.7
        )
        axes.axvline(level, color="k", linewidth=1, label=f"level: {100 * level:.4g} %")
        axes.axvline(
            mean,
            color="#D55E00",
            linewidth=1,
            linestyle="dashed",
            label=f"mean: {100 * mean:.1f} %",
        )
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g} %"))
        axes.set_xlabel("Values of a target gene inside their intervals")
        axes.set_ylabel("Target genes")
        axes.legend(loc="upper left")
    return axes


def against_truth(
    predicted: ArrayLike,
    truth: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    gene: str | None = None,
    unit: str = "standardised units",
    ax: Axes | None = None,
) -> Axes:
    """Draw the inferred values of one gene against the measured ones, a point a profile.

    Pearson's r and the mean absolute error are written into a corner (no r where either is
    constant); bounds are drawn as bars.

    Parameters
    ----------
    predicted, truth
        ``(n_profiles,)`` inferred and measured values, of any real dtype, in the same units and in
        the same order of profiles.
    lower, upper
        ``(n_profiles,)`` bounds of the inferred values' intervals: both or neither.
    gene
        Name of the gene, for the title.
    unit
        Unit of all values, for the axes.
    ax
        Axes to draw on, as they are; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or the new axes.

    Raises
    ------
    DgexError
        No profiles, lengths that differ, values that are not finite, one bound without the other,
        or an inferred value outside its bounds.
    """
    what = "against the truth" if gene is None else f"{gene} against the truth"
    given = {"predicted": predicted, "truth": truth}
    if (lower is None) != (upper is None):
        raise DgexError(f"{what}: give both bounds, lower and upper, or neither")
    if lower is not None and upper is not None:
        given |= {"lower": lower, "upper": upper}
    y, x, *bounds = check_vectors(what, "profile", given)
    reach = [np.abs(bound - y) for bound in bounds]
    if bounds and ((bounds[0] > y) | (bounds[1] < y)).any():
        raise DgexError(f"{what}: an inferred value lies outside its bounds")
    scores = RunningScores(1)
    scores.add(y[:, np.newaxis], x[:, np.newaxis])
    of_gene = scores.scores()
    r = "no r (constant)" if np.isnan(of_gene.r[0]) else f"r = {of_gene.r[0]:.3f}"
    drawn = np.concatenate([y, x, *bounds])
    low, high = float(drawn.min()), float(drawn.max())
    air = 0.04 * (high - low) or 0.1
    with axes_for(ax, SINGLE_COLUMN, SINGLE_COLUMN) as axes:
        if bounds:
            axes.errorbar(
                x, y, yerr=reach, fmt="none", ecolor=POINTS.colour, elinewidth=0.6, alpha=0.3
            )
        axes.scatter(x, y, s=point_size(x.size), c=POINTS.colour, alpha=0.7, linewidths=0, zorder=2)
        axes.set(xlim=(low - air, high + air), ylim=(low - air, high + air), aspect="equal")
        axes.locator_params(nbins=6)
        axes.axline((low, low), slope=1, color="k", linewidth=0.7, linestyle=(0, (5, 2)), zorder=3)
        axes.text(
            0.03,
            0.97,
            f"{r}\nMAE = {of_gene.mae[0]:.3f}\n{x.size:,} profiles",
            transform=axes.transAxes,
            va="top",
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
            zorder=4,
        )
        axes.set_xlabel(f"Measured ({unit})")
        axes.set_ylabel(f"Inferred ({unit})")
        if gene is not None:
            axes.set_title(gene)
    return axes
