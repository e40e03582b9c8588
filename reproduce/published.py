"""The paper's own numbers, each with its source, from ``tables/paper``."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

Row = tuple[str, int | None, int | None, float | None]

COLUMNS = ("method", "hidden_layers", "units", "dropout", "mean", "sd", "source", "note")


@dataclass(frozen=True)
class PublishedCell:
    """What was published for one method on one data set.

    Attributes
    ----------
    mean, sd
        Overall error and its "±" in standardised units; ``None`` where not known.
    source
        Where the values come from; empty only where there are none.
    note
        How sure they are.
    """

    mean: float | None
    sd: float | None
    source: str
    note: str = ""


def published(table: str, folder: Path | None = None) -> Mapping[Row, PublishedCell]:
    """Read one published table.

    Parameters
    ----------
    table
        ``table1`` (GEO-te) or ``table2`` (GTEx-te): the file's name without ``.csv``.
    folder
        Where the tables lie; by default ``tables/paper`` of the checkout this package is in.

    Returns
    -------
    Mapping
        From ``(method, hidden_layers, units, dropout)`` to the cell, in the order of the file;
        the last three are ``None`` for a method without a network.

    Raises
    ------
    FormatError
        No such file, other columns, a cell that is no number, a row given twice, or a value
        without a source (file and line in the text).
    """
    if folder is None:
        folder = Path(__file__).resolve().parents[1] / "tables" / "paper"
    path = folder / f"{table}.csv"
    cells: dict[Row, PublishedCell] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file, strict=True)
            if tuple(next(lines, ())) != COLUMNS:
                raise FormatError(f"{path}: the first line must be {','.join(COLUMNS)}")
            for fields in lines:
                row, cell = _parse(fields, f"{path}, line {lines.line_num}")
                if row in cells:
                    raise FormatError(f"{path}, line {lines.line_num}: the row is there twice")
                cells[row] = cell
    except OSError as error:
        raise FormatError(f"{path}: can't be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    return cells


def _parse(fields: list[str], place: str) -> tuple[Row, PublishedCell]:
    if len(fields) != len(COLUMNS):
        raise FormatError(f"{place}: {len(fields)} columns instead of {len(COLUMNS)}")
    text = dict(zip(COLUMNS, fields, strict=True))
    if not text["method"]:
        raise FormatError(f"{place}, column method: is empty")
    row = (
        text["method"],
        _whole(text["hidden_layers"], f"{place}, column hidden_layers"),
        _whole(text["units"], f"{place}, column units"),
        _number(text["dropout"], f"{place}, column dropout"),
    )
    cell = PublishedCell(
        mean=_number(text["mean"], f"{place}, column mean"),
        sd=_number(text["sd"], f"{place}, column sd"),
        source=text["source"],
        note=text["note"],
    )
    if not cell.source and (cell.mean is not None or cell.sd is not None):
        raise FormatError(f"{place}, column source: is empty, but every value needs its source")
    return row, cell


def _number(text: str, place: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise FormatError(f"{place}: {text!r} is not a number from 0 up")
    return value


def _whole(text: str, place: str) -> int | None:
    if text and not (text.isascii() and text.isdigit()):
        raise FormatError(f"{place}: {text!r} is not a whole number")
    return int(text) if text else None
