"""The paper's findings as figures."""

from __future__ import annotations

import pytest

from dgex_jax.errors import FormatError
from reproduce.paper import published_facts

HEADER = "fact,value,unit,source,note\n"


def test_facts_of_the_checkout() -> None:
    facts = published_facts()
    assert facts["geo_improvement_over_lr"].value == "15.33"
    assert facts["geo_improvement_over_lr"].unit == "percent"
    assert facts["adjusted_r2_share_larger"].value == "99.99"
    assert all(fact.source for fact in facts.values())


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("fact,value\n", "the first line must be fact,value,unit,source,note"),
        (HEADER + "a,1,genes\n", "line 2: 3 columns instead of 5"),
        (HEADER + "a,1,genes,,\n", "line 2: fact, value and source must not be empty"),
        (HEADER + "a,,genes,preprint,\n", "line 2: fact, value and source must not be empty"),
        (HEADER + "a,1,genes,preprint,\na,2,genes,preprint,\n", "line 3: a is there twice"),
        (HEADER + 'a,"1', "not a CSV file in UTF-8"),
    ],
)
def test_damaged_files_are_named(tmp_path, text, cause) -> None:
    (tmp_path / "facts.csv").write_text(text)
    with pytest.raises(FormatError) as caught:
        published_facts(tmp_path)
    assert f"{tmp_path / 'facts.csv'}" in str(caught.value)
    assert cause in str(caught.value)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(FormatError, match=r"facts.csv: can't be read"):
        published_facts(tmp_path)
