"""Preparing a study at parts of the paper's size: time, memory, and the original scripts' way."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import describe
from benchmarks.preprocessing_bound import bound, measure_rates, rates_text
from benchmarks.preprocessing_peer import against_original
from benchmarks.preprocessing_runs import mib, place, prepared
from benchmarks.preprocessing_table import step_table
from benchmarks.rawdata import PAPER, SMALL
from benchmarks.report import Line, Report
from benchmarks.script import command_line, run_benchmark
from benchmarks.table import Table
from benchmarks.timing import Timing
from dgex_jax.config import PrepareConfig

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.memory import ChildRun
    from benchmarks.preprocessing_bound import Rates
    from benchmarks.preprocessing_runs import Prepared

NAME = "preprocessing"
DESCRIPTION = "Time and memory of preparing studies up to the paper's size."
FITTING = "fitting clusters"
CAVEATS = (
    "raw files just written: as much of them as fits was in the page cache",
    "peak memory counts the pages of scratch files while they are read",
    "arrays are made up: tissue centres, common factors, noise",
    "the RNA-seq text files, made up too, have the genes of the maps alone",
)


def measure(options: argparse.Namespace) -> Report:
    """Measure every fraction, the smaller ones in the original way as well."""
    full = SMALL if options.small else PAPER
    fractions = [Fraction(1)] if options.small else sorted(set(options.fractions))
    with_peer = [Fraction(1)] if options.small else sorted(set(options.peer_fractions))
    ours: dict[Fraction, Prepared] = {}
    lines, peaks, notes = [], [], []
    with ExitStack() as stack:
        folder = options.keep
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        rates = measure_rates(folder, full, 16 if options.small else 1024)
        for fraction in sorted({*fractions, *with_peer}):
            ours[fraction] = one = prepared(folder, fraction, full, options.block_size)
            peer = None
            if fraction in with_peer:
                peer, said = against_original(folder, fraction, one)
                peaks.append((f"{fraction}: {one.shape.n_profiles:,}", mib(one.run), mib(peer)))
                notes += said
            lines.append(comparison_line(fraction, one, rates, peer))
            if options.keep is None:
                shutil.rmtree(place(folder, fraction))
    tables = []
    if fractions:
        measured = {fraction: ours[fraction] for fraction in fractions}
        steps = step_table(measured, full.n_profiles)
        tables.append(("Where the time goes (seconds)", steps))
    if peaks:
        peak_table = Table(("arrays", "ours", "original"), tuple(peaks))
        tables.append(("Peak resident memory (MiB)", peak_table))
    return Report(
        NAME,
        f"Preparing parts of a study of {full.n_profiles:,} arrays",
        command_line(NAME),
        describe(),
        lines,
        rates=[rates_text(rates)],
        tables=tables,
        notes=[*notes, *(about(fraction, one) for fraction, one in ours.items()), *CAVEATS],
    )


def comparison_line(
    fraction: Fraction, ours: Prepared, rates: Rates, peer: ChildRun | None = None
) -> Line:
    """Hold one fraction's time against its bound and, where it ran, the original way."""
    return Line(
        f"{fraction}: {ours.shape.n_profiles:,} arrays",
        Timing((ours.run.seconds,)),
        "original" if peer else "",
        Timing((peer.seconds,)) if peer else None,
        bound(ours, rates),
    )


def about(fraction: Fraction, one: Prepared) -> str:
    """Say what a preparation kept and how often it went through the profiles."""
    passes = next(step.done for name, step in one.steps.items() if name.startswith(FITTING))
    return (
        f"{fraction}: {one.n_kept:,} of {one.shape.n_profiles:,} profiles kept, "
        f"{passes / one.shape.n_profiles:.1f} passes of k-means, peak {mib(one.run)} MiB"
    )


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    command.add_argument(
        "--fractions",
        type=Fraction,
        nargs="+",
        default=[Fraction(1, 16), Fraction(1, 8), Fraction(1, 4)],
        help="parts of the paper's 129,158 arrays (default: 1/16 1/8 1/4)",
    )
    command.add_argument(
        "--peer-fractions",
        type=Fraction,
        nargs="*",
        default=[Fraction(1, 64), Fraction(1, 32)],
        help="parts that the original way does too; it needs 50 GB at 1 (default: 1/64 1/32)",
    )
    command.add_argument("--keep", type=Path, metavar="FOLDER", help="keep and reuse files there")
    command.add_argument(
        "--block-size",
        type=int,
        default=PrepareConfig().block_size,
        help="profiles in memory at a time (default: %(default)s)",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    return run_benchmark(NAME, DESCRIPTION, measure, arguments, add_options)


if __name__ == "__main__":
    raise SystemExit(main())
