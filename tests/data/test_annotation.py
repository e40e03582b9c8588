from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dgex_jax.data.annotation import Annotation, annotation_of, entrez_text, symbol_text

PROBES = pd.Index(["1007_s_at", "1053_at", "117_at"], dtype=object)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("780", "780"),
        ("780.0", "780"),
        ("780.", "780"),
        (" 780 ", "780"),
        (780, "780"),
        (np.float32(780), "780"),
        (np.int64(100616237), "100616237"),
        ("780 /// 100616237", ""),
        ("-666", ""),
        (-666.0, ""),
        (np.nan, ""),
        (pd.NA, ""),
        ("780.5", ""),
        ("0", ""),
        ("DDR1", ""),
        ("ENSG00000204580", ""),
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
        index=PROBES,
    )
    found = annotation_of(table)
    assert found.symbols == {"1007_s_at": "DDR1", "117_at": "HSPA6"}
    assert found.entrez == {"1007_s_at": "780", "117_at": "3310"}
    assert annotation_of(table[["title"]]) == Annotation()
    assert annotation_of(pd.DataFrame()) == Annotation()


def test_a_gene_has_the_one_id_its_probes_agree_on() -> None:
    known = Annotation({}, {"a": "1", "b": "1", "c": "2"})
    genes = {("a", "b"): "1", ("a", "x"): "1", ("a", "c"): "", ("x",): "", ("c",): "2"}
    assert {probes: known.entrez_of(probes) for probes in genes} == genes


def test_what_is_joined_later_counts() -> None:
    both = Annotation({"a": "A", "b": "B"}, {"a": "1"}) | Annotation({"b": "BB"}, {"c": "3"})
    assert both == Annotation({"a": "A", "b": "BB"}, {"a": "1", "c": "3"})
