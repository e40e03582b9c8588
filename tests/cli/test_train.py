"""``dgex train`` against the recorded one-layer run of the original, and its run folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from tests.cli.case import GOLDEN, PARTS, RECORDED, STUDY_A, command, snapshot, train

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Recorded:
    folder: Path
    log: pd.DataFrame
    original: np.ndarray
    study: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Recorded:
    """The recorded one-layer run of the original, repeated through the command line."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    assert train(STUDY_A, folder) == 0
    with np.load(GOLDEN / "run_a_one_layer.npz") as run, np.load(STUDY_A) as study:
        arrays = {name: study[name].astype(np.float32).astype(np.float64) for name in study}
        log = pd.read_csv(folder / "log.tsv", sep="\t", dtype=str)
        return Recorded(folder, log, run["log"], arrays)


def test_log_has_the_columns_of_the_original(recorded) -> None:
    errors = [column for part in PARTS for column in (f"MAE_{part}", f"d_{part}")]
    assert list(recorded.log) == ["epoch", *errors, "learning_rate", "seconds"]
    assert list(recorded.log["epoch"]) == [str(epoch) for epoch in range(60)]
    assert not (recorded.folder / "log_half1.tsv").exists()


def test_log_repeats_the_recorded_run(recorded) -> None:
    ours = recorded.log[[f"MAE_{part}" for part in PARTS]].to_numpy(str).astype(np.float64)
    np.testing.assert_allclose(ours, recorded.original[:, :5], rtol=0, atol=1e-7)
    rates = recorded.log["learning_rate"].to_numpy(str).astype(np.float32)
    np.testing.assert_array_equal(rates, recorded.original[:, 5].astype(np.float32))
    assert len(set(rates.tolist())) == 17
    previous = np.vstack([np.full(5, 10.0), ours[:-1]])
    change = recorded.log[[f"d_{part}" for part in PARTS]].to_numpy(str).astype(np.float64)
    np.testing.assert_allclose(change, (ours - previous) / previous, rtol=1e-4, atol=1e-12)
    assert (recorded.log["seconds"].to_numpy(str).astype(float) > 0).all()


def forward(path: Path, X: np.ndarray) -> np.ndarray:
    """Infer all targets from kept weights, in float64."""
    weights = {name: array.astype(np.float64) for name, array in load_file(path).items()}
    hidden = np.tanh(X @ weights["half1/W0"] + weights["half1/b0"])
    return hidden @ weights["half1/W1"] + weights["half1/b1"]


@pytest.mark.parametrize(
    ("name", "parts", "column"), [("va", ("va", "te"), 0), ("1000G", ("1000G", "GTEx"), 2)]
)
def test_kept_weights_are_those_of_the_best_recorded_epoch(recorded, name, parts, column) -> None:
    epoch = int(np.argmin(recorded.original[:, column]))
    assert epoch == {"va": 49, "1000G": 54}[name]
    done = json.loads((recorded.folder / "done.json").read_text())
    assert done[f"best_{name}_epochs"] == [epoch]
    path = recorded.folder / f"best_{name}.safetensors"
    shapes = {key: array.shape for key, array in load_file(path).items()}
    assert shapes == {
        "half1/W0": (24, 48),
        "half1/b0": (48,),
        "half1/W1": (48, 40),
        "half1/b1": (40,),
    }
    for part in parts:
        distance = np.abs(forward(path, recorded.study[f"X_{part}"]) - recorded.study[f"Y_{part}"])
        logged = recorded.original[epoch, PARTS.index(part)]
        assert distance.mean() == pytest.approx(logged, abs=1e-7)


def test_errors_of_every_target(recorded) -> None:
    table = pd.read_csv(recorded.folder / "errors.tsv", sep="\t")
    assert list(table) == ["target", "symbol", "half", "copy_of_landmark"] + [
        f"MAE_{part}" for part in PARTS[:4]
    ]
    assert list(table["target"]) == [f"T{number:04d}" for number in range(1, 41)]
    assert set(table["half"]) == {1}
    assert not table["copy_of_landmark"].any()
    for part, best in (("va", "va"), ("te", "va"), ("1000G", "1000G"), ("GTEx", "1000G")):
        predicted = forward(
            recorded.folder / f"best_{best}.safetensors", recorded.study[f"X_{part}"]
        )
        by_gene = np.abs(predicted - recorded.study[f"Y_{part}"]).mean(axis=0)
        np.testing.assert_allclose(table[f"MAE_{part}"], by_gene, rtol=0, atol=1e-6)
    for part in ("va", "1000G"):
        logged = recorded.log[f"MAE_{part}"].to_numpy(str).astype(np.float64)
        assert table[f"MAE_{part}"].mean() == pytest.approx(logged.min(), abs=1e-7)


