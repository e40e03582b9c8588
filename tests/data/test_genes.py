from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dgex_jax.data.genemap import GeneMap
from dgex_jax.data.genes import DroppedGene, PartialGene, select_genes
from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.formats.expression import Expression

A, B, C, D = (f"ENSG0000000000{i}" for i in range(1, 5))
Y_COPY = "ENSGR0000000003"


def _map(name: str, *genes: tuple[str, str, str]) -> GeneMap:
    symbols, ensembl, probes = zip(*genes, strict=True)
    return GeneMap(Path(name), symbols, ensembl, tuple(tuple(p.split(",")) for p in probes))


def _source(name: str, *genes: str) -> Expression:
    return Expression(Path(name), np.zeros((1, len(genes))), ("p",), genes)


LANDMARKS = _map("lm.txt", ("LA", A, "p1"), ("LB", B, "p2"))
TARGETS = _map("tg.txt", ("TA", A, "p3,p4"), ("TC", C, "p5"), ("TY", Y_COPY, "p6,p5"))
GEO = _source("geo", "p6", "p5", "p4", "p3", "p2", "p1")
RNA = {
    "GTEx": _source("gtex", f"{C}.2", f"{B}.1", "ENSG00000000003.1_PAR_Y", f"{A}.9"),
    "1000G": _source("1000g", A, Y_COPY, C, B, D),
}


def test_a_study_that_lacks_nothing() -> None:
    genes = select_genes(LANDMARKS, TARGETS, GEO, RNA)
    assert genes.dropped == ()
    assert genes.partial == ()
    assert genes.landmarks.ids == (A, B)
    assert genes.targets.symbols == ("TA", "TC", "TY")
    assert genes.targets.probes == ((3, 2), (1,), (0, 1))
    both = genes.all_genes
    assert both.ids == (A, B, A, C, Y_COPY)
    np.testing.assert_array_equal(both.columns["GTEx"], [3, 1, 3, 0, 2])
    np.testing.assert_array_equal(both.columns["1000G"], [0, 3, 0, 2, 1])
    np.testing.assert_array_equal(genes.copy_of_landmark, [True, False, False])


def test_dropped_genes_have_every_cause_and_no_longer_make_copies() -> None:
    geo = _source("geo", "p2", "p4", "p6")
    rna = {"GTEx": _source("gtex", A, B, Y_COPY), "1000G": _source("1000g", A, B, C, Y_COPY)}
    genes = select_genes(LANDMARKS, TARGETS, geo, rna)
    assert genes.dropped == (
        DroppedGene("landmark", "LA", A, "missing on the array", ("p1",)),
        DroppedGene("target", "TC", C, "missing on the array; missing in GTEx", ("p5",)),
    )
    assert genes.partial == (
        PartialGene("target", "TA", A, ("p3",)),
        PartialGene("target", "TY", Y_COPY, ("p5",)),
    )
    assert genes.targets.ids == (A, Y_COPY)
    assert genes.targets.probes == ((1,), (2,))
    assert not genes.copy_of_landmark.any()


def test_missing_in_1000g() -> None:
    rna = RNA | {"1000G": _source("1000g", A, B, Y_COPY)}
    genes = select_genes(LANDMARKS, TARGETS, GEO, rna)
    assert [gene.cause for gene in genes.dropped] == ["missing in 1000G"]


def test_shuffling_moves_everything_together() -> None:
    genes = select_genes(LANDMARKS, TARGETS, GEO, RNA)
    moved = genes.shuffled(np.array([1, 0]), np.array([2, 0, 1]))
    assert moved.targets.ids == (Y_COPY, A, C)
    assert moved.targets.symbols == ("TY", "TA", "TC")
    assert moved.targets.probes == ((0, 1), (3, 2), (1,))
    np.testing.assert_array_equal(moved.copy_of_landmark, [False, True, False])
    np.testing.assert_array_equal(moved.all_genes.columns["GTEx"], [1, 3, 2, 3, 0])


@pytest.mark.parametrize(("platform", "role"), [("geo", "landmark"), ("1000G", "target")])
def test_no_gene_in_common(platform: str, role: str) -> None:
    nothing = _source("other", B if role == "target" else "x", D)
    geo = nothing if platform == "geo" else GEO
    rna = RNA if platform == "geo" else RNA | {platform: nothing}
    path = {"landmark": "lm.txt", "target": "tg.txt"}[role]
    with pytest.raises(PreparationError, match=rf"{path}: none of its \d {role} genes .*other"):
        select_genes(LANDMARKS, TARGETS, geo, rna)


def test_two_rows_of_one_gene_name_the_file() -> None:
    rna = RNA | {"GTEx": _source("gtex.gct", f"{A}.1", f"{A}.2", B, C)}
    with pytest.raises(FormatError, match=rf"gtex.gct: .*{A}\.1.*{A}\.2"):
        select_genes(LANDMARKS, TARGETS, GEO, rna)
    twice = _map("map.txt", ("Y", Y_COPY, "p1"), ("Y", "ENSG00000000003_PAR_Y", "p2"))
    with pytest.raises(FormatError, match=r"map.txt: .*same gene"):
        select_genes(LANDMARKS, twice, GEO, RNA)
