"""The original scripts' way on the same raw files, and whether its result is the same."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from benchmarks.original_preprocessing import average_probes, quantile_normalise, scale
from benchmarks.prepare_steps import Step
from benchmarks.preprocessing_runs import mib, place
from benchmarks.rawdata import copies
from benchmarks.script import in_child, progress
from benchmarks.timing import show
from dgex_jax.errors import DgexError
from dgex_jax.io.gctx import Gctx
from dgex_jax.prepare.genes import read_gene_map
from dgex_jax.prepare.prepared import COMPENDIUM, SETS
from dgex_jax.simulate.write import simulated_files

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.memory import ChildRun
    from benchmarks.preprocessing_runs import Prepared
    from benchmarks.rawdata import Shape

CLOSE = 1e-5
"""Most that a value may differ from the original scripts' way."""


def against_original(
    folder: Path, fraction: Fraction, ours: Prepared
) -> tuple[ChildRun, list[str]]:
    """Run the original way on the same files; what it took, and sentences about it.

    Raises `DgexError`: different profiles are kept though clusters split no close pair, or values
    differ.
    """
    raw = place(folder, fraction)
    output = raw / "original"
    shutil.rmtree(output, ignore_errors=True)
    progress(f"{fraction}: the original way")
    taken = in_child("benchmarks.original_preprocessing", raw, output)
    progress(f"{fraction}: {show(taken.seconds)}, {mib(taken)} MiB")
    steps = [Step(**step) for step in json.loads((output / "steps.json").read_text("utf-8"))]
    labels, kept = np.load(output / "labels.npy"), np.load(output / "kept.npy")
    files = simulated_files(raw)
    with Gctx(files.geo) as source, h5py.File(raw / "prepared.h5") as file:
        stored = {name: row for row, name in enumerate(file[f"{COMPENDIUM}/profiles"].asstr()[()])}
        our_kept = np.array([name in stored for name in source.profiles])
        order = [stored[name] for name in source.profiles if name in stored]
        differ = np.flatnonzero(kept != our_kept)
        if ours.n_straddling == 0:
            explain(differ, labels, ours.shape)
        theirs = {name: np.load(output / f"{name}.npy") for name in ("GEO", "GTEx", "1000G")}
        if len(differ):
            genes, _ = quantile_normalise(average_probes(files, source, our_kept))
            theirs = {"GEO": scale(genes).T}
        columns = gene_columns(raw, file)
        differences = []
        for name, values in theirs.items():
            group = COMPENDIUM if name == "GEO" else SETS.format(name)
            mine = np.hstack([file[f"{group}/X"][()], file[f"{group}/Y"][()]])
            mine = mine[order] if name == "GEO" else mine
            differences.append(np.abs(mine - values[:, columns]).max())
    apart = float(np.max(differences))
    if not apart <= CLOSE:
        raise DgexError(f"{raw}: values differ from the original way's by {apart:.3g}")
    text = f"{fraction}, against the original way: {len(differ)} of {len(kept):,} profiles are "
    text += f"kept by one alone, values of {', '.join(theirs)} differ by at most {apart:.1e}"
    shutil.rmtree(output)
    slowest = sorted(steps, key=lambda step: -step.seconds)[:3]
    parts = ", ".join(f"{step.name} {show(step.seconds)}" for step in slowest)
    return taken, [text, f"{fraction}, the original way: {parts}"]


def explain(differ: NDArray[np.intp], labels: NDArray[np.intp], shape: Shape) -> None:
    """Raise `DgexError` if a profile is kept by one way alone and its copies share a cluster."""
    source, _ = copies(shape)
    for row in differ:
        if len(np.unique(labels[source == source[row]])) == 1:
            raise DgexError(f"profile {row} of the made-up file is kept by one way alone")


def gene_columns(raw: Path, file: Any) -> list[int]:
    """Places, in the gene maps' order, of the prepared study's landmarks and targets."""
    files = simulated_files(raw)
    columns = []
    first = 0
    for path, name in ((files.landmarks, "landmarks"), (files.targets, "targets")):
        genes = read_gene_map(path).ensembl
        where = {gene: first + number for number, gene in enumerate(genes)}
        columns += [where[gene] for gene in file[name].asstr()[()]]
        first += len(genes)
    return columns
