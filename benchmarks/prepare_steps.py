"""Prepare one study as ``dgex prepare`` does and write down how long each step took.

A process of its own (``python -m benchmarks.prepare_steps``), so that its memory can be told.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.config import PrepareConfig
from dgex_jax.io.files import atomic_path
from dgex_jax.prepare.prepare import prepare
from dgex_jax.simulate.write import simulated_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Step:
    """One step.

    - `name`: as progress shows it.
    - `seconds`: it took.
    - `peak_bytes`: largest resident memory of the process up to its end.
    - `done`: units (profiles mostly) it went through.
    """

    name: str
    seconds: float
    peak_bytes: int
    done: int


class Stopwatch:
    """A progress listener that gives every step the time since the last tick before it.

    - `clock`: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._last = clock()
        self._taken: dict[str, tuple[float, int, int]] = {}

    def __call__(self, name: str, done: int, total: int) -> None:  # noqa: ARG002
        """Take in a tick."""
        now = self._clock()
        seconds = self._taken.get(name, (0.0,))[0] + now - self._last
        self._taken[name] = seconds, peak_bytes(), done
        self._last = now

    def steps(self) -> list[Step]:
        """Give the steps so far, in the order they began."""
        return [Step(name, *taken) for name, taken in self._taken.items()]


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare, and write the steps and the counts as JSON."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.prepare_steps")
    command.add_argument("raw", type=Path, help="folder of the raw files")
    command.add_argument("output", type=Path, help="prepared.h5")
    command.add_argument("result", type=Path, help="JSON of the steps")
    command.add_argument("--block-size", type=int, default=PrepareConfig().block_size)
    options = command.parse_args(arguments)
    watch = Stopwatch()
    report = prepare(
        simulated_files(options.raw),
        options.output,
        PrepareConfig(block_size=options.block_size),
        name="made_up",
        title="Made-up raw files",
        simulated=True,
        progress=watch,
    )
    watch("closing the file", 1, 1)
    found = {
        "steps": [vars(step) for step in watch.steps()],
        "n_kept": report.counts["geo_profiles_kept"],
        "n_close_pairs": report.counts.get("geo_close_pairs"),
        "n_straddling": report.counts.get("geo_close_pairs_straddling_clusters"),
    }
    with atomic_path(options.result) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
