"""An ARCHS4 file read in blocks of samples, and prepared as a study: rates and peak memory.

The file is made up as ARCHS4's own are: counts of 35,000 genes by samples, uint32, in gzipped
chunks of 2,000 genes of one sample. Each way of reading runs in a process of its own; h5py alone
reads the same blocks as they are stored, samples as columns. The study is that of
``reproduce/studies/examples/archs4.toml`` without its search for copies, as the samples are copies.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from benchmarks.report import Line, Report, Table
from benchmarks.script import in_child, progress, script
from benchmarks.timing import Timing
from dgex_jax.cli import main as dgex
from dgex_jax.io.archs4 import Archs4
from dgex_jax.io.expression import View, blocks
from dgex_jax.io.lines import read_cells
from dgex_jax.prepare.hgnc import hgnc
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.prepare.probelist import landmark_file

if TYPE_CHECKING:
    import argparse

NAME = "archs4"
GENES, BLOCK = 35_000, 512
CHUNKS = (2000, 1)
MADE = 500
"""Samples drawn; the file has them again and again."""
WAYS = {
    "all": "all samples, all genes",
    "some": "every fifth sample, all genes",
    "genes": "all samples, every third gene",
    "h5py": "h5py alone: all samples, all genes",
    "prepare": "dgex prepare: 978 landmarks, genes that most samples have",
}
STUDY = """\
name = "archs4"
title = "Made-up counts in ARCHS4's form"

[compendium]
files = "{file}"
platform = "rnaseq"
values = "counts"
landmarks = "l1000"

[prepare]
scale_on = "train"
normalize = "log_cpm"
duplicates = "none"
max_zero_share = 0.5
"""


def symbols_of(n_genes: int) -> list[str]:
    """Give landmark genes, a third of the genes at most, then others, by symbol."""
    rows = (cells for _, cells in read_cells(landmark_file("l1000")))
    place = next(rows).index("symbol")
    landmarks = [cells[place] for cells in rows]
    others = [one for one in hgnc().previous if one not in set(landmarks)]
    chosen = landmarks[: n_genes // 3]
    return [*chosen, *others[: n_genes - len(chosen)]]


def write_file(path: Path, n: int, n_genes: int) -> None:
    """Write negative binomial counts; a third of the genes has none."""
    rng = np.random.default_rng(0)
    mean = rng.lognormal(3, 2.5, n_genes) * (rng.random(n_genes) > 1 / 3)
    chunk = (min(CHUNKS[0], n_genes), 1)
    with h5py.File(path, "w") as file:
        file["meta/genes/symbol"] = [one.encode() for one in symbols_of(n_genes)]
        file["meta/samples/geo_accession"] = [f"GSM{k}".encode() for k in range(n)]
        matrix = file.create_dataset(
            "data/expression", (n_genes, n), "u4", None, chunks=chunk, compression=4
        )
        for sample in range(min(n, MADE)):
            matrix[:, sample] = rng.poisson(rng.gamma(2, mean / 2))
        # Packed chunks are copied: packing them anew would take longer than all reading.
        for sample in range(MADE, n):
            for gene in range(0, n_genes, chunk[0]):
                _, packed = matrix.id.read_direct_chunk((gene, sample % MADE))
                matrix.id.write_direct_chunk((gene, sample), packed)


def read_file(path: Path, way: str) -> int:
    """Read a file in one of the ways; gives how many samples were read."""
    if way == "prepare":
        study = path.with_suffix(".toml")
        study.write_text(STUDY.format(file=path.name), encoding="utf-8")
        prepared = path.with_name("prepared.h5")
        if dgex(["prepare", str(study), "-o", str(prepared), "--quiet"]):
            raise SystemExit(2)
        with open_prepared(prepared) as made:
            return sum(made.n_profiles(part) for part in made.parts)
    if way == "h5py":
        with h5py.File(path) as file:
            matrix = file["data/expression"]
            return sum(matrix[:, rows].shape[1] for rows in blocks(matrix.shape[1], BLOCK))
    with Archs4(path) as source:
        places = np.arange(0, len(source.profiles), 5 if way == "some" else 1)
        view = View(source, profile_places=places)
        genes = slice(None, None, 3) if way == "genes" else None
        return sum(len(view.read(rows, genes)) for rows in blocks(len(places), BLOCK))


def measure(options: argparse.Namespace) -> Report:
    """Measure every way of reading."""
    n, n_genes = (600, 300) if options.small else (options.samples, GENES)
    lines, rows = [], []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        path = Path(name) / "archs4.h5"
        progress(f"writing {n:,} samples")
        write_file(path, n, n_genes)
        size = path.stat().st_size
        for way, what in WAYS.items():
            progress(what)
            done = in_child("benchmarks.archs4", "--read", path, way)
            count = len(range(0, n, 5)) if way == "some" else n
            lines.append(Line(what, Timing((done.seconds,))))
            rows.append((what, f"{count / done.seconds:,.0f}", f"{done.peak_bytes / 1e6:,.0f} MB"))
    return Report(
        NAME,
        f"Reading an ARCHS4 file of {n:,} samples x {n_genes:,} genes ({size / 1e9:.2f} GB)",
        lines,
        tables=[("Rates", Table(("", "samples/s", "peak memory"), tuple(rows)))],
        notes=[
            f"blocks of {BLOCK} samples; starting the process is included",
            "the file had just been written: as much of it as fits was in the page cache",
        ],
    )


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    command.add_argument("--samples", type=int, default=50_000, help="default: %(default)s")
    command.add_argument("--folder", type=Path, help="where the file is written (default: /tmp)")


main = script(NAME, __doc__ or "", measure, add_options)

if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        # In a process that it started: one way of reading.
        read_file(Path(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(main())
