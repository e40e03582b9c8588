"""Gene maps, and which row of an RNA-seq file is which gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dgex_jax.data.genemap import match_ensembl, read_gene_map, strip_version
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.opening import open_expression

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "UBE2C\tENSG01\t1_at\nIL9R\tENSG02\t2_at,3_at\nIL9R\tENSGR2\t2_at\n"


def put(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_map_is_read_in_order(tmp_path: Path, end: str) -> None:
    found = read_gene_map(put(tmp_path / "map.txt", SMALL.replace("\n", end)))
    assert found.path == tmp_path / "map.txt"
    assert found.symbols == ("UBE2C", "IL9R", "IL9R")
    assert found.ensembl == ("ENSG01", "ENSG02", "ENSGR2")
    assert found.probes == (("1_at",), ("2_at", "3_at"), ("2_at",))
    assert len(found) == 3


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("A\tENSG9", "line 4: 2 tab-separated columns, not 3"),
        ("A\tENSG9\t1\t2", "line 4: 4 tab-separated columns"),
        ("A ENSG9 1", "line 4: 1 tab-separated columns"),
        ("\tENSG9\t1", "line 4: an empty field"),
        ("A\t \t1", "line 4: an empty field"),
        ("A\tENSG9\t", "line 4: an empty field"),
        ("A\tENSG9\t1,,2", "line 4: an empty field"),
        ("A\tENSG9\t1,2,1", "line 4: gene 'ENSG9' has probe '1' twice"),
        ("A\tENSG02\t1", "line 4: Ensembl id 'ENSG02' is already in line 2"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, line: str, match: str) -> None:
    path = put(tmp_path / "map.txt", SMALL + line + "\n")
    with pytest.raises(FormatError, match=match) as caught:
        read_gene_map(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_unusable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_gene_map(tmp_path / "missing")
    with pytest.raises(FormatError, match="is empty"):
        read_gene_map(put(tmp_path / "map.txt", ""))
    with pytest.raises(FormatError, match="has no genes"):
        read_gene_map(put(tmp_path / "map.txt", "\n\n"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\t1\t2\n")
    with pytest.raises(FormatError, match="line 1: is not UTF-8"):
        read_gene_map(tmp_path / "binary")


def test_symbols(tmp_path: Path) -> None:
    found = read_gene_map(put(tmp_path / "map.txt", SMALL))
    assert found.find_symbol("UBE2C") == 0
    with pytest.raises(DgexError, match="'IL9R' is ambiguous: ENSG02 and ENSGR2"):
        found.find_symbol("IL9R")
    with pytest.raises(DgexError, match="no gene has the symbol 'ube2c'; the nearest is 'UBE2C'"):
        found.find_symbol("ube2c")


def test_the_real_maps(shared: Path) -> None:
    genes = shared / "genes"
    landmarks, targets = read_gene_map(genes / "map_lm.txt"), read_gene_map(genes / "map_tg.txt")
    assert (len(landmarks), len(targets)) == (943, 9520)
    assert all(len(probes) == 1 for probes in landmarks.probes)
    assert sum(map(len, targets.probes)) == 15744
    assert {len(probes) for probes in targets.probes} <= set(range(1, 14))
    assert len(set(landmarks.ensembl) & set(targets.ensembl)) == 445
    assert landmarks.symbols[0] == "UBE2C"
    assert targets.ensembl[targets.find_symbol("CRLF2")] == "ENSGR0000205755"
    with pytest.raises(DgexError, match="ENSG00000124334 and ENSGR0000124334"):
        targets.find_symbol("IL9R")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("ENSG00000182378.7", "ENSG00000182378"),
        ("ENSG00000182378.15_PAR_Y", "ENSG00000182378_PAR_Y"),
        ("ENSGR0000124334.2", "ENSGR0000124334"),
        ("ENSMUSG00000000001.4", "ENSMUSG00000000001"),
        ("ENSG00000182378", "ENSG00000182378"),
        ("AC068137.5", "AC068137.5"),
        ("200814_at", "200814_at"),
        ("ENSG00000182378.7.1", "ENSG00000182378.7.1"),
    ],
)
def test_versions_are_stripped_from_ensembl_ids_alone(given: str, wanted: str) -> None:
    assert strip_version(given) == wanted


X_COPY, Y_COPY = "ENSG00000124334", "ENSGR0000124334"


@pytest.mark.parametrize(
    ("available", "rows"),
    [
        ([X_COPY], [0, -1]),
        ([X_COPY + ".3", Y_COPY + ".1"], [0, 1]),
        ([Y_COPY], [-1, 0]),
        ([X_COPY + "_PAR_Y"], [-1, 0]),
        ([X_COPY + ".17_PAR_Y", X_COPY + ".17"], [1, 0]),
        (["ENSG00000000003.1"], [-1, -1]),
        ([], [-1, -1]),
    ],
)
def test_the_y_copy_is_a_gene_of_its_own(available: list[str], rows: list[int]) -> None:
    assert match_ensembl([X_COPY, Y_COPY], available).tolist() == rows
    assert match_ensembl([Y_COPY, X_COPY, Y_COPY], available).tolist() == [*rows[::-1], rows[1]]


def test_two_rows_for_one_wanted_gene_are_refused() -> None:
    for twin in (Y_COPY + ".2", X_COPY + ".9_PAR_Y"):
        with pytest.raises(FormatError, match=f"'{Y_COPY}.1' and '{twin}' are the same gene"):
            match_ensembl([Y_COPY], [Y_COPY + ".1", "other", twin])
    twins = ["ENSG00000000003.1", "ENSG00000000003.2"]
    with pytest.raises(FormatError, match=r"0003\.1' and 'ENSG00000000003\.2'"):
        match_ensembl(["ENSG00000000003"], twins)
    assert match_ensembl([X_COPY], twins).tolist() == [-1]


def test_matches_in_the_real_files(shared: Path) -> None:
    """918 landmarks and 8,936 targets are in the TCGA file, 878 and 7,785 in the LCL file."""
    for name, counts in (
        ("tcga_rnaseq_n148x9419.gct.gz", (918, 8936)),
        ("lcl_rnaseq_n69x17310.txt.gz", (878, 7785)),
    ):
        source = open_expression(shared / "data" / "human_mini" / name, genes=[])
        assert source.genes == ()
        every = open_expression(shared / "data" / "human_mini" / name).genes
        for map_name, count in zip(("map_lm.txt", "map_tg.txt"), counts, strict=True):
            wanted = read_gene_map(shared / "genes" / map_name).ensembl
            rows = match_ensembl(wanted, every)
            assert (rows >= 0).sum() == count
            for gene, row in zip(wanted, rows, strict=True):
                assert row < 0 or every[row].partition(".")[0] == gene
    assert np.issubdtype(rows.dtype, np.intp)