def test_run_is_described_and_marked_done_last(recorded) -> None:
    config = json.loads((recorded.folder / "config.json").read_text())
    assert config["prepared_sha256"] == hashlib.sha256(STUDY_A.read_bytes()).hexdigest()
    assert config["network"] == {"hidden_layers": 1, "units": 48, "dropout": 0.0}
    assert config["training"]["learning_rate"] == 1.2e-2
    assert config["versions"]["jax"] == jax.__version__
    done = json.loads((recorded.folder / "done.json").read_text())
    # By which versions it was trained is kept, and makes no other run of it.
    del config["versions"]
    hashed = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    assert done["config_hash"] == hashed
    times = {path.name: path.stat().st_mtime_ns for path in recorded.folder.iterdir()}
    assert times.pop("done.json") >= max(times.values())


def test_second_call_trains_nothing(recorded, capsys) -> None:
    before = snapshot(recorded.folder)
    assert train(STUDY_A, recorded.folder) == 0
    assert "was trained before" in capsys.readouterr().out
    assert snapshot(recorded.folder) == before


def test_another_run_needs_overwrite(recorded, capsys, tmp_path) -> None:
    folder = tmp_path / "one"
    shutil.copytree(recorded.folder, folder)
    other = tmp_path / "other.npz"
    with np.load(STUDY_A) as arrays:
        np.savez(other, **dict(arrays))
    before = snapshot(folder)
    for study, changes, differs in (
        (STUDY_A, {"seed": 2}, "training"),
        (STUDY_A, {"dropout": 0.1}, "network"),
        (other, {}, "prepared_sha256, study"),
    ):
        assert train(study, folder, **changes) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"{folder}: holds another run (it differs in {differs}); choose another" in error
        assert "--overwrite" in error
        assert snapshot(folder) == before
    assert train(STUDY_A, folder, "--overwrite", epochs=2) == 0
    assert len((folder / "log.tsv").read_text().splitlines()) == 3
    assert json.loads((folder / "config.json").read_text())["training"]["epochs"] == 2


def test_an_unfinished_run_is_trained_again(recorded, tmp_path) -> None:
    folder = tmp_path / "one"
    shutil.copytree(recorded.folder, folder)
    (folder / "done.json").unlink()
    (folder / "log.tsv").write_text("half a li")
    assert train(STUDY_A, folder) == 0
    drop = ["seconds"]
    again = pd.read_csv(folder / "log.tsv", sep="\t", dtype=str)
    pd.testing.assert_frame_equal(again.drop(columns=drop), recorded.log.drop(columns=drop))
    for name in ("errors.tsv", "best_va.safetensors", "best_1000G.safetensors"):
        assert (folder / name).read_bytes() == (recorded.folder / name).read_bytes()


def test_progress_is_one_line_an_epoch(recorded, tmp_path, capsys) -> None:
    arguments = ["train", STUDY_A, "-o", tmp_path / "one"]
    for key, value in (RECORDED | {"epochs": 3}).items():
        arguments += [f"--{key}", value]
    assert command(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[:-1]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert f"GEO-va {recorded.original[2, 0]:.4f}" in lines[2]
    assert "rate 1.20e-02" in lines[0]
    assert lines[-1] == f"{tmp_path / 'one'}: trained"


def test_gpus_that_are_not_here_are_said(recorded, tmp_path, capsys) -> None:
    assert train(STUDY_A, tmp_path / "run", "--gpus", 3, epochs=1) == 0
    if jax.local_devices()[0].platform == "cpu":
        assert "3 GPU(s) asked for, none here: training on " in capsys.readouterr().err
    first = pd.read_csv(tmp_path / "run" / "log.tsv", sep="\t", dtype=str)
    assert first["MAE_va"][0] == recorded.log["MAE_va"][0]
