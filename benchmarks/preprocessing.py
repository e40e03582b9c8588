"""Preparing a study at parts of the paper's size: time, memory, and the original scripts' way."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.machine import usable_cores
from benchmarks.preprocessing_peer import against_original
from benchmarks.preprocessing_runs import mib, place, prepared
from benchmarks.rates import copy_rate, disk_write_rate, product_operations, quickest
from benchmarks.rawdata import PAPER, SMALL
from benchmarks.report import Bound, Line, Report, Table
from benchmarks.script import progress, script
from benchmarks.timing import Timing, show
from dgex_jax.config import PrepareConfig
from dgex_jax.prepare.duplicates import N_CLUSTERS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from benchmarks.memory import ChildRun
    from benchmarks.preprocessing_runs import Prepared
    from benchmarks.rawdata import Shape

NAME = "preprocessing"
DESCRIPTION = "Time and memory of preparing studies up to the paper's size."
FITTING = "fitting clusters"
QUADRATIC = "comparing profiles"
"""The one step whose work grows with the square of the profiles; the others' is linear."""
SHORT = 0.005
"""Steps that take less than this share of the largest run are put together."""
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


@dataclass(frozen=True)
class Rates:
    """What the machine does at best.

    - `write`, `copy`: bytes a second: a new file, fsynced; in memory, read and written together.
    - `product`: operations a second of a float64 product.
    - `sort`: profiles a second whose genes one core sorts.
    """

    write: float
    copy: float
    product: float
    sort: float


def measure_rates(folder: Path, full: Shape, megabytes: int) -> Rates:
    """Measure what the bound is reckoned from."""
    progress("rates of the machine")
    rng = np.random.default_rng(0)
    square = rng.standard_normal((1024, 1024))
    values = rng.standard_normal((32, full.n_landmarks + full.n_targets))
    seconds = 0.2 if megabytes < 100 else 1.0
    return Rates(
        disk_write_rate(folder, megabytes),
        copy_rate(min(megabytes, 256), seconds),
        product_operations(1024, 1024, 1024) / quickest(lambda: square @ square, seconds),
        len(values) / quickest(lambda: np.argsort(values, axis=1), seconds),
    )


def rates_text(rates: Rates) -> str:
    """Say the rates."""
    return (
        f"disk {rates.write / 1e6:,.0f} MB/s written and fsynced, memory copies "
        f"{rates.copy / 1e9:.1f} GB/s, float64 products {rates.product / 1e9:.0f} GFLOP/s, "
        f"{rates.sort:,.0f} profiles a second sorted on one core"
    )


def bound(one: Prepared, rates: Rates) -> Bound:
    """Reckon the shortest time: what any way must move, or what it must compute, if that is more.

    It must read GEO once and write the study, sort every profile that stays and compare every
    profile with the clusters' centres once.
    """
    shape = one.shape
    n_genes = shape.n_landmarks + shape.n_targets
    moved = 4 * shape.n_profiles * shape.n_probes / rates.copy + 4 * one.n_kept * n_genes / (
        rates.write
    )
    centres = min(N_CLUSTERS, shape.n_profiles)
    computed = (
        one.n_kept / (rates.sort * usable_cores())
        + product_operations(shape.n_profiles, shape.n_probes, centres) / rates.product
    )
    return Bound(
        max(moved, computed),
        f"the longer of {show(moved)} (GEO read once at the rate of copies, the study written at "
        f"the disk's) and {show(computed)} (each kept profile sorted once, on all cores; one "
        f"product with {centres} centres)",
    )


def step_table(measured: Mapping[Fraction, Prepared], n_all: int) -> Table:
    """Seconds of every step by fraction, its growth, and what follows for the paper's size.

    The exponent is that between the two largest fractions. The last column, unless the largest
    fraction is 1, draws a straight line through these two (for `QUADRATIC` a line in the square).
    """
    fractions = sorted(measured)
    largest = measured[fractions[-1]]
    names = [
        name for name, step in largest.steps.items() if step.seconds > SHORT * largest.run.seconds
    ]
    rows = {name: [measured[one].steps[name].seconds for one in fractions] for name in names}
    whole = [measured[one].run.seconds for one in fractions]
    rows["all else, start included"] = [
        total - sum(rows[name][number] for name in names) for number, total in enumerate(whole)
    ]
    counts = [measured[one].shape.n_profiles for one in fractions]
    grows = len(fractions) > 1
    expects = grows and fractions[-1] != 1
    lines, expected = [], 0.0
    for name, seconds in rows.items():
        line = [name, *(f"{one:.2f}" for one in seconds)]
        if grows:
            line.append(exponent(counts, seconds))
        if expects:
            at_full = extrapolated(counts, seconds, n_all, 2 if name == QUADRATIC else 1)
            expected += at_full
            line.append(f"{at_full:.0f}")
        lines.append(tuple(line))
    line = ["together", *(f"{one:.2f}" for one in whole)]
    peaks = [measured[one].run.peak_bytes for one in fractions]
    peak = ["peak resident MiB", *(mib(measured[one].run) for one in fractions)]
    if grows:
        line.append(exponent(counts, whole))
        peak.append(exponent(counts, peaks))
    if expects:
        line.append(f"{expected:.0f}")
        peak.append(f"{extrapolated(counts, peaks, n_all, 1) / 2**20:,.0f}")
    header = ["step", *(f"{one}" for one in fractions)]
    header += ["growth ~ n^"] * grows + ["1 (extrapolated)"] * expects
    return Table(tuple(header), (*lines, tuple(line), tuple(peak)))


def exponent(counts: Sequence[int], values: Sequence[float]) -> str:
    """Write the exponent of growth between the last two."""
    if min(values[-2:]) <= 0:
        return ""
    return f"{log(values[-1] / values[-2]) / log(counts[-1] / counts[-2]):.2f}"


def extrapolated(counts: Sequence[int], values: Sequence[float], n_all: int, power: int) -> float:
    """Go on along the line through the last two, in ``n ** power``; never below the last."""
    before, last = (count**power for count in counts[-2:])
    slope = (values[-1] - values[-2]) / (last - before)
    return float(max(values[-1], values[-1] + slope * (n_all**power - last)))


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


main = script(NAME, DESCRIPTION, measure, add_options)

if __name__ == "__main__":
    raise SystemExit(main())
