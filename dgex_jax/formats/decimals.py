"""Decimal text to float64: exactly rounded, many cells at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TAB, DOT, MINUS, ZERO = b"\t.-0"

EXACT_DIGITS = 15
"""Integers of so many digits, and ten to that power, are exact in float64; so their quotient is
rounded once, which is what correct rounding means."""

POWERS = 10.0 ** np.arange(EXACT_DIGITS + 1)

MISSING_TEXT = frozenset({b"", b"na", b"nan"})


def parse_cells(text: bytes) -> tuple[Floats, list[int]]:
    """Parse tab-separated numbers.

    Parameters
    ----------
    text
        Cells with a tab between each two.

    Returns
    -------
    values
        ``(n_cells,)`` float64, the nearest to the decimal number (as ``float`` gives it); NaN for
        a missing value: empty, ``NA`` or ``NaN`` in any case, -666.
    refused
        Cells, in order, that are neither a number nor missing (their value is NaN).
    """
    values, odd, starts, ends = _parse_plain(text)
    places = np.flatnonzero(odd)
    bounds = zip(starts[places].tolist(), ends[places].tolist(), strict=True)
    parsed = [parse_cell(text[start:end]) for start, end in bounds]
    values[places] = np.array(parsed, dtype=np.float64)  # None becomes NaN
    refused = [int(place) for place, value in zip(places, parsed, strict=True) if value is None]
    values[values == -666] = np.nan
    return values, refused


def parse_cell(cell: bytes) -> float | None:
    """Parse one cell of any form; ``None`` where it is neither a number nor a missing value."""
    try:
        value = float(cell)
    except ValueError:
        return float("nan") if cell.strip().lower() in MISSING_TEXT else None
    return None if b"_" in cell else value


def _parse_plain(
    text: bytes,
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.intp], NDArray[np.intp]]:
    """Parse cells like ``-12.034`` of up to 15 digits; tell which are of another form.

    Returns
    -------
    values
        ``(n_cells,)``; meaningless where `odd`.
    odd
        ``(n_cells,)`` cells of another form.
    starts, ends
        ``(n_cells,)`` where the cells begin and end in `text`.
    """
    cells = np.frombuffer(text + b"\t", np.uint8)
    marks = np.flatnonzero(cells - ZERO > 9)
    kinds = cells[marks]
    is_tab, is_dot = kinds == TAB, kinds == DOT
    cell_of = np.cumsum(is_tab) - is_tab
    ends = marks[is_tab]
    n_cells = len(ends)
    starts = np.concatenate([[0], ends[:-1] + 1])

    dots, dot_cells = marks[is_dot], cell_of[is_dot]
    odd = np.bincount(dot_cells, minlength=n_cells) > 1
    decimals = np.zeros(n_cells, np.intp)
    decimals[dot_cells] = ends[dot_cells] - dots - 1

    negative = np.zeros(n_cells, np.bool_)
    others = np.flatnonzero(~(is_tab | is_dot))
    if len(others):
        other_cells = cell_of[others]
        is_sign = (kinds[others] == MINUS) & (marks[others] == starts[other_cells])
        odd[other_cells[~is_sign]] = True
        negative[other_cells[is_sign]] = True

    # Without the dots, the digits of a cell stand in one run before its tab.
    digits = np.concatenate([np.zeros(16, np.uint8), cells[cells != DOT]])
    tabs = ends - np.cumsum(is_dot)[is_tab] + 16
    n_digits = np.diff(tabs, prepend=15) - 1 - negative
    odd |= (n_digits < 1) | (n_digits > EXACT_DIGITS)
    mantissa = _eight_digits(digits, tabs - 8, n_digits)
    long = np.flatnonzero(~odd & (n_digits > 8))
    mantissa[long] += 1e8 * _eight_digits(digits, tabs[long] - 16, n_digits[long] - 8)
    values = mantissa / POWERS[np.minimum(decimals, EXACT_DIGITS)]
    values[negative] *= -1
    return values, odd, starts, ends


def _eight_digits(
    digits: NDArray[np.uint8], places: NDArray[np.intp], n_digits: NDArray[np.intp]
) -> Floats:
    """Value of the last `n_digits` (1 to 8; more count as 8) of eight characters.

    Three multiplications instead of eight: neighbouring digits, pairs and fours are joined inside
    one 64-bit word (D. Lemire, "Quickly parsing eight digits", 2018).

    Parameters
    ----------
    digits
        Characters.
    places, n_digits
        ``(n_cells,)`` where the eight characters begin, and how many of them are the cell's.
    """
    # One word for each place a word can begin at; the first character is its lowest byte.
    every = np.ndarray((len(digits) - 7,), "<u8", buffer=digits, strides=(1,))
    words = every[places].astype(np.uint64) ^ np.uint64(0x3030303030303030)
    foreign = (8 * (8 - np.clip(n_digits, 1, 8))).astype(np.uint64)
    words = words >> foreign << foreign
    pairs = words * np.uint64(10) + (words >> np.uint64(8))
    even = np.uint64(0x000000FF000000FF)
    fours = (pairs & even) * np.uint64(100 + (1000000 << 32))
    fours += (pairs >> np.uint64(16) & even) * np.uint64(1 + (10000 << 32))
    return (fours >> np.uint64(32)).astype(np.float64)
