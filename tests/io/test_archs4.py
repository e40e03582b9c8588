"""ARCHS4 in: both layouts, any part of the values, and files that are wrong or damaged."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from dgex_jax.io.archs4 import Archs4
from dgex_jax.io.expression import AnnotatedSource, View, blocks, notes_of
from dgex_jax.io.open import open_input
from tests.io.archs4_file import encoded, write_archs4
from tests.io.refusing import refused

if TYPE_CHECKING:
    from pathlib import Path

N, G = 23, 31
COUNTS = np.random.default_rng(1).negative_binomial(1, 0.01, (N, G)).astype(np.uint32)
COUNTS[3, 5], COUNTS[4, 5] = 2**24 + 1, 2**32 - 1
GSM = [f"GSM{1000 + k}" for k in range(N)]
SYMBOLS = [f"S{k}" for k in range(G)]
ENSEMBL = [f"ENSG{k:011d}" for k in range(G)]
SAMPLES = {
    "geo_accession": GSM,
    "series_id": [f"GSE{k // 4},GSE{k // 4 + 90}" for k in range(N)],
    "singlecellprobability": np.linspace(0, 1, N),
    "title": [f"patient {k}, µ" for k in range(N)],
    "data_processing": ["long text"] * N,
}
GENES = {2: {"symbol": SYMBOLS, "ensembl_gene": ENSEMBL}, 1: {"genes": SYMBOLS}}


def write(path: Path, version: int = 2, **changes: Any) -> Path:
    given = {"values": COUNTS, "samples": SAMPLES, "genes": GENES[version], **changes}
    return write_archs4(path, version=version, **given)


@pytest.mark.parametrize("limit", [1, 600, 1 << 25])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("genes_first", [False, True])
@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"chunks": (7, 1), "compression": "gzip"},
        {"chunks": (5, 4), "compression": "gzip", "shuffle": True},
        {"chunks": (G, N)[:1] * 2, "maxshape": (None, None)},
    ],
)
def test_any_part_is_that_of_the_matrix(
    tmp_path: Path, monkeypatch, limit, version, genes_first, storage
) -> None:
    """Blocks of any size, orders of any kind, through a view or not; counts are exact."""
    monkeypatch.setattr("dgex_jax.io.hdf5.READ_BYTES", limit)
    path = write(tmp_path / "a.h5", version, genes_first=genes_first, **storage)
    wanted = COUNTS.astype(np.float64)
    some = np.array([20, 3, 3, -1, 4, 0])
    with Archs4(path) as file:
        source: AnnotatedSource = file
        assert source.profiles == tuple(GSM)
        np.testing.assert_array_equal(source.read(), wanted, strict=True)
        assert source.read().flags.c_contiguous
        for size in (1, 4, 5, 22, N):
            parts = [source.read(rows) for rows in blocks(N, size)]
            np.testing.assert_array_equal(np.concatenate(parts), wanted)
        for genes in (None, some, slice(3, 30, 4), np.array([], int)):
            columns = slice(None) if genes is None else genes
            np.testing.assert_array_equal(source.read(some, genes), wanted[some][:, columns])
            np.testing.assert_array_equal(source.read(slice(5, 9), genes), wanted[5:9, columns])
        places = np.flatnonzero(np.random.default_rng(2).random(N) < 0.4)
        view = View(source, profile_places=places)
        parts = [view.read(rows, some) for rows in blocks(len(places), 4)]
        np.testing.assert_array_equal(np.concatenate(parts), wanted[places][:, some])
        with pytest.raises(IndexError):
            source.read(np.array([N]))
    with pytest.raises(ValueError, match="is closed"):
        file.read()


@pytest.mark.parametrize(
    ("genes", "ids", "fields", "notes"),
    [
        ({"symbol": SYMBOLS, "ensembl_gene": ENSEMBL}, ENSEMBL, {"symbol": SYMBOLS}, ""),
        ({"gene_symbol": SYMBOLS}, SYMBOLS, {}, ""),
        (
            {"gene_symbol": ["S1", *SYMBOLS[1:]], "ensembl_gene_id": ENSEMBL},
            ENSEMBL,
            {"gene_symbol": ["S1", *SYMBOLS[1:]]},
            "",
        ),
        (
            {"symbol": SYMBOLS, "ensembl_gene": ["", *ENSEMBL[1:]]},
            SYMBOLS,
            {"ensembl_gene": ["", *ENSEMBL[1:]]},
            "",
        ),
        (
            {"symbol": ["S1", "S1", "", *SYMBOLS[3:]], "entrez": np.arange(G)},
            ["S1", "S1", "", *SYMBOLS[3:]],
            {"entrez": list(range(G))},
            "1 ids of genes come more than once: 'S1'; 1 genes have no id",
        ),
    ],
)
def test_genes_are_named_by_what_is_theirs_alone(tmp_path, genes, ids, fields, notes) -> None:
    with Archs4(write(tmp_path / "a.h5", genes=genes)) as source:
        assert source.genes == tuple(ids)
        assert {k: v.tolist() for k, v in source.gene_metadata.items()} == fields
        assert source.gene_metadata.index.tolist() == ids
        assert "; ".join(notes_of(source)) == notes


@pytest.mark.parametrize("version", [1, 2])
def test_metadata_is_read_only_when_asked_for(tmp_path: Path, version: int) -> None:
    path = write(tmp_path / "a.h5", version)
    with Archs4(path) as source:
        frame = source.profile_metadata
        assert source.profile_field("unknown") is None
    assert frame.index.tolist() == GSM
    assert list(frame) == ["series_id", "singlecellprobability", "title"]
    for name in frame:
        assert frame[name].tolist() == list(SAMPLES[name])
    with h5py.File(path, "a") as file:
        name = "meta/samples/title" if version == 2 else "meta/Sample_title"
        del file[name]
        file[name] = encoded(["a", "b"])
    with Archs4(path) as source:
        np.testing.assert_array_equal(source.read(), COUNTS)
        assert source.profile_field("series_id") == SAMPLES["series_id"]
        refused(lambda _: source.profile_metadata, path, f"{name} has 2 values for {N} ids")


def test_it_is_known_by_what_it_holds(tmp_path: Path) -> None:
    for version in (1, 2):
        path = write(tmp_path / f"{version}.txt", version)
        with ExitStack() as files:
            source = open_input(path, files)
            assert isinstance(source, Archs4)
            np.testing.assert_array_equal(source.read(), COUNTS)
        with pytest.raises(ValueError, match="is closed"):
            source.read()


@pytest.mark.parametrize("dtype", ["u2", "i8", ">u4", "f4", "f8"])
def test_other_numbers(tmp_path: Path, dtype: str) -> None:
    values = (COUNTS % 1000 / (3 if dtype[0] == "f" else 1)).astype(dtype)
    with Archs4(write(tmp_path / "a.h5", values=values)) as source:
        given = np.dtype("f4" if dtype == "f4" else "f8")
        np.testing.assert_array_equal(source.read(), values.astype(given), strict=True)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"values": COUNTS[:-1]}, rf"is {G} x {N - 1}, which does not fit {G} genes and {N} samp"),
        ({"values": COUNTS.astype("S9")}, "holds .S9, not numbers"),
        ({"values": COUNTS.ravel()}, f"is {N * G}, which does not fit"),
        ({"samples": {"title": GSM}}, "has no GSM ids"),
        ({"samples": {"geo_accession": [*GSM[1:], GSM[1]]}}, "duplicate profile id 'GSM1001'"),
        ({"samples": {"geo_accession": ["", *GSM[1:]]}}, "id of profile 1 is empty"),
        ({"genes": {"biotype": SYMBOLS}}, "has no gene symbols"),
        ({"genes": {"symbol": SYMBOLS[1:], "ensembl_gene": ENSEMBL}}, "31 ensembl_gene and 30 sym"),
        ({"genes": {"symbol": np.linspace(0, 1, G)}}, "neither text nor whole numbers"),
        (
            {"genes": {"symbol": SYMBOLS[:N]}, "values": COUNTS[:, :N]},
            f"has {N} genes and {N} samples: on which axis .* can't be told",
        ),
    ],
)
def test_parts_must_fit(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    refused(Archs4, write(tmp_path / "a.h5", **changes), match)


def test_wrong_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_text("GSM1")
    refused(Archs4, path, "is not ARCHS4: it does not begin as an HDF5 file")
    for gone, match in (("meta", "no group /meta"), ("data", "no dataset /data/expression")):
        with h5py.File(write(path), "a") as file:
            del file[gone]
        refused(Archs4, path, match)
    with h5py.File(write(path), "a") as file:
        file.move("meta/genes", "meta/transcripts")
    refused(Archs4, path, "file of transcripts; take the one of genes")
    write(tmp_path / "other.h5")
    for name in ("data/expression", "meta/genes", "meta/genes/symbol", "meta/samples"):
        with h5py.File(write(path), "a") as file:
            del file[name]
            file[name] = h5py.ExternalLink("other.h5", name)
        refused(Archs4, path, "lies in another file")
    valid = write(path, chunks=(7, 1), compression="gzip").read_bytes()
    for share in range(1, 20):
        path.write_bytes(valid[: len(valid) * share // 20])
        refused(Archs4, path, "damaged or truncated HDF5 file")
    path.write_bytes(valid)
    with Archs4(path) as source:
        with path.open("ab") as file:
            file.write(b"more")
        refused(lambda _: source.read(), path, "was changed before all of it was read")
