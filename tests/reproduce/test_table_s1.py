"""Table S1 says what the configuration says, and marks what is not the original's."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from dgex_jax.config import GridConfig, TrainingConfig
from dgex_jax.parts import PAPER
from reproduce.settings import settings

CHANGED = {
    "epochs": 7,
    "batch_size": 11,
    "learning_rate": 0.125,
    "monitor_size": 13,
    "momentum": 0.25,
    "seed": 17,
    "halves": 1,
    "precision": "tf32",
    "pretrain": "autoencoder",
}


def test_the_default_is_the_original() -> None:
    rows = settings(GridConfig(), TrainingConfig(), PAPER)
    assert all(one.ours == one.original for one in rows)
    assert all(one.decided_by for one in rows)
    by_name = {one.name: one.ours for one in rows}
    assert by_name["hidden units of each layer"] == "3,000, 6,000, 9,000"
    assert by_name["dropout rates"] == "0%, 10%, 25%"
    assert by_name["epochs"] == "200"
    assert by_name["momentum"] == "0.5"
    assert by_name["learning rate"].startswith("0.0005 with one hidden layer, 0.0003 with two")


@pytest.mark.parametrize("key", CHANGED)
def test_every_setting_of_the_training_has_a_line(key) -> None:
    faithful = settings(GridConfig(), TrainingConfig(), PAPER)
    changed = settings(GridConfig(), TrainingConfig(**{key: CHANGED[key]}), PAPER)
    different = [
        (mine, other) for mine, other in zip(changed, faithful, strict=True) if mine != other
    ]
    assert len(different) == 1
    ((mine, other),) = different
    assert mine.ours != mine.original == other.original


def test_no_setting_is_left_out() -> None:
    """`pretrain_epochs` has no effect, and no line, without an autoencoder."""
    fields = {field.name for field in dataclasses.fields(TrainingConfig)}
    assert fields == {*CHANGED, "pretrain_epochs"}
    training = TrainingConfig(pretrain="autoencoder", pretrain_epochs=3)
    ours = settings(GridConfig(), training, PAPER)
    assert "a denoising autoencoder (3 epochs a layer)" in [one.ours for one in ours]


def test_files(made) -> None:
    rows = pd.read_csv(made.space.tables / "tableS1.csv").set_index("setting")
    training = made.space.study.training
    assert rows["this study"]["epochs"] == f"{training.epochs}"
    assert rows["this study"]["learning rate"] == "0.01"
    text = (made.space.tables / "tableS1.md").read_text(encoding="utf-8")
    assert f"| epochs | **{training.epochs}** | 200 |" in text
    assert "| momentum | 0.5 | 0.5 |" in text
    latex = (made.space.tables / "tableS1.tex").read_text(encoding="utf-8")
    assert r"0\%, 10\%, 25\%" in latex
