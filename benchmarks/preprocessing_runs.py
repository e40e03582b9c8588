"""One preparation of made-up raw files in a process of its own, and what it took."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.prepare_steps import Step
from benchmarks.rawdata import make
from benchmarks.script import in_child, progress
from benchmarks.timing import show

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction
    from pathlib import Path

    from benchmarks.memory import ChildRun
    from benchmarks.rawdata import Shape


@dataclass(frozen=True)
class Prepared:
    """One preparation, measured."""

    shape: Shape
    run: ChildRun
    steps: Mapping[str, Step]
    n_kept: int
    n_straddling: int


def place(folder: Path, fraction: Fraction) -> Path:
    """Name the folder of a fraction's raw files."""
    return folder / f"raw_{fraction.numerator}_{fraction.denominator}"


def prepared(folder: Path, fraction: Fraction, full: Shape, block_size: int) -> Prepared:
    """Make the raw files of a fraction and prepare them in a process of its own.

    - `folder`: where the fraction's folder is made; a complete one is used as it is.
    - `fraction`, `full`: which part of which shape.
    - `block_size`: profiles in memory at a time.
    """
    shape = full.scaled(fraction)
    raw = place(folder, fraction)
    progress(f"{fraction}: raw files, {shape.n_profiles:,} arrays")
    make(raw, shape)
    progress(f"{fraction}: preparing")
    result = raw / "steps.json"
    words = (raw, raw / "prepared.h5", result, f"--block-size={block_size}")
    taken = in_child("benchmarks.prepare_steps", *words)
    progress(f"{fraction}: {show(taken.seconds)}, {mib(taken)} MiB")
    found = json.loads(result.read_text(encoding="utf-8"))
    steps = {step["name"]: Step(**step) for step in found["steps"]}
    return Prepared(shape, taken, steps, found["n_kept"], found["n_straddling"])


def mib(taken: ChildRun) -> str:
    """Write a peak of memory in MiB."""
    return f"{taken.peak_bytes / 2**20:,.0f}"
