"""The baselines at the paper's full size (88,807 x 943 to 9,520), and beside scikit-learn.

Made-up standardised profiles of all parts are written as arrays; each method then reads them into
memory, is fitted on GEO-tr, tuned on both validation parts and measured on the test parts, in a
process of its own. ``ours`` is that process without reading the arrays; the table of processes has
all of it. The peers run on a smaller study.
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines_peers import compare
from benchmarks.baselines_run import METHODS, fit_in_child
from benchmarks.machine import usable_cores
from benchmarks.madeup_study import load_study, scaled, write_study
from benchmarks.rates import GIGA, numpy_product_rate, product_operations, quickest
from benchmarks.report import Bound, Line, Report, Table
from benchmarks.script import progress, script
from benchmarks.timing import Timing, show
from dgex_jax.baselines.lasso import STEPS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from benchmarks.baselines_peers import Compared
    from benchmarks.baselines_run import Outcome
    from benchmarks.memory import ChildRun

NAME = "baselines"
GOAL_MINUTES = {"lr": 3, "lr-l2": 3, "lr-l1": 12, "knn-ge": 2}
GOAL_GB = 12.0
"""Of a whole process at full size, on two cores."""


@dataclass(frozen=True)
class Rates:
    """Operations a second.

    - `double`, `single`: of products in NumPy.
    - `adding`: of float64 additions of arrays in cache, on all cores together.
    """

    double: float
    single: float
    adding: float

    def lines(self) -> list[str]:
        """Say it."""
        double, single, adding = (one / GIGA for one in (self.double, self.single, self.adding))
        return [
            f"products: {double:.0f} GFLOP/s float64, {single:.0f} float32",
            f"additions in cache, all cores together: {adding:.2f} G/s float64",
        ]


def measured_rates(size: int = 2048, seconds: float = 1.0) -> Rates:
    """Measure them here."""
    a = np.random.default_rng(0).standard_normal((size, size))
    double = product_operations(size, size, size) / quickest(lambda: a @ a, seconds)
    return Rates(double, numpy_product_rate(size, seconds), adding_rate(seconds))


def adding_rate(seconds: float) -> float:
    """Additions a second to arrays of 128 KiB, one on every core."""
    cores, n, repeats = usable_cores(), 2**14, 1000

    def add(_core: int) -> None:
        a, b = np.zeros(n), np.ones(n)
        for _ in range(repeats):
            np.add(a, b, out=a)

    with ThreadPoolExecutor(cores) as pool:
        return cores * n * repeats / quickest(lambda: list(pool.map(add, range(cores))), seconds)


@dataclass(frozen=True)
class Size:
    """What is fitted: profiles of each part, landmarks, targets, lambdas and the largest k."""

    profiles: Mapping[str, int]
    n_landmarks: int
    n_targets: int
    n_lambdas: int = 10
    k_max: int = 100

    @property
    def gram(self) -> int:
        """Operations of XᵀX (one half of it, it is symmetric) and XᵀY."""
        n, p = self.profiles["tr"], self.n_landmarks
        return n * p * p + product_operations(p, n, self.n_targets)

    def predictions(self, fits: int) -> int:
        """Operations of so many fits on both validation parts and one on the test parts."""
        tried = fits * (self.profiles["va"] + self.profiles["1000G"])
        tested = self.profiles["te"] + self.profiles["GTEx"]
        return product_operations(tried + tested, self.n_landmarks, self.n_targets)

    @property
    def coefficients(self) -> int:
        """Operations of one product of all targets with a matrix of landmarks by landmarks."""
        return product_operations(self.n_targets, self.n_landmarks, self.n_landmarks)


def bound(method: str, size: Size, rates: Rates, steps: Sequence[float] = ()) -> Bound:
    """Shortest time of a method, products and additions at the machine's rates.

    - `method`: ``lr``, ``lr-l2``, ``lr-l1`` or ``knn-ge``.
    - `size`: of the study.
    - `rates`: of the machine.
    - `steps`: of LR-L1, mean over targets, for each lambda.
    """
    per = GIGA * 1000
    if method == "knn-ge":
        # XᵀY alone; then for each k two additions: of a landmark, and of an absolute error.
        products = product_operations(size.n_landmarks, size.profiles["tr"], size.n_targets)
        tried = size.profiles["va"] + size.profiles["1000G"]
        additions = 2 * size.k_max * tried * size.n_targets
        text = f"{products / per:.2f} TFLOP of XᵀY in float64, {additions / per:.3f} T additions"
        return Bound(products / rates.double + additions / rates.adding, text)
    fits = 1 if method == "lr" else size.n_lambdas
    double = size.gram + size.predictions(fits)
    text = f"{size.gram / per:.2f} TFLOP of XᵀX and XᵀY, "
    text += f"{size.predictions(fits) / per:.2f} of predictions"
    single = 0.0
    if method == "lr-l2":
        double += fits * size.coefficients
    elif method == "lr-l1":
        # A step is two products in float32; a look at the gap every few steps two in float64.
        single = 2 * sum(steps) * size.coefficients
        looks = 2 * sum(steps) / STEPS * size.coefficients
        double += round(looks)
        text += f", {looks / per:.2f} of duality gaps"
    text += " in float64"
    if single:
        text += f"; {single / per:.2f} in float32 of {sum(steps):.0f} steps a target"
    return Bound(double / rates.double + single / rates.single, text)


@dataclass(frozen=True)
class Done:
    """One method's process and what it found."""

    child: ChildRun
    outcome: Outcome


