"""Genuine files: dimensions, and cells looked up by other means (raw h5py, split lines)."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gct import read_gct
from dgex_jax.formats.gctx import Gctx
from dgex_jax.formats.opening import open_expression

DATA = Path("data")


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "n_fields"),
    [
        ("formats/modzs_n272x978.gctx", (272, 978), "f4", (15, 5)),
        ("formats/mini_gctx_with_metadata_n2x3.gctx", (2, 3), "f8", (2, 4)),
        ("human_mini/geo_u133a_n529x22215.gctx", (529, 22215), "f4", (1, 0)),
    ],
)
def test_gctx_files_equal_raw_h5py(
    shared: Path,
    name: str,
    shape: tuple[int, int],
    dtype: str,
    n_fields: tuple[int, int],
) -> None:
    path = shared / DATA / name
    rng = np.random.default_rng(0)
    rows = rng.permutation(shape[0])[:40]
    columns = rng.integers(0, shape[1], 50)
    with h5py.File(path) as file:
        raw = np.stack([file["0/DATA/0/matrix"][row] for row in rows])[:, columns]
        ids = [text.decode().strip() for text in file["0/META/ROW/id"][...]]
        profile_ids = [text.decode().strip() for text in file["0/META/COL/id"][...]]
    with open_expression(path) as source:  # type: ignore[union-attr]
        assert isinstance(source, Gctx)
        assert source.shape == shape
        assert source.dtype == dtype
        assert list(source.genes) == ids
        assert list(source.profiles) == profile_ids
        np.testing.assert_array_equal(source.read(rows, columns), raw)
        assert source.profile_metadata.shape == (shape[0], n_fields[0])
        assert source.gene_metadata.shape == (shape[1], n_fields[1])


def test_latin_1_text_and_numbers_of_the_l1000_signatures(shared: Path) -> None:
    with Gctx(shared / DATA / "formats/modzs_n272x978.gctx") as source:
        profiles, genes = source.profile_metadata, source.gene_metadata
    assert profiles["pert_idose"].iloc[0] == "10 µM"
    assert profiles["distil_ss"].dtype == np.float32
    assert genes["pr_gene_id"].iloc[0] == "5720"
    assert genes["pr_gene_symbol"].iloc[0] == "PSME1"


def test_missing_numbers_of_the_small_gctx(shared: Path) -> None:
    with Gctx(shared / DATA / "formats/mini_gctx_with_metadata_n2x3.gctx") as source:
        assert source.profiles[0] == "LJP005_A375_24H:DMSO:-666"
        assert source.gene_metadata["pr_gene_id"].iloc[0] == 5720
        assert np.isnan(source.gene_metadata["pr_model_id"].iloc[0])
        assert source.profile_metadata["bead_batch"].iloc[0] == "b19"


def raw_lines(path: Path) -> list[list[str]]:
    raw = path.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    return [line.split("\t") for line in text.decode("latin-1").splitlines()]


@pytest.mark.parametrize(
    ("name", "shape", "first_row", "first_column"),
    [
        ("formats/test_v1point2_n5x10.gct", (5, 10), 3, 2),
        ("formats/test_p100.gct", (96, 96), 3 + 19, 1 + 11),
        ("l1000/LJP009_QNORM_n371x978.gct", (371, 978), 3 + 34, 1 + 8),
        ("formats/gtex_v8_gene_reads.acmg_59.gct.gz", (17382, 59), 3, 2),
        ("human_mini/tcga_rnaseq_n148x9419.gct.gz", (148, 9419), 3, 2),
        ("human_mini/lcl_rnaseq_n69x17310.txt.gz", (69, 17310), 1, 4),
    ],
)
def test_text_files_equal_their_split_lines(
    shared: Path, name: str, shape: tuple[int, int], first_row: int, first_column: int
) -> None:
    path = shared / DATA / name
    found = open_expression(path, accept_wrong_dimensions="gtex_v8" in name)
    assert isinstance(found, Expression)
    assert found.values.shape == shape
    assert found.values.dtype == np.float64
    lines = raw_lines(path)
    header = lines[0 if first_column == 4 else 2]
    assert list(found.profiles) == header[first_column : first_column + shape[0]]
    assert list(found.genes) == [line[0] for line in lines[first_row:]]
    rng = np.random.default_rng(1)
    for gene in rng.integers(0, shape[1], 30).tolist():
        cells = lines[first_row + gene][first_column:]
        for profile in rng.integers(0, shape[0], 20).tolist():
            value = found.values[profile, gene]
            if cells[profile] in {"", "NA", "NaN", "nan"}:
                assert np.isnan(value)
            else:
                assert value == float(cells[profile])


def test_annotation_of_the_real_gct_files(shared: Path) -> None:
    plate = read_gct(shared / DATA / "l1000/LJP009_QNORM_n371x978.gct", genes=["200814_at"])
    lines = raw_lines(plate.path)
    assert plate.profile_metadata.columns.tolist() == [line[0] for line in lines[3:37]]
    for line in lines[3:37]:
        assert plate.profile_metadata[line[0]].tolist() == line[9:]
    assert plate.gene_metadata.to_numpy().tolist() == [lines[37][1:9]]


def test_the_gtex_excerpt_says_56200_rows(shared: Path) -> None:
    path = shared / DATA / "formats/gtex_v8_gene_reads.acmg_59.gct.gz"
    with pytest.raises(FormatError, match="says 56200 rows, the file has 59") as caught:
        open_expression(path)
    assert str(path) in str(caught.value)


def test_the_recorded_study_is_read(golden: Path) -> None:
    """The raw files behind the recorded preprocessing, whose ids are recorded too."""
    recorded = np.load(golden / "preprocess" / "expected.npz")
    with Gctx(golden / "preprocess" / "geo.gctx") as geo:
        assert geo.shape == (300, 133)
        assert set(recorded["profiles"].astype(str).tolist()) <= set(geo.profiles)
        assert np.isfinite(geo.read()).all()
    for name, samples, shape in (
        ("gtex.gct.gz", "gtex_samples", (60, 84)),
        ("1000g.txt.gz", "kg_samples", None),
    ):
        found = open_expression(golden / "preprocess" / name)
        assert isinstance(found, Expression)
        assert list(found.profiles) == recorded[samples].astype(str).tolist()
        assert shape is None or found.values.shape == shape
        assert found.n_missing == 0
