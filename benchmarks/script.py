"""Running a benchmark: its options, its report."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from benchmarks.report import as_text, write
from dgex_jax.cli_options import OneLineParser, run_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from benchmarks.report import Report

Measure = "Callable[[argparse.Namespace], Report]"


def run_benchmark(
    name: str,
    description: str,
    measure: Callable[[argparse.Namespace], Report],
    arguments: Sequence[str] | None = None,
    add_options: Callable[[argparse.ArgumentParser], None] = lambda _parser: None,
) -> int:
    """Run ``python -m benchmarks.<name>``; returns the exit code.

    Parameters
    ----------
    name
        Of the module, and of the file with ``--write``.
    description
        For ``--help``.
    measure
        Makes the report of the options.
    arguments
        The command line, without the program; ``None`` is this process's.
    add_options
        Adds options of its own.
    """
    command = OneLineParser(
        prog=f"python -m benchmarks.{name}", description=description, allow_abbrev=False
    )
    command.add_argument(
        "--write", action="store_true", help=f"also write benchmarks/results/{name}.md"
    )
    command.add_argument(
        "--small", action="store_true", help="sizes of a test: seconds, and times without meaning"
    )
    add_options(command)

    def run(options: argparse.Namespace) -> None:
        report = measure(options)
        print(as_text(report))
        if options.write:
            print(f"written: {write(report)}")

    command.set_defaults(run=run)
    return run_command(command, arguments)


def command_line(name: str, arguments: Sequence[str] | None = None) -> str:
    """Write down how this benchmark was called, without ``--write``."""
    given = sys.argv[1:] if arguments is None else arguments
    kept = [one for one in given if one != "--write"]
    return shlex.join(["python", "-m", f"benchmarks.{name}", *kept])


def progress(text: str) -> None:
    """Say on standard error what is being measured."""
    print(f"  {text}", file=sys.stderr, flush=True)
