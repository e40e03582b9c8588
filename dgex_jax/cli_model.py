"""``dgex export`` and ``dgex info``: a trained model as a folder, and what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    AddCommand = Callable[
        [Any, str, str, Callable[[argparse.Namespace], None]], argparse.ArgumentParser
    ]

EXAMPLES = {
    "export": """examples:
  dgex export runs/3x9000 prepared.h5 -o models/geo            for array profiles
  dgex export runs/3x9000 prepared.h5 -o models/rnaseq --best 1000G
""",
    "info": """examples:
  dgex info models/geo
  dgex info models/geo --json
""",
}


def add_export(commands: Any, add_command: AddCommand) -> None:
    """Add ``dgex export``."""
    command = add_command(
        commands, "export", "make a model that can be used and passed on of a finished run", export
    )
    command.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="of dgex train")
    command.add_argument(
        "prepared", type=Path, metavar="PREPARED", help="the prepared study it was trained on"
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL")
    command.add_argument(
        "--best",
        choices=("va", "1000G"),
        default="va",
        help="weights of the best epoch on GEO-va, for arrays, or on 1000G-va, for RNA-seq "
        "(default: va)",
    )
    command.add_argument("--overwrite", action="store_true", help="replace a model in MODEL")


def add_info(commands: Any, add_command: AddCommand) -> None:
    """Add ``dgex info``."""
    command = add_command(commands, "info", "check a model and say what it is", info)
    command.add_argument("model", type=Path, metavar="MODEL", help="a model folder")
    command.add_argument(
        "--json", action="store_true", help="all of it as JSON, with errors and checksums"
    )


def export(options: argparse.Namespace) -> None:
    """Run ``dgex export``."""
    from dgex_jax.inference.export import export_model  # noqa: PLC0415
    from dgex_jax.inference.modelfile import write_model  # noqa: PLC0415
    from dgex_jax.inference.modelfolder import refuse_place  # noqa: PLC0415

    # Before the work: computing errors of a wide network takes a while.
    refuse_place(options.output, options.overwrite)
    model = export_model(options.run_dir, options.prepared, best=options.best)
    write_model(options.output, model, overwrite=options.overwrite)
    data = " (simulated data)" if model.simulated else ""
    print(
        f"{options.output}: {model.network.name}{data}, {len(model.landmarks):,} landmarks to "
        f"{len(model.targets):,} targets"
    )


def info(options: argparse.Namespace) -> None:
    """Run ``dgex info``."""
    from dgex_jax.inference.info import info_lines, model_info  # noqa: PLC0415

    found = model_info(options.model)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print("\n".join(info_lines(options.model, found)))
