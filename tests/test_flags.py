"""No flag is an ornament: each one changes what a command leaves or says, or is refused."""

from __future__ import annotations

import argparse
import gzip
import io
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dgex_jax import cli
from dgex_jax.cli import main
from dgex_jax.locks import locked

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("quick_compilation")]

GOLDEN = Path(__file__).parent / "golden"
RAW = GOLDEN / "preprocess"

PREPARE = {
    "--geo": RAW / "geo.gctx",
    "--gtex": RAW / "gtex.gct.gz",
    "--1000g": RAW / "1000g.txt.gz",
    "--landmarks": RAW / "map_lm.txt",
    "--targets": RAW / "map_tg.txt",
}
TRAIN = {
    "--hidden-layers": 1,
    "--units": 6,
    "--epochs": 2,
    "--learning-rate": 1e-2,
    "--monitor-size": 300,
}

CHANGES: dict[str, dict[str, Any]] = {
    "train": {
        "--hidden-layers": 2,
        "--units": 7,
        "--dropout": 0.3,
        "--epochs": 1,
        "--batch-size": 300,
        "--learning-rate": 2e-2,
        "--monitor-size": 200,
        "--momentum": 0.4,
        "--seed": 2,
        "--halves": 1,
        "--precision": "tf32",
        "--pretrain": "autoencoder",
        "--gpus": 3,
        "--quiet": None,
    },
    "prepare": {
        "--duplicates": "none",
        "--scale-on": "train",
        "--partition": "clustered",
        "--seed": 2,
        "--block-size": 0,
    },
}
"""A value for each flag that changes something right away; the others have a test of their own."""

OWN_TEST = {
    # --seeds: tests/training/test_seeds.py
    "train": {"--output", "--overwrite", "--no-wait", "--pretrain-epochs", "--seeds"},
    "prepare": {"--output", "--accept-wrong-dimensions", "--force-platform", "--quiet", *PREPARE},
    "simulate": {"--output", "--study"},
    "export": {"--output", "--best", "--overwrite"},
    "info": {"--json"},
    # tests/verify
    "verify": {"--inputs", "--json"},
    # tests/download/test_cli_download.py
    "download": {"--output", "--study", "--list", "--check", "--quiet"},
    # tests/cli/test_evaluate.py
    "evaluate": {"--parts", "--output", "--json", "--quiet"},
    # tests/inference/prediction/test_cli_predict.py
    "predict": {
        "--output",
        "--platform",
        "--standardize",
        "--scale",
        "--impute",
        "--ids",
        "--block-size",
        "--accept-wrong-dimensions",
        "--force-platform",
        "--quiet",
        # tests/inference/prediction/test_resume.py, test_zarr_output.py
        "--no-wait",
        "--shard",
    },
}


@pytest.mark.parametrize("command", OWN_TEST)
def test_every_flag_is_looked_at(command) -> None:
    top = cli.parser()
    (subparsers,) = (one for one in top._actions if isinstance(one, argparse._SubParsersAction))
    assert set(subparsers.choices) == set(OWN_TEST)
    actions = subparsers.choices[command]._actions
    known = {one.option_strings[-1] for one in actions if one.option_strings} - {"--help"}
    assert known == {*CHANGES.get(command, {}), *OWN_TEST[command]}
    assert not {*CHANGES.get(command, {})} & OWN_TEST[command]


def outcome(command: str, arguments: dict[str, Any], out: Path) -> dict[str, Any]:
    """Exit code, what was said, and what was left, without times and paths."""
    words = [command]
    if command == "train":
        words += [str(GOLDEN / "study_a.npz"), "-o", str(out)]
    elif command == "prepare":
        words += ["-o", str(out / "study.h5")]
        out.mkdir()
    for flag, value in arguments.items():
        words += [flag] if value is None else [flag, str(value)]
    said, told = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(told):
        code = main(words)
    files = {}
    for path in out.iterdir():
        if path.name == "done.json":
            continue
        files[path.name] = path.read_bytes()
        if path.name.startswith("log"):
            lines = path.read_text().splitlines()
            files[path.name] = [line.rsplit("\t", 1)[0] for line in lines]
    lines = [line.split("  ")[0] for line in said.getvalue().splitlines() if str(out) not in line]
    return {"code": code, "said": lines, "told": told.getvalue(), "files": files}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """The commands without any of the changes; a second time gives the same."""
    found = {}
    for command, arguments in (("train", TRAIN), ("prepare", PREPARE)):
        first, second = (
            outcome(command, arguments, tmp_path_factory.mktemp(command) / "out") for _ in range(2)
        )
        assert first == second
        assert first["code"] == 0
        found[command] = first
    return found


