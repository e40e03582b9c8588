"""Scripts of the tests say in one line what they can't do, before they do anything."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("script", "words", "cause"),
    [
        ("stress.kills", ["all"], "all: not one of prepare, train, predict, zarr, reproduce"),
        ("stress.kills", ["--jobs", "0"], "--jobs: 0: not a whole number from 1 on"),
        ("stress.kills", ["--trials", "many"], "--trials: many: not a whole number from 1 on"),
        ("stress.bitrot", ["model"], "model: not one of model folder, checkpoint"),
        ("stress.bitrot", ["--flips", "-1"], "--flips: -1: not a whole number from 1 on"),
        ("stress.fuzz", ["gctxx"], "gctxx: not one of gct, gctx"),
        ("stress.fuzz", ["--cases", "1.5"], "--cases: 1.5: not a whole number from 1 on"),
        ("reliability.test_injection", ["gct"], "gct: not one of text, gctx"),
    ],
)
def test_a_bad_argument_is_one_line(script, words, cause, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", [script, *words])
    with pytest.raises(SystemExit) as stop:
        import_module(f"tests.{script}").main()
    assert stop.value.code == 2
    assert cause in capsys.readouterr().err.splitlines()[-1]
