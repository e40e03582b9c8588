"""What ``dgex train`` refuses in one line, and leaves as it was."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest

from dgex_jax.training.devices import share_cpu
from tests.cli.case import (
    STUDY_A,
    command,
    train,
)


def test_divergence_is_one_line_and_keeps_no_network(tmp_path, capsys) -> None:
    folder = tmp_path / "one"
    assert train(STUDY_A, folder, learning_rate=100) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no longer finite after epoch " in error
    assert "at learning rate 100" in error
    left = {path.name for path in folder.iterdir()}
    assert left == {"config.json", "log.tsv"}
    # The same folder can be used again at once, for a run that goes well.
    assert train(STUDY_A, folder, "--overwrite", epochs=1) == 0


def broken(arrays: dict[str, np.ndarray], fault: str) -> dict[str, np.ndarray]:
    match fault:
        case "missing":
            del arrays["Y_GTEx"]
        case "rows":
            arrays["X_va"] = arrays["X_va"][1:]
        case "columns":
            arrays["Y_te"] = arrays["Y_te"][:, 1:]
        case "flat":
            arrays["X_tr"] = arrays["X_tr"].ravel()
        case "text":
            arrays["X_te"] = arrays["X_te"].astype(str)
        case "nan":
            arrays["Y_1000G"][3, 5] = np.nan
        case "inf":
            arrays["X_tr"][0, 0] = np.inf
    return arrays


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "has no array Y_GTEx"),
        ("rows", "X_va (149, 24) does not fit Y_va (150, 40)"),
        ("columns", "Y_te (150, 39) does not fit Y_tr (1207, 40)"),
        ("flat", "X_tr has shape (28968,), not a filled table"),
        ("text", "X_te holds <U32, not numbers"),
        ("nan", "Y_1000G: 1 values are not finite, the first in row 4, column 6"),
        ("inf", "X_tr: 1 values are not finite, the first in row 1, column 1"),
    ],
)
def test_npz_faults(refused, tmp_path, fault, message) -> None:
    path = tmp_path / "study.npz"
    with np.load(STUDY_A) as arrays:
        np.savez(path, **broken(dict(arrays), fault))
    assert f"{path}: {message}" in refused(lambda: train(path, tmp_path / "run"))


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
    file = tmp_path / "file"
    file.write_text("mine")
    stranger = tmp_path / "photos"
    stranger.mkdir()
    (stranger / "cat.jpg").write_text("mine")
    for folder, cause in (
        (file, "is a file, not a run folder"),
        (stranger, "is no run folder: it holds cat.jpg"),
        (file / "run", "can't be"),
    ):
        assert f"{folder}: {cause}" in refused(lambda folder=folder: train(STUDY_A, folder))
        more = lambda folder=folder: train(STUDY_A, folder, "--overwrite")  # noqa: E731
        assert f"{folder}: {cause}" in refused(more)


def test_learning_rate_auto_is_the_paper_rate(tmp_path) -> None:
    assert train(STUDY_A, tmp_path / "run", epochs=1, learning_rate="auto") == 0
    log = pd.read_csv(tmp_path / "run" / "log.tsv", sep="\t", dtype=str)
    assert np.float32(log["learning_rate"][0]) == np.float32(5e-4)


def test_sharing_the_cpu_late_does_no_harm() -> None:
    devices = jax.local_devices()
    for n in (1, 2, 3):
        share_cpu(n)
        assert jax.local_devices() == devices
