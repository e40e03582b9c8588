"""The commands whose growth is measured, and at which sizes."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.baselines_run import METHODS, fit_in_child
from benchmarks.madeup_model import made_up_model, write_profiles
from benchmarks.madeup_study import LANDMARKS, write_study
from benchmarks.preprocessing_runs import prepared
from benchmarks.random_study import random_study, write_arrays
from benchmarks.rawdata import PAPER, SMALL
from benchmarks.script import DGEX, in_child
from dgex_jax.config import PrepareConfig
from dgex_jax.model.model import write_model
from dgex_jax.parts import PAPER as PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

AXES = ("profiles", "genes", "units")
EPOCHS = 4
BASELINES = {METHODS[method]: method for method in ("lr-l2", "knn-ge")}
STAGES = ("prepare", "train", *BASELINES, "predict")

Taken = tuple[float, int]
"""Seconds, and largest memory in bytes."""


@dataclass(frozen=True)
class Point:
    """What one command took at one size.

    - `stage`: the command.
    - `axis`, `size`: which of `AXES` was changed, and its value.
    - `seconds`, `peak_bytes`: time, and largest resident memory of the process.
    """

    stage: str
    axis: str
    size: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Sizes:
    """Of one command's data; genes: probes when preparing, else target genes."""

    profiles: int
    genes: int
    units: int = 0


@dataclass(frozen=True)
class Work:
    """One point to measure."""

    stage: str
    axis: str
    sizes: Sizes
    small: bool

    def measured(self, folder: Path) -> Point:
        """Make the data in an empty folder and run the command."""
        seconds, peak = RUN[self.stage](folder, self.sizes, small=self.small)
        return Point(self.stage, self.axis, getattr(self.sizes, self.axis), seconds, peak)

    def __str__(self) -> str:
        sizes = ", ".join(f"{size:,} {name}" for name, size in asdict(self.sizes).items() if size)
        return f"{self.stage}: {sizes}"


FULL = {
    "prepare": Sizes(4036, 22_268),
    "train": Sizes(4000, 1000, 500),
    "LR-L2": Sizes(8000, 1200),
    "KNN-GE": Sizes(8000, 1200),
    "predict": Sizes(10_000, 10_000, 1000),
}
TEST = {
    "prepare": Sizes(400, 700),
    "train": Sizes(400, 8, 8),
    "LR-L2": Sizes(200, 8),
    "KNN-GE": Sizes(200, 8),
    "predict": Sizes(200, 64, 8),
}


def plan(stages: Sequence[str], *, small: bool) -> Iterator[Work]:
    """Give the points of the stages: each size halved and doubled by itself."""
    for stage in stages:
        middle = (TEST if small else FULL)[stage]
        for axis, size in asdict(middle).items():
            for factor in (Fraction(1, 2), Fraction(1), Fraction(2)) if size else ():
                yield Work(stage, axis, replace(middle, **{axis: int(size * factor)}), small)


def _prepare(folder: Path, sizes: Sizes, *, small: bool) -> Taken:
    whole = SMALL if small else PAPER
    part = whole.scaled(Fraction(sizes.profiles, whole.n_profiles))
    share = sizes.genes / whole.n_probes
    counts = {
        name: round(getattr(whole, name) * share)
        for name in ("n_probes", "n_landmarks", "n_targets", "n_target_probes", "n_shared")
    }
    done = prepared(folder, Fraction(1), replace(part, **counts), PrepareConfig().block_size)
    return done.run.seconds, done.run.peak_bytes


def _train(folder: Path, sizes: Sizes, *, small: bool) -> Taken:
    watched = 20 if small else 400
    n_landmarks = 10 if small else LANDMARKS
    arrays = random_study(sizes.profiles, n_landmarks, sizes.genes // 2, 2, watched)
    write_arrays(arrays, folder / "arrays.npz")
    settings = {"hidden-layers": 1, "units": sizes.units, "epochs": EPOCHS, "monitor-size": watched}
    words = [word for name, value in settings.items() for word in (f"--{name}", value)]
    taken = in_child(DGEX, "train", folder / "arrays.npz", "-o", folder / "run", "-q", *words)
    log = pd.read_csv(folder / "run" / "log.tsv", sep="\t")
    return statistics.median(log["seconds"][1:]), taken.peak_bytes


def _baseline(method: str, folder: Path, sizes: Sizes, *, small: bool) -> Taken:
    parts = {"tr": sizes.profiles} | dict.fromkeys(PARTS.evaluated, 100)
    write_study(folder, parts, 20 if small else LANDMARKS, sizes.genes)
    child, _ = fit_in_child(method, folder)
    return child.seconds, child.peak_bytes


def _predict(folder: Path, sizes: Sizes, *, small: bool) -> Taken:
    del small
    model = made_up_model(sizes.units, targets=sizes.genes)
    write_model(folder / "model", model)
    write_profiles(folder / "profiles.gctx", model, sizes.profiles)
    words = (folder / "model", folder / "profiles.gctx", "-o", folder / "out.gctx")
    done = in_child(DGEX, "predict", *words, "--platform", "l1000", "-q")
    return done.seconds, done.peak_bytes


RUN: dict[str, Callable[..., Taken]] = {
    "prepare": _prepare,
    "train": _train,
    **{name: partial(_baseline, method) for name, method in BASELINES.items()},
    "predict": _predict,
}
