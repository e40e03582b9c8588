"""Training on one GPU against PyTorch, and what the paper's study would take on it.

``python -m benchmarks.training_gpu`` (all of it unattended on a bare machine: benchmarks/gpu.sh).
"""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING

import jax

from benchmarks.gpu_epochs import HALVES, whole_epochs
from benchmarks.gpu_updates import AGREEMENT, BATCH, disagreement, fused, plain
from benchmarks.madeup_study import PROFILES
from benchmarks.peers.child import torch_times
from benchmarks.rates import GIGA, jax_product_rate, stream_rate
from benchmarks.report import Bound, Line, Report, Table
from benchmarks.script import progress, script
from benchmarks.shapes import Shape
from benchmarks.timing import Timing, paired, show
from dgex_jax.errors import StudyError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

NAME = "training_gpu"
TITLE = "Training on a GPU against PyTorch, an update of one half"
SHAPES = (Shape(943, 1, 3000, 4760), Shape(943, 3, 9000, 4760))
SMALL = (Shape(12, 2, 16, 10),)
GRID = ((1, 2, 3), (3000, 6000, 9000))
SMALL_GRID = ((1,), (8,))
SMALL_PROFILES = {"tr": 450, "va": 30, "te": 30, "1000G": 10, "GTEx": 10}
PEERS = ("eager", "reduce-overhead")
STUDY_EPOCHS, STUDY_RATES = 200, 3
LEAST_PASSES = 6
"""Passes over the parameters that an update needs: read for the forward and the backward
products, and velocity and weights read and written. XLA needs two more, for the gradient."""


def measure(options: argparse.Namespace) -> Report:
    """Measure until the time is over; what was left out is named."""
    if jax.default_backend() == "cpu" and not options.small:
        raise StudyError("no GPU here: only --small runs on a CPU")
    deadline = time.monotonic() + 60 * options.minutes
    megabytes, rows, seconds = (4, 64, 0.05) if options.small else (1024, 8192, 1.0)
    bandwidth = stream_rate(megabytes, seconds)
    names = {"highest": "highest", "tf32": "tensorfloat32"}
    products = {one: jax_product_rate(rows, names[one], seconds) for one in options.precisions}
    notes: list[str] = []
    lines: list[Line] = []
    updates: dict[tuple[Shape, str], Timing] = {}
    for precision in options.precisions:
        for shape in SMALL if options.small else SHAPES:
            if left_out(deadline, f"updates of {shape}, {precision}", notes):
                continue
            bound = least_time(shape, bandwidth, precision, products[precision])
            new, ours = time_updates(shape, precision, bound, options, notes)
            lines += new
            updates[shape, precision] = ours
    tables = [
        epochs_table(precision, updates, deadline, options, notes)
        for precision in options.precisions
    ]
    rates = ", ".join(f"{one} {rate / GIGA / 1e3:.1f} Tflop/s" for one, rate in products.items())
    return Report(
        name=NAME,
        title=TITLE,
        lines=lines,
        rates=[f"memory {bandwidth / GIGA:.0f} GB/s read and written together; products: {rates}"],
        tables=tables,
        notes=[*dict.fromkeys(notes)],
    )


def left_out(deadline: float, what: str, notes: list[str]) -> bool:
    """Whether there is no time left for something; then it is named."""
    if time.monotonic() < deadline:
        progress(what)
        return False
    notes.append(f"left out, the time was over: {what}")
    return True


def least_time(shape: Shape, bandwidth: float, precision: str, rate: float) -> Bound:
    """Reckon the shortest time of an update: bytes over bandwidth, or operations over rate."""
    size, operations = shape.update_bytes(LEAST_PASSES), shape.training_operations(BATCH)
    by_bytes, by_operations = size / bandwidth, operations / rate
    return Bound(
        max(by_bytes, by_operations),
        f"{LEAST_PASSES} passes over {shape.n_parameters / 1e6:.0f} million parameters "
        f"{show(by_bytes)}; {operations / GIGA:.0f} Gflop ({precision}) {show(by_operations)}",
    )


