"""The cut of a store: chunks that tile shards, shards that tile parts, parts that tile all."""

from __future__ import annotations

import itertools

import pytest

from dgex_jax.formats.zarr_layout import Layout, default_profiles_per_shard


@pytest.mark.parametrize("n_genes", [1, 978, 4096, 4097, 10463, 12000, 60000, 20_000_000])
def test_shards_are_whole_chunks_of_about_64_mib(n_genes) -> None:
    per_shard = default_profiles_per_shard(n_genes)
    layout = Layout(10**9, n_genes, per_shard)
    (rows, columns), (shard_rows, shard_columns) = layout.chunks, layout.shards
    assert rows == 256
    assert columns <= 4096
    assert shard_rows % rows == 0
    assert shard_columns % columns == 0
    # Padding is less than one gene a chunk.
    assert n_genes <= shard_columns < n_genes + shard_columns // columns
    size = 4 * per_shard * n_genes
    assert 0.75 < size / 2**26 < 1.5 or per_shard == 256


@pytest.mark.parametrize("n_profiles", [1, 256, 257, 2560, 2561])
@pytest.mark.parametrize("n_parts", [1, 2, 3, 7, 40])
def test_parts_are_even_and_every_profile_is_in_one(n_profiles, n_parts) -> None:
    layout = Layout(n_profiles, 3, 256)
    parts = [layout.part(i, n_parts) for i in range(1, n_parts + 1)]
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    rows = [range(n_profiles)[run] for part in parts for run in layout.runs(part)]
    assert list(itertools.chain.from_iterable(rows)) == list(range(n_profiles))


def test_runs_join_neighbours() -> None:
    layout = Layout(2000, 3, 256)
    assert layout.runs([0, 1, 3, 6, 7]) == (slice(0, 512), slice(768, 1024), slice(1536, 2000))
    assert layout.runs([]) == ()
