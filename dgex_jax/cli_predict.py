"""``dgex predict``: a trained model applied to a file of profiles."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from dgex_jax.config import IdKind, Platform
from dgex_jax.errors import Stopped
from dgex_jax.inference.options import PredictOptions, Scale, Standardize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    AddCommand = Callable[
        [Any, str, str, Callable[[argparse.Namespace], None]], argparse.ArgumentParser
    ]

EXAMPLES = {
    "predict": """examples:
  dgex predict models/l1000 plate.gct -o plate_inferred.gctx --platform l1000
  dgex predict models/rnaseq counts.tsv.gz -o inferred.h5ad --platform rnaseq --scale reference
  dgex predict models/l1000 all.gctx -o all.zarr --platform l1000 --shard 3/8    one job of eight
""",
}


def add_predict(commands: Any, add_command: AddCommand) -> None:
    """Add ``dgex predict``."""
    command = add_command(commands, "predict", "infer the target genes of a file", predict)
    command.add_argument("model", type=Path, metavar="MODEL", help="a model folder")
    command.add_argument(
        "input",
        type=Path,
        metavar="INPUT",
        help="GCTX, GCT, TSV, CSV, a GEO series matrix (text may be .gz, .bz2 or .xz) or h5ad; "
        "- for standard input; genes by probe, Ensembl id, Entrez id or symbol, as rows or columns",
    )
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUTPUT",
        help="ends in .gctx, .gct, .gct.gz, .h5ad or .zarr; replaced if it is there. When "
        "interrupted, a large one goes on where it stopped if the same command is given again (GCT "
        "begins anew)",
    )
    command.add_argument(
        "--platform",
        choices=get_args(Platform),
        required=True,
        help="what the values are: standardized (taken as they are), or to be mapped on the "
        "reference scale",
    )
    command.add_argument(
        "--standardize",
        choices=get_args(Standardize),
        help="by means and deviations of the input (as the paper; 30 profiles at least) or of "
        "training (default: input for rnaseq, training for microarray and l1000)",
    )
    command.add_argument(
        "--scale",
        choices=get_args(Scale),
        default="standardized",
        help="of the results (default: standardized units)",
    )
    command.add_argument(
        "--impute",
        action="store_true",
        help="take the training mean for landmarks that INPUT lacks, and say so in OUTPUT",
    )
    command.add_argument(
        "--ids", choices=get_args(IdKind), help="look for these ids only (default: what is there)"
    )
    command.add_argument(
        "--block-size",
        type=int,
        default=512,
        metavar="N",
        help="profiles read at a time; changes no result (default: 512)",
    )
    command.add_argument(
        "--accept-wrong-dimensions",
        action="store_true",
        help="read a GCT file whose dimension line is wrong",
    )
    command.add_argument(
        "--force-platform",
        action="store_true",
        help="go on where the values don't look like those of the platform (z-scores, negative "
        "counts), or a profile like annotation of the genes; OUTPUT says so",
    )
    command.add_argument(
        "--shard",
        type=part_of,
        default=(1, 1),
        metavar="I/N",
        help="write part I of N of a .zarr output, as one of N processes or jobs; the last of them "
        "moves it into place",
    )
    command.add_argument(
        "--no-wait",
        action="store_true",
        help="leave if another process writes OUTPUT (.zarr: always)",
    )
    command.add_argument("-q", "--quiet", action="store_true", help="no progress")


def predict(options: argparse.Namespace) -> None:
    """Run ``dgex predict``."""
    from dgex_jax.compiled import keep_compiled  # noqa: PLC0415
    from dgex_jax.formats.access import ordinary_file  # noqa: PLC0415
    from dgex_jax.inference.modelfile import read_model  # noqa: PLC0415
    from dgex_jax.inference.modelfolder import DESCRIPTION  # noqa: PLC0415
    from dgex_jax.inference.modeljson import file_sha256  # noqa: PLC0415
    from dgex_jax.inference.outputs import check_output  # noqa: PLC0415
    from dgex_jax.inference.predict import predict as infer  # noqa: PLC0415

    chosen = PredictOptions(
        **{field.name: getattr(options, field.name) for field in dataclasses.fields(PredictOptions)}
    )
    keep_compiled()
    with stopped_by_sigterm(), ordinary_file(options.input) as path:
        # Before the model, which may be gigabytes.
        check_output(options.output, path, options.shard)
        done = infer(
            read_model(options.model),
            path,
            options.output,
            chosen,
            model_sha256=file_sha256(options.model / DESCRIPTION),
            progress=not options.quiet,
            wait=not options.no_wait,
            part=options.shard,
        )
    for note in done.notes:
        if note.startswith("warning: "):
            text = note.removeprefix("warning: ")
            print(f"dgex: warning: {options.input}: {text}", file=sys.stderr)
        else:
            print(f"{options.input}: {note}")
    units = "standardised units" if options.scale == "standardized" else "the reference scale"
    genes = f"{done.n_landmarks:,} landmarks and {done.n_targets:,} inferred genes"
    print(f"{done.output}: {done.n_profiles:,} profiles x {genes}, {units}")
    if done.missing_shards:
        i, n = options.shard
        print(
            f"{done.output}: part {i} of {n} is written; {done.missing_shards} shards are missing"
        )


def part_of(text: str) -> tuple[int, int]:
    """Read ``I/N``, a part of so many."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part I/N with 1 <= I <= N")
    return int(i), int(n)


class Terminated(KeyboardInterrupt):
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
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except Terminated:
        raise Stopped("stopped", signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, before)
