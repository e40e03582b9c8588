"""``dgex evaluate`` from raw files to scores, and what it refuses in one line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from dgex_jax.config import NetworkConfig
from dgex_jax.methods.network import network
from dgex_jax.model.model import Model, ModelGenes, read_model, write_model
from dgex_jax.parts import PAPER
from dgex_jax.prepare.prepared import Prepared, open_prepared
from tests.cli.case import RAW, command, words_of
from tests.inference.conftest import drawn_half, infer

if TYPE_CHECKING:
    from pathlib import Path

UNITS = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with two prepared studies of the same files, and a model that knows the first."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name, seed in (("own.h5", 1), ("other.h5", 2)):
        output = folder / name
        assert command("prepare", *words_of(RAW), "-q", "--seed", seed, "-o", output) == 0
    with open_prepared(folder / "own.h5") as study:
        write_model(folder / "model", model_of(study))
    return folder


def model_of(study: Prepared) -> Model:
    """Two halves of drawn weights for all genes of a study."""
    rng = np.random.default_rng(1)
    sizes = tuple(len(range(*half.indices(study.n_targets))) for half in study.halves)

    def genes(role: str, kind: str) -> ModelGenes:
        ids = getattr(study, f"{role}_ensembl")
        mean, sd = study.scaling("tr", kind)
        return ModelGenes(ids, ids, ids, getattr(study, f"{role}_probes"), mean, sd + 1e-3)

    return Model(
        landmarks=genes("landmark", "X"),
        targets=genes("target", "Y"),
        method=network(
            NetworkConfig(1, UNITS, 0.1),
            [drawn_half(rng, [study.n_landmarks, UNITS, n]) for n in sizes],
        ),
        selected_on="va",
        parts=PAPER,
        quantile=study.quantile,
        landmark_quantile=study.landmark_quantile,
        errors={},
        record={"study": {"prepared_sha256": study.sha256}},
        copy_of_landmark=study.copy_of_landmark,
    )


def oracle(model: Model, study: Prepared, part: str) -> np.ndarray:
    """MAE of every target in plain NumPy, float64."""
    return np.abs(infer(model, study.X(part)) - study.Y(part)).mean(axis=0)


def test_own_study(made, tmp_path, capsys) -> None:
    table, again = tmp_path / "genes.tsv", tmp_path / "again.tsv"
    for path in (table, again):
        assert command("evaluate", made / "model", made / "own.h5", "-q", "-o", path) == 0
        found = capsys.readouterr()
        assert found.err == ""
        assert "sha256" not in found.out
    assert table.read_bytes() == again.read_bytes()
    by_gene = pd.read_csv(table, sep="\t")
    with open_prepared(made / "own.h5") as study:
        model = read_model(made / "model")
        assert tuple(by_gene["ensembl"]) == study.targets
        for part in PAPER.evaluated:
            mae = oracle(model, study, part)
            np.testing.assert_allclose(by_gene[f"MAE_{part}"], mae, rtol=0, atol=1e-5)
            lines = found.out.splitlines()
            (line,) = (line for line in lines if line.startswith(PAPER.label(part)))
            said = [float(cell) for cell in re.findall(r"(\S+) ± (\S+)", line)[0]]
            assert said == pytest.approx([mae.mean(), mae.std()], abs=6e-5)


def test_another_study_and_json(made, capsys) -> None:
    """Another seed shuffles the same genes and profiles."""
    parts = ("--parts", "GTEx", "tr")
    assert command("evaluate", made / "model", made / "other.h5", *parts) == 0
    assert "other.h5: not the study that " in capsys.readouterr().out
    found = []
    for name in ("own.h5", "other.h5"):
        assert command("evaluate", made / "model", made / name, *parts, "--json") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert [one["own_study"] for one in found] == [True, False]
    assert list(found[1]["parts"]) == ["GTEx", "tr"]
    assert found[1]["targets_left_out"] == 0
    # RNA-seq has no split: the same profiles and genes, in another order.
    pairs = [one["parts"]["GTEx"]["all"]["MAE"].values() for one in found]
    np.testing.assert_allclose(*map(list, pairs), rtol=1e-6)


def test_progress(made, capsys, monkeypatch) -> None:
    monkeypatch.setattr("dgex_jax.io.progress.SECONDS_BETWEEN_LINES", 0.0)
    assert command("evaluate", made / "model", made / "own.h5", "--parts", "te") == 0
    assert capsys.readouterr().err.startswith("GEO-te: ")


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["nothing", "own.h5"], "nothing: no such model folder"),
        (["model", "nothing.h5"], "nothing.h5: "),
        (["model", "model/genes.tsv"], "is neither a prepared study"),
        (["model", "own.h5", "--parts", "va", "va"], "parts: 'va' is named twice"),
        (
            ["model", "own.h5", "--parts", "GEO"],
            "own.h5: has no part 'GEO', only tr, va, te, 1000G, GTEx",
        ),
        (["model", "own.h5", "-o", "own.h5"], "own.h5: is an input, it is not written over"),
        (["model", "own.h5", "-o", "genes.csv"], "genes.csv: the table is tab-separated, its name"),
        (["model", "own.h5", "-o", "model/x.tsv"], "x.tsv: a model folder holds nothing but"),
        (["model", "own.h5", "-o", "no/x.tsv"], "x.tsv: can't be written: No such file"),
        (["model"], "the following arguments are required: PREPARED"),
    ],
)
def test_what_is_refused(refused, made, monkeypatch, words, cause) -> None:
    monkeypatch.chdir(made)
    before = sorted(made.rglob("*"))
    assert cause in refused(command, "evaluate", *words)
    assert sorted(made.rglob("*")) == before
