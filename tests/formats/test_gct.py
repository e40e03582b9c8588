"""GCT in and out, against pandas and against files written by hand."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gct import read_gct, write_gct

SMALL = (
    "#1.2\t\t\n2\t3\t\nName\tDescription\ta\tb\tc\ng1\tnull\t1.5\t-2\t1e-3\ng2\tNA\t0\tNA\t-666\n"
)
RICH = (
    "#1.3\n2\t2\t2\t3\nid\tcode\ttitle\ta\tb\n"
    "dose\tna\tna\t007\t10 µM\nday\tna\tna\t1\t\nnull\tna\tna\tNA\tnan\n"
    "g1\t0012\tx y\t1\t2\ng2\t-666\t\t\tNaN\n"
)


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def made_up(seed: int, n_profiles: int, n_genes: int, dtype: Any = np.float64) -> Expression:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_profiles, n_genes)) * 10.0 ** rng.integers(-9, 9, n_genes)
    values[rng.random(values.shape) < 0.05] = np.nan
    profiles = tuple(f"s{i}" for i in range(n_profiles))
    genes = tuple(f"ENSG{i:011d}.{i % 9}" for i in range(n_genes))
    notes = pd.DataFrame({"Description": [f"NA {i}" for i in range(n_genes)]}, list(genes))
    return Expression(Path("x"), values.astype(dtype), profiles, genes, gene_metadata=notes)


def test_version_1_2(tmp_path: Path) -> None:
    found = read_gct(put(tmp_path / "a.gct", SMALL))
    assert found.profiles == ("a", "b", "c")
    assert found.genes == ("g1", "g2")
    np.testing.assert_array_equal(found.values, [[1.5, 0], [-2, np.nan], [1e-3, np.nan]])
    assert found.values.flags.c_contiguous
    assert found.n_missing == 2
    assert found.gene_metadata["Description"].tolist() == ["null", "NA"]
    assert found.profile_metadata.shape == (3, 0)


def test_version_1_3_keeps_annotation_as_text(tmp_path: Path) -> None:
    found = read_gct(put(tmp_path / "a.gct", RICH))
    assert found.profiles == ("a", "b")
    np.testing.assert_array_equal(found.values, [[1, np.nan], [2, np.nan]])
    assert found.profile_metadata.to_dict("list") == {
        "dose": ["007", "10 µM"],
        "day": ["1", ""],
        "null": ["NA", "nan"],
    }
    assert found.gene_metadata.to_dict("list") == {"code": ["0012", "-666"], "title": ["x y", ""]}
    assert found.profile_metadata.index.tolist() == ["a", "b"]
    assert found.gene_metadata.index.tolist() == ["g1", "g2"]


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.rstrip(b"\n"),
        lambda raw: raw + b"\n\n",
        lambda raw: raw.decode().encode("latin-1"),
        gzip.compress,
        lambda raw: gzip.compress(raw[:50]) + gzip.compress(raw[50:]),
    ],
)
def test_the_same_table_in_other_clothes(tmp_path: Path, change: Any) -> None:
    plain = read_gct(put(tmp_path / "a.gct", RICH))
    (tmp_path / "b.txt").write_bytes(change(RICH.encode()))
    found = read_gct(tmp_path / "b.txt")
    np.testing.assert_array_equal(found.values, plain.values)
    assert (found.profiles, found.genes) == (plain.profiles, plain.genes)
    pd.testing.assert_frame_equal(found.profile_metadata, plain.profile_metadata)
    pd.testing.assert_frame_equal(found.gene_metadata, plain.gene_metadata)


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (700, 3), (60, 900)])
@pytest.mark.parametrize("parse_bytes", [1, 1 << 17])
def test_values_are_exact_whatever_the_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], parse_bytes: int
) -> None:
    monkeypatch.setattr("dgex_jax.formats.table.PARSE_BYTES", parse_bytes)
    made = made_up(0, *shape)
    write_gct(tmp_path / "a.gct", made)
    found = read_gct(tmp_path / "a.gct")
    np.testing.assert_array_equal(found.values, made.values)
    assert found.n_missing == np.isnan(made.values).sum()
    chosen = read_gct(tmp_path / "a.gct", genes=lambda gene: gene.endswith(".4"))
    places = [place for place, gene in enumerate(made.genes) if gene.endswith(".4")]
    np.testing.assert_array_equal(chosen.values, made.values[:, places])
    assert chosen.genes == tuple(made.genes[place] for place in places)


def test_a_choice_of_genes(tmp_path: Path) -> None:
    path = put(tmp_path / "a.gct", SMALL)
    for genes in (["g2", "other"], {"g2"}, lambda gene: gene == "g2"):
        found = read_gct(path, genes=genes)
        assert found.genes == ("g2",)
        assert found.gene_metadata["Description"].tolist() == ["NA"]
        np.testing.assert_array_equal(found.values, [[0], [np.nan], [np.nan]])
    none = read_gct(path, genes=[])
    assert none.values.shape == (3, 0)
    assert none.gene_metadata.shape == (0, 1)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_pandas_reads_what_is_written(tmp_path: Path, suffix: str) -> None:
    made = made_up(3, 7, 40)
    path = tmp_path / f"a.gct{suffix}"
    write_gct(path, made)
    frame = pd.read_csv(path, sep="\t", skiprows=2, index_col=0, dtype=str)
    assert frame.index.tolist() == list(made.genes)
    assert frame.pop("Description").tolist() == made.gene_metadata["Description"].tolist()
    assert frame.columns.tolist() == list(made.profiles)
    # As text: how exactly pandas reads floats, and by which option, depends on its version.
    np.testing.assert_array_equal(frame.to_numpy(np.float64).T, made.values)


def test_float32_comes_back_as_the_same_float32(tmp_path: Path) -> None:
    made = made_up(4, 5, 300, np.float32)
    write_gct(tmp_path / "a.gct", made)
    found = read_gct(tmp_path / "a.gct")
    np.testing.assert_array_equal(found.values.astype(np.float32), made.values)


def test_digits_round_the_values(tmp_path: Path) -> None:
    made = made_up(5, 5, 30)
    write_gct(tmp_path / "a.gct", made, digits=4)
    found = read_gct(tmp_path / "a.gct")
    np.testing.assert_allclose(found.values, made.values, rtol=5e-4)
    longest = max(map(len, (tmp_path / "a.gct").read_text().split("\n")[3].split("\t")[2:]))
    assert longest <= len("-1.234e-05")


def test_version_1_3_comes_back(tmp_path: Path) -> None:
    first = read_gct(put(tmp_path / "a.gct", RICH))
    write_gct(tmp_path / "b.gct.gz", first, version="1.3")
    found = read_gct(tmp_path / "b.gct.gz")
    np.testing.assert_array_equal(found.values, first.values)
    pd.testing.assert_frame_equal(found.profile_metadata, first.profile_metadata)
    pd.testing.assert_frame_equal(found.gene_metadata, first.gene_metadata)


def test_packed_files_are_deterministic(tmp_path: Path) -> None:
    for name in ("a.gct.gz", "b.gct.gz"):
        write_gct(tmp_path / name, made_up(6, 3, 5))
    assert (tmp_path / "a.gct.gz").read_bytes() == (tmp_path / "b.gct.gz").read_bytes()


def refused(path: Path, match: str, **options: Any) -> None:
    """Assert that reading fails with one line that names the file and the cause."""
    with pytest.raises(FormatError, match=match) as caught:
        read_gct(path, **options)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("#1.2", "#1.1", r"is not GCT 1.2 or 1.3: its first line is b'#1.1'"),
        ("2\t3\t\n", "2\t3\t1\t1\n", "line 2 is not 2 numbers"),
        ("2\t3\t\n", "two\t3\n", "line 2 is not 2 numbers"),
        ("2\t3\t\n", "-2\t3\n", "line 2 is not 2 numbers"),
        ("g1\tnull\t1.5", "g1\tnull", "line 4, row 'g1': 4 columns, but the header has 5"),
        ("\t1e-3", "\t1e-3\t4", "line 4, row 'g1': 6 columns, but the header has 5"),
        ("-2", "two", "line 4, row 'g1', column 'b': 'two' is not a number"),
        ("\t-666", "\t1,5", "line 5, row 'g2', column 'c': '1,5' is not a number"),
        ("\tc\n", "\ta\n", "duplicate profile id 'a'"),
        ("\tc\n", "\t\n", "the id of profile 3 is empty"),
        ("g2", "g1", r"duplicate gene id 'g1' \(lines 4 and 5\)"),
        ("g2", "", "line 5: the gene id is empty"),
    ],
)
def test_faults_are_named(tmp_path: Path, old: str, new: str, match: str) -> None:
    assert old in SMALL
    refused(put(tmp_path / "a.gct", SMALL.replace(old, new, 1)), match)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("2\t2\t2\t3", "2\t2", "line 2 is not 4 numbers"),
        ("\t10 µM", "", "line 4, row 'dose': 4 columns, but the header has 5"),
        ("day", "dose", "the profile field 'dose' comes twice"),
        ("title", "code", "the gene field 'code' comes twice"),
        ("2\t2\t2\t3", "2\t2\t2\t9", "ends before its profile annotation"),
    ],
)
def test_faults_of_version_1_3_are_named(tmp_path: Path, old: str, new: str, match: str) -> None:
    refused(put(tmp_path / "a.gct", RICH.replace(old, new, 1)), match)


@pytest.mark.parametrize(
    ("dimensions", "match"),
    [
        ("5\t3", "dimension line says 5 rows, the file has 2"),
        ("1\t3", "dimension line says 1 rows, the file has 2"),
        ("2\t4", r"dimension line says 4 profiles, the header \(line 3\) has 3"),
    ],
)
def test_wrong_dimensions(tmp_path: Path, dimensions: str, match: str) -> None:
    path = put(tmp_path / "a.gct", SMALL.replace("2\t3\t", dimensions, 1))
    refused(path, match)
    found = read_gct(path, accept_wrong_dimensions=True)
    assert found.values.shape == (3, 2)


def test_files_that_end_too_early(tmp_path: Path) -> None:
    lines = SMALL.splitlines(keepends=True)
    path = tmp_path / "a.gct"
    refused(put(path, ""), "is empty")
    refused(put(path, lines[0]), "ends before its dimension line")
    refused(put(path, "".join(lines[:2])), "ends before its header")
    refused(put(path, "".join(lines[:3])), "has no genes")
    refused(put(path, "".join(lines[:3])), "has no genes", accept_wrong_dimensions=True)
    refused(tmp_path / "missing.gct", "no such file")
    refused(tmp_path, "is a folder")


def test_damaged_gzip_files(tmp_path: Path) -> None:
    path = tmp_path / "a.gct.gz"
    write_gct(path, made_up(7, 20, 50))
    packed = path.read_bytes()
    for share in (5, 50, 95):
        path.write_bytes(packed[: len(packed) * share // 100])
        refused(path, "truncated gzip file")
    path.write_bytes(packed[:-8] + bytes(4) + packed[-4:])
    refused(path, "damaged gzip file")
    path.write_bytes(packed[:200] + bytes(50) + packed[250:])
    refused(path, "damaged gzip file|is not a number|columns|CRC")


def test_what_would_not_come_back_is_not_written(tmp_path: Path) -> None:
    def fails(match: str, **changes: Any) -> None:
        content: dict[str, Any] = {
            "path": Path("x"),
            "values": np.zeros((1, 2)),
            "profiles": ("a",),
            "genes": ("g", "h"),
        } | changes
        for version in ("1.2", "1.3"):
            with pytest.raises(FormatError, match=match):
                write_gct(tmp_path / "a.gct", Expression(**content), version=version)
        assert list(tmp_path.iterdir()) == []

    fails("profile 'a', gene 'h': -666", values=np.array([[0, -666.0]]))
    fails("can't hold", profiles=("a\tb",))
    fails("can't hold", genes=("g\n", "h"))
    fails("duplicate gene id", genes=("g", "g"))
    notes = pd.DataFrame({"Description": ["a", "b\tc"]}, index=["g", "h"])
    fails("field 'Description' 'b.tc'", gene_metadata=notes)
    fails("index of the metadata", gene_metadata=notes.iloc[::-1])
    with pytest.raises(ValueError, match=r"1\.4"):
        write_gct(tmp_path / "a", made_up(0, 1, 1), version="1.4")  # type: ignore[arg-type]
