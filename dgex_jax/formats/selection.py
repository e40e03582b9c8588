"""Which rows and columns of a stored matrix a selection needs, and in which pieces to read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dgex_jax.formats.expression import Selection


def positions(selection: Selection, size: int) -> NDArray[np.intp]:
    """Turn a selection into positions.

    Parameters
    ----------
    selection
        A slice, an integer array (any order, repeats allowed, negative counts from the end), or
        ``None`` for everything.
    size
        Length of the axis.

    Returns
    -------
    NDArray[np.intp]
        Positions in ``[0, size)``, in the order of the selection.

    Raises
    ------
    IndexError
        A position out of bounds, or an array that is not one of integers.
    """
    if selection is None:
        return np.arange(size)
    if isinstance(selection, slice):
        return np.arange(*selection.indices(size))
    chosen = np.asarray(selection)
    if chosen.ndim != 1 or (chosen.size and not np.issubdtype(chosen.dtype, np.integer)):
        raise IndexError(f"a selection is a slice or a 1-D integer array, not {chosen.dtype}")
    chosen = chosen.astype(np.intp)
    if chosen.size and not (-size <= chosen.min() and chosen.max() < size):
        raise IndexError(f"selection {chosen.min()}..{chosen.max()} is out of bounds for {size}")
    return np.where(chosen < 0, chosen + size, chosen)


def is_run(chosen: NDArray[np.intp]) -> bool:
    """Tell whether `chosen` (not empty) is one ascending run without a gap."""
    return bool(chosen[-1] - chosen[0] == len(chosen) - 1 and np.all(np.diff(chosen) == 1))


def spans(ascending: NDArray[np.intp], gap: int, longest: int) -> list[tuple[int, int]]:
    """Cover positions by half-open spans.

    Parameters
    ----------
    ascending
        Positions in ascending order, not empty, repeats allowed.
    gap
        Neighbours up to this far apart share a span: reading what lies between costs less than a
        further call (or comes with the same chunk anyway).
    longest
        No span is longer.

    Returns
    -------
    list of (start, stop)
        In ascending order; they begin and end at chosen positions except where cut by `longest`.
    """
    breaks = np.flatnonzero(np.diff(ascending) > gap) + 1
    starts = ascending[np.concatenate([[0], breaks])]
    stops = ascending[np.concatenate([breaks - 1, [len(ascending) - 1]])] + 1
    return [
        (cut, min(cut + longest, stop))
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
        for cut in range(start, stop, longest)
    ]


def pieces(
    chosen: NDArray[np.intp], gap: int, longest: int
) -> Iterator[tuple[int, int, slice | NDArray[np.intp], NDArray[np.intp]]]:
    """Split a selection into spans to read.

    Parameters
    ----------
    chosen
        Positions in any order, not empty, repeats allowed.
    gap, longest
        See `spans`.

    Yields
    ------
    start, stop
        The span.
    places
        Which of `chosen` lie in it, ascending; a slice where they follow each other, because
        NumPy copies to a slice several times faster.
    offsets
        Where in the span they lie, in the order of `places`.
    """
    order = np.argsort(chosen, kind="stable")
    ascending = chosen[order]
    for start, stop in spans(ascending, gap, longest):
        places = np.sort(order[slice(*np.searchsorted(ascending, (start, stop)))])
        if not len(places):
            continue  # a long span cut where nothing is chosen
        run = slice(int(places[0]), int(places[-1]) + 1) if is_run(places) else places
        yield start, stop, run, chosen[places] - start
