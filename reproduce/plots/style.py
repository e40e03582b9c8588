"""What all figures share: sizes, fonts, a look for each method, levels, and how they are saved."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import style
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from PIL import Image
from scipy.optimize import isotonic_regression

from dgex_jax import __version__
from dgex_jax.errors import DgexError
from dgex_jax.io.files import atomic_path
from reproduce.written import rounded_csv, same_numbers, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


SINGLE_COLUMN, DOUBLE_COLUMN = 3.4, 7.0  # inches
SMALL, NORMAL = 7.0, 8.0  # points; journals ask for at least 7
NOTE_HEIGHT = 0.15  # inches
DPI = 300
SOFTWARE = f"dgex-jax {__version__}"

RC: dict[str, object] = {
    # DejaVu comes with Matplotlib: the same bytes whatever fonts a machine has.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": SMALL,
    "axes.labelsize": NORMAL,
    "axes.titlesize": NORMAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    # TrueType, so that text in a PDF can be searched and edited.
    "pdf.fonttype": 42,
}

DASHED, DASH_DOT, DOTTED, LONG = (4, 2), (6, 1.5, 1.5, 1.5), (1, 1.2), (8, 2)


@dataclass(frozen=True)
class Look:
    """How one method or series is drawn; colour, marker and dashes differ, for greyscale.

    - `colour`: ``#rrggbb``, told apart with every common colour blindness (Okabe and Ito's
      palette).
    - `marker`: matplotlib's marker.
    - `dashes`: lengths of dashes and gaps in line widths; empty for a solid line.
    """

    colour: str
    marker: str
    dashes: tuple[float, ...]

    @property
    def linestyle(self) -> str | tuple[float, tuple[float, ...]]:
        """Matplotlib's line style."""
        return (0.0, self.dashes) if self.dashes else "solid"


LOOKS = {
    "D-GEX": Look("#0072B2", "o", ()),
    "LR": Look("#D55E00", "s", DASHED),
    "LR-L1": Look("#E69F00", "v", DASH_DOT),
    "LR-L2": Look("#CC79A7", "D", DOTTED),
    "KNN-GE": Look("#009E73", "^", DASH_DOT),
    "KNN-profiles": Look("#56B4E9", "P", LONG),
    "Mean": Look("#555555", "X", DOTTED),
}
COPIES = Look("#D55E00", "^", ())
POINTS = Look("#0072B2", "o", ())

_BLUES = LinearSegmentedColormap.from_list("D-GEX", ["#6CC0F0", "#0072B2", "#00253D"])
_SERIES_MARKERS = "os^Dv*"


def look(method: str) -> Look:
    """Return the look of a method, the same in every figure; a network's is D-GEX's.

    Raises `DgexError`: a method that has none.
    """
    name = "D-GEX" if method.startswith("D-GEX") else method
    if name not in LOOKS:
        raise DgexError(f"figure: no colour for method {method!r}; known: {', '.join(LOOKS)}")
    return LOOKS[name]


def series_looks(n: int) -> list[Look]:
    """Return the looks of `n` series of D-GEX (depths, dropout rates), light to dark blue.

    Their lines are solid, so that they stand apart from the dashed ones of other methods.
    """
    return [
        Look(
            to_hex(_BLUES(index / (n - 1) if n > 1 else 0.5)),
            _SERIES_MARKERS[index % len(_SERIES_MARKERS)],
            (),
        )
        for index in range(n)
    ]


# Matplotlib's settings belong to the whole process and are read while artists are made and drawn.
_SETTINGS = threading.RLock()


@contextmanager
def in_style() -> Iterator[None]:
    """Matplotlib's settings are this file's inside, whatever the user's are, and as before after.

    Threads that draw take turns.
    """
    with _SETTINGS, style.context(RC, after_reset=True):
        yield


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
