"""Writing tables so that the same study leaves the same files on every machine.

Trained networks differ in the last digits from machine to machine. Numbers are written to five
significant digits, and a file whose numbers agree with the new ones to the four that are shown
stays as it is.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dgex_jax.io.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

FLOAT = "{:.5g}"
TOLERANCE = 1e-4
SHARE_TOLERANCE = 2e-3
"""Of a share of the genes: in some the errors are so near that the last digits decide."""

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def rounded_csv(table: pd.DataFrame) -> str:
    """Write a table as CSV, its floats as `FLOAT`."""
    text: str = table.to_csv(index=False, lineterminator="\n", float_format=FLOAT.format)
    return text


def write_table_files(folder: Path, name: str, *, csv: str, md: str, tex: str) -> None:
    """Write the forms of one table, each atomically, unless it says the same already."""
    same = same_numbers(folder / f"{name}.csv", csv)
    # The numbers last: as long as they are the old ones, the others are written again.
    for suffix, text in (("md", md), ("tex", tex), ("csv", csv)):
        path = folder / f"{name}.{suffix}"
        if not (same and (suffix == "csv" or _same_words(path, text))):
            write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def same_numbers(path: Path, csv: str) -> bool:
    """Whether a CSV file is there that has the cells of `csv`, its numbers within the tolerance."""
    try:
        old, new = pd.read_csv(path), pd.read_csv(io.StringIO(csv))
    except (OSError, ValueError):
        return False
    if list(old) != list(new) or len(old) != len(new):
        return False
    for name in new:
        kinds = old[name].dtype.kind + new[name].dtype.kind
        if kinds in {"ff", "fi", "if"}:
            tolerance = SHARE_TOLERANCE if str(name).startswith("share_") else TOLERANCE
            if not np.allclose(old[name], new[name], rtol=0, atol=tolerance, equal_nan=True):
                return False
        elif not old[name].equals(new[name]):
            return False
    return True


def _same_words(path: Path, text: str) -> bool:
    try:
        old = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return NUMBER.sub("0", old) == NUMBER.sub("0", text)
