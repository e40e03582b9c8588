"""The options that every script here has."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dgex_jax.cli import OneLineParser, check_gpus, run_command
from dgex_jax.errors import StudyError
from reproduce.options import Launcher, Options
from reproduce.tables import make_tables
from reproduce.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reproduce.tables import TableSpec


def table_script(
    module: str,
    description: str,
    specs: Sequence[TableSpec],
    arguments: Sequence[str] | None,
    *,
    whole_grid: bool = False,
) -> int:
    """Run one script that makes tables; with `whole_grid` every network of the study is trained."""
    command = parser(module, description)

    def run(options: argparse.Namespace) -> None:
        check_options(options)
        space = open_workspace(options.study, options.out)
        rates = space.study.grid.dropout if whole_grid else ()
        made = [spec for spec in specs if not whole_grid or spec.dropout in rates]
        for spec in specs:
            if spec not in made:
                print(
                    f"{spec.title} is left out: the study has no networks at {spec.dropout:.0%} "
                    "dropout",
                    file=sys.stderr,
                )
        make_tables(
            space,
            made,
            Options(
                gpus=options.gpus,
                wait=not options.no_wait,
                launcher=options.launcher,
                partition=options.partition,
                minutes=options.minutes,
            ),
            rates,
        )

    command.set_defaults(run=run)
    return run_command(command, arguments)


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """Build the parser of one script."""
    command = OneLineParser(
        prog=f"python -m {module}",
        description=description,
        epilog=f"""examples:
  python -m {module}
  python -m {module} --study demo --gpus 2
  python -m {module} --study my_study.toml --out /data/dgex
  python -m {module} --study my_study.toml --launcher slurm --partition gpu --gpus 1

A command that was stopped, or killed, goes on where it was when it is given again.
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--study", default="demo", help="name or path of a study file (default: demo)"
    )
    command.add_argument(
        "--gpus",
        type=int,
        metavar="N",
        help="GPUs: 2 share the halves of a network, more train several networks side by side "
        "(default: what is there)",
    )
    command.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="put everything under DIR/<study>/ (default: results/<study>/ and tables/<study>/)",
    )
    command.add_argument(
        "--no-wait", action="store_true", help="leave if another command works on the same outputs"
    )
    command.add_argument(
        "--launcher",
        choices=get_args(Launcher),
        default="here",
        help="here: in this process; slurm: a job for each network; local: as slurm, but processes "
        "of this machine (default: here)",
    )
    command.add_argument("--partition", metavar="NAME", help="of the jobs (default: the study's)")
    command.add_argument(
        "--minutes", type=int, metavar="N", help="time limit of a job (default: the study's)"
    )
    return command


def check_options(options: argparse.Namespace) -> None:
    """Raise `StudyError` for options that can't be used, or that nothing would heed."""
    check_gpus(options.gpus)
    for flag, launchers in (("partition", ("slurm",)), ("minutes", ("slurm", "local"))):
        value = getattr(options, flag)
        if value is not None and options.launcher not in launchers:
            raise StudyError(f"--{flag} {value}: needs --launcher {' or '.join(launchers)}")
    if options.minutes is not None and options.minutes < 1:
        raise StudyError(f"--minutes {options.minutes}: must be at least 1")
