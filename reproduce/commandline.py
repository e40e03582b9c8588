"""Running a script: its options, what it needs, what it makes."""

from __future__ import annotations

import argparse
import sys
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, get_args

from dgex_jax.cli import OneLineParser, check_gpus, run_command
from dgex_jax.errors import StudyError
from reproduce.grid import complete
from reproduce.manifest import make_product
from reproduce.options import Launcher, Options
from reproduce.plan import plan
from reproduce.product import Needs
from reproduce.variants import complete_departures
from reproduce.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reproduce.product import Product
    from reproduce.workspace import Workspace


class Main(Protocol):
    """The ``main`` of a script."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run it; returns the exit code."""


def script(module: str, product: Product) -> Main:
    """Make the ``main`` of a script with a single product, which is shown."""

    def make(space: Workspace, options: Options, *, dry: bool) -> None:
        needs = product.needs(space.study)
        if dry:
            show_plan(space, needs)
            return
        fulfil(space, needs, options)
        print(make_product(space, product))

    def main(arguments: Sequence[str] | None = None) -> int:
        return run_script(module, product.title, make, arguments)

    return main


def group(module: str, description: str, products: Sequence[Product]) -> Main:
    """Make the ``main`` of a script with several products, each shown."""

    def make(space: Workspace, options: Options, *, dry: bool) -> None:
        made, needs, _ = possible(products, space)
        if dry:
            show_plan(space, needs)
            return
        fulfil(space, needs, options)
        for product in made:
            print(make_product(space, product))

    def main(arguments: Sequence[str] | None = None) -> int:
        return run_script(module, description, make, arguments)

    return main


def run_script(
    module: str,
    description: str,
    make: Callable[..., None],
    arguments: Sequence[str] | None,
) -> int:
    """Run ``make(space, options, dry=…)`` with what the command line says."""
    command = parser(module, description)

    def run(given: argparse.Namespace) -> None:
        check_options(given)
        space = open_workspace(given.study, given.out)
        options = Options(
            gpus=given.gpus,
            wait=not given.no_wait,
            launcher=given.launcher,
            partition=given.partition,
            minutes=given.minutes,
        )
        make(space, options, dry=given.dry_run)

    command.set_defaults(run=run)
    return run_command(command, arguments)


def fulfil(space: Workspace, needs: Needs, options: Options) -> None:
    """Make all that is needed and not there yet."""
    complete(space, needs, options)
    complete_departures(space, needs.departures, options)


def show_plan(space: Workspace, needs: Needs) -> None:
    """Print what `fulfil` would do."""
    print("\n".join(plan(space, needs) or ["nothing: all that is needed is there"]))


def possible(
    products: Sequence[Product], space: Workspace
) -> tuple[list[Product], Needs, dict[str, str]]:
    """Find the products that a study's networks allow, what they need, and why others can't be.

    Returns
    -------
    tuple
        The products, their needs together, and name → cause of those left out.
    """
    made, needs, left_out = [], [], {}
    for product in products:
        try:
            needs.append(product.needs(space.study))
            made.append(product)
        except StudyError as error:
            left_out[product.name] = str(error)
            print(f"{product.name} is left out: {error}", file=sys.stderr)
    return made, reduce(or_, needs, Needs(prepared=False)), left_out


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
        help="put everything under DIR/<study>/ (default: results/<study>/, tables/<study>/ and "
        "figures/<study>/)",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only say what would be fitted and trained"
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
