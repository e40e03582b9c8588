"""Two processes on one output: the file is whole and that of one alone; the second waits or leaves.

Commands that hold a lock are stopped while they do, so that the second meets it for certain; those
without one are started at the same moment.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dgex_jax.io import files as locks
from tests.reliability.commands import FORMATS, Command, World, command_of, commands
from tests.reliability.running import (
    Child,
    Outcome,
    Trap,
    contents,
    left_behind,
    not_one_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILES = [f"predict {ending}" for ending in FORMATS if ending != "zarr"]
LOCKED = ["train", "train --seeds", *FILES]
"""Commands of which the second waits for the first, or leaves with ``--no-wait``."""
STORES = ["predict zarr", "predict --shard"]
"""Commands of which the second always leaves."""
SCRIPTS = ("table1", "figure1", "weight_hubs", "all")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock as another process would."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("name", ["train", "predict gctx", "predict gct.gz", "predict h5ad"])
def test_who_won_t_wait_leaves_with_one_line(name, world, tmp_path) -> None:
    command = commands()[name]
    output = tmp_path / ("run" if name == "train" else command.finals[0])
    with held(tmp_path / f".{output.name}.lock"):
        outcome = command.here(tmp_path, world.folder, "--no-wait")
    assert not_one_line(command, outcome) == []
    assert f"{output}: in use by another process" in outcome.err
    assert contents(tmp_path) == {}
    assert left_behind(tmp_path) == []


def test_who_waits_writes_the_same(world, tmp_path, monkeypatch) -> None:
    command, out = commands()["predict gctx"], tmp_path / "out"
    out.mkdir()
    assert command.here(out, world.folder).code == 0
    before, name_holder = contents(out), locks.name_holder
    with ExitStack() as lock:
        lock.enter_context(held(out / ".out.gctx.lock"))

        def let_go(path: Path) -> str:
            lock.close()
            return name_holder(path)

        # What is asked as soon as the command has to wait.
        monkeypatch.setattr(locks, "name_holder", let_go)
        outcome = command.here(out, world.folder)
    assert outcome.code == 0
    assert outcome.err.splitlines() == [f"{out / 'out.gctx'}: waiting for another process"]
    assert contents(out) == before
    assert left_behind(out) == []


def whole_of(command: Command, world: World, folder: Path) -> Mapping[str, str]:
    out = command.set_up(world, folder)
    outcome = command.child(out, world.folder).ended()
    assert outcome.code == 0, outcome.err
    return contents(out)


def wait_until_stopped(pid: int) -> None:
    for _ in range(6000):
        if "State:\tT" in Path(f"/proc/{pid}/status").read_text(encoding="ascii"):
            return
        time.sleep(0.01)
    pytest.fail("the first process never came to the file")


@contextmanager
def stopped_at_work(command: Command, world: World, out: Path) -> Iterator[Child]:
    """Start a command that stops as it opens its first temporary file, its lock held."""
    pattern = r"\.tmp\.c\.0" if command.name in STORES else r"\.tmp\.|\.partial$"
    trap = Trap((out,), 0, "stop", out, out.with_name("count"), pattern)
    first = command.child(out, world.folder, trap=trap)
    pid = first.process.pid
    assert pid is not None
    try:
        wait_until_stopped(pid)
        yield first
    finally:
        if first.alive():
            os.kill(pid, signal.SIGCONT)


@pytest.mark.long
@pytest.mark.parametrize("name", [*LOCKED, *STORES])
def test_the_second_waits_or_leaves(name, world, tmp_path) -> None:
    """That of a store always leaves."""
    command, out = commands()[name], tmp_path / "out"
    whole, waits = whole_of(command, world, tmp_path / "whole"), name in LOCKED
    out.mkdir()
    with stopped_at_work(command, world, out) as first:
        pid = first.process.pid
        left = command.child(out, world.folder, *["--no-wait"] * waits).ended()
        if waits:
            waiting = command.child(out, world.folder)
            told = waiting.first_line()
        os.kill(pid, signal.SIGCONT)
        done = first.ended()
        if waits:
            waited = waiting.ended()
            assert f"waiting for process {pid} on " in told
            assert waited.code == 0
            assert all(": waiting for " in line for line in waited.err.splitlines())
    assert not_one_line(command, left) == []
    assert f"in use by process {pid} on " in left.err
    assert (done.code, done.err) == (0, "")
    assert contents(out) == whole
    assert left_behind(out) == []


def both(command: Command, world: World, out: Path, later: float) -> list[Outcome]:
    """Start a command twice, the second so many seconds later."""
    first = command.child(out, world.folder)
    time.sleep(later)
    second = command.child(out, world.folder)
    return [first.ended(), second.ended()]


def race(command: Command, world: World, tmp_path: Path, delays: list[float]) -> None:
    whole = whole_of(command, world, tmp_path / "whole")
    for number, later in enumerate(delays):
        out = command.set_up(world, tmp_path / f"{number}")
        outcomes = both(command, world, out, later)
        codes = sorted(outcome.code for outcome in outcomes)
        assert codes in ([0, 0], [0, 2]), [outcome.err for outcome in outcomes]
        for outcome in outcomes:
            if outcome.code:
                assert not_one_line(command, outcome) == []
                assert str(out) in outcome.err
        assert contents(out) == whole
        assert left_behind(out) == []


@pytest.mark.long
@pytest.mark.parametrize("name", commands())
def test_both_at_the_same_moment(name, world, tmp_path) -> None:
    race(commands()[name], world, tmp_path, [0.0])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*commands(), *SCRIPTS])
def test_both_at_about_the_same_moment(name, world, tmp_path) -> None:
    delays = [0.0, 0.0, 0.0, 0.02, 0.05, 0.1, 0.2, 0.4]
    race(command_of(name, world), world, tmp_path, delays)
