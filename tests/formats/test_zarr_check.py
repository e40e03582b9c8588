"""Damage: whatever happens to a store's files, it is found and named."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import zarr

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.zarr_check import check_zarr
from dgex_jax.formats.zarr_write import ZarrWriter

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (600, 30)


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("intact") / "out.zarr"
    X = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    profiles, genes = [f"p{i}" for i in range(SHAPE[0])], [f"g{i}" for i in range(SHAPE[1])]
    obs = pd.DataFrame({"dose": np.arange(SHAPE[0]) / 7, "zero": 0}, index=profiles)
    var = pd.DataFrame({"source": ["measured"] * SHAPE[1]}, index=genes)
    with ZarrWriter(path, profiles, genes, obs, var, {"a": 1}, job={}, profiles_per_shard=512) as z:
        for start in range(0, SHAPE[0], 256):
            z.append(X[start : start + 256])
    return path


@pytest.fixture
def store(intact, tmp_path) -> Path:
    return shutil.copytree(intact, tmp_path / "out.zarr")


def files_of(store: Path) -> list[Path]:
    return sorted(file for file in store.rglob("*") if file.is_file())


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def test_an_intact_store(intact) -> None:
    assert check_zarr(intact) == 2


@pytest.mark.parametrize("name", ["c.0.0", "c.1.0"])
def test_a_flipped_bit_of_a_shard_is_found(intact, store, name) -> None:
    file, good = store / "X" / name, intact / "X" / name
    size = good.stat().st_size
    random = np.random.default_rng(1)
    # Anywhere, and in the index at the end, which holds two chunks and a checksum.
    places = [*random.integers(8 * size, size=40), *random.integers(8 * (size - 36), 8 * size, 10)]
    for bit in places:
        flip(file, int(bit))
        with pytest.raises(FormatError, match=rf"X/{name}: damaged") as error:
            check_zarr(store)
        assert "\n" not in str(error.value)
        shutil.copy(good, file)
    assert check_zarr(store) == 2


def test_a_flipped_bit_of_any_other_file_is_found(intact, store) -> None:
    random = np.random.default_rng(2)
    others = [file for file in files_of(store) if not file.name.startswith("c.")]
    assert len(others) > 15
    for file in others:
        flip(file, int(random.integers(8 * file.stat().st_size)))
        named = rf"{file}: damaged|out.zarr: no zarr store written by dgex"
        # A bit of the root's text that stands for nothing changes nothing.
        root = file == store / "zarr.json"
        before = json.loads((intact / "zarr.json").read_bytes())
        if not (root and _same_json(file, before)):
            with pytest.raises(FormatError, match=named):
                check_zarr(store)
        shutil.copy(intact / file.relative_to(store), file)


def _same_json(file: Path, value: object) -> bool:
    try:
        return bool(json.loads(file.read_bytes()) == value)
    except ValueError:
        return False


def test_every_number_of_the_root_is_checked(store) -> None:
    root = store / "zarr.json"
    text = root.read_text()
    places = [place for place, character in enumerate(text) if character.isdigit()]
    for place in np.random.default_rng(3).choice(places, 30, replace=False):
        other = "7" if text[place] != "7" else "4"
        root.write_text(text[:place] + other + text[place + 1 :])
        with pytest.raises(FormatError, match=r"zarr\.json: damaged, or changed"):
            check_zarr(store)


def test_each_missing_file_is_named(intact, store) -> None:
    for file in files_of(store):
        file.unlink()
        missing = rf"{file}: can't be read: No such file"
        if file == store / "zarr.json":
            missing = "out.zarr: no zarr store written by dgex"
        with pytest.raises(FormatError, match=missing):
            check_zarr(store)
        shutil.copy(intact / file.relative_to(store), file)


@pytest.mark.parametrize("left", [0, 1, 4, 36, 37, 1000, -1])
def test_a_shard_that_ends_early_is_found(store, left) -> None:
    file = store / "X" / "c.1.0"
    data = file.read_bytes()
    file.write_bytes(data[:left])
    with pytest.raises(FormatError, match=r"X/c\.1\.0: damaged"):
        check_zarr(store)


def test_a_chunk_that_was_never_written_is_found(store) -> None:
    """A shard that another writer left half empty: all its checksums are right."""
    X = zarr.open_array(store, path="X", mode="r+", zarr_format=3)
    (store / "X" / "c.0.0").unlink()
    X[:256] = 1
    # For zarr the rest is merely missing: it gives the fill value, which is no number here.
    assert np.isnan(X[256:512]).all()
    with pytest.raises(FormatError, match=r"X/c\.0\.0: damaged: chunks are missing"):
        check_zarr(store)


def test_what_is_no_store_of_ours(tmp_path, intact) -> None:
    zarr.create_array(tmp_path / "other.zarr", shape=(3,), dtype="float32", zarr_format=3)
    (tmp_path / "list.zarr").mkdir()
    (tmp_path / "list.zarr" / "zarr.json").write_text("[1]")
    for path in (tmp_path / "other.zarr", tmp_path / "list.zarr", tmp_path / "no", intact / "X"):
        with pytest.raises(DgexError, match="no zarr store written by dgex"):
            check_zarr(path)
