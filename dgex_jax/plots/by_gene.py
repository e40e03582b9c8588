"""Errors gene by gene: their distribution, and one method against another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import gaussian_kde

from dgex_jax.errors import DgexError
from dgex_jax.plots.axes import axes_for, check_vectors
from dgex_jax.plots.style import COPIES, POINTS, SINGLE_COLUMN, looks_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from numpy.typing import ArrayLike, NDArray

    Values = NDArray[np.float64]

MAE, DENSITY_POINTS = "MAE", 512
TEXT_WIDTH, TEXT_HEIGHT = 0.62, 0.14  # of a panel: two lines on the shares


def errors_by_gene(
    errors: Mapping[str, ArrayLike],
    *,
    quantity: str = "MAE of a target gene (standardised units)",
    ax: Axes | None = None,
) -> Axes:
    """Draw the distribution of the error over target genes, a curve a method.

    A curve is a density of Gaussian kernels (Scott's bandwidth) of area 1; what a kernel has below
    zero, where no error is, is folded back.

    Parameters
    ----------
    errors
        Name of the method → its error of every target gene, ``(n_targets,)`` of any real dtype,
        not negative; a DataFrame with a column a method will do. The methods may have genes of
        their own.
    quantity
        Label of the x axis, with the unit of the errors.
    ax
        Axes to draw on, as they are; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or the new axes.

    Raises
    ------
    DgexError
        No method, errors that are negative or not finite, or a method with fewer than two
        different errors, which has no density.
    """
    table = density_table(errors)
    with axes_for(ax, height=2.4) as axes:
        draw_densities(axes, table)
        axes.set_xlabel(quantity)
    return axes


def draw_densities(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the curves of a `density_table`; its columns' order is the legend's."""
    for method, own in looks_of(table.columns.drop(MAE)).items():
        axes.plot(
            table[MAE], table[method], color=own.colour, linestyle=own.linestyle, label=method
        )
    axes.set_ylabel("Density of target genes")
    axes.set_xlim(table[MAE].iloc[0], table[MAE].iloc[-1])
    axes.set_ylim(bottom=0)
    axes.legend()


def density_table(errors: Mapping[str, ArrayLike], n_points: int = DENSITY_POINTS) -> pd.DataFrame:
    """Estimate the density of each method's errors over the target genes.

    Gaussian kernels with Scott's bandwidth, the method's own. What a kernel has below zero, where
    no error is, is folded back, so that each density has area 1.

    - `errors`: method → ``(n_targets,)`` MAE of each gene in standardised units.
    - `n_points`: of the grid, which is the same for all methods and leaves nothing visible out.

    Returns ``MAE`` (the grid) and a column of densities for each method, float64.

    Raises `DgexError`: no method, errors that are negative or not finite, or a method whose errors
    are all equal (they have no density).
    """
    if not len(errors) or MAE in errors:
        raise DgexError(f"density of errors: no method, or one called {MAE}, as the errors are")
    values = {}
    for method, of_genes in errors.items():
        (error,) = check_vectors("density of errors", "gene", {method: of_genes})
        values[method] = error
        if (error < 0).any():
            raise DgexError(f"density of the errors of {method}: must be finite, not negative")
        if error.size < 2 or not np.ptp(error):
            raise DgexError(
                f"density of the errors of {method}: needs at least two genes of different error"
            )
    kernels = {method: gaussian_kde(error) for method, error in values.items()}
    widths = {method: float(np.sqrt(kernel.covariance[0, 0])) for method, kernel in kernels.items()}
    low = min(float(error.min()) - 4 * widths[method] for method, error in values.items())
    high = max(float(error.max()) + 4 * widths[method] for method, error in values.items())
    grid = np.linspace(max(0.0, low), high, n_points)
    densities = {method: kernel(grid) + kernel(-grid) for method, kernel in kernels.items()}
    return pd.DataFrame({MAE: grid, **densities})


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


def genewise(
    ours: ArrayLike,
    other: ArrayLike,
    *,
    names: tuple[str, str] = ("ours", "other"),
    quantity: str = "MAE (standardised units)",
    larger: bool = False,
    copies: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one method against another: a point a gene, and in how many genes each is better.

    Genes below the diagonal have the smaller value in `ours`. Genes of equal values count for
    neither side and are written as well, if there are any.

    Parameters
    ----------
    ours, other
        A value of each target gene, ``(n_targets,)`` of any real dtype, in the same order of genes;
        `ours` goes up, `other` goes across.
    names
        Names of the two methods.
    quantity
        What the values are, with their unit; under both names on the axes.
    larger
        Whether larger values are better (r, R²) or smaller ones (errors).
    copies
        ``(n_targets,)`` booleans: genes to mark as copies of a landmark gene.
    ax
        Axes to draw on, as they are; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or the new axes.

    Raises
    ------
    DgexError
        No genes, lengths that differ, or values that are not finite.
    """
    with axes_for(ax, SINGLE_COLUMN, SINGLE_COLUMN + 0.1) as axes:
        draw_genes(axes, ours, other, names, quantity, larger=larger, copies=copies)
        if len(axes.get_legend_handles_labels()[1]) > 1:
            above = axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, markerscale=3)
            opaque(above)
    return axes


def draw_genes(
    axes: Axes,
    ours: ArrayLike,
    other: ArrayLike,
    names: tuple[str, str],
    quantity: str,
    *,
    larger: bool,
    copies: ArrayLike | None,
) -> None:
    """Draw all of `genewise` but the legend."""
    what = f"{names[0]} against {names[1]}"
    y, x = check_vectors(what, "gene", {f"ours ({names[0]})": ours, f"other ({names[1]})": other})
    marked = np.zeros(x.size, dtype=bool) if copies is None else np.asarray(copies)
    if marked.dtype != np.bool_ or marked.shape != x.shape:
        raise DgexError(
            f"{what}: copies must be {x.size} booleans, one a gene, "
            f"not {marked.dtype} of shape {marked.shape}"
        )
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
        f"{names[1]} better:\n{count.text(count.other)}",
        f"{names[0]} better:\n{count.text(count.ours)}",
    ]
    if count.equal:
        texts[0] += f"\nequal: {count.text(count.equal)}"
    _write_shares(axes, x, y, *(reversed(texts) if larger else texts))
    axes.set_xlabel(f"{names[1]}\n{quantity}")
    axes.set_ylabel(f"{names[0]}\n{quantity}")


def opaque(legend: Legend) -> None:
    """Show the points of a legend as they look where many lie on each other."""
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)


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
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
                zorder=5,
            )
