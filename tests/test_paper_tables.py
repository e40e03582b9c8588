"""The published numbers agree with each other, and every value names its source."""

from __future__ import annotations

import shutil
from itertools import pairwise, product
from pathlib import Path

import pandas as pd
import pytest

from dgex_jax.errors import FormatError
from reproduce.paper import COLUMNS, FACT_COLUMNS, PublishedCell, published, published_facts

PAPER = Path(__file__).parents[1] / "tables" / "paper"
BEST = ("D-GEX", 3, 9000, 0.1)
LINEAR = ("LR", None, None, None)


@pytest.fixture(scope="module")
def facts() -> dict[str, str]:
    """The facts' values, as they are written."""
    return pd.read_csv(PAPER / "facts.csv", dtype=str).set_index("fact")["value"].to_dict()


def _mean(method: str) -> float:
    mean = published("table1")[(method, None, None, None)].mean
    assert mean is not None
    return mean


def _derived(best: float, *shares: float) -> float:
    """The error that `best` improves by the first share, improved by the others in turn."""
    value = best / (1 - shares[0])
    for share in shares[1:]:
        value *= 1 - share
    return value


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("LR", ["geo_improvement_over_lr"]),
        ("LR-L1", ["geo_improvement_over_lr", "geo_improvement_lr_l1_over_lr"]),
        ("LR-L2", ["geo_improvement_over_lr", "geo_improvement_lr_l2_over_lr"]),
        ("KNN-GE", ["geo_improvement_over_knn_ge"]),
    ],
)
def test_derived_cells_follow_from_the_percentages(
    facts: dict[str, str], method: str, names: list[str]
) -> None:
    cell = published("table1")[(method, None, None, None)]
    shares = [float(facts[name]) / 100 for name in names]
    best = published("table1")[BEST].mean
    assert best == 0.3204
    assert cell.mean == round(_derived(best, *shares), 4)
    corners = [
        _derived(
            best + 5e-5 * signs[0], *(s + 5e-5 * d for s, d in zip(shares, signs[1:], strict=True))
        )
        for signs in product((-1, 1), repeat=1 + len(shares))
    ]
    assert f"between {min(corners):.4f} and {max(corners):.4f} by the rounding" in cell.note
    assert cell.source.startswith("derived: 0.3204 / (1 - 0.")


def test_lr_and_knn_ge_are_the_known_four_digits() -> None:
    assert _mean("LR") == round(0.3204 / (1 - 0.1533), 4) == 0.3784
    assert _mean("KNN-GE") == round(0.3204 / (1 - 0.4538), 4) == 0.5866


def test_table1_has_nine_networks_all_better_than_lr_and_the_largest_best() -> None:
    cells = published("table1")
    networks = {row: cell.mean for row, cell in cells.items() if row[0] == "D-GEX"}
    assert set(networks) == set(product(["D-GEX"], [1, 2, 3], [3000, 6000, 9000], [0.1]))
    assert min(networks, key=lambda row: networks[row] or 1.0) == BEST
    assert all(mean is not None and mean < _mean("LR") for mean in networks.values())
    for layers, (narrow, wide) in product([1, 2, 3], [(3000, 6000), (6000, 9000)]):
        assert networks["D-GEX", layers, wide, 0.1] < networks["D-GEX", layers, narrow, 0.1]
    assert all(cell.sd is None for cell in cells.values())


def test_table2_is_known_by_its_rows_alone() -> None:
    cells = published("table2")
    assert {row[3] for row in cells if row[0] == "D-GEX"} == {0.25}
    assert len(cells) == 13
    for cell in cells.values():
        assert (cell.mean, cell.sd, cell.source) == (None, None, "")


@pytest.mark.parametrize("table", ["table1", "table2"])
def test_the_loader_reads_what_another_reader_reads(table: str) -> None:
    frame = pd.read_csv(PAPER / f"{table}.csv", dtype=str, keep_default_na=False)
    assert tuple(frame.columns) == COLUMNS
    cells = published(table)
    assert len(cells) == len(frame)
    for (row, cell), line in zip(cells.items(), frame.itertuples(index=False), strict=True):
        written = [*row, cell.mean, cell.sd, cell.source, cell.note]
        for value, text in zip(written, line, strict=True):
            if isinstance(value, str):
                assert value == text
            elif value is None:
                assert text == ""
            else:
                assert float(text) == value


def test_every_fact_has_a_value_a_unit_and_a_source() -> None:
    frame = pd.read_csv(PAPER / "facts.csv", dtype=str, keep_default_na=False)
    assert list(frame.columns) == ["fact", "value", "unit", "source", "note"]
    found = [(name, *vars(fact).values()) for name, fact in published_facts().items()]
    assert found == list(frame.itertuples(index=False, name=None))
    assert frame["fact"].is_unique
    assert (frame[["fact", "value", "unit", "source"]] != "").all(axis=None)
    assert frame["source"].str.match(r"preprint, section \d\.\d$|arithmetic: ").all()


def test_the_facts_agree_with_each_other(facts: dict[str, str]) -> None:
    number = {name: int(value) for name, value in facts.items() if value.isdigit()}
    n = number["geo_profiles"]
    train = n * 8 // 10
    assert number["geo_train"] == train
    assert number["geo_validation"] == (n - train) // 2
    assert number["geo_test"] == n - train - (n - train) // 2
    assert number["probes"] == number["landmark_probes"] + number["target_probes"]
    assert number["l1000_genes"] == number["probes"]
    assert number["target_genes"] == 2 * number["target_genes_per_half"]
    assert number["geo_profiles"] < number["geo_profiles_with_duplicates"]
    assert facts["geo_best_network"] == "D-GEX-10%-9000x3"
    assert facts["geo_improvement_over_lr"] == "15.33"
    assert published_facts()["geo_improvement_over_lr"].unit == "percent"
    assert facts["adjusted_r2_share_larger"] == "99.99"


def test_parameters_of_the_largest_network(facts: dict[str, str]) -> None:
    sizes = [int(facts["landmark_genes"]), 9000, 9000, 9000, int(facts["target_genes_per_half"])]
    half = sum((ins + 1) * outs for ins, outs in pairwise(sizes))
    assert half == int(facts["parameters_largest_network_half"]) == 213_358_760
    assert round(2 * half / 1e6) == int(facts["parameters_largest_network"])


def test_a_folder_can_be_given(tmp_path: Path) -> None:
    shutil.copy(PAPER / "table1.csv", tmp_path / "mine.csv")
    assert published("mine", tmp_path) == published("table1")
    assert published("mine", tmp_path)[LINEAR].note.startswith("between ")


def test_values_without_a_network_and_with_a_deviation(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f'{",".join(COLUMNS)}\nLR,,,,0.5,0.1,"a, b",\n')
    cells = published("t", tmp_path)
    assert cells == {LINEAR: PublishedCell(mean=0.5, sd=0.1, source="a, b", note="")}


def read(name: str, folder: Path) -> object:
    return published_facts(folder) if name == "facts" else published(name, folder)


HEADER = ",".join(COLUMNS)
FACTS = ",".join(FACT_COLUMNS)


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        ("t", "", "the first line must be method,"),
        ("t", "method,mean\nLR,0.5\n", "the first line must be method,"),
        ("t", f"{HEADER}\nLR,,,,0.5,,,\n", "line 2, column source: is empty"),
        ("t", f"{HEADER}\nLR,,,,,0.5,,\n", "line 2, column source: is empty"),
        ("t", f"{HEADER}\nLR,,,,0.5,,s,\nLR,,,,0.4,,s,\n", "line 3: the row is there twice"),
        ("t", f"{HEADER}\nLR,,,,many,,s,\n", "line 2, column mean: 'many' is not a number"),
        ("t", f"{HEADER}\nLR,,,,nan,,s,\n", "line 2, column mean: 'nan' is not a number"),
        ("t", f"{HEADER}\nLR,,,,0.5,-1,s,\n", "line 2, column sd: '-1' is not a number"),
        ("t", f"{HEADER}\nD-GEX,1.5,9,0.1,0.5,,s,\n", "column hidden_layers: '1.5' is not a whole"),
        ("t", f"{HEADER}\nD-GEX,1,x,0.1,0.5,,s,\n", "line 2, column units: 'x' is not a whole"),
        ("t", f"{HEADER}\n,,,,0.5,,s,\n", "line 2, column method: is empty"),
        ("t", f"{HEADER}\nLR,,,0.5,,s\n", "line 2: 6 columns instead of 8"),
        ("t", f'{HEADER}\nLR,,,,0.5,,"s,\n', "not a CSV file in UTF-8"),
        ("t", f"{HEADER}\nLR,,,,0.5,,\xe9,\n", "not a CSV file in UTF-8"),
        ("facts", "fact,value\n", "the first line must be fact,value,unit,source,note"),
        ("facts", f"{FACTS}\na,1,genes\n", "line 2: 3 columns instead of 5"),
        ("facts", f"{FACTS}\na,1,genes,,\n", "line 2: fact, value and source must not be empty"),
        ("facts", f"{FACTS}\na,,genes,s,\n", "line 2: fact, value and source must not be empty"),
        ("facts", f"{FACTS}\na,1,genes,s,\na,2,genes,s,\n", "line 3: a is there twice"),
        ("facts", f'{FACTS}\na,"1', "not a CSV file in UTF-8"),
    ],
)
def test_a_broken_table_is_refused_with_file_and_place(
    tmp_path: Path, name: str, text: str, cause: str
) -> None:
    path = tmp_path / f"{name}.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(FormatError, match=cause) as caught:
        read(name, tmp_path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["table3", "facts"])
def test_a_table_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError, match=rf"{name}\.csv: can't be read \(No such file"):
        read(name, tmp_path)
