"""Running a benchmark: its options, its report, its processes."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from benchmarks import memory
from benchmarks.machine import describe
from benchmarks.report import as_text, write
from dgex_jax.cli_options import OneLineParser, run_command
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from benchmarks.memory import ChildRun
    from benchmarks.report import Report

DGEX = "dgex_jax.cli"


def script(
    name: str,
    description: str,
    measure: Callable[[argparse.Namespace], Report],
    add_options: Callable[[argparse.ArgumentParser], None] = lambda _parser: None,
) -> Callable[..., int]:
    """Return the ``main`` of ``python -m benchmarks.<name>``, which returns the exit code.

    - `name`: of the module, and of the file with ``--write``.
    - `description`: for ``--help``.
    - `measure`: makes the report of the options.
    - `add_options`: adds options of its own.
    """

    def run(options: argparse.Namespace) -> None:
        report = measure(options)
        origin = command_line(name), describe()
        print(as_text(report, *origin))
        if options.write:
            print(f"written: {write(report, *origin)}")

    def main(arguments: Sequence[str] | None = None) -> int:
        command = OneLineParser(
            prog=f"python -m benchmarks.{name}", description=description, allow_abbrev=False
        )
        command.add_argument(
            "--write", action="store_true", help=f"also write benchmarks/results/{name}.md"
        )
        command.add_argument(
            "--small",
            action="store_true",
            help="sizes of a test: seconds, and times without meaning",
        )
        add_options(command)
        command.set_defaults(run=run)
        return run_command(command, arguments)

    return main


def in_child(module: str, *words: object) -> ChildRun:
    """Run a module in a process of its own, and say what it took.

    Raises `DgexError`: it failed.
    """
    taken = memory.run([sys.executable, "-m", module, *map(str, words)])
    if taken.exit_code:
        name = f"dgex {words[0]}" if module == DGEX else module
        raise DgexError(f"{name}: ended with exit code {taken.exit_code}")
    return taken


def command_line(name: str) -> str:
    """Write down how this benchmark was called, without ``--write``."""
    kept = [one for one in sys.argv[1:] if one != "--write"]
    return shlex.join(["python", "-m", f"benchmarks.{name}", *kept])


def progress(text: str) -> None:
    """Say on standard error what is being measured."""
    print(f"  {text}", file=sys.stderr, flush=True)
