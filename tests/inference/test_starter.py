"""The model that comes with the checkout: sound, small, without profiles, the same numbers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dgex_jax.cli import main
from dgex_jax.methods.means import LEAST
from dgex_jax.model.find import shipped
from dgex_jax.model.model import Model, read_model
from dgex_jax.prepare.probelist import landmark_file, read_text
from reproduce import starter

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model() -> Model:
    """The committed model."""
    return read_model(starter.MODEL)


def test_it_is_there_by_name_and_small(model) -> None:
    (one,) = (found for found in shipped() if found.name == "human-mini")
    assert one.path == CHECKOUT / "models" / "human-mini"
    assert one.n_bytes <= 20e6
    assert (one.n_landmarks, one.n_targets) == (len(model.landmarks), len(model.targets))
    assert model.half_precision
    assert model.simulated is False
    # All that a target is known by is free to be passed on.
    assert set(model.targets.probes) == {()}


def test_the_landmarks_are_those_of_l1000(model) -> None:
    columns = dict(read_text(landmark_file("l1000")).columns)
    assert set(model.landmarks.entrez) == set(columns["entrez"])
    probes = dict(zip(columns["entrez"], columns["probe"], strict=True))
    of_model = zip(model.landmarks.entrez, model.landmarks.probes, strict=True)
    assert all(found == (probes[entrez],) for entrez, found in of_model)


def test_it_holds_no_profile(model) -> None:
    """By its record and the names and sizes of its tensors; `dgex fit`'s tests look at values."""
    assert model.record["settings"]["fit"]["weights_only"] is True
    assert model.method.settings["centres"] == "made up"
    assert set(model.method.tensors) == {"centres", "dual", "weights"}
    known = model.uncertainty
    n = model.record["study"]["profiles"]["tr"]
    assert len(known.anchors) <= n / LEAST
    assert {name.rpartition("/")[2] for name in known.tensors()} == {
        *("anchors", "components", "own", "widths")
    }


def test_a_prediction_is_what_it_was(tmp_path, capsys) -> None:
    """Two made-up profiles of the 978 landmarks, by symbol, as a GCT of L1000 values."""
    columns = dict(read_text(landmark_file("l1000")).columns)
    places = np.arange(len(columns["symbol"]))
    level, change = 8 + 3 * np.sin(0.7 * places), np.cos(1.3 * places)
    rows = [
        f"{symbol}\tna\t{one:.3f}\t{other:.3f}"
        for symbol, one, other in zip(columns["symbol"], level, level + change, strict=True)
    ]
    plate = tmp_path / "plate.gct"
    plate.write_text(
        "\n".join(["#1.2", f"{len(rows)}\t2", "Name\tDescription\tone\ttwo", *rows]) + "\n"
    )
    out = tmp_path / "out.tsv"
    words = ["predict", "human-mini", str(plate), "-o", str(out), "--platform", "l1000", "-q"]
    assert main([*words, "--genes", "ACTB,VIM,ESR1,SPRY2", "--ids", "symbol"]) == 0
    header, *lines = out.read_text().splitlines()
    assert header.split("\t") == ["profile", *PREDICTED]
    found = np.array([line.split("\t")[1:] for line in lines], float)
    np.testing.assert_allclose(found.T, [*PREDICTED.values()], atol=2e-4)
    assert "978 of 978 landmarks" in capsys.readouterr().out


PREDICTED = {
    "VIM": (-0.46737, -0.54446),
    "SPRY2": (0.23610, 0.12803),
    "ACTB": (-0.13495, -0.10936),
    "ESR1": (-0.56761, -0.56324),
}


def test_its_card_says_what_it_says_of_itself(model) -> None:
    text = starter.CARD.read_text(encoding="utf-8")
    n = model.record["study"]["profiles"]
    assert f"**It was trained on {n['tr']} profiles. That is very few**" in text
    (row,) = re.findall(
        r"^\| (\d+) arrays, held-out series \| ([\d,]+) \| ([\d.]+) \|", text, re.MULTILINE
    )
    error = f"{model.errors['te'].mean():.4f}"
    assert row == (str(n["te"]), f"{len(model.targets):,}", error)


def test_without_the_arrays_one_line_says_what_is_missing(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(starter, "ARRAYS", (tmp_path / "arrays.gctx",))
    assert starter.main([]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "arrays.gctx: no such file: what human-mini is trained and judged on is no part" in said
