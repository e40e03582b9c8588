"""Gene maps, annotation of probes, which row is which gene, and which genes a study keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.io.expression import Expression
from dgex_jax.io.open import open_expression
from dgex_jax.prepare.genes import (
    Annotation,
    GeneMap,
    LostGene,
    annotation_of,
    entrez_text,
    match_ensembl,
    read_gene_map,
    select_genes,
    strip_version,
    symbol_text,
)
from tests.prepare.checks import refused


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((value, "780") for value in ("780", "780.0", "780.", " 780 ", 780, np.float32(780))),
        (np.int64(100616237), "100616237"),
        *((value, "") for value in ("780 /// 100616237", "-666", -666.0, np.nan, pd.NA)),
        *((value, "") for value in ("780.5", "0", "DDR1", "ENSG00000204580")),
    ],
)
def test_entrez_ids_are_whole_numbers(value, text) -> None:
    assert entrez_text(value) == text


def test_symbols_stay_as_they_are_but_for_the_ways_to_say_nothing() -> None:
    texts = [symbol_text(value) for value in ("DDR1 ", "1-Mar", "-666", "NA", "---", np.nan, "")]
    assert texts == ["DDR1", "1-Mar", "", "", "", "", ""]


def test_fields_are_found_by_name_whatever_their_case() -> None:
    table = pd.DataFrame(
        {
            "title": ["a", "b", "c"],
            "PR_GENE_SYMBOL": ["DDR1", "-666", "HSPA6"],
            "entrez": ["1", "2", "3"],
            "pr_gene_id": pd.array([780, None, 3310], dtype="Int64"),
        },
        index=pd.Index(["1007_s_at", "1053_at", "117_at"], dtype=object),
    )
    found = annotation_of(table)
    assert found.symbols == {"1007_s_at": "DDR1", "117_at": "HSPA6"}
    assert found.entrez == {"1007_s_at": "780", "117_at": "3310"}
    assert annotation_of(table[["title"]]) == annotation_of(pd.DataFrame()) == Annotation()
    both = Annotation({"a": "A", "b": "B"}, {"a": "1"}) | Annotation({"b": "BB"}, {"c": "3"})
    assert both == Annotation({"a": "A", "b": "BB"}, {"a": "1", "c": "3"})


SMALL = "UBE2C\tENSG01\t1_at\nIL9R\tENSG02\t2_at,3_at\nIL9R\tENSGR2\t2_at\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_map_is_read_in_order(tmp_path, end: str) -> None:
    path = tmp_path / "map.txt"
    path.write_text(SMALL.replace("\n", end))
    found = read_gene_map(path)
    probes = (("1_at",), ("2_at", "3_at"), ("2_at",))
    assert found == GeneMap(path, ("UBE2C", "IL9R", "IL9R"), ("ENSG01", "ENSG02", "ENSGR2"), probes)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (f"{SMALL}A\tENSG9\n", "line 4: 2 tab-separated columns, not 3"),
        (f"{SMALL}A\tENSG9\t1\t2\n", "line 4: 4 tab-separated columns"),
        (f"{SMALL}A ENSG9 1\n", "line 4: 1 tab-separated columns"),
        (f"{SMALL}\tENSG9\t1\n", "line 4: an empty field"),
        (f"{SMALL}A\t \t1\n", "line 4: an empty field"),
        (f"{SMALL}A\tENSG9\t\n", "line 4: an empty field"),
        (f"{SMALL}A\tENSG9\t1,,2\n", "line 4: an empty field"),
        (f"{SMALL}A\tENSG9\t1,2,1\n", "line 4: gene 'ENSG9' has probe '1' twice"),
        (f"{SMALL}A\tENSG02\t1\n", "line 4: Ensembl id 'ENSG02' is already in line 2"),
        (None, "no such file"),
        ("", "is empty"),
        ("\n\n", "has no genes"),
        (b"\xff\xfe\t1\t2\n", "line 1: is not UTF-8"),
    ],
)
def test_faults_of_a_map_are_named_with_their_line(tmp_path, content, match: str) -> None:
    path = tmp_path / "map.txt"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(lambda: read_gene_map(path), match, path=path)


def test_the_real_maps(shared: Path) -> None:
    genes = shared / "genes"
    landmarks, targets = read_gene_map(genes / "map_lm.txt"), read_gene_map(genes / "map_tg.txt")
    assert (len(landmarks), len(targets)) == (943, 9520)
    assert all(len(probes) == 1 for probes in landmarks.probes)
    assert sum(map(len, targets.probes)) == 15744
    assert {len(probes) for probes in targets.probes} <= set(range(1, 14))
    assert len(set(landmarks.ensembl) & set(targets.ensembl)) == 445
    assert landmarks.symbols[0] == "UBE2C"
    assert targets.ensembl[targets.symbols.index("CRLF2")] == "ENSGR0000205755"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("ENSG00000182378.7", "ENSG00000182378"),
        ("ENSG00000182378.15_PAR_Y", "ENSG00000182378_PAR_Y"),
        ("ENSGR0000124334.2", "ENSGR0000124334"),
        ("ENSMUSG00000000001.4", "ENSMUSG00000000001"),
        *((one, one) for one in ("ENSG00000182378", "AC068137.5", "200814_at")),
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
        every = open_expression(shared / "data" / "human_mini" / name).genes
        for map_name, count in zip(("map_lm.txt", "map_tg.txt"), counts, strict=True):
            wanted = read_gene_map(shared / "genes" / map_name).ensembl
            rows = match_ensembl(wanted, every)
            assert (rows >= 0).sum() == count
            for gene, row in zip(wanted, rows, strict=True):
                assert row < 0 or every[row].partition(".")[0] == gene


A, B, C, D = (f"ENSG0000000000{i}" for i in range(1, 5))
Y = "ENSGR0000000003"


def _map(name: str, *genes: tuple[str, str, str]) -> GeneMap:
    symbols, ensembl, probes = zip(*genes, strict=True)
    return GeneMap(Path(name), symbols, ensembl, tuple(tuple(p.split(",")) for p in probes))


def _source(name: str, *genes: str) -> Expression:
    return Expression(Path(name), np.zeros((1, len(genes))), ("p",), genes)


def _both(name: str, *genes: str) -> tuple[Expression, Expression]:
    """Landmarks and targets of one file."""
    source = _source(name, *genes)
    return source, source


LANDMARKS = _map("lm.txt", ("LA", A, "p1"), ("LB", B, "p2"))
TARGETS = _map("tg.txt", ("TA", A, "p3,p4"), ("TC", C, "p5"), ("TY", Y, "p6,p5"))
GEO = _source("geo", "p6", "p5", "p4", "p3", "p2", "p1")
RNA = {
    "GTEx": _both("gtex", f"{C}.2", f"{B}.1", "ENSG00000000003.1_PAR_Y", f"{A}.9"),
    "1000G": _both("1000g", A, Y, C, B, D),
}


def test_a_study_that_lacks_nothing_and_its_genes_in_another_order() -> None:
    genes = select_genes(LANDMARKS, TARGETS, GEO, RNA)
    assert genes.dropped == genes.partial == ()
    assert genes.landmarks.ids == (A, B)
    assert genes.targets.symbols == ("TA", "TC", "TY")
    assert genes.targets.probes == ((3, 2), (1,), (0, 1))
    both = genes.all_genes
    assert both.ids == (A, B, A, C, Y)
    np.testing.assert_array_equal(both.columns["GTEx"], [3, 1, 3, 0, 2])
    np.testing.assert_array_equal(both.columns["1000G"], [0, 3, 0, 2, 1])
    np.testing.assert_array_equal(genes.copy_of_landmark, [True, False, False])
    moved = genes.taken(np.array([2, 0, 1]), np.array([1, 0]))
    assert moved.targets.ids == (Y, A, C)
    assert moved.targets.symbols == ("TY", "TA", "TC")
    assert moved.targets.probes == ((0, 1), (3, 2), (1,))
    np.testing.assert_array_equal(moved.copy_of_landmark, [False, True, False])
    np.testing.assert_array_equal(moved.all_genes.columns["GTEx"], [1, 3, 2, 3, 0])


def test_dropped_genes_have_every_cause_and_no_longer_make_copies() -> None:
    geo = _source("geo", "p2", "p4", "p6")
    rna = {"GTEx": _both("gtex", A, B, Y), "1000G": _both("1000g", A, B, C, Y)}
    genes = select_genes(LANDMARKS, TARGETS, geo, rna)
    assert genes.dropped == (
        LostGene("landmark", "LA", A, "missing on the array", ("p1",)),
        LostGene("target", "TC", C, "missing on the array; missing in GTEx", ("p5",)),
    )
    assert genes.partial == (
        LostGene("target", "TA", A, "", ("p3",)),
        LostGene("target", "TY", Y, "", ("p5",)),
    )
    assert genes.targets.ids == (A, Y)
    assert genes.targets.probes == ((1,), (2,))
    assert not genes.copy_of_landmark.any()
    rna = RNA | {"1000G": _both("1000g", A, B, Y)}
    genes = select_genes(LANDMARKS, TARGETS, GEO, rna)
    assert [gene.cause for gene in genes.dropped] == ["missing in 1000G"]


@pytest.mark.parametrize(
    ("geo", "rna", "targets", "kind", "match"),
    [
        ("x", {}, TARGETS, PreparationError, r"lm.txt: none of its 2 landmark genes .*other"),
        (None, {"1000G": _both("other", B, D)}, TARGETS, PreparationError, "tg.txt: none of"),
        (
            None,
            {"GTEx": _both("gtex.gct", f"{A}.1", f"{A}.2", B, C)},
            TARGETS,
            FormatError,
            rf"gtex.gct: .*{A}\.1.*{A}\.2",
        ),
        (
            None,
            {},
            _map("map.txt", ("Y", Y, "p1"), ("Y", "ENSG00000000003_PAR_Y", "p2")),
            FormatError,
            r"map.txt: .*same gene",
        ),
    ],
)
def test_no_gene_in_common_or_one_twice(geo, rna, targets, kind, match) -> None:
    array = _source("other", geo, D) if geo else GEO
    refused(lambda: select_genes(LANDMARKS, targets, array, RNA | rna), match, kind)
