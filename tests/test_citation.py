"""How the software is cited agrees with what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

import dgex_jax

CHECKOUT = Path(__file__).parents[1]


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load(CHECKOUT.joinpath("CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == dgex_jax.__version__
    (paper,) = cited["references"]
    assert paper["title"] == "Gene expression inference with deep learning"
    assert [author["family-names"] for author in paper["authors"]][::4] == ["Chen", "Xie"]
