"""The GEUVADIS table in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.rpkm import read_rpkm, write_rpkm

TABLE = (
    "TargetID\tGene_Symbol\tChr\tCoord\tNA18486\tHG1\n"
    "ENSG1.2\tNAN\tX\t0012\t-0.5\t7\n"
    "ENSG2.1\tnull\tNA\t5\t1e-3\tNA\n"
)


def test_the_table_is_read_with_its_annotation_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(TABLE)
    found = read_rpkm(path)
    assert found.profiles == ("NA18486", "HG1")
    assert found.genes == ("ENSG1.2", "ENSG2.1")
    np.testing.assert_array_equal(found.values, [[-0.5, 1e-3], [7, np.nan]])
    assert found.gene_metadata.to_dict("list") == {
        "Gene_Symbol": ["NAN", "null"],
        "Chr": ["X", "NA"],
        "Coord": ["0012", "5"],
    }
    chosen = read_rpkm(path, genes=["ENSG2.1"])
    assert chosen.genes == ("ENSG2.1",)
    np.testing.assert_array_equal(chosen.values, [[1e-3], [np.nan]])


@pytest.mark.parametrize("name", ["b.txt", "b.txt.gz"])
def test_it_comes_back_and_pandas_reads_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text(TABLE)
    first = read_rpkm(tmp_path / "a.txt")
    write_rpkm(tmp_path / name, first)
    found = read_rpkm(tmp_path / name)
    np.testing.assert_array_equal(found.values, first.values)
    pd.testing.assert_frame_equal(found.gene_metadata, first.gene_metadata)
    frame = pd.read_csv(tmp_path / name, sep="\t", index_col=0)
    assert frame.columns.tolist() == ["Gene_Symbol", "Chr", "Coord", *first.profiles]
    np.testing.assert_array_equal(frame.iloc[:, 3:].to_numpy().T, first.values)


def test_missing_annotation_is_written_as_na(tmp_path: Path) -> None:
    write_rpkm(tmp_path / "a", Expression(Path("x"), np.ones((1, 1)), ("s",), ("g",)))
    assert (tmp_path / "a").read_text().splitlines()[1] == "g\tNA\tNA\tNA\t1.0"


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("TargetID", "Target", "is not a GEUVADIS table: its header begins with 'Target Gene"),
        ("\tHG1", "\tNA18486", "duplicate profile id 'NA18486'"),
        ("\tNA18486\tHG1", "", "has no profiles"),
        ("ENSG2.1", "ENSG1.2", r"duplicate gene id 'ENSG1.2' \(lines 2 and 3\)"),
        ("\t7\n", "\n", "line 2, row 'ENSG1.2': 5 columns, but the header has 6"),
        ("\t7\n", "\tseven\n", "row 'ENSG1.2', column 'HG1': 'seven' is not a number"),
    ],
)
def test_faults_are_named(tmp_path: Path, old: str, new: str, match: str) -> None:
    assert old in TABLE
    path = tmp_path / "a.txt"
    path.write_text(TABLE.replace(old, new, 1))
    with pytest.raises(FormatError, match=match) as caught:
        read_rpkm(path)
    assert str(caught.value).startswith(str(path))


def test_a_header_alone_has_no_genes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(TABLE.splitlines()[0])
    with pytest.raises(FormatError, match="has no genes"):
        read_rpkm(path)
