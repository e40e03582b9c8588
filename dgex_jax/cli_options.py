"""What all command lines share: flags for settings, errors as one line with exit code 2."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from dgex_jax.config import Platform, PredictOptions, Standardize
from dgex_jax.errors import DgexError, Stopped, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from dgex_jax.prepare.report import PrepareReport


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others; an epilog stays as it is laid out."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        if "epilog" in options:
            options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see {self.prog} --help)\n")

    def path(self, name: str, metavar: str, text: str | None = None, **more: Any) -> None:
        """Add an argument that is a path; the flag ``--output`` is ``-o`` as well."""
        names = ["-o", name] if name == "--output" else [name]
        self.add_argument(*names, type=Path, metavar=metavar, help=text, **more)

    def switch(self, name: str, text: str) -> None:
        """Add a flag without a value; ``--quiet`` is ``-q`` as well."""
        names = ["-q", name] if name == "--quiet" else [name]
        self.add_argument(*names, action="store_true", help=text)

    def settings(self, kind: type[Any], *names: str, required: bool = True) -> None:
        """Add a flag for each setting of a dataclass of `dgex_jax.config`, or for those named.

        One that is not given is ``None``: see `given_settings`. Those without a default are
        `required`.
        """
        for one in dataclasses.fields(kind):
            if names and one.name not in names:
                continue
            default, rule = one.default, one.metadata
            options: dict[str, Any] = {"required": required and default is dataclasses.MISSING}
            if isinstance(default, bool):
                options |= {"action": "store_const", "const": True}
            elif rule["choices"] is not None:
                options["choices"] = get_args(rule["choices"])
            elif default is None:
                auto = '"auto"' in rule["meaning"]
                options |= {"type": number_or_auto if auto else float, "metavar": "X"}
            else:
                options |= {"type": type(default), "metavar": "N" if type(default) is int else "X"}
            text = rule["meaning"].replace("%", "%%")
            if default not in {dataclasses.MISSING, None, False}:
                text += f" (default: {default})"
            elif options.get("type") is number_or_auto:
                text += " (default: auto)"
            self.add_argument(f"--{one.name.replace('_', '-')}", help=text, **options)


class Diagnose(argparse.Action):
    """Say what a report of a fault must hold (`dgex_jax.diagnose`), as text or JSON, and leave."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> NoReturn:
        """Exit with code 0, whatever is found to be broken."""
        from dgex_jax.diagnose import diagnose, lines

        def work() -> None:
            found = diagnose()
            print(json_text(found) if values == "json" else "\n".join(lines(found)))

        parser.exit(guarded(parser.prog, work))


def given_settings(options: argparse.Namespace, kind: type[Any], *names: str) -> dict[str, Any]:
    """Return the settings of a dataclass, or those named, that flags give."""
    every = names or [one.name for one in dataclasses.fields(kind)]
    values = ((name, getattr(options, name)) for name in every)
    return {name: value for name, value in values if value is not None}


def part_of(text: str) -> tuple[int, int]:
    """Read ``I/N``, a part of so many."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part I/N with 1 <= I <= N")
    return int(i), int(n)


RAW_TRUTH = ("platform", "impute", "block_size", "accept_wrong_dimensions", "force_platform")
"""Settings of a prediction that is scored on raw files."""


def raw_truth_flags(command: OneLineParser) -> None:
    """Add the flags of an evaluation on raw files."""
    files = command.add_argument_group("raw files, instead of a prepared study")
    files.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="what was measured of the targets, by any id: an expression file, or FILE again",
    )
    files.add_argument(
        "--pairs",
        type=Path,
        metavar="TABLE",
        help="which profiles of both files are one sample: ids of both in a row, or of each beside "
        "a value that they share (default: the same ids)",
    )
    files.add_argument(
        "--truth-platform",
        choices=get_args(Platform),
        help="what the measured values are (default: as --platform; rnaseq beside an l1000 FILE)",
    )
    files.add_argument(
        "--standardize",
        choices=get_args(Standardize),
        help="both files by means and deviations of the paired profiles (input; as the paper; 30 "
        "at least) or of training (default: input)",
    )
    command.settings(PredictOptions, *RAW_TRUTH, required=False)


def check_raw_truth(options: argparse.Namespace) -> None:
    """Raise `StudyError` for flags of raw files without ``--truth``, or of studies with it."""
    if options.truth is None:
        names = ("pairs", "truth_platform", "standardize", *RAW_TRUTH)
        given = next((name for name in names if getattr(options, name) is not None), None)
        if given is not None:
            raise StudyError(f"--{given.replace('_', '-')}: goes with --truth FILE")
    elif options.parts is not None:
        raise StudyError("--parts: are those of a prepared study, not of raw files (--truth)")
    elif options.platform is None:
        raise StudyError("--truth: say with --platform what the values of FILE are")


def number_or_auto(text: str) -> float | None:
    """Read a number, or ``auto``, the default."""
    return None if text == "auto" else float(text)


def check_gpus(gpus: int | None) -> None:
    """Raise `StudyError` for a number of GPUs that nothing can be trained on."""
    if gpus is not None and gpus < 1:
        raise StudyError(f"--gpus {gpus}: must be at least 1")


def run_command(commands: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Run what `commands` makes of `arguments` (its ``run`` function), errors shown as one line."""
    options = commands.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    options.typed = shlex.join([commands.prog, *words])
    return guarded(commands.prog, lambda: options.run(options))


def guarded(prog: str, work: Callable[[], int | None]) -> int:
    """Do the work of a program; its exit code, errors shown as one line."""
    try:
        code = work()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; the flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (DgexError, OSError, MemoryError) as error:
        sys.stdout.flush()
        text = " ".join(str(error).split())
        if isinstance(error, MemoryError):
            text = f"not enough memory: {text}".rstrip(": ")
        print(f"{prog}: error: {text}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"{prog}: {stopped}", file=sys.stderr)
        return 128 + stopped.signal_number
    except KeyboardInterrupt:
        print(f"{prog}: stopped", file=sys.stderr)
        return 130
    return code or 0


class _Terminated(KeyboardInterrupt):
    """SIGTERM; what ends on Ctrl-C ends on it in the same way."""


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM leave the block as Ctrl-C does, with everything tidied up, and end in `Stopped`.

    Outside the main thread signals are none of our business.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except _Terminated:
        raise Stopped("stopped", signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def say(line: str) -> None:
    """Show a line at once, also where the output is a file."""
    print(line, flush=True)


def warn(text: str) -> None:
    """Say on standard error what a user should look at."""
    print(f"dgex: warning: {text}", file=sys.stderr)


def say_prepared(report: PrepareReport) -> None:
    """Say what a preparation reports."""
    print("\n".join(report.lines()))
    for text in report.warnings:
        warn(text)


def json_text(value: Any) -> str:
    """Write JSON for people and programs."""
    return json.dumps(value, indent=2, ensure_ascii=False)
