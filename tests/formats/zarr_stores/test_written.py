"""Zarr stores: what is read back, and the same bytes however they were written."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pytest
import zarr

from dgex_jax.formats.zarr_check import check_zarr
from dgex_jax.formats.zarr_layout import Layout
from dgex_jax.formats.zarr_library import quiet
from tests.formats.zarr_stores.case import (
    N_GENES,
    N_PROFILES,
    PER_SHARD,
    PROVENANCE,
    hashes,
    names,
    values,
    write,
)


def test_anndata_reads_what_was_written(whole) -> None:
    with quiet():
        data = anndata.read_zarr(whole)
    np.testing.assert_array_equal(data.X, values())
    assert data.X.dtype == np.float32
    assert list(data.obs_names) == [f"p{i}" for i in range(N_PROFILES)]
    assert list(data.var_names) == [f"g{i}" for i in range(N_GENES)]
    assert list(data.obs["tissue"][:4]) == ["liver", "brain", "", "liver"]
    assert list(data.obs["note"]) == [f"né {i}" for i in range(N_PROFILES)]
    np.testing.assert_array_equal(data.obs["dose"], np.arange(N_PROFILES) / 3)
    np.testing.assert_array_equal(data.var["expected_error"], np.linspace(0, 1, N_GENES))
    assert json.loads(str(data.uns["dgex"])) == PROVENANCE


def test_zarr_reads_what_was_written(whole) -> None:
    X = zarr.open_group(whole, mode="r")["X"]
    assert X.attrs.asdict() == {"encoding-type": "array", "encoding-version": "0.2.0"}
    assert (X.metadata.zarr_format, X.dtype) == (3, np.float32)
    assert (X.chunks, X.shards) == ((256, N_GENES), (PER_SHARD, N_GENES))
    # To the bit: minus zero is one of them.
    assert X[:].tobytes() == values().tobytes()
    assert X[700:900, 2:5].tobytes() == values()[700:900, 2:5].tobytes()


def test_metadata_is_the_same_with_and_without_consolidation(whole) -> None:
    with quiet():
        alone = zarr.open_group(whole, mode="r", use_consolidated=False)
        together = zarr.open_group(whole, mode="r", use_consolidated=True)
        members = [
            sorted((name, node.metadata.to_dict()["attributes"]) for name, node in group.members(9))
            for group in (alone, together)
        ]
    assert members[0] == members[1]
    assert len(members[0]) > 10


def test_a_store_is_files_of_zarr_alone(whole) -> None:
    files = hashes(whole)
    shards = {name for name in files if name.startswith("X/c")}
    assert shards == {f"X/c.{shard}.0" for shard in range(6)}
    others = {name for name in files if name not in shards and not name.endswith("zarr.json")}
    assert {name.split("/")[0] for name in others} == {"obs", "var", "uns"}
    # The output's own lock stays, like those of all outputs.
    assert names(whole.parent) == {"out.zarr", ".out.zarr.partial.lock"}
    assert check_zarr(whole) == 6


@pytest.mark.parametrize(
    ("shape", "per_shard"),
    [((1, 1), 256), ((1, 5), None), ((255, 3), 256), ((257, 4), 512), ((300, 8200), 512)],
)
def test_any_size(tmp_path, shape, per_shard) -> None:
    X = values(*shape)
    out = write(tmp_path / "out.zarr", X, profiles_per_shard=per_shard)
    assert out.finished
    assert check_zarr(tmp_path / "out.zarr") == out.n_shards
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "out.zarr", path="X")[:], X)


@pytest.mark.parametrize(("n_parts", "seed"), [(2, 2), (3, 1), (9, 0)])
def test_parts_in_any_order_are_the_same_bytes(tmp_path, whole, n_parts, seed) -> None:
    path = tmp_path / "out.zarr"
    order = np.random.default_rng(seed).permutation(n_parts) + 1
    there = 0
    for i in order[:-1]:
        out = write(path, part=(int(i), n_parts))
        there += len(Layout(N_PROFILES, N_GENES, PER_SHARD).part(int(i), n_parts))
        if there < 6:
            assert not out.finished
            assert out.missing == 6 - there
            assert not path.exists()
            assert names(tmp_path) == {"out.zarr.partial", ".out.zarr.partial.lock"}
    lines: list[str] = []
    out = write(path, part=(int(order[-1]), n_parts), report=lines.append)
    assert out.finished
    assert out.missing == 0
    assert hashes(path) == hashes(whole)
    assert names(tmp_path) == {"out.zarr", ".out.zarr.partial.lock"}


def test_a_part_that_comes_after_the_end_has_nothing_to_do(tmp_path, whole) -> None:
    path, lines = tmp_path / "out.zarr", []
    empty = next(i for i in range(1, 8) if not Layout(N_PROFILES, N_GENES, PER_SHARD).part(i, 7))
    for i in set(range(1, 8)) - {empty}:
        out = write(path, part=(i, 7))
    assert out.finished
    late = write(path, part=(empty, 7), report=lines.append)
    assert late.finished
    assert lines == [f"{path}: is already complete"]
    assert hashes(path) == hashes(whole)
    assert names(tmp_path) == {"out.zarr", ".out.zarr.partial.lock"}
