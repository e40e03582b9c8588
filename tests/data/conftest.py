"""Profiles in a scratch store, as preparation holds them."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from dgex_jax.config import PrepareConfig, RawFiles
from dgex_jax.data.prepare import prepare
from dgex_jax.data.rowstore import RowStore
from dgex_jax.formats.gctx import Gctx, GctxWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep tests that run side by side from waiting for each other's thread pools."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[NDArray[np.floating]], RowStore]:
    """Give a function that puts an array ``(n_rows, n_columns)`` into a new store."""
    n_stores = 0

    def store(values: NDArray[np.floating]) -> RowStore:
        nonlocal n_stores
        n_stores += 1
        rows = RowStore(tmp_path / f"rows{n_stores}", values.shape[1], values.dtype)
        rows.append(np.asarray(values))
        return rows

    return store


@pytest.fixture
def golden_raw(golden: Path) -> RawFiles:
    """Raw files of the recorded study."""
    folder = golden / "preprocess"
    return RawFiles(
        folder / "geo.gctx",
        folder / "gtex.gct.gz",
        folder / "1000g.txt.gz",
        folder / "map_lm.txt",
        folder / "map_tg.txt",
    )


@pytest.fixture
def expected(golden: Path) -> dict[str, np.ndarray]:
    """The original's output on the recorded study; ids as text without padding."""
    with np.load(golden / "preprocess" / "expected.npz") as arrays:
        return {
            name: np.char.strip(values.astype(str)) if values.dtype.kind in "SU" else values
            for name, values in arrays.items()
        }


def _prepare(raw: RawFiles, output: Path, config: PrepareConfig | None = None, **options):
    """Prepare with names made up; pairs are compared exactly unless `config` says otherwise."""
    names = {"name": "made", "title": "A made study", "simulated": True}
    config = config or PrepareConfig(duplicates="all-pairs")
    return prepare(raw, output, config, **(names | options))


def _change_geo(raw: RawFiles, folder: Path, change, dtype=np.float32) -> RawFiles:
    """Write the recorded GEO file anew with `change(values, profiles, genes)` applied."""
    with Gctx(raw.geo) as source:
        profiles, genes, values = source.profiles, source.genes, source.read().astype(dtype)
    values = change(values, profiles, genes)
    folder.mkdir(exist_ok=True)
    with GctxWriter(folder / "geo.gctx", profiles, genes, dtype=dtype) as writer:
        writer.append(values)
    return replace(raw, geo=folder / "geo.gctx")


def _edit_text(path: Path, folder: Path, edit) -> Path:
    """Write the text file anew with `edit(lines)` applied."""
    folder.mkdir(exist_ok=True)
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    (folder / path.stem).write_text("\n".join(edit(lines)) + "\n")
    return folder / path.stem


@pytest.fixture
def run_prepare():
    return _prepare


@pytest.fixture
def change_geo():
    return _change_geo


@pytest.fixture
def edit_text():
    return _edit_text