@pytest.mark.parametrize(
    ("command", "flag"), [(command, flag) for command, each in CHANGES.items() for flag in each]
)
def test_flag_changes_something_or_is_refused(plain, tmp_path, command, flag) -> None:
    arguments = {"train": TRAIN, "prepare": PREPARE}[command] | {flag: CHANGES[command][flag]}
    changed = outcome(command, arguments, tmp_path / "out")
    if changed["code"] == 2:
        assert flag.strip("-").replace("-", "_") in changed["told"]
        assert not changed["files"]
        return
    if flag in {"--quiet", "--gpus"}:
        # These change what is said, and nothing that is left.
        assert changed["files"] == plain[command]["files"]
        assert (changed["said"], changed["told"]) != (
            plain[command]["said"],
            plain[command]["told"],
        )
        return
    if command == "train":
        logs = [one["files"]["log.tsv"][1:] for one in (changed, plain[command])]
        assert logs[0] != logs[1] or flag == "--precision"
    assert changed["files"] != plain[command]["files"]


def test_epochs_of_a_pretraining(tmp_path, capsys) -> None:
    words = ["train", str(GOLDEN / "study_a.npz"), "-o", str(tmp_path / "none")]
    assert main([*words, "--pretrain-epochs", "2"]) == 2
    assert "pretrain_epochs = 2: means nothing without pretrain" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    logs = []
    for epochs in (1, 2):
        more = {"--pretrain": "autoencoder", "--pretrain-epochs": epochs}
        found = outcome("train", TRAIN | more, tmp_path / str(epochs))
        assert found["code"] == 0
        logs.append(found["files"]["log.tsv"][1:])
    assert logs[0] != logs[1]


@pytest.mark.parametrize("flag", PREPARE)
def test_each_raw_file_is_read(tmp_path, capsys, flag) -> None:
    """A file that is no such thing is refused, by its name."""
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("no such table\n")
    words = [word for each in (PREPARE | {flag: wrong}).items() for word in map(str, each)]
    assert main(["prepare", "-o", str(tmp_path / "study.h5"), *words]) == 2
    assert "wrong.txt" in capsys.readouterr().err
    assert not (tmp_path / "study.h5").exists()


def test_accept_wrong_dimensions(tmp_path, capsys) -> None:
    lines = gzip.decompress((RAW / "gtex.gct.gz").read_bytes()).decode().splitlines()
    rows, columns = lines[1].split("\t")[:2]
    lines[1] = f"{int(rows) + 5}\t{columns}"
    (tmp_path / "gtex.gct").write_text("\n".join(lines) + "\n")
    files = PREPARE | {"--gtex": tmp_path / "gtex.gct"}
    words = ["prepare", *(word for each in files.items() for word in map(str, each))]
    words += ["-q", "-o", str(tmp_path / "study.h5")]
    assert main(words) == 2
    assert "gtex.gct" in capsys.readouterr().err
    assert main([*words, "--accept-wrong-dimensions"]) == 0


def test_quiet_preparation(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("dgex_jax.data.progress.SECONDS_BETWEEN_LINES", 0.0)
    words = ["prepare", *(word for each in PREPARE.items() for word in map(str, each))]
    assert main([*words, "-o", str(tmp_path / "study.h5")]) == 0
    assert "profiles" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "study.h5"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_output_overwrite_and_no_wait(tmp_path, capsys) -> None:
    train = ["train", str(GOLDEN / "study_a.npz"), "-q"]
    train += [word for each in TRAIN.items() for word in map(str, each)]
    assert main([*train, "-o", str(tmp_path / "one")]) == 0
    assert (tmp_path / "one" / "done.json").is_file()
    other = [*train, "--seed", "2", "-o", str(tmp_path / "one")]
    assert main(other) == 2
    assert "--overwrite" in capsys.readouterr().err
    with ExitStack() as held:
        held.enter_context(locked(tmp_path / "one"))
        assert main([*other, "--overwrite", "--no-wait"]) == 2
        assert "in use by process" in capsys.readouterr().err
    assert main([*other, "--overwrite"]) == 0


def test_simulate(tmp_path, capsys) -> None:
    study = tmp_path / "small.toml"
    settings = 'name = "small"\ntitle = "Small"\n[simulate]\nseed = {}\nn_profiles = 60\n'
    settings += "n_gtex = 12\nn_1000g = 8\nn_landmarks = 10\nn_targets = 12\nn_tissues = 4\n"
    made = []
    for seed in (1, 2):
        study.write_text(settings.format(seed))
        assert main(["simulate", "--study", str(study), "-o", str(tmp_path / str(seed))]) == 0
        made.append(np.frombuffer((tmp_path / str(seed) / "geo.gctx").read_bytes(), np.uint8))
    assert not np.array_equal(*made)
    capsys.readouterr()
