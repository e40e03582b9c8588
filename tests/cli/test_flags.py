"""No flag of ``train`` and ``prepare`` is an ornament: each changes what is left or said."""

from __future__ import annotations

import argparse
import gzip
from typing import TYPE_CHECKING, Any

import pytest

from dgex_jax import cli
from dgex_jax.io.files import locked
from tests.cli.case import RAW, STUDY_A, command, words_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("quick_compilation")]

TRAIN = {"--hidden-layers": 1, "--units": 6, "--epochs": 2, "--monitor-size": 300}
TRAIN |= {"--learning-rate": 1e-2}
PLAIN: dict[str, dict[str, Any]] = {"train": TRAIN, "prepare": RAW}
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
        "--normalize": "log_cpm",
        "--max-zero-share": 2,
        "--min-genes": 10**6,
    },
}
"""A value for each flag that changes something right away; the others have a test of their own."""
OWN_TEST = {
    "train": {"--output", "--overwrite", "--no-wait", "--pretrain-epochs", "--seeds"},
    "prepare": {"--output", "--accept-wrong-dimensions", "--force-platform", "--quiet", *RAW},
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_flag_is_looked_at(name) -> None:
    (subparsers,) = (
        one for one in cli.parser()._actions if isinstance(one, argparse._SubParsersAction)
    )
    actions = subparsers.choices[name]._actions
    known = {one.option_strings[-1] for one in actions if one.option_strings} - {"--help"}
    assert known == {*CHANGES[name], *OWN_TEST[name]}


@pytest.fixture
def outcome(capsys):
    """Give a function that runs a command: exit code, what was said and left, without times."""

    def call(name: str, flags: dict[str, Any], out: Path) -> dict[str, Any]:
        out.mkdir()
        where = [STUDY_A, "-o", out] if name == "train" else ["-o", out / "study.h5"]
        code = command(name, *where, *words_of(flags))
        said = capsys.readouterr()
        files: dict[str, object] = {}
        for path in out.iterdir():
            if path.name.startswith("log"):
                lines = path.read_text().splitlines()
                files[path.name] = [line.rsplit("\t", 1)[0] for line in lines]
            elif path.name != "done.json":
                files[path.name] = path.read_bytes()
        lines = [line.split("  ")[0] for line in said.out.splitlines() if str(out) not in line]
        return {"code": code, "said": (lines, said.err), "files": files}

    return call


@pytest.mark.parametrize("name", CHANGES)
def test_each_flag_changes_something_or_is_refused(outcome, tmp_path, name) -> None:
    plain, again = (outcome(name, PLAIN[name], tmp_path / run) for run in ("plain", "again"))
    assert plain == again
    assert plain["code"] == 0
    for flag, value in CHANGES[name].items():
        changed = outcome(name, PLAIN[name] | {flag: value}, tmp_path / flag)
        if changed["code"] == 2:
            assert flag.strip("-").replace("-", "_") in changed["said"][1]
            assert not changed["files"]
        elif flag in {"--quiet", "--gpus"}:
            # These change what is said, and nothing that is left.
            assert changed["files"] == plain["files"]
            assert changed["said"] != plain["said"]
        else:
            assert changed["files"] != plain["files"], flag
            if name == "train" and flag != "--precision":
                logs = [one["files"]["log.tsv"][1:] for one in (changed, plain)]
                assert logs[0] != logs[1], flag


def test_epochs_of_a_pretraining(outcome, tmp_path) -> None:
    without = outcome("train", TRAIN | {"--pretrain-epochs": 2}, tmp_path / "none")
    assert "pretrain_epochs = 2: means nothing without pretrain" in without["said"][1]
    assert not without["files"]
    one, two = (
        outcome(
            "train",
            TRAIN | {"--pretrain": "autoencoder", "--pretrain-epochs": epochs},
            tmp_path / str(epochs),
        )
        for epochs in (1, 2)
    )
    assert one["code"] == two["code"] == 0
    assert one["files"]["log.tsv"][1:] != two["files"]["log.tsv"][1:]


def test_accept_wrong_dimensions(tmp_path, capsys) -> None:
    lines = gzip.decompress(RAW["--gtex"].read_bytes()).decode().splitlines()
    rows, columns = lines[1].split("\t")[:2]
    lines[1] = f"{int(rows) + 5}\t{columns}"
    (tmp_path / "gtex.gct").write_text("\n".join(lines) + "\n")
    words = ["prepare", *words_of(RAW | {"--gtex": tmp_path / "gtex.gct"})]
    words += ["-q", "-o", tmp_path / "study.h5"]
    assert command(*words) == 2
    assert "gtex.gct" in capsys.readouterr().err
    assert command(*words, "--accept-wrong-dimensions") == 0


def test_quiet_preparation(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("dgex_jax.io.progress.SECONDS_BETWEEN_LINES", 0.0)
    words = ["prepare", *words_of(RAW), "-o", tmp_path / "study.h5"]
    assert command(*words) == 0
    assert "profiles" in capsys.readouterr().err
    assert command(*words, "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_output_overwrite_and_no_wait(tmp_path, capsys) -> None:
    train = ["train", STUDY_A, "-q", *words_of(TRAIN), "-o", tmp_path / "one"]
    assert command(*train) == 0
    assert (tmp_path / "one" / "done.json").is_file()
    other = [*train, "--seed", "2"]
    assert command(*other) == 2
    assert "--overwrite" in capsys.readouterr().err
    with locked(tmp_path / "one"):
        assert command(*other, "--overwrite", "--no-wait") == 2
        assert "in use by process" in capsys.readouterr().err
    assert command(*other, "--overwrite") == 0
