"""Tables, a line a profile: the very floats come back through pandas and through our own reader."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.io import wide
from dgex_jax.io.open import open_expression
from dgex_jax.io.wide import ParquetWriter, TextTableWriter

N, N_GENES = 101, 37
PROFILES = ('a "quoted", id', "x;y", "comma, blank", "1e5", "né", *(f"s{n}" for n in range(N - 5)))
GENES = ("1_at,2_at", 'say "x"', "HLA-A", "780", *(f"g{n}" for n in range(N_GENES - 4)))
TEXTS = ("a.tsv", "a.tsv.gz", "a.csv", "a.csv.gz")


def values() -> np.ndarray:
    """Floats of every size, the smallest and largest among them, and a missing one."""
    rng = np.random.default_rng(8)
    X = rng.normal(size=(N, N_GENES)) * 10.0 ** rng.integers(-30, 30, (N, N_GENES))
    limits = np.finfo(np.float32)
    X[0, :7] = [0, -0.0, limits.max, limits.tiny, limits.smallest_subnormal, 1 / 3, np.nan]
    return X.astype(np.float32)


def writer_of(path, profiles=PROFILES, genes=GENES):
    if path.name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
        about = pd.DataFrame({"source": ["measured"] * len(genes)}, index=list(genes))
        return ParquetWriter(path, profiles, genes, about, {"made_by": "me"})
    return TextTableWriter(path, profiles, genes)


def write(path, X, step) -> bytes:
    with writer_of(path) as writer:
        for start in range(0, len(X), step):
            writer.append(X[start : start + step])
    return path.read_bytes()


@pytest.mark.parametrize("name", [*TEXTS, "a.parquet"])
def test_every_float_and_id_comes_back(name, tmp_path, monkeypatch) -> None:
    # Row groups end neither with a block nor with the profiles.
    monkeypatch.setattr(wide, "GROUP_BYTES", 4 * N_GENES * 30)
    monkeypatch.setattr(wide, "LISTED_BYTES", 0)
    X, path = values(), tmp_path / name
    content = write(path, X, 7)
    if name == "a.parquet":
        parquet = pytest.importorskip("pyarrow.parquet").ParquetFile(path)
        assert parquet.num_row_groups == 4
        assert json.loads(parquet.schema_arrow.metadata[b"dgex"]) == {"made_by": "me"}
        assert parquet.schema_arrow.field("HLA-A").metadata == {b"source": b"measured"}
        found = pd.read_parquet(path, engine="pyarrow").set_index("profile")
        assert set(map(str, found.dtypes)) == {"float32"}
    else:
        separator = "," if ".csv" in name else "\t"
        found = pd.read_csv(path, sep=separator, dtype=str).set_index("profile").astype(np.float32)
        own = open_expression(path)
        # Its rows are given as genes, whatever they are.
        assert (own.genes, own.profiles) == (PROFILES, GENES)
        assert own.values.T.astype(np.float32).tobytes() == X.tobytes()
        text = gzip.decompress(content) if name.endswith(".gz") else content
        assert text.count(b"\n") == N + 1
    assert tuple(found.index) == PROFILES
    assert tuple(found.columns) == GENES
    assert found.to_numpy(np.float32).tobytes() == X.tobytes()
    # By any block size the same bytes.
    assert write(path, X, 64) == content
    assert write(path, X, N) == content


@pytest.mark.parametrize("name", ["a.tsv", "a.parquet"])
def test_what_a_table_can_not_hold_is_refused(name, tmp_path) -> None:
    path, X = tmp_path / name, values()[:2]
    path.write_text("older")
    for profiles, genes, cause in (
        (("p", "a\tb"), ("g",), "profile id 'a\\tb': the format can't hold '\\t'"),
        (("p", "q"), ("profile",), "a gene is called 'profile', as the column of ids is"),
        (("p", "p"), ("g",), "duplicate profile id 'p'"),
    ):
        with pytest.raises(FormatError) as caught, writer_of(path, profiles, genes):
            pass
        assert str(caught.value).startswith(f"{path}: {cause}")
    with pytest.raises(FormatError, match="not written: 2 of 101 profiles"):
        write(path, X, 1)
    if name == "a.tsv":
        X[1, 2] = -666
        with pytest.raises(FormatError, match="profile 'x;y', gene 'HLA-A': -666 can't be stored"):
            write(path, X, 2)
    assert [child.name for child in tmp_path.iterdir()] == [name]
    assert path.read_text() == "older"


@pytest.mark.parametrize("name", ["a.tsv", "a.parquet"])
def test_memory_does_not_grow_with_the_profiles(name, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(wide, "GROUP_BYTES", 1 << 17)
    n, n_genes = 4_000, 300
    block = np.full((50, n_genes), 1 / 3, np.float32)
    profiles, genes = [f"p{k}" for k in range(n)], [f"g{k}" for k in range(n_genes)]
    tracemalloc.start()
    try:
        with writer_of(tmp_path / name, profiles, genes) as writer:
            for _ in range(0, n, len(block)):
                writer.append(block)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # All values are 4.8 MB.
    assert peak < 2.4e6