def time_updates(
    shape: Shape, precision: str, bound: Bound, options: argparse.Namespace, notes: list[str]
) -> tuple[list[Line], Timing]:
    """Compare an update of ours, plain and fused, with PyTorch's."""
    calls = {"ours": plain(shape, precision, options.batches)}
    apart = disagreement(shape, precision, interpret=options.small)
    verdict = f"fused kernel, {shape}, {precision}: apart from the plain update by {apart:.1e}"
    if apart <= AGREEMENT[precision]:
        calls["fused"] = fused(shape, precision, options.batches, interpret=options.small)
        notes.append(f"{verdict} of the largest update")
    else:
        notes.append(f"{verdict}: wrong, not timed")
    timings = {
        name: one.per(options.batches)
        for name, one in paired(calls, options.rounds, warmups=2).items()
    }
    what, lines = f"{shape}, {precision}", []
    peers, about = torch_times(
        shape,
        precision=precision,
        modes=options.peers,
        batches=options.batches,
        rounds=options.rounds,
        python=options.torch_python,
    )
    notes.append(f"peer: {about}")
    for mode in options.peers:
        peer = peers[mode].per(options.batches) if mode in peers else None
        name = "PyTorch eager" if mode == "eager" else f"PyTorch compiled ({mode})"
        lines.append(Line(what, timings["ours"], name, peer, bound))
    if "fused" in timings:
        lines.append(Line(f"{what}, fused", timings["fused"], "plain", timings["ours"], bound))
    return lines, timings["ours"]


def epochs_table(
    precision: str,
    updates: Mapping[tuple[Shape, str], Timing],
    deadline: float,
    options: argparse.Namespace,
    notes: list[str],
) -> tuple[str, Table]:
    """Time epochs of all architectures, and add up what the study takes."""
    layers, units = SMALL_GRID if options.small else GRID
    profiles = SMALL_PROFILES if options.small else PROFILES
    n_targets = 10 if options.small else 4760
    n_landmarks = 12 if options.small else 943
    rows, total = [], 0.0
    for depth in layers:
        for width in units:
            shape = Shape(n_landmarks, depth, width, n_targets)
            if left_out(deadline, f"epochs of {shape}, {precision}", notes):
                total = math.nan
                continue
            epoch, first = whole_epochs(shape, profiles, precision, options.epochs)
            study = epoch.median * STUDY_EPOCHS * STUDY_RATES + first
            total += study
            update = updates.get((shape, precision))
            batches = -(-profiles["tr"] // BATCH) * HALVES
            share = f"{1 - update.median * batches / epoch.median:.0%}" if update else ""
            rows.append((str(shape), str(epoch), share, show(first), show(study)))
    sum_text = show(total) if math.isfinite(total) else "not all measured"
    rows.append(("all", "", "", "", sum_text))
    header = ("both halves", "an epoch", "of it not updates", "first epoch more", "the study")
    title = (
        f"{precision}: {profiles['tr']} training profiles; the study is {STUDY_EPOCHS} epochs "
        f"x {STUDY_RATES} dropout rates, extrapolated"
    )
    return title, Table(header, tuple(rows))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=50, help="updates of a round")
    parser.add_argument("--epochs", type=int, default=2, help="measured, of each architecture")
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=("tf32", "highest"),
        default=["tf32", "highest"],
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=PEERS,
        default=list(PEERS),
        help="eager, or compiled in a mode",
    )
    parser.add_argument("--minutes", type=float, default=6.0, help="nothing is begun after these")
    parser.add_argument("--torch-python", default=sys.executable, help="that has PyTorch")


main = script(NAME, TITLE, measure, add_options)

if __name__ == "__main__":
    sys.exit(main())
