"""The paper's own numbers, each with its source, from ``tables/paper``."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dgex_jax.config import GridConfig, NetworkConfig

Row = tuple[str, int | None, int | None, float | None]

FOLDER = Path(__file__).resolve().parents[1] / "tables" / "paper"
COLUMNS = ("method", "hidden_layers", "units", "dropout", "mean", "sd", "source", "note")
FACT_COLUMNS = ("fact", "value", "unit", "source", "note")
PAPER_UNITS = (3000, 6000, 9000)
PREFIXES = {"te": "geo", "GTEx": "gtex"}
"""Of the facts about each part; nothing is known of the validation parts."""


@dataclass(frozen=True)
class PublishedCell:
    """What was published for one method on one data set.

    - `mean`, `sd`: overall error and its "±" in standardised units; ``None`` where not known.
    - `source`: where the values come from; empty only where there are none.
    - `note`: how sure they are.
    """

    mean: float | None
    sd: float | None
    source: str
    note: str = ""


@dataclass(frozen=True)
class Fact:
    """One published figure, as it is printed, with its unit, source and a note on it."""

    value: str
    unit: str
    source: str
    note: str


def published(table: str, folder: Path = FOLDER) -> Mapping[Row, PublishedCell]:
    """Read a published table: ``table1`` (GEO-te) or ``table2`` (GTEx-te).

    Returns, from ``(method, hidden_layers, units, dropout)`` to the cell, in the order of the file;
    the last three are ``None`` for a method without a network.

    Raises `FormatError`: no such file, other columns, a cell that is no number, a row given twice,
    or a value without a source (file and line in the text).
    """
    cells: dict[Row, PublishedCell] = {}
    for place, text in _lines(folder / f"{table}.csv", COLUMNS):
        if not text["method"]:
            raise FormatError(f"{place}, column method: is empty")
        row = (
            text["method"],
            _whole(text["hidden_layers"], f"{place}, column hidden_layers"),
            _whole(text["units"], f"{place}, column units"),
            _number(text["dropout"], f"{place}, column dropout"),
        )
        mean, sd = (_number(text[name], f"{place}, column {name}") for name in ("mean", "sd"))
        if not text["source"] and (mean is not None or sd is not None):
            raise FormatError(f"{place}, column source: is empty, but every value needs its source")
        if row in cells:
            raise FormatError(f"{place}: the row is there twice")
        cells[row] = PublishedCell(mean, sd, text["source"], text["note"])
    return cells


def published_facts(folder: Path = FOLDER) -> Mapping[str, Fact]:
    """Read the paper's findings as figures, by name, from ``facts.csv``.

    Raises `FormatError`: no such file, other columns, a fact given twice, or one without value or
    source.
    """
    facts: dict[str, Fact] = {}
    for place, text in _lines(folder / "facts.csv", FACT_COLUMNS):
        name = text.pop("fact")
        if not (name and text["value"] and text["source"]):
            raise FormatError(f"{place}: fact, value and source must not be empty")
        if name in facts:
            raise FormatError(f"{place}: {name} is there twice")
        facts[name] = Fact(**text)
    return facts


class PaperCells:
    """Published cells of one table, found for a study's networks.

    A study with other widths than the paper's, but as many, is put beside them by rank: its
    narrowest networks beside the 3,000 units and so on. The depth and the dropout rate must agree.
    """

    def __init__(self, table: str, grid: GridConfig) -> None:
        self._cells = published(table)
        self._units = (
            dict(zip(grid.units, PAPER_UNITS, strict=True))
            if len(grid.units) == len(PAPER_UNITS)
            else {}
        )

    def find(self, method: str, network: NetworkConfig | None) -> tuple[str, PublishedCell | None]:
        """Return the paper's name for the method or network, and its cell if it has one."""
        if network is None:
            return method, self._cells.get((method, None, None, None))
        units = self._units.get(network.units)
        if units is None:
            return "", None
        key = ("D-GEX", network.hidden_layers, units, network.dropout)
        cell = self._cells.get(key)
        name = f"D-GEX-{network.dropout:.0%}-{units}x{network.hidden_layers}"
        return (name if cell else ""), cell


def paper_sentence(part: str) -> str:
    """Say how the paper's best network did on a part; empty where that is not known."""
    if part not in PREFIXES:
        return ""
    facts, prefix = published_facts(), PREFIXES[part]
    found = [
        f"{facts[f'{prefix}_improvement_over_{key}'].value}% lower overall error than {method} "
        f"(better in {facts[f'{prefix}_share_better_than_{key}'].value}% of genes)"
        for method, key in (("LR", "lr"), ("KNN-GE", "knn_ge"))
    ]
    best = facts[f"{prefix}_best_network"]
    return f"The paper, on its own data: {best.value}, with {' and '.join(found)} ({best.source})."


def _lines(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield place (file and line) and fields of each line of a CSV with exactly these columns."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file, strict=True)
            if next(lines, []) != list(columns):
                raise FormatError(f"{path}: the first line must be {','.join(columns)}")
            for fields in lines:
                place = f"{path}, line {lines.line_num}"
                if len(fields) != len(columns):
                    raise FormatError(f"{place}: {len(fields)} columns instead of {len(columns)}")
                yield place, dict(zip(columns, fields, strict=True))
    except OSError as error:
        raise FormatError(f"{path}: can't be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not a CSV file in UTF-8 ({error})") from error


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
