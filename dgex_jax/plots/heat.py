"""Inferred values of many genes and profiles as colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from scipy.cluster.hierarchy import leaves_list, linkage

from dgex_jax.baselines.arrays import check_matrix
from dgex_jax.errors import DgexError
from dgex_jax.plots.axes import axes_for
from dgex_jax.plots.style import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from numpy.typing import ArrayLike, NDArray

WIDTH, HEIGHT = 4.4, 3.6  # inches
TURNED = 500
"""Rows whose tree is turned so that neighbours are as similar as can be: it takes their square."""
MOST_PROFILES = 5000
"""All distances between them are held in memory; a picture has fewer lines."""
COLOURS = "RdBu_r"
FULL_COLOUR = 99.0
"""Percentile of absolute values that has the darkest colour."""


def heat_map(
    values: pd.DataFrame | ArrayLike,
    *,
    n_genes: int = 30,
    groups: ArrayLike | None = None,
    quantity: str = "standardised units",
    ax: Axes | None = None,
) -> Axes:
    """Draw values of profiles and genes as colours about 0, similar ones beside each other.

    Rows are profiles, columns genes; both are ordered by hierarchical clustering (average linkage
    of Euclidean distances). Red is above 0, blue below, white is 0; the 1 % of the drawn values
    that are farthest from 0 all have the darkest colour.

    Parameters
    ----------
    values
        ``(n_profiles, n_targets)`` of any real dtype, about 0, as standardised values are (from
        others subtract their genes' means first). The columns of a DataFrame name the genes and its
        index the profiles, where there is room for names.
    n_genes
        How many genes to draw: those of the largest variance over the profiles; all of them if
        there are fewer.
    groups
        ``(n_profiles,)`` names (of tissues, batches), drawn as a strip of colours beside the
        profiles. Names take colours in their alphabetical order. A Series must have the index of
        `values`.
    quantity
        Label of the colour scale.
    ax
        Axes to draw on, as they are; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or the new axes; its y axis is the profiles, in the order drawn.

    Raises
    ------
    DgexError
        Empty tables, values that are not finite, more than 5,000 profiles, `n_genes` below 1,
        groups that don't fit the profiles, or more than 8 of them.
    """
    matrix = check_matrix("heat map", values).astype(np.float64)
    if n_genes < 1 or len(matrix) > MOST_PROFILES:
        raise DgexError(
            f"heat map: {len(matrix)} profiles and {n_genes} genes asked for; draw at least one "
            f"gene, and at most {MOST_PROFILES:,} profiles"
        )
    of_group = None if groups is None else _names(groups, values, len(matrix))
    varied = np.sort(np.argsort(-matrix.var(axis=0), kind="stable")[:n_genes])
    chosen = matrix[:, varied]
    rows, columns = _order(chosen), _order(chosen.T)
    drawn = chosen[np.ix_(rows, columns)]
    full = float(np.percentile(np.abs(drawn), FULL_COLOUR)) or float(np.abs(drawn).max()) or 1.0
    with axes_for(ax, WIDTH, HEIGHT) as axes:
        image = axes.imshow(drawn, cmap=COLOURS, vmin=-full, vmax=full, aspect="auto")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        n_drawn, n_all = chosen.shape[1], matrix.shape[1]
        few = f"{n_drawn:,} most variable of " if n_drawn < n_all else ""
        axes.set_xlabel(f"{few}{n_all:,} genes")
        axes.set_ylabel(f"{len(matrix):,} profiles")
        named = values if isinstance(values, pd.DataFrame) else None
        genes = None if named is None else named.columns[varied[columns]]
        _write(axes.xaxis, axes.bbox.width, genes, rotation=90)
        profiles = None if named is None else named.index[rows]
        _write(axes.yaxis, axes.bbox.height, profiles, rotation=0)
        left = 1.015
        if of_group is not None:
            _strip(axes, of_group[rows], left)
            left += 0.055
        scale = axes.inset_axes((left, 0.0, 0.03, 1.0))
        axes.figure.colorbar(image, cax=scale, extend="both", label=quantity)
    return axes


def _names(groups: ArrayLike, values: object, n_profiles: int) -> NDArray[np.str_]:
    """Return the group of each profile."""
    if (
        isinstance(groups, pd.Series)
        and isinstance(values, pd.DataFrame)
        and not groups.index.equals(values.index)
    ):
        raise DgexError("heat map: groups has other profiles than values, or in another order")
    names = np.asarray(groups)
    if names.shape != (n_profiles,) or pd.isna(names).any():
        raise DgexError(
            f"heat map: groups must be {n_profiles} names, one a profile, not of shape "
            f"{names.shape} or missing"
        )
    found = names.astype(str)
    if np.unique(found).size > len(PALETTE):
        raise DgexError(
            f"heat map: {np.unique(found).size} groups can't be told apart: {len(PALETTE)} at most"
        )
    return found


def _order(matrix: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order rows so that similar ones are neighbours."""
    if len(matrix) < 3:
        return np.arange(len(matrix))
    tree = linkage(matrix, "average", optimal_ordering=len(matrix) <= TURNED)
    order: NDArray[np.intp] = leaves_list(tree).astype(np.intp)
    return order


def _write(axis: Axis, pixels: float, names: pd.Index | None, rotation: float) -> None:
    """Write a name at each row or column, if they are known and there is room."""
    line = 1.02 * FontProperties(size=mpl.rcParams["xtick.labelsize"]).get_size_in_points()
    if names is None or pixels / axis.axes.figure.dpi * 72 < line * len(names):
        axis.set_ticks([])
    else:
        axis.set_ticks(range(len(names)), [str(one) for one in names], rotation=rotation)


def _strip(axes: Axes, groups: NDArray[np.str_], left: float) -> None:
    """Draw the groups as colours right of the profiles, and what they are above."""
    kinds, codes = np.unique(groups, return_inverse=True)
    colours = [one.colour for one in PALETTE[: kinds.size]]
    strip = axes.inset_axes((left, 0.0, 0.03, 1.0), sharey=axes)
    strip.imshow(
        codes[:, np.newaxis],
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=kinds.size - 0.5,
        aspect="auto",
        interpolation="nearest",
    )
    strip.set_axis_off()
    patches = [Patch(color=one, label=kind) for one, kind in zip(colours, kinds, strict=True)]
    axes.legend(handles=patches, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, handlelength=1)
