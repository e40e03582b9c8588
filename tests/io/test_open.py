"""What a file is, is decided by what it holds; and genuine files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from dgex_jax.io.expression import Expression
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.open import open_expression
from dgex_jax.io.writers import write_gct, write_gctx, write_rpkm
from tests.fuzz.readers import verdict
from tests.io.refusing import refused

MADE = Expression(Path("x"), np.array([[1.0, 2], [3, 4], [5, 6]]), ("a", "b", "c"), ("g", "h"))


def test_every_format_under_a_misleading_name(tmp_path: Path) -> None:
    write_gctx(tmp_path / "a.txt", MADE)
    write_gct(tmp_path / "b.gctx", MADE)
    write_gct(tmp_path / "c.gct.gz", MADE, version="1.3")
    (tmp_path / "c.gct.gz").rename(tmp_path / "c.gctx")
    write_rpkm(tmp_path / "d.gct", MADE)
    for name in ("a.txt", "b.gctx", "c.gctx", "d.gct"):
        source = open_expression(tmp_path / name, genes=["h"])
        lazy = isinstance(source, Gctx)
        assert source.path == tmp_path / name
        assert (source.profiles, source.genes) == (MADE.profiles, ("g", "h") if lazy else ("h",))
        np.testing.assert_array_equal(source.read()[:, -1], [2, 4, 6])
        np.testing.assert_array_equal(source.read(np.array([2, 0]), slice(-1, None)), [[6], [2]])
        if lazy:
            source.close()


def test_what_is_none_of_them_is_refused(tmp_path: Path) -> None:
    write_gctx(tmp_path / "a.gctx", MADE)
    write_gct(tmp_path / "b.gct", MADE)
    wrong = (tmp_path / "b.gct").read_bytes().replace(b"2\t3\n", b"9\t3\n", 1)
    path = tmp_path / "other"
    for content, match in (
        (gzip.compress((tmp_path / "a.gctx").read_bytes()), "gzip-compressed HDF5 file; unpack it"),
        (b"gene a b\n", "is no table of tab- or comma-separated cells: it begins with b'gene a"),
        (gzip.compress(b"#1.2\n")[:12], "truncated gzip file"),
        (b"#1.0\n", "is not GCT 1.2 or 1.3"),
        (wrong, "says 9 rows, the file has 2"),
    ):
        path.write_bytes(content)
        refused(open_expression, path, match)
    assert open_expression(path, genes=["h"], accept_wrong_dimensions=True).genes == ("h",)
    refused(open_expression, tmp_path / "missing", "no such file")
    refused(open_expression, tmp_path, "is a folder")


@pytest.mark.parametrize(
    ("kind", "name", "shape", "n_fields"),
    [
        ("gctx", "formats/modzs_n272x978.gctx", (272, 978), (15, 5)),
        ("gctx", "formats/mini_gctx_with_metadata_n2x3.gctx", (2, 3), (2, 4)),
        ("gctx", "human_mini/geo_u133a_n529x22215.gctx", (529, 22215), (1, 0)),
        ("gct", "formats/test_v1point2_n5x10.gct", (5, 10), (0, 1)),
        ("gct", "formats/test_p100.gct", (96, 96), (19, 11)),
        ("gct", "l1000/LJP009_QNORM_n371x978.gct", (371, 978), (34, 8)),
        ("gct", "human_mini/tcga_rnaseq_n148x9419.gct.gz", (148, 9419), (0, 1)),
        ("rpkm", "human_mini/lcl_rnaseq_n69x17310.txt.gz", (69, 17310), (0, 3)),
    ],
)
def test_real_files(shared: Path, kind: str, name: str, shape, n_fields) -> None:
    """Ids, values and annotation are those that pandas (text) or h5py alone reads."""
    path = shared / "data" / name
    assert verdict(kind, path) == ("read", "")
    source = open_expression(path)
    assert (len(source.profiles), len(source.genes)) == shape
    metadata = source.profile_metadata, source.gene_metadata
    assert tuple(len(frame.columns) for frame in metadata) == n_fields
    if isinstance(source, Gctx):
        source.close()


def test_dimensions_of_an_excerpt(shared: Path) -> None:
    path = shared / "data/formats/gtex_v8_gene_reads.acmg_59.gct.gz"
    refused(open_expression, path, "says 56200 rows, the file has 59")
    found = open_expression(path, accept_wrong_dimensions=True).read()
    assert (found.shape, found.dtype) == ((17382, 59), np.float64)
    with gzip.open(path, "rt") as file:
        cells = file.readlines()[13].split("\t")[2:]
    np.testing.assert_array_equal(found[:, 10], [float(cell) for cell in cells])


def test_metadata_of_real_gctx_files(shared: Path) -> None:
    with Gctx(shared / "data/formats/modzs_n272x978.gctx") as source:
        profiles, genes = source.profile_metadata, source.gene_metadata
    assert profiles["pert_idose"].iloc[0] == "10 µM"
    assert profiles["distil_ss"].dtype == np.float32
    assert genes["pr_gene_id"].iloc[0] == "5720"
    assert genes["pr_gene_symbol"].iloc[0] == "PSME1"
    with Gctx(shared / "data/formats/mini_gctx_with_metadata_n2x3.gctx") as source:
        assert source.profiles[0] == "LJP005_A375_24H:DMSO:-666"
        assert source.gene_metadata["pr_gene_id"].iloc[0] == 5720
        assert np.isnan(source.gene_metadata["pr_model_id"].iloc[0])
        assert source.profile_metadata["bead_batch"].iloc[0] == "b19"


def test_the_recorded_study_is_read(golden: Path) -> None:
    """The raw files behind the recorded preprocessing, whose ids are recorded too."""
    recorded = np.load(golden / "preprocess" / "expected.npz")
    with Gctx(golden / "preprocess" / "geo.gctx") as geo:
        assert (len(geo.profiles), len(geo.genes)) == (300, 133)
        assert set(recorded["profiles"].astype(str).tolist()) <= set(geo.profiles)
        assert np.isfinite(geo.read()).all()
    for name, samples in (("gtex.gct.gz", "gtex_samples"), ("1000g.txt.gz", "kg_samples")):
        found = open_expression(golden / "preprocess" / name)
        assert list(found.profiles) == recorded[samples].astype(str).tolist()
        assert np.isfinite(found.read()).all()
        assert name == "1000g.txt.gz" or found.read().shape == (60, 84)
