"""``dgex train`` against the recorded one-layer run of the original; and what it refuses."""

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

from tests.cli.case import GOLDEN, PARTS, RECORDED, STUDY_A, command, snapshot, train

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Recorded:
    folder: Path
    log: pd.DataFrame
    original: np.ndarray


def read_log(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "log.tsv", sep="\t", dtype=str)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Recorded:
    """The recorded one-layer run of the original, repeated through the command line."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    assert train(STUDY_A, folder) == 0
    with np.load(GOLDEN / "run_a_one_layer.npz") as run:
        return Recorded(folder, read_log(folder), run["log"])


def test_log_repeats_the_recorded_run(recorded) -> None:
    errors = [column for part in PARTS for column in (f"MAE_{part}", f"d_{part}")]
    assert list(recorded.log) == ["epoch", *errors, "learning_rate", "seconds"]
    assert list(recorded.log["epoch"]) == [str(epoch) for epoch in range(60)]
    assert not (recorded.folder / "log_half1.tsv").exists()
    ours = recorded.log[[f"MAE_{part}" for part in PARTS]].to_numpy(str).astype(np.float64)
    np.testing.assert_allclose(ours, recorded.original[:, :5], rtol=0, atol=1e-7)
    rates = recorded.log["learning_rate"].to_numpy(str).astype(np.float32)
    np.testing.assert_array_equal(rates, recorded.original[:, 5].astype(np.float32))
    assert len(set(rates.tolist())) == 17
    assert (recorded.log["seconds"].to_numpy(str).astype(float) > 0).all()


def test_errors_of_every_target_are_those_of_the_best_recorded_epochs(recorded) -> None:
    table = pd.read_csv(recorded.folder / "errors.tsv", sep="\t")
    columns = [f"MAE_{part}" for part in PARTS[:4]]
    assert list(table) == ["target", "symbol", "half", "copy_of_landmark", *columns]
    assert list(table["target"]) == [f"T{number:04d}" for number in range(1, 41)]
    assert set(table["half"]) == {1}
    assert not table["copy_of_landmark"].any()
    done = json.loads((recorded.folder / "done.json").read_text())
    assert (done["best_va_epochs"], done["best_1000G_epochs"]) == ([49], [54])
    best = [49, 49, 54, 54]
    logged = recorded.original[best, range(4)]
    np.testing.assert_allclose(table[columns].mean(), logged, rtol=0, atol=1e-7)


def test_run_is_described_and_marked_done_last(recorded) -> None:
    config = json.loads((recorded.folder / "config.json").read_text())
    assert config["prepared_sha256"] == hashlib.sha256(STUDY_A.read_bytes()).hexdigest()
    assert config["network"] == {"hidden_layers": 1, "units": 48, "dropout": 0.0}
    assert config["training"]["learning_rate"] == 1.2e-2
    # By which versions it was trained is kept, and makes no other run of it.
    assert config.pop("versions")["jax"] == jax.__version__
    done = json.loads((recorded.folder / "done.json").read_text())
    hashed = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    assert done["config_hash"] == hashed
    times = {path.name: path.stat().st_mtime_ns for path in recorded.folder.iterdir()}
    assert times.pop("done.json") >= max(times.values())


def test_second_call_trains_nothing(recorded, capsys) -> None:
    before = snapshot(recorded.folder)
    assert train(STUDY_A, recorded.folder) == 0
    assert "was trained before" in capsys.readouterr().out
    assert snapshot(recorded.folder) == before


def test_another_run_needs_overwrite(recorded, refused, tmp_path) -> None:
    folder, other = tmp_path / "one", tmp_path / "other.npz"
    shutil.copytree(recorded.folder, folder)
    with np.load(STUDY_A) as arrays:
        np.savez(other, **dict(arrays))
    for study, changes, differs in (
        (STUDY_A, {"seed": 2}, "training"),
        (STUDY_A, {"dropout": 0.1}, "network"),
        (other, {}, "prepared_sha256, study"),
    ):
        error = refused(lambda study=study, changes=changes: train(study, folder, **changes))
        assert f"{folder}: holds another run (it differs in {differs}); choose another" in error
        assert "--overwrite" in error
    assert train(STUDY_A, folder, "--overwrite", epochs=2) == 0
    assert len(read_log(folder)) == 2
    assert json.loads((folder / "config.json").read_text())["training"]["epochs"] == 2


def test_an_unfinished_run_is_trained_again(recorded, tmp_path) -> None:
    folder = tmp_path / "one"
    shutil.copytree(recorded.folder, folder)
    (folder / "done.json").unlink()
    (folder / "log.tsv").write_text("half a li")
    assert train(STUDY_A, folder) == 0
    again, before = (log.drop(columns="seconds") for log in (read_log(folder), recorded.log))
    pd.testing.assert_frame_equal(again, before)
    for name in ("errors.tsv", "best_va.safetensors", "best_1000G.safetensors"):
        assert (folder / name).read_bytes() == (recorded.folder / name).read_bytes()


def test_progress_is_one_line_an_epoch(recorded, tmp_path, capsys) -> None:
    flags = [text for key, value in RECORDED.items() for text in (f"--{key}", value)]
    assert command("train", STUDY_A, "-o", tmp_path / "one", *flags, "--epochs", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[:-1]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert f"GEO-va {recorded.original[2, 0]:.4f}" in lines[2]
    assert "rate 1.20e-02" in lines[0]
    assert lines[-1] == f"{tmp_path / 'one'}: trained"


def test_gpus_that_are_not_here_are_said(recorded, tmp_path, capsys) -> None:
    assert train(STUDY_A, tmp_path / "run", "--gpus", 3, epochs=1) == 0
    if jax.local_devices()[0].platform == "cpu":
        assert "3 GPU(s) asked for, none here: training on " in capsys.readouterr().err
    assert read_log(tmp_path / "run")["MAE_va"][0] == recorded.log["MAE_va"][0]


def test_learning_rate_auto_is_the_paper_rate(tmp_path) -> None:
    assert train(STUDY_A, tmp_path / "run", epochs=1, learning_rate="auto") == 0
    assert np.float32(read_log(tmp_path / "run")["learning_rate"][0]) == np.float32(5e-4)


def test_divergence_is_one_line_and_keeps_no_network(tmp_path, capsys) -> None:
    folder = tmp_path / "one"
    assert train(STUDY_A, folder, learning_rate=100) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no longer finite after epoch " in error
    assert "at learning rate 100" in error
    assert {path.name for path in folder.iterdir()} == {"config.json", "log.tsv"}
    # The same folder can be used again at once, for a run that goes well.
    assert train(STUDY_A, folder, "--overwrite", epochs=1) == 0


def test_npz_faults(refused, tmp_path) -> None:
    """One line each; all of them are tested where prepared studies are read."""
    path = tmp_path / "study.npz"
    with np.load(STUDY_A) as file:
        arrays = dict(file)
    arrays["Y_1000G"][3, 5] = np.nan
    for message in (
        "Y_1000G: 1 values are not finite, the first in row 4, column 6",
        "has no array Y_1000G",
    ):
        np.savez(path, **arrays)
        assert f"{path}: {message}" in refused(lambda: train(path, tmp_path / "run"))
        arrays.pop("Y_1000G", None)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--gpus", "0", "--gpus 0: must be at least 1"),
        ("--gpus", "-1", "--gpus -1: must be at least 1"),
        ("--gpus", "two", "argument --gpus: invalid int value: 'two'"),
        ("--dropout", "1", "dropout = 1.0: must be between 0.0 and 0.99"),
        ("--dropout", "10%", "argument --dropout: invalid float value: '10%'"),
        ("--dropout", "nan", "dropout = nan: must be"),
        ("--hidden-layers", "4", "hidden_layers = 4: must be between 1 and 3"),
        ("--units", "0", "units = 0: must be between 1"),
        ("--units", "1" + "0" * 30, "must be between 1 and 1000000"),
        ("--epochs", "0", "epochs = 0: must be at least 1"),
        ("--batch-size", "0", "batch_size = 0: must be at least 1"),
        ("--learning-rate", "fast", "argument --learning-rate: invalid"),
        ("--learning-rate", "0", "learning_rate = 0.0: must be"),
        ("--monitor-size", "0", "monitor_size = 0: must be at least 1"),
        ("--momentum", "2", "momentum = 2.0: must be between 0.0 and 1.0"),
        ("--seed", "-1", "seed = -1: must be between"),
        ("--halves", "3", "halves = 3: must be between 1 and 2"),
        ("--precision", "half", "argument --precision: invalid choice: 'half'"),
        ("--epoch", "3", "unrecognized arguments: --epoch 3"),
    ],
)
def test_options_of_train_that_can_not_be_used(refused, tmp_path, flag, value, message) -> None:
    folder = tmp_path / "run"
    assert message in refused(command, "train", STUDY_A, "-o", folder, flag, value)


def test_run_folders_that_can_not_be_used(refused, tmp_path) -> None:
    file, stranger = tmp_path / "file", tmp_path / "photos"
    file.write_text("mine")
    stranger.mkdir()
    (stranger / "cat.jpg").write_text("mine")
    for folder, cause in (
        (file, "is a file, not a run folder"),
        (stranger, "is no run folder: it holds cat.jpg"),
        (file / "run", "can't be"),
    ):
        for more in ((), ("--overwrite",)):
            assert f"{folder}: {cause}" in refused(train, STUDY_A, folder, *more)
