"""``dgex evaluate`` from raw files to scores, and what it refuses in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dgex_jax import cli
from dgex_jax.cli import main
from dgex_jax.config import NetworkConfig
from dgex_jax.data.prepared import Prepared, open_prepared
from dgex_jax.inference.model import Model, ModelGenes
from dgex_jax.inference.modelfile import read_model, write_model

RAW = Path(__file__).parents[1] / "golden" / "preprocess"
PARTS = ("va", "te", "1000G", "GTEx")
UNITS = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with two prepared studies of the same files, and a model that knows the first."""
    folder = tmp_path_factory.mktemp("evaluate")
    flags = ["--geo", RAW / "geo.gctx", "--gtex", RAW / "gtex.gct.gz"]
    flags += ["--1000g", RAW / "1000g.txt.gz"]
    flags += ["--landmarks", RAW / "map_lm.txt", "--targets", RAW / "map_tg.txt", "-q"]
    for name, seed in (("own.h5", 1), ("other.h5", 2)):
        assert run("prepare", *flags, "--seed", seed, "-o", folder / name) == 0
    with open_prepared(folder / "own.h5") as study:
        write_model(folder / "model", model_of(study))
    return folder


def model_of(study: Prepared) -> Model:
    """Two halves of drawn weights for all genes of a study."""
    rng = np.random.default_rng(1)
    sizes = tuple(len(range(*half.indices(study.n_targets))) for half in study.halves)
    shapes = [
        {"hidden1": (study.n_landmarks, UNITS), "output": (UNITS, n_targets)} for n_targets in sizes
    ]
    return Model(
        landmarks=genes_of(study, "landmark", "X"),
        targets=genes_of(study, "target", "Y"),
        network=NetworkConfig(1, UNITS, 0.1),
        halves=[
            {
                name: {
                    "kernel": rng.normal(scale=0.3, size=shape).astype(np.float32),
                    "bias": rng.normal(size=shape[1]).astype(np.float32),
                }
                for name, shape in half.items()
            }
            for half in shapes
        ],
        half_sizes=sizes,
        selected_on="va",
        quantile=study.quantile,
        landmark_quantile=study.landmark_quantile,
        errors={},
        record={"study": {"prepared_sha256": study.sha256}},
        copy_of_landmark=study.copy_of_landmark,
    )


def genes_of(study: Prepared, role: str, kind: str) -> ModelGenes:
    ids = getattr(study, f"{role}_ensembl")
    mean, sd = study.scaling("tr", kind)
    return ModelGenes(ids, ids, ids, getattr(study, f"{role}_probes"), mean, sd + 1e-3)


def oracle(model: Model, study: Prepared, part: str) -> np.ndarray:
    """MAE of every target in plain NumPy, float64."""
    X = study.X(part).astype(np.float64)
    inferred = [
        np.tanh(X @ half["hidden1"]["kernel"] + half["hidden1"]["bias"]) @ half["output"]["kernel"]
        + half["output"]["bias"]
        for half in model.halves
    ]
    return np.abs(np.concatenate(inferred, axis=1) - study.Y(part)).mean(axis=0)


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_own_study(made, tmp_path, capsys) -> None:
    table, again = tmp_path / "genes.tsv", tmp_path / "again.tsv"
    for path in (table, again):
        assert run("evaluate", made / "model", made / "own.h5", "-q", "-o", path) == 0
        found = capsys.readouterr()
        assert found.err == ""
        assert "sha256" not in found.out
    assert table.read_bytes() == again.read_bytes()
    by_gene = pd.read_csv(table, sep="\t")
    with open_prepared(made / "own.h5") as study:
        model = read_model(made / "model")
        assert tuple(by_gene["ensembl"]) == study.targets
        for part, name in zip(PARTS, ("GEO-va", "GEO-te", "1000G-va", "GTEx-te"), strict=True):
            mae = oracle(model, study, part)
            np.testing.assert_allclose(by_gene[f"MAE_{part}"], mae, rtol=0, atol=1e-5)
            (line,) = (line for line in found.out.splitlines() if line.startswith(name))
            said = [float(cell) for cell in re.findall(r"(\S+) ± (\S+)", line)[0]]
            assert said == pytest.approx([mae.mean(), mae.std()], abs=6e-5)


def test_another_study_and_json(made, capsys) -> None:
    """Another seed shuffles the same genes and profiles."""
    assert run("evaluate", made / "model", made / "other.h5", "--parts", "GTEx", "tr") == 0
    text = capsys.readouterr().out
    assert "other.h5: not the study that " in text
    words = ["evaluate", made / "model", made / "own.h5", "--parts", "GTEx", "tr", "--json"]
    assert run(*words) == 0
    own = json.loads(capsys.readouterr().out)
    words[2] = made / "other.h5"
    assert run(*words) == 0
    other = json.loads(capsys.readouterr().out)
    assert (own["own_study"], other["own_study"]) == (True, False)
    assert list(other["parts"]) == ["GTEx", "tr"]
    assert other["targets_left_out"] == 0
    # RNA-seq has no split: the same profiles and genes, in another order.
    pairs = [study["parts"]["GTEx"]["all"]["MAE"].values() for study in (own, other)]
    np.testing.assert_allclose(*map(list, pairs), rtol=1e-6)


def test_progress(made, capsys, monkeypatch) -> None:
    monkeypatch.setattr("dgex_jax.data.progress.SECONDS_BETWEEN_LINES", 0.0)
    assert run("evaluate", made / "model", made / "own.h5", "--parts", "te") == 0
    assert capsys.readouterr().err.startswith("GEO-te: ")


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["nothing", "own.h5"], "nothing: no such model folder"),
        (["model", "nothing.h5"], "nothing.h5: "),
        (["model", "model/genes.tsv"], "is neither a prepared study"),
        (["model", "own.h5", "--parts", "va", "va"], "parts: 'va' is named twice"),
        (["model", "own.h5", "--parts", "GEO"], "argument --parts: invalid choice: 'GEO'"),
        (["model", "own.h5", "-o", "own.h5"], "own.h5: is the study, it is not written over"),
        (["model", "own.h5", "-o", "genes.csv"], "genes.csv: the table is tab-separated, its name"),
        (["model", "own.h5", "-o", "model/x.tsv"], "x.tsv: a model folder holds nothing but"),
        (["model", "own.h5", "-o", "no/x.tsv"], "x.tsv: can't be written: No such file"),
        (["model"], "the following arguments are required: PREPARED"),
    ],
)
def test_what_is_refused(made, capsys, monkeypatch, words, cause) -> None:
    monkeypatch.chdir(made)
    before = sorted(made.rglob("*"))
    try:
        code = run("evaluate", *words)
    except SystemExit as stop:
        code = stop.code
    found = capsys.readouterr()
    assert (code, found.out) == (2, "")
    assert cause in found.err
    assert found.err.count("\n") == 1
    assert sorted(made.rglob("*")) == before


@pytest.mark.parametrize("name", ["evaluate", "train"])
def test_examples_of_the_help_are_commands(name, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        run(name, "--help")
    assert stop.value.code == 0
    examples = capsys.readouterr().out.split("\nexamples:\n")[1].strip()
    for line in examples.splitlines():
        words = line.strip().split("   ")[0].split()
        assert words[:2] == ["dgex", name]
        assert callable(cli.parser().parse_args(words[1:]).run)
