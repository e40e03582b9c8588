"""What all figures share: sizes, fonts, a look for each method, and how they are saved."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib import style
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure

from dgex_jax.errors import DgexError
from dgex_jax.formats.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

SINGLE_COLUMN, DOUBLE_COLUMN = 3.4, 7.0  # inches
SMALL, NORMAL = 7.0, 8.0  # points; journals ask for at least 7
NOTE_HEIGHT = 0.15  # inches
DPI = 300

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

    Attributes
    ----------
    colour
        ``#rrggbb``, told apart with every common colour blindness (Okabe and Ito's palette).
    marker
        Matplotlib's marker.
    dashes
        Lengths of dashes and gaps in line widths; empty for a solid line.
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

    Raises
    ------
    DgexError
        A method that has none.
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

    The same figure and table give the same bytes: no file holds a date.

    Parameters
    ----------
    figure
        What a ``draw`` returned.
    table
        The numbers it draws; floats are written so that they are read back exactly.
    folder
        An existing folder.
    name
        Of the files, without suffix.

    Raises
    ------
    DgexError
        The folder is missing or can't be written to.
    """
    settle(figure)
    with in_style():
        with atomic_path(folder / f"{name}.png") as path:
            figure.savefig(path, format="png", metadata={"Software": None})
        with atomic_path(folder / f"{name}.pdf") as path:
            nothing = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(path, format="pdf", metadata=nothing)
    with atomic_path(folder / f"{name}.csv") as path:
        table.to_csv(path, index=False, lineterminator="\n")
