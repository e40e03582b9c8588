"""What TF32 does to the errors: ``python -m benchmarks.precision``, on a machine with a GPU.

The simulated study at the paper's size (`benchmarks/paper_sim.toml`), raw files and all, then
``dgex train`` of each network at both precisions with the same seeds, and their logs beside each
other. What a folder holds already is kept, so the same command goes on. By their shapes the raw
GEO file has 11.5 GB and the prepared study 4.6.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.machine import gpu_names
from benchmarks.report import Report, Table
from benchmarks.script import progress, script
from dgex_jax.errors import DgexError, StudyError
from dgex_jax.parts import PAPER
from dgex_jax.simulate.write import simulated_files

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from dgex_jax.rawfiles import RawFiles

NAME = "precision"
TITLE = "What TF32 does to the errors of a network"
STUDY = Path(__file__).with_name("paper_sim.toml")
SMALL_STUDY = Path(__file__).parents[1] / "tests" / "tiny.toml"
PRECISIONS = ("highest", "tf32")
NETWORKS = ("3000x1", "9000x3")
NETWORK = re.compile(r"[1-9][0-9]*x[1-9][0-9]*")
DROPOUT = 0.1
STDERR = 2


def measure(options: argparse.Namespace) -> Report:
    """Make the study, train, and compare."""
    if options.small:
        with tempfile.TemporaryDirectory() as folder:
            return report(Path(folder), SMALL_STUDY, ("8x1",), 2)
    for network in options.networks:
        if not NETWORK.fullmatch(network):
            raise StudyError(f"--networks {network}: not UNITSxLAYERS, as 3000x1")
    if options.epochs < 2:
        raise StudyError(f"--epochs {options.epochs}: must be 2 or more")
    if not gpu_names():
        raise StudyError("no GPU here: only --small runs on a CPU, which has no TF32")
    return report(options.folder, STUDY, options.networks, options.epochs)


def report(folder: Path, study: Path, networks: Sequence[str], epochs: int) -> Report:
    """Train every network at both precisions in `folder`."""
    prepared = prepare(study, folder)
    rows: list[tuple[str, ...]] = []
    for network in networks:
        units, layers = network.split("x")
        logs = []
        for precision in PRECISIONS:
            run = folder / f"{network}-{precision}-{epochs}"
            settings = {"hidden-layers": layers, "units": units, "dropout": str(DROPOUT)}
            settings |= {"epochs": str(epochs), "precision": precision}
            words = [word for name, value in settings.items() for word in (f"--{name}", value)]
            dgex("train", str(prepared), "-o", str(run), *words)
            logs.append(pd.read_csv(run / "log.tsv", sep="\t"))
        rows += compare(network, *logs)
    return Report(
        name=NAME,
        title=TITLE,
        tables=[
            (f"MAE after {epochs} epochs, both halves, simulated data", Table(HEADER, tuple(rows)))
        ],
        notes=[
            f"study: {study.name} (simulated); {DROPOUT:.0%} dropout, the same seeds and batches",
            "highest: products in float32; tf32: factors rounded to 10 bits, on GPUs alone",
        ],
    )


HEADER = ("network", "part", "float32", "TF32", "TF32 - float32", "largest of all epochs", "s")


def compare(network: str, exact: pd.DataFrame, rounded: pd.DataFrame) -> list[tuple[str, ...]]:
    """Lay two logs beside each other, a line a part; seconds are those of an epoch, medians."""
    seconds = " / ".join(f"{log['seconds'].iloc[1:].median():.3g}" for log in (exact, rounded))
    rows: list[tuple[str, ...]] = []
    for part in PAPER.logged:
        ours, other = (log[f"MAE_{part}"].to_numpy(np.float64) for log in (exact, rounded))
        apart = other - ours
        largest = apart[np.abs(apart).argmax()]
        cells = (f"{ours[-1]:.5f}", f"{other[-1]:.5f}", f"{apart[-1]:+.1e}")
        rows.append((network, part, *cells, f"{largest:+.1e}", seconds))
    return rows


def prepare(study: Path, folder: Path) -> Path:
    """Simulate and prepare a study, as far as that isn't done yet; gives the prepared file."""
    raw, prepared = folder / "raw", folder / "prepared.h5"
    if not prepared.exists():
        folder.mkdir(parents=True, exist_ok=True)
        progress("simulating and preparing the study")
        dgex("simulate", "--study", str(study), "-o", str(raw))
        files = simulated_files(raw)
        dgex("prepare", *given(files), "-o", str(prepared))
    return prepared


def given(files: RawFiles) -> list[str]:
    """Write raw files down as options of ``dgex prepare``."""
    named = {"geo": files.geo, "gtex": files.gtex, "1000g": files.thousand_genomes}
    named |= {"landmarks": files.landmarks, "targets": files.targets}
    return [word for name, path in named.items() for word in (f"--{name}", str(path))]


def dgex(*words: str) -> None:
    """Run a command in a process of its own; its progress goes to standard error.

    Raises `DgexError`: it failed.
    """
    done = subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, "-m", "dgex_jax.cli", *words], stdout=STDERR, check=False
    )
    if done.returncode:
        raise DgexError(f"dgex {words[0]}: ended with exit code {done.returncode}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--folder", type=Path, default=Path(".paper-sim"), help="where 17 GB go")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="UNITSxLAYERS")
    parser.add_argument("--epochs", type=int, default=20)


main = script(NAME, TITLE, measure, add_options)

if __name__ == "__main__":
    sys.exit(main())
