"""One preparation of made-up raw files in a process of its own, and what it took."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.memory import run as run_child
from benchmarks.prepare_steps import Step
from benchmarks.rawdata import make
from benchmarks.script import progress
from benchmarks.timing import show
from dgex_jax.errors import DgexError

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

    Parameters
    ----------
    folder
        Where the fraction's folder is made; a complete one is used as it is.
    fraction, full
        Which part of which shape.
    block_size
        Profiles in memory at a time.
    """
    shape = full.scaled(fraction)
    raw = place(folder, fraction)
    progress(f"{fraction}: raw files, {shape.n_profiles:,} arrays")
    make(raw, shape)
    progress(f"{fraction}: preparing")
    result = raw / "steps.json"
    taken = child(
        "prepare_steps",
        str(raw),
        str(raw / "prepared.h5"),
        str(result),
        f"--block-size={block_size}",
    )
    progress(f"{fraction}: {show(taken.seconds)}, {mib(taken)} MiB")
    found = json.loads(result.read_text(encoding="utf-8"))
    steps = {step["name"]: Step(**step) for step in found["steps"]}
    return Prepared(shape, taken, steps, found["n_kept"], found["n_straddling"])


def child(module: str, *arguments: str) -> ChildRun:
    """Run a module of this folder in a process of its own; it must succeed."""
    taken = run_child([sys.executable, "-m", f"benchmarks.{module}", *arguments])
    if taken.exit_code:
        raise DgexError(f"benchmarks.{module}: ended with exit code {taken.exit_code}")
    return taken


def mib(taken: ChildRun) -> str:
    """Write a peak of memory in MiB."""
    return f"{taken.peak_bytes / 2**20:,.0f}"
