"""The looks of pictures: sizes, fonts, and a colour, a marker and dashes for each method."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib import style
from matplotlib.colors import LinearSegmentedColormap, to_hex

from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SINGLE_COLUMN, DOUBLE_COLUMN = 3.4, 7.0  # inches
SMALL, NORMAL = 7.0, 8.0  # points; journals ask for at least 7
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
PALETTE = (*LOOKS.values(), Look("#000000", "*", ()))
BEYOND = {
    "kernel-ridge": LOOKS["LR"],
    "residual-mlp": LOOKS["KNN-GE"],
    "sample-lasso": LOOKS["LR-L1"],
    "learned-kernel": LOOKS["KNN-profiles"],
    "stack": PALETTE[-1],
}
"""Methods beyond the paper's: looks that its methods have left, where these are not drawn."""
GREY = "#555555"
COPIES = Look("#D55E00", "^", ())
POINTS = Look("#0072B2", "o", ())

_BLUES = LinearSegmentedColormap.from_list("D-GEX", ["#6CC0F0", "#0072B2", "#00253D"])
_SERIES_MARKERS = "os^Dv*"


def look(method: str) -> Look:
    """Return the look of one of the paper's methods, the same in every figure.

    A network's is D-GEX's. Raises `DgexError`: a method that has none.
    """
    name = _family(method)
    if name not in LOOKS:
        raise DgexError(f"figure: no colour for method {method!r}; known: {', '.join(LOOKS)}")
    return LOOKS[name]


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """Give each name of one picture a look of its own.

    Methods of this package have theirs, where no other name of the picture has it already; all
    others take the looks that are left. Raises `DgexError`: more names than looks.
    """
    wanted = list(dict.fromkeys(names))
    if len(wanted) > len(PALETTE) ** 2:
        raise DgexError(
            f"{len(wanted)} lines can't be told apart: draw {len(PALETTE) ** 2} at most"
        )
    found: dict[str, Look] = {}
    for known in (LOOKS, BEYOND):
        for name in wanted:
            own = known.get(_family(name))
            if own and name not in found and own not in found.values():
                found[name] = own
    free = (
        Look(one.colour, other.marker, other.dashes)
        for shift in range(len(PALETTE))
        for one, other in zip(PALETTE, PALETTE[shift:] + PALETTE[:shift], strict=True)
    )
    for name in wanted:
        if name not in found:
            found[name] = next(one for one in free if one not in found.values())
    return {name: found[name] for name in wanted}


def _family(method: str) -> str:
    return "D-GEX" if method.startswith("D-GEX") else method


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
