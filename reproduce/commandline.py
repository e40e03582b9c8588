"""The options that every script here has."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.cli import OneLineParser, check_gpus, run_command
from reproduce.tables import make_tables
from reproduce.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reproduce.tables import TableSpec


def table_script(
    module: str, description: str, specs: Sequence[TableSpec], arguments: Sequence[str] | None
) -> int:
    """Run one script that makes tables."""
    command = OneLineParser(
        prog=f"python -m {module}",
        description=description,
        epilog=f"""examples:
  python -m {module}
  python -m {module} --study demo --gpus 2
  python -m {module} --study my_study.toml --out /data/dgex
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--study", default="demo", help="name or path of a study file (default: demo)"
    )
    command.add_argument(
        "--gpus", type=int, metavar="N", help="GPUs to share the halves (default: what is there)"
    )
    command.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="put everything under DIR/<study>/ (default: results/<study>/ and tables/<study>/)",
    )

    def run(options: argparse.Namespace) -> None:
        check_gpus(options.gpus)
        make_tables(open_workspace(options.study, options.out), specs, options.gpus)

    command.set_defaults(run=run)
    return run_command(command, arguments)
