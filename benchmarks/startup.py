"""How long commands take to begin: ``dgex --help``, and a training up to its first epoch.

Training at the size of the demo study (made-up arrays), in new processes: the first with an empty
cache of compiled programs, the others with what it left there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.random_study import random_study, write_arrays
from benchmarks.report import Line, Report
from benchmarks.script import progress, script
from benchmarks.timing import Timing
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

NAME = "startup"
DGEX = (sys.executable, "-m", "dgex_jax.cli")


def seconds_to_line(words: Sequence[str], environment: Mapping[str, str]) -> float:
    """Start ``dgex`` and give the seconds until its first line; the command then runs to its end.

    Raises `DgexError`: it failed, or said nothing.
    """
    start = time.perf_counter()
    with subprocess.Popen(  # noqa: S603  (our own command)
        [*DGEX, *words], stdout=subprocess.PIPE, env=environment
    ) as process:
        if process.stdout is None:
            raise DgexError("a process without an output")
        line = process.stdout.readline()
        taken = time.perf_counter() - start
        process.communicate()
    if process.returncode or not line:
        raise DgexError(f"dgex {words[0]}: ended with exit code {process.returncode}")
    return taken


def measure(options: argparse.Namespace) -> Report:
    """Measure both."""
    shape = (450, 12, 10, 2, 20) if options.small else (4125, 200, 500, 2, 515)
    rounds = 1 if options.small else options.rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_arrays(random_study(*shape), folder / "arrays.npz")
        kept = {key: value for key, value in os.environ.items() if "JAX" not in key}
        environment = kept | {"XDG_CACHE_HOME": str(folder / "cache")}
        settings = ("--hidden-layers", "1", "--units", "8" if options.small else "128")
        times = []
        for number in range(rounds + 1):
            progress(f"start {number + 1} of a training")
            run = ("-o", str(folder / f"run{number}"), "--epochs", "1", *settings)
            words = ("train", str(folder / "arrays.npz"), *run)
            times.append(seconds_to_line(words, environment))
        shown = [seconds_to_line(["--help"], environment) for _ in range(rounds)]
    return Report(
        NAME,
        "Seconds from the start of a process to its first line",
        [
            Line("dgex --help", Timing(tuple(shown))),
            Line("first epoch, nothing compiled yet", Timing((times[0],))),
            Line("first epoch, a later start", Timing(tuple(times[1:]))),
        ],
        notes=[f"training: {shape[0]} profiles, {shape[1]} landmarks, 2 x {shape[2]} targets"],
    )


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    command.add_argument("--rounds", type=int, default=5, help="later starts (default: 5)")


main = script(NAME, __doc__ or "", measure, add_options)

if __name__ == "__main__":
    sys.exit(main())
