"""Figure 2: how the errors of the target genes are distributed, method by method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import gaussian_kde

from dgex_jax.errors import DgexError
from reproduce.plots.style import SINGLE_COLUMN, in_style, look, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

MAE = "MAE"
POINTS = 512


def density_table(errors: Mapping[str, ArrayLike], n_points: int = POINTS) -> pd.DataFrame:
    """Estimate the density of each method's errors over the target genes.

    Gaussian kernels with Scott's bandwidth, the method's own. What a kernel has below zero, where
    no error is, is folded back, so that each density has area 1.

    Parameters
    ----------
    errors
        Method → ``(n_targets,)`` MAE of each gene in standardised units.
    n_points
        Of the grid, which is the same for all methods and leaves nothing visible out.

    Returns
    -------
    DataFrame
        ``MAE`` (the grid) and a column of densities for each method, float64.

    Raises
    ------
    DgexError
        No method, errors that are negative or not finite, or a method whose errors are all equal
        (they have no density).
    """
    values = {method: np.asarray(error, dtype=np.float64) for method, error in errors.items()}
    if not values:
        raise DgexError("density of errors: no method")
    for method, error in values.items():
        if not (np.isfinite(error) & (error >= 0)).all():
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


def draw(table: pd.DataFrame, part: str, note: str | None = None) -> Figure:
    """Draw one curve for each method.

    Parameters
    ----------
    table
        Of `density_table`; the columns' order is the legend's.
    part
        Where the errors are measured, as in ``GEO-te``.
    note
        For the corner.
    """
    with in_style():
        figure = new_figure(SINGLE_COLUMN, 2.4, note)
        axes = figure.subplots()
        for method in table.columns.drop(MAE):
            style = look(method)
            axes.plot(
                table[MAE],
                table[method],
                color=style.colour,
                linestyle=style.linestyle,
                label=method,
            )
        axes.set_xlabel(f"MAE of a target gene on {part} (standardised units)")
        axes.set_ylabel("Density of target genes")
        axes.set_xlim(table[MAE].iloc[0], table[MAE].iloc[-1])
        axes.set_ylim(bottom=0)
        axes.legend()
    return figure
