"""Inference at the paper's L1000 size (978 → 21,290): throughput against its two parts, memory.

``ours`` is all of ``dgex predict``. The peers are what it is made of: the same forward passes with
nothing written, and ready blocks written in the same format. The slower of them bounds a program
that did both at once without getting in its own way.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.madeup_model import LANDMARKS, TARGETS, made_up_model, write_profiles
from benchmarks.rates import disk_write_rate, jax_product_rate
from benchmarks.report import Line, Report, Table
from benchmarks.script import DGEX, in_child, progress, script
from benchmarks.timing import paired, show
from dgex_jax.config import PredictOptions
from dgex_jax.io.open import open_input
from dgex_jax.io.progress import Progress
from dgex_jax.model.match import written_genes
from dgex_jax.model.model import write_model
from dgex_jax.model.outputs import Output, open_output
from dgex_jax.model.predict import (
    gene_metadata,
    inferred,
    predict,
    prediction_job,
    provenance,
)
from dgex_jax.model.scale import make_plan
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from dgex_jax.model.model import Model
    from dgex_jax.model.scale import Plan

NAME = "inference"
OPTIONS = PredictOptions("l1000")
MEGA = 1e6


def forward_only(model: Model, profiles: Path) -> None:
    """Read, plan and infer; nothing is written."""
    with ExitStack() as files:
        plan = make_plan(model, open_input(profiles, files), OPTIONS, Progress())
        n = len(plan.match.source.profiles)
        for _ in inferred(plan, slice(0, n)):
            pass


def writing_only(model: Model, profiles: Path, output: Path) -> None:
    """Write as many ready blocks in the same format."""
    with ExitStack() as files:
        plan = make_plan(model, open_input(profiles, files), OPTIONS, Progress())
        written = written_genes(model)
        ids, genes = written.ids, gene_metadata(plan, written)
        ready = np.random.default_rng(0).standard_normal((BATCH, len(ids)), np.float32)
        with open_output(_output(plan, output, ids, genes)) as writer:
            for run in writer.pending():
                for start in range(run.start, run.stop, BATCH):
                    writer.append(ready[: min(BATCH, run.stop - start)])


def _output(plan: Plan, path: Path, ids: Sequence[str], genes: object) -> Output:
    source, told = plan.match.source, provenance(plan, None)
    metadata = source.profile_metadata
    job = prediction_job(plan, told)
    return Output(path, source.profiles, ids, metadata, genes, told, job)  # type: ignore[arg-type]


def throughput(
    folder: Path, n: int, units: Sequence[int], targets: int, rounds: int
) -> tuple[list[Line], Table]:
    """Compare whole predictions with their two parts; gives lines and a table of rates."""
    lines, rows = [], []
    for number in units:
        model = made_up_model(number, targets=targets)
        profiles = folder / f"profiles_{n}.gctx"
        if not profiles.exists():
            write_profiles(profiles, model, n)
        for ending in (".gctx", ".zarr"):
            progress(f"{n} profiles, {number} hidden units, {ending}")
            whole, part = folder / f"whole{ending}", folder / f"part{ending}"
            times = paired(
                {
                    "all": partial(predict, model, profiles, whole, OPTIONS, report=progress),
                    "forward": partial(forward_only, model, profiles),
                    "writing": partial(writing_only, model, profiles, part),
                },
                rounds,
            )
            slower = max(("forward", "writing"), key=lambda name: times[name].median)
            what = f"{n:,} profiles, {number} hidden units, {ending}"
            lines.append(Line(what, times["all"], f"{slower} alone", times[slower]))
            megabytes = n * (LANDMARKS + targets) * 4 / MEGA
            rows.append(
                (
                    what,
                    *(f"{n / times[name].median:,.0f}" for name in ("all", "forward", "writing")),
                    f"{megabytes / times['all'].median:,.0f}",
                    f"{megabytes / times['writing'].median:,.0f}",
                )
            )
    header = ("", "profiles/s", "forward alone", "writing alone", "MB/s written", "writing alone")
    return lines, Table(header, tuple(rows))


def memory(folder: Path, sizes: Sequence[int], sink: int, targets: int) -> Table:
    """Peak memory of whole predictions of more and more profiles, and into a sink."""
    model = made_up_model(300, targets=targets)
    write_model(folder / "model", model)
    rows = []
    for n in sizes:
        progress(f"memory of {n:,} profiles")
        profiles, output = folder / f"many_{n}.gctx", folder / "many.zarr"
        write_profiles(profiles, model, n)
        words = (folder / "model", profiles, "-o", output, "--platform", "l1000", "-q")
        done = in_child(DGEX, "predict", *words)
        rows.append((f"{n:,} profiles to .zarr", *_taken(done.seconds, done.peak_bytes, n)))
        profiles.unlink()
    progress(f"memory of {sink:,} profiles into a sink")
    done = in_child("benchmarks.inference_sink", sink, targets)
    rows.append((f"{sink:,} profiles, discarded", *_taken(done.seconds, done.peak_bytes, sink)))
    return Table(("", "time", "profiles/s", "peak memory"), tuple(rows))


def _taken(seconds: float, peak: int, n: int) -> tuple[str, str, str]:
    return show(seconds), f"{n / seconds:,.0f}", f"{peak / MEGA:,.0f} MB"


def measure(options: argparse.Namespace) -> Report:
    """Measure all of it."""
    small = options.small
    targets = 64 if small else TARGETS
    n, sink = (600, 2000) if small else (10_000, 1_000_000)
    sizes = (300, 600) if small else (10_000, 150_000)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        disk = disk_write_rate(folder, 8 if small else 1024)
        lines: list[Line] = []
        tables = []
        if options.only in (None, "rates"):
            lines, rates = throughput(folder, n, options.units, targets, 1 if small else 3)
            tables.append(("Rates", rates))
        if options.only in (None, "memory"):
            tables.append(("Memory (300 hidden units)", memory(folder, sizes, sink, targets)))
    return Report(
        NAME if options.only is None else f"{NAME}_{options.only}",
        "Inference, 978 landmarks to 21,290 targets (made-up weights and profiles)",
        lines,
        [
            f"disk: {disk / MEGA:,.0f} MB/s written and fsynced",
            f"products: {jax_product_rate(512 if small else 2048) / 1e9:,.0f} GFLOP/s float32",
        ],
        tables,
        ["peer: the slower of the forward passes alone and of writing ready blocks alone"]
        if lines
        else [],
    )


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    command.add_argument("--units", type=int, nargs="+", default=[300, 3000])
    command.add_argument("--folder", type=Path, help="where 15 GB may be written (default: /tmp)")
    command.add_argument(
        "--only", choices=("rates", "memory"), help="a half of it, in a table of its own"
    )


main = script(NAME, __doc__ or "", measure, add_options)

if __name__ == "__main__":
    sys.exit(main())
