"""What all figures share beyond their looks (`dgex_jax.plots.style`): notes, levels, and saving."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy.optimize import isotonic_regression

from dgex_jax import __version__
from dgex_jax.io.files import atomic_path
from dgex_jax.plots.style import SMALL, in_style, look
from reproduce.written import rounded_csv, same_numbers, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


NOTE_HEIGHT = 0.15  # inches
SOFTWARE = f"dgex-jax {__version__}"


def new_figure(width: float, height: float, note: str | None = None) -> Figure:
    """Make an empty figure of a size in inches, a little higher and stamped if a note is given."""
    figure = Figure(
        figsize=(width, height if note is None else height + NOTE_HEIGHT), layout="constrained"
    )
    if note is not None:
        stamp(figure, note)
    return figure


def stamp(figure: Figure, text: str) -> None:
    """Write a note ("simulated data") in the lower right corner, outside the axes.

    Before the figure is saved; a second note replaces the first.
    """
    with in_style():
        figure.supxlabel(text, x=0.995, ha="right", fontsize=SMALL, color="#555555")


def settle(figure: Figure) -> None:
    """Give every artist its final place, once: repeated layouts could differ in the last bit."""
    with in_style():
        if figure.get_layout_engine() is not None:
            figure.draw_without_rendering()
            figure.set_layout_engine("none")


def save(figure: Figure, table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write ``name.png`` (300 dpi), ``name.pdf`` and ``name.csv``, each complete or not at all.

    The same figure and table give the same bytes: no file holds a date. A picture of this version,
    whose numbers agree with those that it draws (`written.same_numbers`), is left alone.

    - `figure`: what a ``draw`` returned.
    - `table`: the numbers it draws.
    - `folder`: an existing folder.
    - `name`: of the files, without suffix.

    Raises `DgexError`: the folder is missing or can't be written to.
    """
    png, csv = folder / f"{name}.png", rounded_csv(table)
    same = same_numbers(folder / f"{name}.csv", csv)
    settle(figure)
    with in_style():
        if not (same and _drawn_by(png) == SOFTWARE):
            with atomic_path(png) as path:
                figure.savefig(path, format="png", metadata={"Software": SOFTWARE})
        with atomic_path(folder / f"{name}.pdf") as path:
            nothing = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(path, format="pdf", metadata=nothing)
    if not same:
        write_text(folder / f"{name}.csv", csv)


def _drawn_by(png: Path) -> str | None:
    try:
        with Image.open(png) as picture:
            return picture.info.get("Software")
    except (OSError, SyntaxError, ValueError):
        return None


def draw_levels(axes: Axes, levels: Mapping[str, float], height: float) -> None:
    """Draw a line for each method, its name right of the axes.

    - `axes`: with its final y limits.
    - `levels`: method → error.
    - `height`: roughly how high the axes will be, in inches: names keep a line's height apart.
    """
    for method, value in levels.items():
        style = look(method)
        axes.axhline(value, color=style.colour, linestyle=style.linestyle, zorder=1)
    low, high = axes.get_ylim()
    fractions = (np.array(list(levels.values()), dtype=float) - low) / (high - low)
    places = spread(fractions, 1.25 * SMALL / 72 / height)
    for method, place in zip(levels, places, strict=True):
        axes.annotate(
            method,
            (1, place),
            xycoords="axes fraction",
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=look(method).colour,
            annotation_clip=False,
        )


def spread(wanted: Sequence[float] | NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Move places apart until each two are at least `gap` apart, keeping their order.

    The places are the nearest to the wanted ones in the sense of least squares.
    """
    places = np.asarray(wanted, dtype=float)
    order = np.argsort(places, kind="stable")
    # With the gaps taken out, "at least a gap apart" is "not falling".
    steps = gap * np.arange(places.size)
    moved = np.empty_like(places)
    moved[order] = isotonic_regression(places[order] - steps).x + steps
    return moved
