"""``dgex fit``: from a study to a model that every other command takes."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dgex_jax.methods import members, residual
from dgex_jax.model import fit as fit_module
from dgex_jax.model.model import read_model
from dgex_jax.prepare.prepared import open_prepared
from tests.cli.case import command

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick_compilation")

STUDY = """
name = "few"
title = "Few made-up profiles"
[simulate]
seed = 5
n_profiles = 240
n_gtex = 40
n_1000g = 40
n_landmarks = 40
n_targets = 121
missing_landmarks = 1
missing_targets = 1
n_other_genes = 40
extra_probes = 40
n_tissues = 4
n_regulators = 8
n_programmes = 4
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    (folder / "few.toml").write_text(STUDY)
    assert command("prepare", folder / "few.toml", "-o", folder / "few.h5", "-q") == 0
    return folder / "few.h5"


def test_a_stack_is_fitted_told_and_used(prepared, tmp_path, capsys) -> None:
    model = tmp_path / "model"
    assert command("fit", prepared, "-o", model, "-q") == 0
    said = capsys.readouterr().out
    names = members.members_for(200)
    table = [line.split() for line in said.splitlines() if line.split()[0] in names]
    assert [row[0] for row in table] == list(names)
    weights = np.array([float(row[2]) for row in table])
    words = re.findall(rf"^{re.escape(str(model))}: (.*) \(simulated", said, re.MULTILINE)
    assert set(re.findall(r"[a-z][a-z-]+", *words)) <= set(names)
    assert weights.sum() == pytest.approx(1, abs=0.02)
    read = read_model(model)
    assert read.method.kind in {"stack", "kernel", "linear", "sample_lasso"}
    # What it says of itself is what is measured again.
    assert command("evaluate", model, prepared, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    for part, errors in read.errors.items():
        assert found["parts"][part]["all"]["MAE"]["mean"] == pytest.approx(errors.mean(), rel=1e-6)
    for part, of_levels in read.record["coverage"].items():
        (told,) = [one for one in of_levels if one["level"] == 0.9]
        assert found["parts"][part]["coverage"] == pytest.approx(told)
    assert f"GEO-te: error {read.errors['te'].mean():.4f} in standardised units" in said
    # Never much worse than its best member, on the part that chose.
    best = min(one["error"] for one in read.record["members"])
    assert read.errors["va"].mean() <= best * 1.001
    assert set(read.r2) == {"te", "GTEx"}
    assert set(read.uncertainty.calibrated) == {"va", "1000G"}
    assert read.record["provenance"]["training"]["made_by"].startswith("dgex fit")
    assert command("info", model) == 0
    said = capsys.readouterr().out
    assert "intervals of 90% cover, on parts that nothing was chosen on" in said
    assert "weights     chosen on GEO-va" in said
    assert "epoch" not in said
    # The same command, the same bytes.
    again = tmp_path / "again"
    assert command("fit", prepared, "-o", again, "-q") == 0
    for name in ("weights.safetensors", "genes.tsv", "uncertainty.safetensors"):
        assert (model / name).read_bytes() == (again / name).read_bytes()


@pytest.mark.parametrize("method", ["ridge", "kernel-ridge", "sample-lasso"])
def test_one_method_alone_chosen_for_rnaseq(prepared, tmp_path, capsys, method) -> None:
    model = tmp_path / "model"
    words = ("--method", method, "--best", "1000G", "-q")
    assert command("fit", prepared, "-o", model, *words) == 0
    said = capsys.readouterr().out
    assert "GTEx-te: error" in said
    # The word of the flag is that of the table and of the model.
    assert f"\n{method} " in said
    assert f"{model}: {method} (simulated data), " in said
    read = read_model(model)
    assert read.method.kind == {"ridge": "linear", "sample-lasso": "sample_lasso"}.get(
        method, "kernel"
    )
    with open_prepared(prepared) as study:
        X, Y = study.X("GTEx"), study.Y("GTEx")
    errors = np.abs(read.method.predict(X) - Y).mean(axis=0)
    np.testing.assert_allclose(read.errors["GTEx"], errors, rtol=1e-5)


def test_weights_alone_in_half_precision(prepared, tmp_path, capsys) -> None:
    """No training profile is in the model, and what it costs is measured and told."""
    model = tmp_path / "model"
    assert command("fit", prepared, "-o", model, "--weights-only", "--half-precision", "-q") == 0
    said = capsys.readouterr().out
    assert "sample-lasso" not in said
    read = read_model(model)
    with open_prepared(prepared) as study:
        X, Y = study.X("tr"), study.Y("tr")
        errors = np.abs(read.method.predict(study.X("te")) - study.Y("te")).mean(axis=0)
    np.testing.assert_allclose(read.errors["te"], errors, rtol=1e-5)
    for tensors in (read.method.tensors, read.uncertainty.tensors()):
        for name, values in tensors.items():
            for table in (X, Y):
                if values.ndim == 2 and values.shape[1] == table.shape[1]:
                    assert np.abs(values[:, None] - table).max(axis=2).min() > 1e-2, name
    cost = read.record["half_precision_cost"]
    assert set(cost) == {"va", "te", "1000G", "GTEx"}
    assert max(map(abs, cost.values())) < 1e-3
    assert f"GEO-te: {cost['te']:+.6f} of that is what half precision costs" in said
    assert command("info", model) == 0
    said = capsys.readouterr().out
    assert "holds       no training profile" in said
    assert "stored as   float16" in said


def test_a_study_file_is_prepared_and_kept_where_asked(prepared, tmp_path, capsys) -> None:
    study, kept, model = prepared.with_name("few.toml"), tmp_path / "kept.h5", tmp_path / "model"
    words = ("--prepared", kept, "--method", "ridge", "-q")
    assert command("fit", study, "-o", model, *words) == 0
    assert kept.exists()
    assert "ridge (simulated data), " in capsys.readouterr().out


def test_time_ends_a_stack(prepared, tmp_path, capsys) -> None:
    model = tmp_path / "model"
    assert command("fit", prepared, "-o", model, "--minutes", "0.0001", "-q") == 0
    said = capsys.readouterr().out
    assert "no time left" in said
    assert read_model(model).record["settings"]["fit"]["minutes"] == 0.0001


def test_what_is_refused_before_the_work(prepared, tmp_path, capsys) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for words, cause in (
        ((prepared, "-o", tmp_path / "m", "--best", "te"), "has no validation part 'te'"),
        ((prepared, "-o", tmp_path / "full"), "is no model folder: it holds notes.txt"),
        ((prepared, "-o", tmp_path / "m", "--minutes", "0"), "minutes = 0.0: must be"),
        ((prepared, "-o", tmp_path / "m", "--method", "magic"), "invalid choice: 'magic'"),
        (
            (prepared, "-o", tmp_path / "m", "--method", "sample-lasso", "--weights-only"),
            "weights_only: sample-lasso is nothing but training profiles",
        ),
        ((tmp_path / "no.h5", "-o", tmp_path / "m"), "no.h5: no such file"),
        ((tmp_path / "no.toml", "-o", tmp_path / "m"), "no.toml"),
        ((prepared, "-o", tmp_path / "m", "--prepared", tmp_path / "p.h5"), "is prepared already"),
    ):
        assert command("fit", *words) == 2
        assert cause in capsys.readouterr().err
        assert sorted(one.name for one in tmp_path.iterdir()) == ["full"]


def test_a_stopped_training_of_networks_resumes(prepared, tmp_path, capsys, monkeypatch) -> None:
    """A failure after training leaves checkpoints beside the model; they go with success."""
    small = {"units": 8, "epochs": 3, "members": 2}
    for name, value in small.items():
        monkeypatch.setattr(residual.ResidualConfig, name, value)
    monkeypatch.setattr(
        residual.ResidualConfig.__init__,
        "__defaults__",
        tuple(
            small.get(field.name, field.default)
            for field in dataclasses.fields(residual.ResidualConfig)
        ),
    )
    model, words = tmp_path / "model", ("--method", "residual-mlp", "-q")
    assert command("fit", prepared, "-o", tmp_path / "straight", *words) == 0
    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "part_scores", lambda *_a, **_k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            command("fit", prepared, "-o", model, *words)
    assert list((tmp_path / "model.fit" / "ensemble").iterdir())
    assert not model.exists()

    def refuse(*_arguments: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(residual, "_refuse_divergence", refuse)
    assert command("fit", prepared, "-o", model, *words) == 0
    assert not (tmp_path / "model.fit").exists()
    weights = [
        (tmp_path / name / "weights.safetensors").read_bytes() for name in ("model", "straight")
    ]
    assert weights[0] == weights[1]
    capsys.readouterr()
