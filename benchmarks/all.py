"""All benchmarks, each in a process of its own: ``python -m benchmarks.all --help``."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import gpu_names
from benchmarks.script import progress
from dgex_jax.cli_options import OneLineParser, run_command
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]


NEED_GPU = ("training_gpu", "precision")
NAMES = (
    *("preprocessing", "training_cpu", "evaluation", "side_by_side", "baselines", "inference"),
    *("growth", "archs4", "startup", "sample_lasso", *NEED_GPU),
)
"""Modules of this folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them one after the other; a failure doesn't keep the others from running."""
    command = OneLineParser(
        prog="python -m benchmarks.all", description=__doc__, allow_abbrev=False
    )
    command.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    command.add_argument("--write", action="store_true", help="write benchmarks/results/*.md")
    command.add_argument("--small", action="store_true", help="sizes of a test")
    command.set_defaults(run=run)
    return run_command(command, arguments)


def run(options: argparse.Namespace) -> None:
    """Run what is asked for and can be run here.

    Raises `DgexError`: some of them failed; the others have been run.
    """
    chosen = [one for one in NAMES if options.only is None or one in options.only]
    passed_on = [f"--{flag}" for flag in ("write", "small") if getattr(options, flag)]
    failed = []
    for number, name in enumerate(chosen, start=1):
        if name in NEED_GPU and not options.small and not gpu_names():
            progress(f"[{number}/{len(chosen)}] {name}: left out, no GPU here")
            continue
        progress(f"[{number}/{len(chosen)}] {name}")
        start = time.perf_counter()
        done = subprocess.run(  # noqa: S603  (our own modules)
            [sys.executable, "-m", f"benchmarks.{name}", *passed_on], cwd=ROOT, check=False
        )
        print(flush=True)
        progress(f"[{number}/{len(chosen)}] {name}: {time.perf_counter() - start:.0f} s")
        if done.returncode:
            failed.append(name)
    if failed:
        raise DgexError(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    sys.exit(main())
