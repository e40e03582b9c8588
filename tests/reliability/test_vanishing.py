"""Inputs and folders that vanish while a command is at work.

Either it ends as if nothing had been (a file that is open outlives its name), or it says in one
line what is gone, with exit code 2: never other results, never half of them.
"""

from __future__ import annotations

import importlib
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.reliability.commands import Command, World, command_of, commands
from tests.reliability.running import (
    Outcome,
    Trap,
    contents,
    damaged,
    left_behind,
    not_one_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

SCRIPTS = ("table1", "figure1", "weight_hubs")

MIDWAY = {
    "prepare": "dgex_jax.prepare.prepare.find_duplicates",
    "evaluate": "dgex_jax.model.evaluate.part_scores",
    "predict gctx": "dgex_jax.model.outputs.locked",
    "predict gct.gz": "dgex_jax.model.outputs.locked",
    "predict h5ad": "dgex_jax.model.outputs.locked",
}
"""Functions that are called when a command has opened all its inputs, and is to read on."""


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def hooked(monkeypatch: pytest.MonkeyPatch, function: str, first: Callable[[], None]) -> None:
    """Let something happen before the first call of a function."""
    module, _, name = function.rpartition(".")
    real = getattr(importlib.import_module(module), name)
    calls = iter([first])

    def call(*arguments: Any, **options: Any) -> Any:
        next(calls, lambda: None)()
        return real(*arguments, **options)

    monkeypatch.setattr(function, call)


def faults(
    command: Command,
    outcome: Outcome,
    out: Path,
    whole: Mapping[str, str],
    before: Mapping[str, str],
) -> list[str]:
    """Find fault with what came of a command whose files vanished."""
    found = contents(out) if out.exists() else {}
    if outcome.code == 0:
        return [] if found == whole else [f"other results: {sorted(found)}"]
    wrong = not_one_line(command, outcome)
    wrong += [f"damaged: {name}" for name in damaged(found, before, whole)]
    return wrong + [f"left behind: {name}" for name in left_behind(out)]


@pytest.mark.parametrize("action", [os.unlink, truncate])
@pytest.mark.parametrize("name", MIDWAY)
def test_an_input_that_vanishes_midway(name, action, world, tmp_path, monkeypatch) -> None:
    command = commands()[name]
    # What is not read at once.
    read = "prepared.h5" if name == "evaluate" else "raw/geo.gctx"
    inputs, out, whole = world.beside(tmp_path / "in", read), tmp_path / "out", tmp_path / "whole"
    out.mkdir()
    whole.mkdir()
    undisturbed = command.here(whole, inputs)
    assert undisturbed.code == 0, undisturbed.err
    hooked(monkeypatch, MIDWAY[name], lambda: action(inputs / read))
    outcome = command.here(out, inputs)
    assert faults(command, outcome, out, contents(whole), {}) == []
    if action is truncate:
        assert outcome.code == 2
        assert f"{read}: was changed before all of it was read" in outcome.err


@pytest.mark.parametrize("name", MIDWAY)
def test_a_folder_that_vanishes_midway(name, world, tmp_path, monkeypatch) -> None:
    command, out = commands()[name], tmp_path / "out"
    out.mkdir()
    place = MIDWAY[name] if "predict" not in name else "dgex_jax.model.predict.inferred"
    hooked(monkeypatch, place, lambda: shutil.rmtree(out))
    outcome = command.here(out, world.folder)
    assert not_one_line(command, outcome) == []
    assert str(out) in outcome.err
    assert not out.exists()


def spread(n: int, most: int) -> list[int]:
    """Choose at most so many numbers below `n`, from the first to the last."""
    return sorted({round(place * (n - 1) / max(most - 1, 1)) for place in range(min(n, most))})


def vanish_at(command: Command, world: World, tmp_path: Path, most: int) -> list[str]:
    """Let inputs and the output's folder vanish before a command opens a file, in many places."""
    inputs = world.beside(tmp_path / "in", *command.reads)
    straight = command.set_up(world, tmp_path / "straight")
    before, counted = contents(straight), tmp_path / "count"
    trap = Trap((inputs, straight), -1, "remove", straight, counted)
    outcome = command.child(straight, inputs, trap=trap).ended()
    assert outcome.code == 0, outcome.err
    whole, n = contents(straight), counted.stat().st_size
    cases = [(action, read) for read in command.reads for action in ("delete", "truncate")]
    wrong = []
    for action, read in (*cases, ("remove", "")):
        for place in spread(n, most):
            here = tmp_path / "here"
            inputs, out = world.beside(here / "in", read), command.set_up(world, here / "out")
            trap = Trap((inputs, out), place, action, inputs / read if read else out, counted)
            outcome = command.child(out, inputs, trap=trap).ended()
            found = faults(command, outcome, out, whole, before if read else {})
            if found and outcome.code == 0 and action != "delete":
                # Truncated before any of it was read: then that is what the file holds. Removed
                # before any of it was looked at: then all is made that the command needs, no more.
                again = here / "again"
                if action == "truncate":
                    command.set_up(world, again)
                else:
                    again.mkdir()
                command.child(again, inputs).ended()
                found = faults(command, outcome, out, contents(again), {})
            wrong += [f"{action} {read} at {place} of {n}: {fault}" for fault in found]
            shutil.rmtree(here)
    return wrong


@pytest.mark.long
@pytest.mark.parametrize("name", commands())
def test_vanishing_at_some_moments(name, world, tmp_path) -> None:
    assert vanish_at(commands()[name], world, tmp_path, 2) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*commands(), *SCRIPTS])
def test_vanishing_at_every_moment(name, world, tmp_path) -> None:
    assert vanish_at(command_of(name, world), world, tmp_path, 1000) == []
