"""GCT and the GEUVADIS table in and out, against pandas and against files written by hand."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import Expression
from dgex_jax.io.gct import read_gct, read_rpkm
from dgex_jax.io.writers import write_gct, write_rpkm
from tests.io.refusing import refused

SMALL = (
    "#1.2\t\t\n2\t3\t\nName\tDescription\ta\tb\tc\ng1\tnull\t1.5\t-2\t1e-3\ng2\tNA\t0\tNA\t-666\n"
)
RICH = (
    "#1.3\n2\t2\t2\t3\nid\tcode\ttitle\ta\tb\n"
    "dose\tna\tna\t007\t10 µM\nday\tna\tna\t1\t\nnull\tna\tna\tNA\tnan\n"
    "g1\t0012\tx y\t1\t2\ng2\t-666\t\t\tNaN\n"
)
GEUVADIS = (
    "TargetID\tGene_Symbol\tChr\tCoord\tNA18486\tHG1\n"
    "ENSG1.2\tNAN\tX\t0012\t-0.5\t7\n"
    "ENSG2.1\tnull\tNA\t5\t1e-3\tNA\n"
)


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def made_up(seed: int, n_profiles: int, n_genes: int, dtype: Any = np.float64) -> Expression:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_profiles, n_genes)) * 10.0 ** rng.integers(-9, 9, n_genes)
    values[rng.random(values.shape) < 0.05] = np.nan
    profiles = tuple(f"s{i}" for i in range(n_profiles))
    genes = tuple(f"ENSG{i:011d}.{i % 9}" for i in range(n_genes))
    notes = pd.DataFrame({"Description": [f"NA {i}" for i in range(n_genes)]}, list(genes))
    return Expression(Path("x"), values.astype(dtype), profiles, genes, gene_metadata=notes)


def assert_same(found: Expression, wanted: Expression) -> None:
    np.testing.assert_array_equal(found.values, wanted.values)
    assert (found.profiles, found.genes) == (wanted.profiles, wanted.genes)
    pd.testing.assert_frame_equal(found.profile_metadata, wanted.profile_metadata)
    pd.testing.assert_frame_equal(found.gene_metadata, wanted.gene_metadata)


def test_version_1_2(tmp_path: Path) -> None:
    found = read_gct(put(tmp_path / "a.gct", SMALL))
    assert (found.profiles, found.genes) == (("a", "b", "c"), ("g1", "g2"))
    np.testing.assert_array_equal(found.values, [[1.5, 0], [-2, np.nan], [1e-3, np.nan]])
    assert found.values.flags.c_contiguous
    assert found.gene_metadata["Description"].tolist() == ["null", "NA"]
    assert found.profile_metadata.shape == (3, 0)


def test_version_1_3_keeps_annotation_as_text_and_comes_back(tmp_path: Path) -> None:
    found = read_gct(put(tmp_path / "a.gct", RICH))
    assert found.profiles == ("a", "b")
    np.testing.assert_array_equal(found.values, [[1, np.nan], [2, np.nan]])
    wanted = {"dose": ["007", "10 µM"], "day": ["1", ""], "null": ["NA", "nan"]}
    assert found.profile_metadata.to_dict("list") == wanted
    assert found.gene_metadata.to_dict("list") == {"code": ["0012", "-666"], "title": ["x y", ""]}
    assert found.profile_metadata.index.tolist() == ["a", "b"]
    assert found.gene_metadata.index.tolist() == ["g1", "g2"]
    write_gct(tmp_path / "b.gct.gz", found, version="1.3")
    assert_same(read_gct(tmp_path / "b.gct.gz"), found)


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
    (tmp_path / "b.txt").write_bytes(change(RICH.encode()))
    assert_same(read_gct(tmp_path / "b.txt"), read_gct(put(tmp_path / "a.gct", RICH)))


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (700, 3), (60, 900)])
@pytest.mark.parametrize("parse_bytes", [1, 1 << 17])
def test_values_are_exact_whatever_the_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], parse_bytes: int
) -> None:
    monkeypatch.setattr("dgex_jax.io.table.PARSE_BYTES", parse_bytes)
    made = made_up(0, *shape)
    write_gct(tmp_path / "a.gct", made)
    np.testing.assert_array_equal(read_gct(tmp_path / "a.gct").values, made.values)
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
    chosen = read_rpkm(put(tmp_path / "b.txt", GEUVADIS), genes=["ENSG2.1"])
    assert chosen.genes == ("ENSG2.1",)
    np.testing.assert_array_equal(chosen.values, [[1e-3], [np.nan]])


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
    write_gct(tmp_path / f"b.gct{suffix}", made)
    assert (tmp_path / f"b.gct{suffix}").read_bytes() == path.read_bytes()


def test_digits(tmp_path: Path) -> None:
    path = tmp_path / "a.gct"
    narrow = made_up(4, 5, 300, np.float32)
    write_gct(path, narrow)
    np.testing.assert_array_equal(read_gct(path).values.astype(np.float32), narrow.values)


@pytest.mark.parametrize("name", ["b.txt", "b.txt.gz"])
def test_geuvadis(tmp_path: Path, name: str) -> None:
    first = read_rpkm(put(tmp_path / "a.txt", GEUVADIS))
    assert (first.profiles, first.genes) == (("NA18486", "HG1"), ("ENSG1.2", "ENSG2.1"))
    np.testing.assert_array_equal(first.values, [[-0.5, 1e-3], [7, np.nan]])
    wanted = {"Gene_Symbol": ["NAN", "null"], "Chr": ["X", "NA"], "Coord": ["0012", "5"]}
    assert first.gene_metadata.to_dict("list") == wanted
    write_rpkm(tmp_path / name, first)
    assert_same(read_rpkm(tmp_path / name), first)
    frame = pd.read_csv(tmp_path / name, sep="\t", index_col=0)
    assert frame.columns.tolist() == ["Gene_Symbol", "Chr", "Coord", *first.profiles]
    np.testing.assert_array_equal(frame.iloc[:, 3:].to_numpy().T, first.values)
    write_rpkm(tmp_path / "c", Expression(Path("x"), np.ones((1, 1)), ("s",), ("g",)))
    assert (tmp_path / "c").read_text().splitlines()[1] == "g\tNA\tNA\tNA\t1.0"


def below(text: str, n: int) -> str:
    return "".join(text.splitlines(keepends=True)[n:])


FAULTS = [
    (SMALL, "#1.2", "#1.1", r"is not GCT 1.2 or 1.3: its first line is b'#1.1'"),
    (SMALL, "2\t3\t\n", "2\t3\t1\t1\n", "line 2 is not 2 numbers"),
    (SMALL, "2\t3\t\n", "two\t3\n", "line 2 is not 2 numbers"),
    (SMALL, "2\t3\t\n", "-2\t3\n", "line 2 is not 2 numbers"),
    (SMALL, "2\t3\t\n", "9" * 5000 + "\t1\n", "line 2 is not 2 numbers"),
    (SMALL, "g1\tnull\t1.5", "g1\tnull", "line 4, row 'g1': 4 columns, but the header has 5"),
    (SMALL, "\t1e-3", "\t1e-3\t4", "line 4, row 'g1': 6 columns, but the header has 5"),
    (SMALL, "-2", "two", "line 4, row 'g1', column 'b': 'two' is not a number"),
    (SMALL, "\t-666", "\t1,5", "line 5, row 'g2', column 'c': '1,5' is not a number"),
    (SMALL, "\tc\n", "\ta\n", "duplicate profile id 'a'"),
    (SMALL, "\tc\n", "\t\n", "the id of profile 3 is empty"),
    (SMALL, "\tc\n", "\tc\0d\n", "line 3: has a zero byte"),
    (SMALL, "g2", "g1", r"duplicate gene id 'g1' \(lines 4 and 5\)"),
    (SMALL, "g2", "", "line 5: the gene id is empty"),
    (SMALL, SMALL, "", "is empty"),
    (SMALL, below(SMALL, 1), "", "ends before its dimension line"),
    (SMALL, below(SMALL, 2), "", "ends before its header"),
    (SMALL, below(SMALL, 3), "", "has no genes"),
    (RICH, "2\t2\t2\t3", "2\t2", "line 2 is not 4 numbers"),
    (RICH, "\t10 µM", "", "line 4, row 'dose': 4 columns, but the header has 5"),
    (RICH, "day", "dose", "the profile field 'dose' comes twice"),
    (RICH, "title", "code", "the gene field 'code' comes twice"),
    (RICH, "2\t2\t2\t3", "2\t2\t2\t9", "ends before its profile annotation"),
    (GEUVADIS, "TargetID", "Target", "is not a GEUVADIS table: its header begins with 'Target G"),
    (GEUVADIS, "\tHG1", "\tNA18486", "duplicate profile id 'NA18486'"),
    (GEUVADIS, "\tNA18486\tHG1", "", "has no profiles"),
    (GEUVADIS, "ENSG2.1", "ENSG1.2", r"duplicate gene id 'ENSG1.2' \(lines 2 and 3\)"),
    (GEUVADIS, "\t7\n", "\n", "line 2, row 'ENSG1.2': 5 columns, but the header has 6"),
    (GEUVADIS, "\t7\n", "\tseven\n", "row 'ENSG1.2', column 'HG1': 'seven' is not a number"),
    (GEUVADIS, below(GEUVADIS, 1), "", "has no genes"),
]


@pytest.mark.parametrize(("whole", "old", "new", "match"), FAULTS)
def test_faults_are_named(tmp_path: Path, whole: str, old: str, new: str, match: str) -> None:
    assert old in whole
    read = read_rpkm if whole is GEUVADIS else read_gct
    refused(read, put(tmp_path / "a", whole.replace(old, new, 1)), match)


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
    refused(read_gct, path, match)
    assert read_gct(path, accept_wrong_dimensions=True).values.shape == (3, 2)
    put(path, SMALL.removesuffix(below(SMALL, 3)))
    refused(read_gct, path, "has no genes", accept_wrong_dimensions=True)


def test_as_many_fields_as_a_line_holds(tmp_path: Path) -> None:
    """Looking for names that come twice took time by their square: minutes here."""
    n = 30_000
    names, cells = "\t".join(f"f{k}" for k in range(n)), "\t".join(["x"] * n)
    path = tmp_path / "a.gct"
    put(path, f"#1.3\n1\t1\t{n}\t0\nid\t{names}\tp\ng\t{cells}\t1\n")
    assert read_gct(path).gene_metadata.shape == (1, n)
    put(path, path.read_text().replace("f7\t", "f9\t"))
    refused(read_gct, path, "the gene field 'f9' comes twice")


def test_damaged_gzip_files(tmp_path: Path) -> None:
    path = tmp_path / "a.gct.gz"
    write_gct(path, made_up(7, 20, 50))
    packed = path.read_bytes()
    for share in (5, 50, 95):
        path.write_bytes(packed[: len(packed) * share // 100])
        refused(read_gct, path, "truncated gzip file")
    path.write_bytes(packed[:-8] + bytes(4) + packed[-4:])
    refused(read_gct, path, "damaged gzip file")
    path.write_bytes(packed[:200] + bytes(50) + packed[250:])
    refused(read_gct, path, "damaged gzip file|is not a number|columns|CRC")
    refused(read_gct, tmp_path / "missing.gct", "no such file")
    refused(read_gct, tmp_path, "is a folder")


NOTES = pd.DataFrame({"Description": ["a", "b\tc"]}, index=["g", "h"])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"values": np.array([[0, -666.0]])}, "profile 'a', gene 'h': -666"),
        ({"profiles": ("a\tb",)}, "can't hold"),
        ({"genes": ("g\n", "h")}, "can't hold"),
        ({"genes": ("g", "g")}, "duplicate gene id"),
        ({"gene_metadata": NOTES}, "field 'Description' 'b.tc'"),
        ({"gene_metadata": NOTES.iloc[::-1]}, "index of the metadata"),
    ],
)
def test_what_would_not_come_back_is_not_written(tmp_path: Path, changes: Any, match: str) -> None:
    made = {"values": np.zeros((1, 2)), "profiles": ("a",), "genes": ("g", "h")} | changes
    for version in ("1.2", "1.3"):
        with pytest.raises(FormatError, match=match):
            write_gct(tmp_path / "a.gct", Expression(Path("x"), **made), version=version)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"1\.4"):
        write_gct(tmp_path / "a", made_up(0, 1, 1), version="1.4")  # type: ignore[arg-type]
