"""A model card: all of a model on one page, whatever its names are, and nothing that is not so."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from dgex_jax.errors import DgexError
from dgex_jax.model.card import write_card
from dgex_jax.model.export import export_model
from dgex_jax.model.model import write_model
from dgex_jax.pages import page as pages
from tests.pages import check_page

EVIL = "<script>alert(1)</script>"
WORSE = '</script><img src=x onerror="alert(1)">'


@pytest.fixture
def card(tmp_path):
    """Give a function that writes a model and its card, and reads the page."""

    def make(model):
        write_model(tmp_path / "model", model, overwrite=True)
        write_card(tmp_path / "model", tmp_path / "card.html")
        return check_page((tmp_path / "card.html").read_text(encoding="utf-8"))

    return make


def test_every_gene_is_there_by_its_error(card, new_model) -> None:
    model = new_model(half_sizes=(30, 31))
    (table,) = card(model).tables
    titles = [head["title"] for head in table["heads"]]
    assert titles == [
        *("symbol", "expected error", "copy of a landmark", "Ensembl", "Entrez", "probes")
    ]
    order = np.argsort(model.errors["te"], kind="stable")
    errors = [round(float(one), 4) for one in model.errors["te"][order]]
    assert [row[1] for row in table["rows"]] == errors
    for row, place in zip(table["rows"], order, strict=True):
        names = model.targets.symbols[place], model.targets.ensembl[place]
        assert (row[0], row[3], row[4]) == (*names, model.targets.entrez[place])
        assert row[5] == ", ".join(model.targets.probes[place])
        assert row[2] == ("copy" if model.copy_of_landmark[place] else "")
    assert table["low"] == (model.errors["te"][order] < 0.5).tolist()


def test_what_it_says(card, new_model, tmp_path) -> None:
    model = new_model(half_sizes=(30, 31))
    page = card(model)
    n_low = int((model.errors["te"] < 0.5).sum())
    error = model.errors["te"]
    assert f"{n_low} of 61" in page.text
    assert "on GEO-te, is below 0.5 standardised units" in page.text
    assert f"{error.mean():.4f} ± {error.std():.4f}" in page.text
    assert page.having("class", "banner") == ["aside"]
    assert page.text.count("not stated") == 2
    assert f"dgex predict {tmp_path / 'model'} profiles.gctx" in page.text
    # The rows that are there without scripts are the first of those with them.
    shown = [row for row in page.rows if len(row) == len(page.tables[0]["heads"])][-pages.FIRST :]
    assert [row[1] for row in shown] == [f"{one:.4f}" for one in np.sort(error)[: pages.FIRST]]
    study = {"title": "T", "simulated": False, "source": "GSE1 & others", "licence": "CC0"}
    page = card(dataclasses.replace(model, record={"study": study}))
    assert "GSE1 & others" in page.text
    assert "CC0" in page.text
    assert "not stated" not in page.text
    assert page.having("class", "banner") == []
    made = json.loads((tmp_path / "card.html.provenance.json").read_text())
    assert made["inputs"]["model"]["name"] == "model.json"


def test_what_is_a_name_stays_one(card, new_model, tmp_path) -> None:
    model = new_model()
    symbols = (EVIL, WORSE, *model.targets.symbols[2:])
    model = dataclasses.replace(
        model,
        targets=dataclasses.replace(model.targets, symbols=symbols),
        record={
            "study": {"name": EVIL, "title": WORSE, "raw_files": {EVIL: {"name": WORSE}}},
            "members": [{"name": EVIL, "title": WORSE}],
            "settings": {EVIL: {WORSE: EVIL}},
            "versions": {"training": {EVIL: WORSE}},
        },
    )
    page = card(model)
    assert len(page.all("script")) == 2
    assert all(one["src"].startswith("data:") for one in page.all("img"))
    assert {EVIL, WORSE} <= {row[0] for row in page.tables[0]["rows"]}
    assert page.text.count(EVIL) >= 5
    assert "</script><img" not in (tmp_path / "card.html").read_text(encoding="utf-8")


def test_a_model_that_says_little_or_nonsense(card, new_model) -> None:
    page = card(new_model(bare=True))
    assert "which genes are worth trusting is not known" in page.text
    keys = ("study", "settings", "seeds", "versions", "best_epochs", "seconds", "devices")
    keys += ("members", "coverage", "provenance")
    for wrong in (None, 3, "text", [], {}, [3, "x"], {"va": ["one"]}, {"te": [{"level": 7}]}):
        for record in (dict.fromkeys(keys, wrong), {key: {"training": wrong} for key in keys}):
            card(dataclasses.replace(new_model(bare=True), record=record))


def test_the_same_model_gives_the_same_bytes(card, new_model, tmp_path) -> None:
    texts = []
    for _ in range(2):
        card(new_model())
        texts.append((tmp_path / "card.html").read_bytes())
    assert texts[0] == texts[1]


def test_what_is_refused_leaves_nothing(new_model, tmp_path, refused, monkeypatch) -> None:
    path = tmp_path / "model"
    write_model(path, new_model())
    before = sorted(tmp_path.rglob("*"))
    assert "a page's name ends in .html" in refused("info", path, "--html", tmp_path / "card.txt")
    assert "which must hold nothing else" in refused("info", path, "--html", path / "card.html")
    assert "not a file in a folder" in refused("info", path, "--html", tmp_path / "no" / "c.html")
    assert "no such model folder" in refused("info", tmp_path / "a", "--html", tmp_path / "c.html")
    monkeypatch.setattr(pages, "find_spec", lambda name: None if name == "jinja2" else name)
    text = refused("info", path, "--html", tmp_path / "card.html")
    assert 'needs jinja2: pip install "dgex-jax[report]"' in text
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(DgexError, match="needs jinja2"):
        pages.environment()


def test_source_and_licence_come_from_the_study(trained) -> None:
    told = export_model(trained.run, trained.prepared).record["study"]
    assert (told["source"], told["licence"]) == ("made up", "CC0-1.0")
