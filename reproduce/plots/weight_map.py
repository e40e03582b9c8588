"""Figure S3: the major weights of a network with one hidden layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgex_jax.plots.style import DOUBLE_COLUMN, in_style
from dgex_jax.plots.weight_map import draw_map
from reproduce.plots.style import new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure

HEIGHT = 5.0  # inches


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
        figure = new_figure(DOUBLE_COLUMN, HEIGHT, note)
        handles = draw_map(figure.subplots(), table, n_landmarks, n_hidden, n_targets, hubs)
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure
