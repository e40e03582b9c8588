"""Which profiles of two files are one sample: by ids and by tables of every form, and refusals."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from dgex_jax.prepare.pairs import Pairs, read_pairs
from tests.prepare.checks import refused

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = (Path("l1000.gctx"), Path("rna.gctx"))
L1000 = [f"L{n:02d}" for n in range(12)]
RNA = [f"GTEX-{n}" for n in (3, 1, 9, 0, 2, 7, 5, 4, 6, 30, 31)]
SAMPLES = range(10)
"""Sample n is L0n and GTEX-n; GTEX-8, L10 and L11, GTEX-30 and GTEX-31 have no partner."""
TRUTH = {(f"L{n:02d}", f"GTEX-{n}") for n in SAMPLES if n != 8}


def rows_of_both() -> pd.DataFrame:
    """A row a sample, among it columns of both files' ids."""
    table = pd.DataFrame({"inst_id": [f"L{n:02d}" for n in SAMPLES]})
    table["batch"] = [f"b{n % 3}" for n in SAMPLES]
    table["rna id"] = [f"GTEX-{n}" for n in SAMPLES]
    table["control"] = "GTEX-3"
    table["rin"] = [n / 7 for n in SAMPLES]
    return table


def rows_of_one() -> pd.DataFrame:
    """A row a profile, and what donor it is of: none, or -666, for some."""
    rows = [(f"L{n:02d}", "L1000", f"D{n}" if n < 10 else "") for n in range(12)]
    rows += [(f"GTEX-{n}", "RNA-seq", f"D{n}" if n < 10 else "-666") for n in (*SAMPLES, 30, 31)]
    return pd.DataFrame(rows, columns=["id", "platform", "donor"])


def partners() -> pd.DataFrame:
    """A row a profile with its partner: both columns have ids of both files."""
    rows = [(f"L{n:02d}", f"GTEX-{n}") for n in SAMPLES]
    return pd.DataFrame([*rows, *(row[::-1] for row in rows)], columns=["id", "partner"])


def named(found: Pairs) -> set[tuple[str, str]]:
    pairs = zip(found.landmarks.tolist(), found.truth.tolist(), strict=True)
    return {(L1000[one], RNA[other]) for one, other in pairs}


@pytest.fixture
def written(tmp_path) -> Callable[..., Path]:
    """Give a function that writes a table, its rows in any order, as R or a spreadsheet does."""

    def write(table: pd.DataFrame, **options: object) -> Path:
        path = tmp_path / "inst_info.txt"
        table.to_csv(path, **{"sep": "\t", "index": False} | options)  # type: ignore[call-overload]
        return path

    return write


@pytest.mark.parametrize("make", [rows_of_both, rows_of_one, partners])
@pytest.mark.parametrize(
    "options", [{}, {"sep": ","}, {"header": False}, {"quoting": 1, "sep": " "}, {"index": True}]
)
def test_every_form_in_any_order_gives_the_same_pairs(written, make, options) -> None:
    found = [
        read_pairs(written(make().sample(frac=1, random_state=seed), **options), L1000, RNA, NAMES)
        for seed in (0, 1)
    ]
    for one in found:
        assert named(one) == TRUTH
        assert (np.diff(one.landmarks) > 0).all()
    path = written(make(), **options)
    path.write_bytes(gzip.compress(path.read_bytes()))
    notes = read_pairs(path, L1000, RNA, NAMES).notes
    assert notes[0].startswith("9 pairs by ")
    assert notes[1:] == (
        "3 of 12 profiles of l1000.gctx have no partner: L08, L10, L11",
        "2 of 11 profiles of rna.gctx have no partner: GTEX-30, GTEX-31",
    )


def test_columns_are_named(written) -> None:
    path = written(rows_of_both())
    words = f"9 pairs by column 1 'inst_id' and column 3 'rna id' of {path}"
    assert read_pairs(path, L1000, RNA, NAMES).notes[0] == words
    path = written(rows_of_one(), header=False)
    words = f"9 pairs by the same column 3 (ids: column 1) of {path}"
    assert read_pairs(path, L1000, RNA, NAMES).notes[0] == words


def test_without_a_table_the_same_ids_are_pairs() -> None:
    found = read_pairs(None, ["a", "b", "c"], ["c", "x", "a"], NAMES)
    assert (found.landmarks.tolist(), found.truth.tolist()) == ([0, 2], [2, 0])
    assert found.notes[0] == "2 pairs by the same ids"
    for truth, cause in (
        (["x"], r"none of its profiles \('x'\) has the id of"),
        (["a", "a"], "duplicate profile id 'a'"),
    ):
        refused(lambda of=truth: read_pairs(None, ["a", "b"], of, NAMES), cause, path=NAMES[1])


def other_pairs(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table.assign(other=[*table[column][1:], table[column][0]])


@pytest.mark.parametrize(
    ("table", "cause"),
    [
        (
            other_pairs(rows_of_both(), "rna id"),
            (
                "by column 1 'inst_id' and column 3 'rna id' and by column 1 'inst_id' and column "
                "6 'other' other pairs are found (9 and 9)"
            ),
        ),
        (
            other_pairs(rows_of_one(), "donor").assign(
                other=[*(f"x{n}" for n in range(12)), *(f"x{n + 1}" for n in range(12))]
            ),
            (
                "by the same column 4 'other' (ids: column 1 'id') and by the same column 3 "
                "'donor' (ids: column 1 'id') other pairs are found (10 and 9)"
            ),
        ),
        (
            pd.concat([rows_of_both(), rows_of_both().iloc[:1].assign(**{"rna id": "GTEX-9"})]),
            (
                "by column 1 'inst_id' and column 3 'rna id' profile 'L00' of l1000.gctx has 2 "
                "partners: 'GTEX-9', 'GTEX-0'"
            ),
        ),
        (
            pd.concat([rows_of_both(), rows_of_both().iloc[:1].assign(inst_id="L11")]),
            "profile 'GTEX-0' of rna.gctx has 2 partners: 'L00', 'L11'",
        ),
        (
            rows_of_both()[["inst_id", "batch"]],
            (
                "pairs no profiles: column 1 'inst_id' has 10 of 12 ids of l1000.gctx; no column "
                "has ids of rna.gctx ('GTEX-3', 'GTEX-1', 'GTEX-9'); ids of both must stand in"
            ),
        ),
        # A platform joins nothing, and donors of several profiles pair none of them surely.
        (rows_of_one()[["id", "platform"]], "pairs no profiles: column 1 'id' has 12 of 12 ids"),
        (
            rows_of_one().assign(donor=[f"D{n % 4}" for n in range(24)]),
            "pairs no profiles: column 1 'id' has 12 of 12 ids",
        ),
        (rows_of_both().iloc[:0], "has no rows that pair profiles"),
    ],
)
def test_tables_that_can_not_be_told_are_refused(written, table, cause) -> None:
    path = written(table)
    refused(lambda: read_pairs(path, L1000, RNA, NAMES), re.escape(cause), path=path)


def test_ids_that_both_files_have_are_not_told_apart_by_a_key(written) -> None:
    ids = [str(n) for n in range(1, 6)]
    table = pd.DataFrame({"id": [*ids, *ids], "donor": [*"abcdebcdea"]})
    text = "ids that both files have are pairs without a table"
    refused(lambda: read_pairs(written(table), ids, ids, NAMES), text)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("L00\tGTEX-0\nL01\n", "line 2: 1 cells, not 2"),
        ("l\tr\tx\nL00\tGTEX-0\nL01\tGTEX-1\n", "line 2: 2 cells, not 3"),
        ("#1.3\n", "is no table of pairs but a gct file"),
        ('L00\t"GTEX-0\n', "line 1: a quote that is not closed"),
    ],
)
def test_damaged_tables(tmp_path, text, cause) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(text)
    refused(lambda: read_pairs(path, L1000, RNA, NAMES), f"^{re.escape(f'{path}: {cause}')}$")
