"""A study of GSE92743's size on made-up values: preparing 100,000 x 12,320, and epochs of training.

Shapes and rules are those of ``reproduce/studies/gse92743.toml``; values are made up, so times and
memory mean something and errors don't. It takes half an hour and some 20 GB of disk, so it is not
among those of ``benchmarks.all``.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.preprocessing_runs import mib
from benchmarks.rawdata import Shape, geo_blocks
from benchmarks.report import Line, Report
from benchmarks.script import DGEX, in_child, progress, script
from benchmarks.timing import Timing, show
from dgex_jax.io.lines import read_cells
from dgex_jax.io.writers import GctxWriter
from dgex_jax.prepare.hgnc import hgnc
from dgex_jax.prepare.probelist import landmark_file

if TYPE_CHECKING:
    import argparse


NAME = "compendium"
DESCRIPTION = "Preparing and training a study of GSE92743's size, on made-up values."
STUDY = """\
name = "gse92743-size"
title = "Made-up values of the size of GSE92743"

[compendium]
files = "training.gctx"
name = "LINCS"
landmarks = "l1000"

[sets.RNAseq]
file = "rnaseq.gctx"
platform = "rnaseq"

[sets.L1000]
landmarks = "l1000.gctx"
truth = "rnaseq.gctx"
platform = "l1000"
truth_platform = "rnaseq"

[prepare]
normalize = "none"
"""
EPOCHS = 200
"""Of the paper."""


@dataclass(frozen=True)
class Size:
    """Profiles of the compendium, further profiles, and genes."""

    profiles: int = 100_000
    others: int = 3_176
    genes: int = 12_320


def make(folder: Path, size: Size) -> None:
    """Write the three matrices, unless they are there, and the study file."""
    landmarks = [cells[0] for _, cells in read_cells(landmark_file("l1000"))][1:]
    others = (one.entrez[0] for one in hgnc().ids.values() if len(one.entrez) == 1)
    genes = [*dict.fromkeys([*landmarks, *others])][: size.genes]
    for name, n, seed in (("training", size.profiles, 1), ("rnaseq", size.others, 2)):
        shape = Shape(n, 2, 2, 0, 0, size.genes, 100, 100, 120, 10, seed)
        profiles = [f"P{row:06d}" for row in range(n)]
        metadata = pd.DataFrame({"series": [f"S{row // 26}" for row in range(n)]}, index=profiles)
        path = folder / f"{name}.gctx"
        if not path.exists():
            with GctxWriter(
                path, profiles, genes, profile_metadata=metadata, src="made up"
            ) as writer:
                for block in geo_blocks(shape):
                    writer.append(np.clip(block, 0, 16))
    if not (folder / "l1000.gctx").exists():
        shutil.copy(folder / "rnaseq.gctx", folder / "l1000.gctx")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")


def measure(options: argparse.Namespace) -> Report:
    """Prepare once, train a few epochs, and reckon the paper's 200."""
    load = os.getloadavg()[1]
    size = Size(300, 40, 1_100) if options.small else Size(options.profiles)
    units, depth = (8, 1) if options.small else (options.units, options.hidden_layers)
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        progress(f"writing {size.profiles:,} x {size.genes:,}")
        make(folder, size)
        progress("preparing")
        prepared = folder / "prepared.h5"
        prepare = in_child(DGEX, "prepare", folder / "study.toml", "-o", prepared, "--quiet")
        progress("training")
        out = folder / "run"
        network = ("--hidden-layers", depth, "--units", units, "--epochs", options.epochs)
        words = ("train", prepared, "-o", out, *network, "--overwrite", "--quiet")
        train = in_child(DGEX, *words)
        log = pd.read_csv(out / "log.tsv", sep="\t")
        seconds = log["seconds"].to_numpy()
        config = json.loads((out / "done.json").read_text(encoding="utf-8"))
    # The first compiles.
    counted = Timing(tuple(seconds[1:] if len(seconds) > 1 else seconds))
    n, paper = len(counted.seconds), show(EPOCHS * counted.median)
    what = f"an epoch, {units} units x {depth}, both halves"
    return Report(
        NAME,
        f"A study of GSE92743's size: {size.profiles:,} profiles x {size.genes:,} genes",
        [
            Line("dgex prepare", Timing((prepare.seconds,))),
            Line(what, counted),
        ],
        notes=[
            f"peak memory: prepare {mib(prepare)} MiB, train {mib(train)} MiB",
            f"{EPOCHS} epochs of it, reckoned from {n}: {paper}",
            f"devices: {', '.join(config['devices'])}",
            "values are made up; the files were just written, so partly in the page cache",
            f"other work beside it: before it the machine's load (5 minutes) was {load:.1f}",
        ],
    )


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    command.add_argument("--profiles", type=int, default=Size().profiles)
    command.add_argument("--units", type=int, default=3000)
    command.add_argument("--hidden-layers", type=int, default=1)
    command.add_argument("--epochs", type=int, default=2)
    command.add_argument("--keep", type=Path, metavar="FOLDER", help="keep and reuse files there")


main = script(NAME, DESCRIPTION, measure, add_options)

if __name__ == "__main__":
    raise SystemExit(main())
