"""``dgex export``, ``info`` and ``evaluate``: a model as a folder, what it is, how it does."""

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
    "evaluate": """examples:
  dgex evaluate models/geo prepared.h5                                all parts but tr
  dgex evaluate models/geo other.h5 --parts te GTEx -o by_gene.tsv
  dgex evaluate models/geo prepared.h5 --json
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


def add_evaluate(commands: Any, add_command: AddCommand) -> None:
    """Add ``dgex evaluate``."""
    command = add_command(
        commands, "evaluate", "apply a model to a prepared study and score it", evaluate
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="a model folder")
    command.add_argument(
        "prepared",
        type=Path,
        metavar="PREPARED",
        help="a prepared study with all landmarks of the model, its own or another",
    )
    command.add_argument(
        "--parts",
        nargs="+",
        choices=("tr", "va", "te", "1000G", "GTEx"),
        metavar="PART",
        help="of tr, va, te, 1000G, GTEx (default: those the study has, without tr)",
    )
    command.add_argument(
        "-o", "--output", type=Path, metavar="FILE.tsv", help="a line for each target gene"
    )
    command.add_argument("--json", action="store_true", help="the table as JSON")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress")


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


def evaluate(options: argparse.Namespace) -> None:
    """Run ``dgex evaluate``."""
    from dgex_jax.data.prepared import open_prepared  # noqa: PLC0415
    from dgex_jax.inference.evaluate import evaluate as score  # noqa: PLC0415
    from dgex_jax.inference.evaluate_report import (  # noqa: PLC0415
        evaluation_json,
        evaluation_lines,
        evaluation_record,
    )
    from dgex_jax.inference.evaluate_table import gene_table_file  # noqa: PLC0415
    from dgex_jax.inference.modelfile import read_model  # noqa: PLC0415
    from dgex_jax.provenance import drop_sidecar, write_sidecar  # noqa: PLC0415

    # The place of the table is taken first: scoring a wide network takes a while.
    with gene_table_file(options.output, options.model, options.prepared) as write:
        model = read_model(options.model)
        with open_prepared(options.prepared) as study:
            found = score(model, study, options.parts, progress=not options.quiet)
            write(model, found)
            # Of the file, which was read for it: whether it is the model's own study is shown.
            made = evaluation_record(options.model, study)
            if options.json:
                shown = evaluation_json(options.model, model, study, found)
                shown["provenance"] = made
                text = json.dumps(shown, indent=2, ensure_ascii=False)
            else:
                text = "\n".join(evaluation_lines(options.model, model, study, found))
        if options.output is not None:
            drop_sidecar(options.output)
    if options.output is not None:
        write_sidecar(options.output, made)
    print(text)
