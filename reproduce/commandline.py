"""The scripts ``python -m reproduce.NAME``: their options, what they need, what they make."""

from __future__ import annotations

import argparse
import sys
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dgex_jax.cli_options import OneLineParser, check_gpus, run_command
from dgex_jax.errors import StudyError
from dgex_jax.parts import PAPER
from reproduce.grid import complete, missing_steps
from reproduce.products import groups_of, make_product, products_of, record_report
from reproduce.report import MAIN, write_report
from reproduce.variants import complete_departures, missing_departures
from reproduce.workspace import Launcher, Needs, Options, open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dgex_jax.parts import Parts
    from reproduce.workspace import Product, Workspace

    Choose = Callable[[Parts], Sequence[Product]]
    Make = Callable[[Workspace, Sequence[Product], Needs, dict[str, str]], None]
    Main = Callable[..., int]


def script(name: str) -> Main:
    """Return the ``main`` of the script of one product, or of one a set; they are shown."""
    (product,) = products_of(PAPER, name)
    module = name.replace("-", "_").replace("tableS", "table_s").replace("figureS", "figure_s")
    return _main(f"reproduce.{module}", product.title, partial(products_of, target=name), _show)


def group(name: str) -> Main:
    """Return the ``main`` of the script of all ``tables`` or all ``figures``."""
    title = f"All {name} of the paper."
    return _main(f"reproduce.all_{name}", title, lambda parts: groups_of(parts)[name], _show)


def everything() -> Main:
    """Return the ``main`` of the script that makes everything, and a report."""
    title = (
        "Everything the paper shows, for one study: from raw files to tables, figures, analyses "
        "and a report."
    )
    return _main("reproduce.all", title, products_of, _make_everything)


def _show(
    space: Workspace, products: Sequence[Product], _needs: Needs, _left_out: dict[str, str]
) -> None:
    for product in products:
        print(make_product(space, product))


def _make_everything(
    space: Workspace, products: Sequence[Product], needs: Needs, left_out: dict[str, str]
) -> None:
    texts = {product.name: make_product(space, product) for product in products}
    report = write_report(space, texts, left_out)
    record_report(space, report, products, needs)
    # The main results are shown, last of all; the others are written.
    for product in products:
        if product.target in MAIN:
            print(f"\n{texts[product.name]}")
    for text in texts.values():
        if "not drawn" in text:
            print(text)
    print(f"tables: {space.tables}\nfigures: {space.figures}\nreport: {report}")


def _main(module: str, description: str, choose: Choose, make: Make) -> Main:
    def run(given: argparse.Namespace) -> None:
        _check(given)
        space = open_workspace(given.study, given.out)
        options = Options(
            gpus=given.gpus,
            wait=not given.no_wait,
            launcher=given.launcher,
            partition=given.partition,
            minutes=given.minutes,
        )
        made, needs, left_out = _possible(choose(space.study.parts), space)
        if given.dry_run:
            steps = missing_steps(space, needs) + missing_departures(space, needs.departures)
            print("\n".join(steps or ["nothing: all that is needed is there"]))
            return
        complete(space, needs, options)
        complete_departures(space, needs.departures, options)
        make(space, made, needs, left_out)

    def main(arguments: Sequence[str] | None = None) -> int:
        command = parser(module, description)
        command.set_defaults(run=run)
        return run_command(command, arguments)

    return main


def _possible(
    products: Sequence[Product], space: Workspace
) -> tuple[list[Product], Needs, dict[str, str]]:
    """Find the products that a study's networks allow, what they need, and why others can't be.

    One that can't be made is an error where all are of one target.
    """
    alone = len({product.target for product in products}) == 1
    made, needs, left_out = [], [], {}
    for product in products:
        try:
            needs.append(product.needs(space.study))
            made.append(product)
        except StudyError as error:
            if alone:
                raise
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

A command that was stopped, or killed, resumes when it is given again.
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


def _check(options: argparse.Namespace) -> None:
    """Raise `StudyError` for options that can't be used, or that nothing would heed."""
    check_gpus(options.gpus)
    for flag, launchers in (("partition", ("slurm",)), ("minutes", ("slurm", "local"))):
        value = getattr(options, flag)
        if value is not None and options.launcher not in launchers:
            raise StudyError(f"--{flag} {value}: needs --launcher {' or '.join(launchers)}")
    if options.minutes is not None and options.minutes < 1:
        raise StudyError(f"--minutes {options.minutes}: must be at least 1")
