"""``dgex verify``: whether results are what was written, of what is still there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    AddCommand = Callable[
        [Any, str, str, Callable[[argparse.Namespace], int | None]], argparse.ArgumentParser
    ]

EXAMPLES = {
    "verify": """examples:
  dgex verify results/demo                         what make left: prepared study, runs, tables, ...
  dgex verify results/mine --inputs /data/raw      and whether the raw files are still the same
  dgex verify runs/3x9000 --inputs prepared.h5
  dgex verify inferred.gctx --inputs models/l1000 plate.gct --json

exit code: 0 all is whole and fresh, 1 something is altered, missing or stale, 2 can't be verified
""",
}


def add_verify(commands: Any, add_command: AddCommand) -> None:
    """Add ``dgex verify``."""
    command = add_command(
        commands, "verify", "recompute checksums and say what is altered, missing or stale", verify
    )
    command.add_argument(
        "results",
        type=Path,
        metavar="RESULTS",
        help="a results folder, a run, a model, a prepared study, a prediction, or a folder of "
        "these",
    )
    command.add_argument(
        "--inputs",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="files that RESULTS was made of and that don't lie in it, or folders that hold them",
    )
    command.add_argument("--json", action="store_true", help="all of it as JSON")


def verify(options: argparse.Namespace) -> int:
    """Run ``dgex verify``; returns the exit code."""
    from dgex_jax.verify.check import verify as check  # noqa: PLC0415
    from dgex_jax.verify.show import as_json, lines  # noqa: PLC0415

    verdict = check(options.results, options.inputs)
    if options.json:
        print(json.dumps(as_json(options.results, verdict), indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(verdict)))
    return 0 if verdict.good else 1
