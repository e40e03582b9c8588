"""The shortest time in which this machine could prepare a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.machine import usable_cores
from benchmarks.rates import copy_rate, disk_write_rate, product_operations, quickest
from benchmarks.report import Bound
from benchmarks.script import progress
from benchmarks.timing import show
from dgex_jax.prepare.duplicates import N_CLUSTERS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.preprocessing_runs import Prepared
    from benchmarks.rawdata import Shape


@dataclass(frozen=True)
class Rates:
    """What the machine does at best.

    Attributes
    ----------
    write, copy
        Bytes a second: a new file, fsynced; in memory, read and written together.
    product
        Operations a second of a float64 product.
    sort
        Profiles a second whose genes one core sorts.
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
