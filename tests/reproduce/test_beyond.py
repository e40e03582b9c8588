"""The comparison beyond the paper: resumed, scaled on training, its numbers by hand, its forms."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from dgex_jax.methods.linear import fit_ridge
from dgex_jax.model.fit import tables_of
from dgex_jax.prepare.prepared import open_prepared
from reproduce import beyond, report
from reproduce.baselines import fit_baseline
from reproduce.workspace import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

METHODS = ["LR-L2", "D-GEX", "kernel-ridge", "stack"]


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_study):
    """Two splits and a learning curve of the tiny study, with a stack of two members."""
    folder = tmp_path_factory.mktemp("beyond")
    study = write_study(folder / "tiny.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beyond, "members_for", lambda _n: ("ridge", "kernel-ridge"))
        patch.setattr(beyond, "CURVE_SIZES", (40,))
        words = ["--study", str(study), "--out", str(folder), "--splits", "2"]
        assert beyond.main([*words, "--methods", *METHODS]) == 0
        yield folder / "tiny", words, patch


def measured(folder: Path, name: str) -> dict:
    return json.loads((folder / "beyond" / name / "measured.json").read_text())


def test_the_table_holds_means_over_splits_and_paired_differences(made) -> None:
    folder, _, _ = made
    table = pd.read_csv(folder / "tables" / "beyond.csv")
    splits = [measured(folder, f"random-{seed}") for seed in (1, 2)]
    assert list(dict.fromkeys(table["method"])) == METHODS
    assert set(table["data"]) == {"simulated"}
    for _, row in table.iterrows():
        errors = np.array([one["methods"][row["method"]]["errors"][row["part"]] for one in splits])
        theirs = np.array([one["methods"]["D-GEX"]["errors"][row["part"]] for one in splits])
        assert row["error"] == pytest.approx(errors.mean(), rel=1e-4)
        assert row["sd"] == pytest.approx(errors.std(ddof=1), rel=1e-3, abs=1e-6)
        assert row["difference"] == pytest.approx((errors - theirs).mean(), rel=1e-3, abs=1e-6)
    text = (folder / "tables" / "beyond.md").read_text()
    assert "(simulated data)" in text
    assert "90 % intervals of the stack cover" in text
    assert "| 40 |" in text
    for ending in ("png", "pdf", "csv"):
        assert (folder / "figures" / f"beyond.{ending}").stat().st_size > 1000


def test_every_split_is_another_and_scaled_on_training_alone(made) -> None:
    folder, words, _ = made
    profiles = []
    for seed in (1, 2):
        with open_prepared(folder / "beyond" / f"random-{seed}" / "prepared.h5") as study:
            assert study.settings["prepare"]["scale_on"] == "train"
            assert study.settings["prepare"]["seed"] == seed
            X = study.X("tr").astype(np.float64)
            np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-5)
            profiles.append(study.profiles("te"))
            found = measured(folder, f"random-{seed}")
            tables = tables_of(study, "1000G")
            ridge = np.abs(fit_ridge(tables).predict(study.X("GTEx")) - study.Y("GTEx")).mean()
            assert found["methods"]["LR-L2"]["errors"]["GTEx"] == pytest.approx(ridge, rel=1e-4)
    assert set(profiles[0]) != set(profiles[1])
    # On a part of training the first profiles are learnt from.
    space = open_workspace(words[1], None)
    small = measured(folder, "random-1-40")
    with open_prepared(folder / "beyond" / "random-1" / "prepared.h5") as study:
        job = beyond._Job(space.study, study, beyond.Split(1, False, 40), {}, ())
        errors = fit_baseline("LR-L2", space.study.baselines, job._arrays(1), lambda _n: None)
    assert small["methods"]["LR-L2"]["errors"]["te"] == pytest.approx(errors.errors["te"].mean())
    assert small["n_train"] == 40


def test_the_network_is_chosen_on_the_first_split_by_validation(made) -> None:
    folder, _, _ = made
    first, second = (measured(folder, f"random-{seed}") for seed in (1, 2))
    assert first["methods"]["D-GEX"]["n_trained"] > 2
    assert second["methods"]["D-GEX"]["n_trained"] <= 2
    assert first["methods"]["D-GEX"]["chosen"] == second["methods"]["D-GEX"]["chosen"]


def test_what_is_there_is_not_measured_again(made, capsys) -> None:
    folder, words, patch = made
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("measured.json")}
    with pytest.MonkeyPatch.context() as more:
        more.setattr(beyond, "_Job", None)
        assert beyond.main([*words, "--methods", *METHODS]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("measured.json")} == before
    assert "Beyond the paper, study tiny" in capsys.readouterr().out
    del patch


def test_the_report_has_it_while_the_study_is_the_same(made) -> None:
    folder, words, _ = made
    space = open_workspace(words[1], folder.parent)
    shown = report._beyond(space)
    assert "kernel-ridge" in shown.html
    assert shown.image.width > 300
    training = dataclasses.replace(space.study.training, epochs=9)
    other = dataclasses.replace(space, study=dataclasses.replace(space.study, training=training))
    assert report._beyond(other) is None


def test_what_is_refused(made, capsys) -> None:
    _, words, _ = made
    for more, cause in (
        (["--splits", "0"], "must be a count, at least 1"),
        (["--methods", "magic"], "invalid choice: 'magic'"),
        (["--choosers", "te", "--methods", "LR"], "'te' is no validation part of the study: va"),
    ):
        try:
            code = beyond.main([*words, *more])
        except SystemExit as stopped:
            code = stopped.code
        assert code == 2
        assert cause in capsys.readouterr().err
