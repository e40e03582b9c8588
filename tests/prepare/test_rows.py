"""Which genes the rows of a training file are, and which of them a study takes, by any id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import PreparationError
from dgex_jax.io.expression import Expression
from dgex_jax.io.writers import write_gct
from dgex_jax.prepare.genes import LostGene, is_gene_map
from dgex_jax.prepare.probelist import landmark_file
from dgex_jax.prepare.rows import SAME_AS_LANDMARK, GeneMeans, genes_of_rows, select
from tests.prepare.checks import refused

GENES = pd.DataFrame(
    [
        ("780", "DDR1", "ENSG00000204580"),
        ("5982", "RFC2", "ENSG00000049541"),
        ("3310", "HSPA6", "ENSG00000173110"),
        ("7849", "PAX8", "ENSG00000125618"),
        ("7318", "UBA7", "ENSG00000182179"),
        ("7067", "THRA", "ENSG00000126351"),
        ("16", "AARS1", "ENSG00000090861"),
    ],
    columns=["entrez", "symbol", "ensembl"],
)
KINDS = list(GENES.columns)


def source(ids, path: str = "training", **fields: list[str]) -> Expression:
    ids = tuple(ids)
    values = np.arange(3.0 * len(ids)).reshape(3, -1) ** 2
    index = pd.Index(ids, dtype=object)
    metadata = pd.DataFrame(fields, index=index, dtype=object)
    return Expression(Path(path), values, ("a", "b", "c"), ids, gene_metadata=metadata)


def of_sets(**files):
    """Sets of one file each, which has landmarks and targets."""
    return {name: (one, one) for name, one in files.items()}


def known(rows) -> pd.DataFrame:
    genes = rows.genes
    columns = {"entrez": genes.entrez, "symbol": genes.symbols, "ensembl": genes.ensembl}
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (GENES["entrez"], "entrez"),
        (GENES["entrez"] + ".0", "entrez"),
        (GENES["symbol"], "symbol"),
        (GENES["ensembl"], "ensembl"),
        (GENES["ensembl"] + ".7", "ensembl"),
        (GENES["symbol"] + " (" + GENES["entrez"] + ")", "entrez"),
        (GENES["ensembl"] + ".3|" + GENES["symbol"], "ensembl"),
    ],
)
def test_rows_that_are_genes_are_known_by_every_id(ids, kind) -> None:
    rows = genes_of_rows(source(ids), None)
    assert rows.id_kind == kind
    assert rows.ids == tuple(GENES[kind])
    assert rows.columns == tuple((n,) for n in range(len(GENES)))
    assert rows.genes.probes == tuple((one,) for one in ids)
    truth = GENES.copy()
    if not ids[0].startswith("ENSG"):
        truth.loc[0, "ensembl"] = ""  # one of several, of haplotypes
    pd.testing.assert_frame_equal(known(rows), truth)
    first = rows.genes.probes[0][0]
    assert (rows.annotation.entrez[first], rows.annotation.symbols[first]) == ("780", "DDR1")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_no_genes_among_genes_are_left_out(kind) -> None:
    rows = genes_of_rows(source([*GENES[kind], "__no_feature", "N_unmapped"]), None)
    assert rows.ids == tuple(GENES[kind])
    assert any("2 rows without such an id are left out: __no_feature" in x for x in rows.notes)


@pytest.mark.parametrize(
    ("ids", "match"),
    [
        ([*GENES["entrez"], "780.0"], "rows '780' and '780.0' are the same gene"),
        (
            ["ENSG00000204580.1", "ENSG00000204580.2"],
            r"0\.1' and 'ENSG00000204580\.2' are the same",
        ),
        (["DDR1", "RFC2", "DDR1"], "duplicate gene id 'DDR1'"),
    ],
)
def test_two_rows_of_one_gene_are_refused(ids, match) -> None:
    refused(lambda: genes_of_rows(source(ids), None), match, path=Path("training"))


def test_the_y_copy_and_a_previous_symbol_beside_the_present_one_stay_apart() -> None:
    twins = ("ENSG00000124334.1", "ENSG00000124334.1_PAR_Y")
    rows = genes_of_rows(source(twins, Description=["IL9R", "IL9R"]), None)
    assert rows.ids == ("ENSG00000124334", "ENSGR0000124334")
    assert rows.genes.entrez == ("3581", "")
    rows = genes_of_rows(source(["AARS", "AARS1", "DDR1"]), None)
    assert rows.genes.entrez == ("", "16", "780")


PROBES = ["1_at", "2_at", "3_at", "4_at", "5_at", "6_at", "7_at"]
SYMBOLS = ["DDR1", "RFC2 /// UBA7", "---", "AARS", "DDR1", "AARS1", "LOC9"]


@pytest.mark.parametrize(
    "fields",
    [
        {"Gene Symbol": SYMBOLS, "title": ["a gene"] * 7},
        {"ENTREZ_GENE_ID": ["780", "5982 /// 7318", "", "16", "780.0", "16", "99999999"]},
        {
            "ensembl": [
                *("ENSG00000204580|ENSG00000230456", "ENSG00000049541|ENSG00000182179", "-666"),
                *("ENSG00000090861", "ENSG00000204580.3", "ENSG00000090861", "ENSG00000999999"),
            ]
        },
        {"g": [*SYMBOLS[:6], "PAX8"], "hgnc_id": ["2730", "9970", "1", "2", "3", "20", "30000"]},
    ],
)
@pytest.mark.parametrize("in_table", [False, True])
def test_probes_are_averaged_by_gene(tmp_path, fields, in_table) -> None:
    """By every kind of annotation, in the file or in a table of its own, in another order."""
    probes, table = source(PROBES), None
    if in_table:
        table = tmp_path / "genes.txt"
        frame = pd.DataFrame({"ID": PROBES, **fields})[::-1]
        frame.to_csv(table, sep="\t", index=False)
    else:
        probes = source(PROBES, **fields)
    rows = genes_of_rows(probes, table)
    assert rows.columns[:2] == ((0, 4), (3, 5))
    assert rows.columns[2:] == ((6,),)
    assert rows.genes.probes == (("1_at", "5_at"), ("4_at", "6_at"), ("7_at",))
    assert (rows.ids[:2], rows.id_kind) == (("780", "16"), "entrez")
    text = "\n".join(rows.notes)
    assert "5 of 7 averaged to 3 genes" in text
    assert "1 rows of several genes are left out: 2_at" in text
    assert "1 rows of no known gene are left out: 3_at" in text
    means = GeneMeans(probes, rows)
    values = pd.DataFrame(probes.values, columns=[0, -1, -1, 1, 0, 1, 2])
    truth = values.T.groupby(level=0).mean().T[[0, 1, 2]].to_numpy()
    np.testing.assert_allclose(means.read(), truth, rtol=1e-12)
    np.testing.assert_allclose(means.read([2, 0], [2, 0]), truth[[2, 0]][:, [2, 0]], rtol=1e-12)
    assert means.read(slice(0, 2), np.array([], dtype=int)).shape == (2, 0)


def test_probes_of_no_known_gene_are_genes_of_their_own() -> None:
    rows = genes_of_rows(source(PROBES, title=["x"] * 7), None)
    assert (rows.ids, rows.id_kind) == (tuple(PROBES), "probe")
    assert rows.columns == tuple((n,) for n in range(7))
    assert "each is taken as a gene of its own" in rows.notes[0]


def test_faults_of_a_gene_table(tmp_path) -> None:
    table = tmp_path / "genes.txt"
    for text, match in (
        ("id\tsymbol\nx\tDDR1\n", "no column has ids of the rows of training"),
        ("id\tsymbol\n1_at\tDDR1\n1_at\tRFC2\n", "has the row '1_at' twice"),
    ):
        table.write_text(text)
        refused(lambda: genes_of_rows(source(PROBES), table), match, path=table)


@pytest.mark.parametrize("target_kind", [None, *KINDS])
@pytest.mark.parametrize("set_kind", KINDS)
@pytest.mark.parametrize("row_kind", KINDS)
@pytest.mark.parametrize("list_kind", KINDS)
def test_any_id_on_any_side(tmp_path, row_kind, list_kind, set_kind, target_kind) -> None:
    """Lists, training file and sets that share no id but by HGNC; the table of genes is truth."""
    landmarks = tmp_path / "landmarks.txt"
    landmarks.write_text("\n".join(GENES[list_kind][[3, 0]]) + "\n")
    targets = None
    if target_kind is not None:
        targets = tmp_path / "targets.txt"
        targets.write_text("\n".join(GENES[target_kind][[5, 0, 1]]) + "\n")
    rows = genes_of_rows(source(GENES[row_kind]), None)
    order = [6, 5, 4, 3, 1, 0]
    sets = of_sets(one=source(GENES[set_kind][order], "one"), two=source(GENES["symbol"], "two"))
    found = select(rows, landmarks, targets, sets, Path("training"))
    wanted = [5, 1] if target_kind else [1, 4, 5, 6]
    assert found.landmarks.ids == tuple(GENES[row_kind][[3, 0]])
    assert found.targets.ids == tuple(GENES[row_kind][wanted])
    for genes, chosen in ((found.landmarks, [3, 0]), (found.targets, wanted)):
        assert genes.symbols == tuple(GENES["symbol"][chosen])
        assert genes.probes == tuple((n,) for n in chosen)
        assert genes.columns["one"].tolist() == [order.index(n) for n in chosen]
        assert genes.columns["two"].tolist() == chosen
    lost = [] if target_kind else [LostGene("target", "HSPA6", *_last(2), (GENES[row_kind][2],))]
    assert list(found.dropped) == lost
    assert any("1 listed targets are landmarks" in x for x in found.notes) == bool(target_kind)
    assert not found.copy_of_landmark.any()


def _last(gene: int) -> tuple[str, str]:
    return GENES["ensembl"][gene], "missing in one"


def test_a_gene_table_is_the_list_of_landmarks_and_of_targets(tmp_path) -> None:
    table = tmp_path / "info.txt"
    flags = [1, 0, 0, 1, 0, 0, 0]
    frame = pd.DataFrame({"pr_gene_id": GENES["entrez"], "pr_gene_symbol": GENES["symbol"]})
    frame.assign(pr_is_lm=flags).to_csv(table, sep="\t", index=False)
    rows = genes_of_rows(source(GENES["entrez"]), table)
    found = select(rows, table, table, {}, Path("training"))
    assert found.landmarks.symbols == ("DDR1", "PAX8")
    assert found.targets.ids == tuple(GENES["entrez"][[1, 2, 4, 5, 6]])
    assert found.landmarks.columns == {}


def test_landmarks_by_a_probe_of_their_gene_and_sets_of_probes(tmp_path) -> None:
    path = tmp_path / "landmarks.txt"
    path.write_text("5_at\n9_at\n")
    array = source(PROBES, symbol=SYMBOLS)
    rows = genes_of_rows(array, None)
    other = source(["x1", "x2", "x3"], "other", symbol=["AARS1", "DDR1", "DDR1"])
    refused(
        lambda: select(rows, path, None, of_sets(s=other), array.path), "'x2' and 'x3' are the same"
    )
    means = GeneMeans(other, genes_of_rows(other, None))
    found = select(rows, path, None, of_sets(s=means), array.path)
    assert (found.landmarks.ids, found.landmarks.probes) == (("780",), ((0, 4),))
    assert found.targets.ids == ("16",)
    np.testing.assert_allclose(
        means.read(genes=found.landmarks.columns["s"])[:, 0], [2.5, 20.5, 56.5]
    )
    assert [one.cause for one in found.dropped] == [
        "missing in the training data",
        "missing in s",
    ]


def test_probes_of_no_known_gene_are_found_by_the_same_names(tmp_path) -> None:
    rows = genes_of_rows(source(PROBES), None)
    path = tmp_path / "landmarks.txt"
    path.write_text("4_at\n2_at\n")
    sets = of_sets(s=source(["2_at", "7_at", "4_at", "1_at"]))
    found = select(rows, path, None, sets, Path("training"))
    assert (found.landmarks.ids, found.targets.ids) == (("4_at", "2_at"), ("1_at", "7_at"))
    assert found.landmarks.columns["s"].tolist() == [2, 0]
    with pytest.raises(PreparationError, match="no landmark gene is left"):
        select(rows, landmark_file("l1000"), None, {}, Path("training"))


def test_rows_of_a_set_that_annotation_calls_the_same(tmp_path) -> None:
    """Of a few a gene is taken by another id or not at all; ids that come twice are refused."""
    path = tmp_path / "landmarks.txt"
    path.write_text("DDR1\n")
    table = pd.read_csv(landmark_file("l1000"), sep="\t", dtype=str, comment="#").iloc[100:140]
    rows = genes_of_rows(source(["DDR1", "Y_RNA", *table["symbol"]]), None)
    ids = [f"ENSG9000000{n:04d}" for n in range(44)]
    ids[1] = "ENSG00000204580"
    names = ["Y_RNA", "DDR1", "Y_RNA", "DDR1", *table["symbol"]]
    found = select(rows, path, None, of_sets(s=source(ids, "set", Description=names)), Path("t"))
    assert found.landmarks.columns["s"].tolist() == [1]
    assert found.targets.columns["s"].tolist() == list(range(4, 44))
    assert [(gene.symbol, gene.cause) for gene in found.dropped] == [("Y_RNA", "missing in s")]
    assert any("1 genes not taken: Y_RNA is several rows" in note for note in found.notes)
    twice = of_sets(s=source([*ids, "ENSG00000204580.2"], "set"))
    path.write_text("ENSG00000049541\n")
    rows = genes_of_rows(source(["ENSG00000204580", "ENSG00000049541"]), None)
    refused(
        lambda: select(rows, path, None, twice, Path("t")), "'ENSG00000204580' and .*580.2' are"
    )


def test_a_column_that_disagrees_finds_no_genes(tmp_path) -> None:
    """Numbers of OMIM or the like may be some gene's Entrez id."""
    path = tmp_path / "landmarks.txt"
    path.write_text("DDR1\n")
    rows = genes_of_rows(source(GENES["entrez"]), None)
    order = [0, 1, 2, 3]
    omim = ["16", "7318", "7067", "33333"]
    wrong = source(GENES["symbol"][order], "set", omim=omim)
    right = source(GENES["symbol"][order], "set", entrez=["780", "5982", "3310", "7318"])
    assert len(select(rows, path, None, of_sets(set=wrong), Path("training")).targets) == 3
    found = select(rows, path, None, of_sets(set=right), Path("training"))
    assert found.targets.symbols == ("RFC2", "HSPA6", "PAX8")