def full(folder: Path, size: Size, methods: Sequence[str]) -> dict[str, Done]:
    """Write the arrays and run each method on them."""
    progress(f"writing {size.profiles['tr']:,} x {size.n_landmarks} to {size.n_targets:,}")
    start = time.perf_counter()
    write_study(folder, size.profiles, size.n_landmarks, size.n_targets)
    progress(f"written in {show(time.perf_counter() - start)}")
    done = {}
    for method in methods:
        progress(METHODS[method])
        done[method] = Done(*fit_in_child(method, folder))
        progress(f"{METHODS[method]}: {show(done[method].child.seconds)}")
    return done


def lines(done: Mapping[str, Done], size: Size, rates: Rates) -> list[Line]:
    """Compare times with their bounds."""
    shape = f"{size.profiles['tr']:,} x {size.n_landmarks} to {size.n_targets:,}"
    return [
        Line(
            f"{METHODS[method]}, {shape}",
            Timing((one.outcome.fitting,)),
            bound=bound(method, size, rates, one.outcome.steps),
        )
        for method, one in done.items()
    ]


def processes(done: Mapping[str, Done]) -> Table:
    """Time and memory of whole processes, beside the goals for the full size."""
    rows = []
    for method, one in done.items():
        gigabytes, goal = one.child.peak_bytes / 1e9, 60 * GOAL_MINUTES[method]
        chosen = ", ".join(
            f"{key} = {values[key]:g} on {part}"
            for part, values in one.outcome.chosen.items()
            for key in ("k", "lambda")
            if key in values
        )
        rows.append(
            (
                METHODS[method],
                show(one.child.seconds),
                show(one.outcome.reading),
                f"{goal / 60:.0f} min",
                f"{goal / one.child.seconds:.1f}",
                f"{gigabytes:.1f} GB",
                f"{GOAL_GB:.0f} GB",
                chosen,
                f"{one.outcome.mae['te']:.4f}",
            )
        )
    header = ("method", "all", "reading", "goal", "goal / all", "peak memory", "goal", "chosen")
    return Table((*header, "error on te"), tuple(rows))


def gaps(outcome: Outcome) -> Table:
    """Duality gaps and steps of LR-L1."""
    rows = [
        (f"{one:g}", f"{gap:.1e}", f"{steps:.1f}")
        for one, gap, steps in zip(outcome.lambdas, outcome.gaps, outcome.steps, strict=True)
    ]
    return Table(("lambda", "largest gap / (|y|^2/n)", "steps a target"), tuple(rows))


def answers(compared: Sequence[Compared]) -> Table:
    """How far ours and the peers' answers differ."""
    rows = [
        (one.line.what, one.what, f"{one.difference:.1e}", f"{one.allowed:.0e}") for one in compared
    ]
    return Table(("", "compared", "largest difference", "allowed"), tuple(rows))


def beside_peers(
    folder: Path, profiles: int, n_landmarks: int, n_targets: int, options: argparse.Namespace
) -> list[Compared]:
    """Compare all asked for on one smaller study; raises where answers differ."""
    sizes = {"tr": profiles, "va": max(2, profiles // 8)}
    write_study(folder, sizes, n_landmarks, n_targets, seed=1)
    arrays = load_study(folder)
    rounds = 1 if options.small else 3
    compared = [compare(one, arrays, rounds, options.lasso_targets) for one in options.only]
    for one in compared:
        if not one.difference <= one.allowed:
            raise RuntimeError(
                f"{one.line.what}: {one.what} differ from {one.line.peer_name} by "
                f"{one.difference:.1e}, more than {one.allowed:.0e}"
            )
    return compared


def measure(options: argparse.Namespace) -> Report:
    """Measure all of it."""
    small, only = options.small, options.only
    if small:
        size = Size({"tr": 300, "va": 40, "te": 40, "1000G": 9, "GTEx": 12}, 30, 40, k_max=30)
    else:
        size = Size(*scaled(options.fraction))
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        rates = measured_rates(256 if small else 2048, 0.05 if small else 2.0)
        done = full(folder, size, only)
        peers = folder / "peers"
        peers.mkdir()
        peer_size = (200, 20, 30) if small else (4000, size.n_landmarks, 300)
        compared = beside_peers(peers, *peer_size, options)
    values = sum(size.profiles.values()) * (size.n_landmarks + size.n_targets)
    tables = [("Whole processes; goals are for the full size", processes(done))]
    if "lr-l1" in done:
        tables.append(("LR-L1", gaps(done["lr-l1"].outcome)))
    tables.append(("Answers beside the peers'", answers(compared)))
    return Report(
        NAME,
        "Baselines at the paper's size (made-up profiles), and beside scikit-learn",
        [*lines(done, size, rates), *(one.line for one in compared)],
        rates.lines(),
        tables,
        [
            f"all parts are in memory as float32, {4 * values / 1e9:.1f} GB of the peak",
            "peers get float64 arrays made beforehand, ours the float32 ones",
        ],
    )


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    command.add_argument(
        "--fraction", type=float, default=1.0, help="of the paper's profiles; targets: its root"
    )
    command.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS))
    command.add_argument(
        "--lasso-targets", type=int, default=8, help="that scikit-learn's lasso gets"
    )
    command.add_argument("--folder", type=Path, help="where 5 GB may be written (default: /tmp)")


main = script(NAME, __doc__ or "", measure, add_options)

if __name__ == "__main__":
    sys.exit(main())
