"""Outputs to flip bits in, finished ones and those that go on: how they are made, and read.

Each is small but has all that a large one has: several runs of profiles, or shards.
"""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pandas as pd

from dgex_jax.io import partial
from dgex_jax.io.h5ad import H5adWriter
from dgex_jax.io.partial import Resume
from dgex_jax.io.writers import GctxWriter
from tests.reliability.bitrot_artefact import Artefact, Read, every_file, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

N, GENES, UNIT = 700, 30, 256
VALUES = np.random.default_rng(3).normal(size=(N, GENES)).astype(np.float32)
JOB = {"options": {"scale": "reference", "impute": False}, "input": "ab12"}


def zarr_writer(path: Path, report: Callable[[str], None]) -> Any:
    """Three shards."""
    from dgex_jax.io.zarr import ZarrWriter

    profiles, genes = [f"p{n}" for n in range(N)], [f"g{n}" for n in range(GENES)]
    return ZarrWriter(
        path,
        profiles,
        genes,
        pd.DataFrame({"tissue": np.resize(["liver", "brain"], N)}, index=profiles, dtype=object),
        pd.DataFrame({"mae": VALUES[0].astype(np.float64)}, index=genes),
        {"made_by": "a test"},
        job=JOB,
        profiles_per_shard=UNIT,
        report=report,
    )


def file_writer(path: Path, report: Callable[[str], None]) -> GctxWriter | H5adWriter:
    """One file that goes on where it stopped."""
    resume = Resume(JOB, UNIT, report)
    profiles, genes = [f"p{n}" for n in range(N)], [f"g{n}" for n in range(GENES)]
    about = pd.DataFrame({"tissue": np.resize(["liver", "brain"], N)}, index=profiles, dtype=object)
    if path.suffix == ".gctx":
        return GctxWriter(path, profiles, genes, profile_metadata=about, resume=resume)
    return H5adWriter(path, profiles, genes, about, pd.DataFrame(index=genes), {}, resume)


@contextmanager
def quick_writing() -> Iterator[None]:
    """Runs of `UNIT` profiles, and no waiting for the disk."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(partial, "RUN_BYTES", 4 * GENES * UNIT))
        stack.enter_context(patch.object(os, "fsync", lambda _descriptor: None))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


def fill(path: Path, report: Callable[[str], None], stop: int = N) -> None:
    """Write what is pending; a `stop` before the end is an interruption."""
    writer = zarr_writer if path.suffix == ".zarr" else file_writer
    with quick_writing(), suppress(InterruptedError), writer(path, report) as file:
        for run in file.pending():
            for start in range(run.start, run.stop, 100):
                if start >= stop:
                    raise InterruptedError
                file.append(VALUES[start : min(start + 100, run.stop)])


def nobody(_line: str) -> None:
    """Nobody listens."""


def read_output(path: Path, told: list[str]) -> Read:
    """All bytes of a finished output, a file or a folder."""
    if path.is_dir():
        contents = {file: (path / file).read_bytes() for file in every_file(path)}
    else:
        contents = {path.name: path.read_bytes()}
    return fingerprint(contents), told


def interrupted(name: str) -> Artefact:
    """A file or store that stopped behind two of three runs, and goes on."""

    def read(folder: Path) -> Read:
        told: list[str] = []
        fill(folder / name, told.append)
        # That it goes on is no word about damage.
        usual = f"{name}: resumes at profile {2 * UNIT} of {N}"
        return read_output(folder / name, [line for line in told if not line.endswith(usual)])

    return Artefact(
        f"{name}.partial",
        lambda folder: fill(folder / name, nobody, 2 * UNIT + 1),
        read,
        names=lambda line, _file: name in line,
        files=lambda folder: [file for file in every_file(folder) if ".lock" not in file],
        changes=True,
    )


def read_checked_store(folder: Path) -> Read:
    """Checked by us, then read by anndata."""
    from dgex_jax.io.zarr import check_zarr

    check_zarr(folder / "a.zarr")
    return read_store(folder)


def read_store(folder: Path) -> Read:
    """By anndata alone."""
    import anndata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = anndata.read_zarr(folder / "a.zarr")
        frames = [
            (list(frame.index), {name: list(frame[name]) for name in frame})
            for frame in (data.obs, data.var)
        ]
    return fingerprint(np.asarray(data.X), frames, str(data.uns)), []


def make_store(folder: Path) -> None:
    """A finished store."""
    fill(folder / "a.zarr", nobody)


def shards(folder: Path) -> list[str]:
    """The files of values."""
    return [file for file in every_file(folder) if file.startswith("a.zarr/X/c.")]