def test_haplotypes_and_twins(tmp_path) -> None:
    """The only Ensembl id of several that a set has; another row of a landmark is no target."""
    path = tmp_path / "landmarks.txt"
    path.write_text("23\n")
    rows = genes_of_rows(source(["23", "780"]), None)
    assert rows.genes.ensembl[0] == ""
    one = source(["ENSG00000204580", "ENSG00000206490"], "set")
    assert select(rows, path, None, of_sets(s=one), Path("t")).landmarks.columns["s"].tolist() == [
        1
    ]
    path.write_text("ENSG00000206490\n")
    rows = genes_of_rows(source(["ENSG00000206490", "ENSG00000204574", "ENSG00000204580"]), None)
    found = select(rows, path, None, {}, Path("t"))
    assert found.targets.ids == ("ENSG00000204580",)
    assert [gene.cause for gene in found.dropped] == [SAME_AS_LANDMARK]


def test_faults_of_a_list_name_its_role(tmp_path) -> None:
    path = tmp_path / "landmarks.txt"
    path.write_text("DDR1\nDDR1\n")
    rows = genes_of_rows(source(GENES["symbol"]), None)
    for lists in ((path, None), (landmark_file("l1000"), path)):
        role = "target" if lists[1] else "landmark"
        refused(
            lambda lists=lists: select(rows, *lists, {}, Path("t")),
            f"duplicate {role} id",
            path=path,
        )


