"""Where a picture is drawn, and what can be drawn."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dgex_jax.errors import DgexError
from dgex_jax.plots.style import SINGLE_COLUMN, in_style

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

    Doubles = NDArray[np.float64]

SCREEN_DPI = 200


class ShownAxes(Axes):
    """Axes of a figure that Pyplot does not hold; a notebook shows them as their picture."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        with in_style():
            cast("Figure", self.figure).savefig(picture, format="png", dpi="figure")
        return picture.getvalue()


@contextmanager
def axes_for(ax: Axes | None, width: float = SINGLE_COLUMN, height: float = 2.7) -> Iterator[Axes]:
    """Yield the axes given, under the caller's settings; or those of a new figure in our style."""
    if ax is not None:
        yield ax
        return
    with in_style():
        figure = Figure(figsize=(width, height), layout="constrained", dpi=SCREEN_DPI)
        yield figure.add_subplot(axes_class=ShownAxes)
        # Ticks are made as they are drawn, by the settings of that moment.
        figure.draw_without_rendering()


def check_vectors(what: str, unit: str, named: Mapping[str, ArrayLike]) -> list[Doubles]:
    """Return vectors as float64, once all hold one finite number for each of the same units.

    Raises `DgexError`: no vector, one that is empty, of another length or not finite,
    or Series whose labels differ.
    """
    if not named:
        raise DgexError(f"{what}: nothing to draw")
    vectors, index = [], None
    length = np.size(next(iter(named.values())))
    for name, values in named.items():
        vector = np.asarray(values)
        if vector.dtype.kind not in "fiu" or vector.shape != (length,) or not length:
            raise DgexError(
                f"{what}: {name} must be {length or 'some'} numbers, one a {unit}, "
                f"not {vector.dtype} of shape {vector.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(vector))
        if bad.size:
            raise DgexError(
                f"{what}: {name} has {bad.size} of {length} values that are not finite, the first "
                f"{vector[bad[0]]} at {unit} {bad[0]} (counted from 0)"
            )
        if isinstance(values, pd.Series):
            if index is not None and not values.index.equals(index):
                raise DgexError(f"{what}: {name} has other labels, or in another order")
            index = values.index
        vectors.append(vector.astype(np.float64))
    return vectors
