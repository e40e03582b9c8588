"""What all commands share: help, version, what the system refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dgex_jax import __version__, cli
from tests.cli.case import (
    STUDY_A,
    command,
    train,
)


@pytest.mark.parametrize(
    ("problem", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "dgex: stopped\n"),
        (MemoryError(), 2, "dgex: error: not enough memory\n"),
        (MemoryError("2 TiB"), 2, "dgex: error: not enough memory: 2 TiB\n"),
        (OSError(28, "No space left", "a/log.tsv"), 2, "No space left: 'a/log.tsv'\n"),
    ],
)
def test_what_the_system_refuses_is_one_line(monkeypatch, capsys, problem, code, line) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise problem

    # Of the command's own: a module that is imported meanwhile would keep the function for ever.
    monkeypatch.setattr("dgex_jax.cli_train.check_gpus", fail)
    assert train(STUDY_A, Path("unused")) == code
    error = capsys.readouterr().err
    assert error.endswith(line)
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["", "simulate", "prepare", "train"])
def test_help_ends_with_examples(name, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        command(*name.split(), "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "\nexamples:\n  dgex " in text
    examples = re.sub(r" *\\\n +", " ", text.split("examples:\n")[1]).strip()
    for line in examples.splitlines():
        words = line.strip().split("   ")[0].split()
        assert words[0] == "dgex"
        assert callable(cli.parser().parse_args(words[1:]).run)


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        command("--version")
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"dgex {__version__}\n"