def test_the_real_landmarks(shared: Path) -> None:
    """All 978 in LINCS' own rows, whatever the set names its genes by; pandas is the oracle."""
    table = pd.read_csv(landmark_file("l1000"), sep="\t", dtype=str, comment="#")
    original = pd.read_csv(shared / "genes" / "l1000_landmarks.tsv", sep="\t", dtype=str)
    pd.testing.assert_frame_equal(table, original)
    rows = genes_of_rows(source(["1", *table["entrez"][::-1]]), None)
    found = select(rows, landmark_file("l1000"), None, {}, Path("t"))
    assert found.landmarks.ids == tuple(table["entrez"])
    assert found.targets.ids == ("1",)
    # The first of several Ensembl ids alone, as in files of the primary assembly, and A1BG's.
    ensembl = source([*table["ensembl"].str.partition("|")[0], "ENSG00000121410"], "set")
    places = select(rows, landmark_file("l1000"), None, of_sets(s=ensembl), Path("t"))
    assert places.landmarks.columns["s"].tolist() == list(range(978))


@pytest.mark.parametrize(
    ("text", "is_map"),
    [
        ("DDR1\tENSG01\t1_at\n", True),
        ("# note\nsymbol\tensembl\tprobes\nDDR1\tENSG01\t1_at,2_at\t\n", True),
        ('"DDR1"\t"ENSGR01"\t"1_at"\nfault\n', True),
        ("DDR1\nRFC2\n", False),
        ("DDR1\tENSG01\n", False),
        ("entrez\tsymbol\tensembl\n780\tDDR1\tENSG00000204580\n", False),
        ("#1.2\n2\t2\nid\tDescription\tp\tq\n", False),
        ("DDR1,ENSG01,1_at\n", False),
    ],
)
def test_which_files_are_gene_maps(tmp_path, text, is_map) -> None:
    path = tmp_path / "map.txt"
    path.write_text(text)
    assert is_gene_map(path) == is_map


def test_expression_files_are_no_gene_maps_but_lists(tmp_path) -> None:
    path = tmp_path / "list.gct"
    write_gct(path, source(["7849", "780"], pr_gene_symbol=["PAX8", "DDR1"]), version="1.3")
    assert not is_gene_map(path)
    assert not is_gene_map(landmark_file("l1000"))
    rows = genes_of_rows(source(GENES["symbol"]), None)
    assert select(rows, path, None, {}, Path("t")).landmarks.ids == ("PAX8", "DDR1")
