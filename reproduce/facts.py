"""The paper's findings as figures, each with its source, from ``tables/paper/facts.csv``."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = ("fact", "value", "unit", "source", "note")


@dataclass(frozen=True)
class Fact:
    """One published figure, as it is printed, with its unit, source and a note on it."""

    value: str
    unit: str
    source: str
    note: str


def published_facts(folder: Path | None = None) -> Mapping[str, Fact]:
    """Read the facts by name.

    Parameters
    ----------
    folder
        Where ``facts.csv`` lies; by default ``tables/paper`` of the checkout this package is in.

    Raises
    ------
    FormatError
        No such file, other columns, a fact given twice, or one without value or source.
    """
    if folder is None:
        folder = Path(__file__).resolve().parents[1] / "tables" / "paper"
    path = folder / "facts.csv"
    facts: dict[str, Fact] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file, strict=True)
            if tuple(next(lines, ())) != COLUMNS:
                raise FormatError(f"{path}: the first line must be {','.join(COLUMNS)}")
            for fields in lines:
                place = f"{path}, line {lines.line_num}"
                if len(fields) != len(COLUMNS):
                    raise FormatError(f"{place}: {len(fields)} columns instead of {len(COLUMNS)}")
                name, value, unit, source, note = fields
                if not (name and value and source):
                    raise FormatError(f"{place}: fact, value and source must not be empty")
                if name in facts:
                    raise FormatError(f"{place}: {name} is there twice")
                facts[name] = Fact(value, unit, source, note)
    except OSError as error:
        raise FormatError(f"{path}: can't be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    return facts
