"""The recorded study, its raw files changed, and what came of them."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from dgex_jax.config import PrepareConfig
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.writers import GctxWriter
from dgex_jax.prepare.normalize import RowStore
from dgex_jax.prepare.prepare import prepare
from dgex_jax.rawfiles import GeoOnlyFiles, RawFiles

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
    stores: list[RowStore] = []

    def store(values: NDArray[np.floating]) -> RowStore:
        rows = RowStore(tmp_path / f"rows{len(stores)}", values.shape[1], values.dtype)
        rows.append(np.asarray(values))
        stores.append(rows)
        return rows

    return store


@pytest.fixture
def golden_raw(golden: Path) -> RawFiles:
    """Raw files of the recorded study."""
    names = ("geo.gctx", "gtex.gct.gz", "1000g.txt.gz", "map_lm.txt", "map_tg.txt")
    return RawFiles(*(golden / "preprocess" / name for name in names))


@pytest.fixture
def landmarks(golden_raw) -> list[str]:
    """The probes of the recorded landmarks."""
    return [line.split("\t")[2] for line in golden_raw.landmarks.read_text().splitlines()]


@pytest.fixture
def alone(golden_raw, landmarks, tmp_path) -> GeoOnlyFiles:
    """The recorded GEO file with its landmark probes as a list."""
    path = tmp_path / "landmarks.txt"
    path.write_text("".join(f"{probe}\n" for probe in landmarks))
    return GeoOnlyFiles(golden_raw.geo, path)


@pytest.fixture
def expected(golden: Path) -> dict[str, np.ndarray]:
    """The original's output on the recorded study; ids as text without padding."""
    with np.load(golden / "preprocess" / "expected.npz") as arrays:
        return {
            name: np.char.strip(values.astype(str)) if values.dtype.kind in "SU" else values
            for name, values in arrays.items()
        }


@pytest.fixture
def run_prepare():
    """Prepare with names made up; pairs are compared exactly unless a config says otherwise."""

    def run(raw, output: Path, config: PrepareConfig | None = None, **options):
        names = {"name": "made", "title": "A made study", "simulated": True}
        config = config or PrepareConfig(duplicates="all-pairs")
        return prepare(raw, output, config, **(names | options))

    return run


@pytest.fixture
def change_geo(golden_raw, tmp_path):
    """Write the recorded GEO file anew with `change(values, profiles, genes)` applied."""

    def write(change=lambda values, *_: values, dtype=np.float32, **options) -> RawFiles:
        with Gctx(golden_raw.geo) as source:
            profiles, genes, values = source.profiles, source.genes, source.read().astype(dtype)
        values = change(values, profiles, genes)
        (tmp_path / "raw").mkdir(exist_ok=True)
        path = tmp_path / "raw" / "geo.gctx"
        with GctxWriter(path, profiles, genes, dtype=dtype, **options) as writer:
            writer.append(values)
        return replace(golden_raw, geo=path)

    return write


@pytest.fixture
def disturb(change_geo):
    """Write the recorded GEO file anew with other values of some profiles."""

    def write(others: set[str]) -> RawFiles:
        def change(values, profiles, _genes):
            rows = [one in others for one in profiles]
            values[rows] = np.exp(values[rows, ::-1] / 3.0)
            return values

        return change_geo(change)

    return write


@pytest.fixture
def edit_text(tmp_path):
    """Write a text file anew with `edit(lines)` applied."""

    def write(path: Path, edit) -> Path:
        (tmp_path / "raw").mkdir(exist_ok=True)
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        lines = edit(content.decode().splitlines())
        changed = tmp_path / "raw" / path.name.removesuffix(".gz")
        changed.write_text("\n".join(lines) + "\n")
        return changed

    return write
