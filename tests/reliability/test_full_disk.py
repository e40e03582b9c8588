"""A full disk: one line that names file and cause, exit code 2, nothing damaged.

The disk is full at some byte of any file (see `running.full_disk`): at the first, within the file,
and at the last.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.reliability.commands import SCRIPTS, Command, World, command_of, commands
from tests.reliability.running import (
    CHECKOUT,
    Outcome,
    contents,
    damaged,
    full_disk,
    left_behind,
    not_one_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[[Command, World, Path, int | None], Outcome]

OLDER = b"an older file\n"
QUICK = ("simulate", "prepare", "export", "evaluate", "predict gctx", "predict gct.gz")
QUICK += ("predict tsv.gz", "predict parquet")
CAUSE = "File too large"


def here(command: Command, world: World, out: Path, n_bytes: int | None) -> Outcome:
    fault = None if n_bytes is None else full_disk(n_bytes)
    return command.here(out, world.folder, fault=fault)


def child(command: Command, world: World, out: Path, n_bytes: int | None) -> Outcome:
    return command.child(out, world.folder, n_bytes=n_bytes).ended()


def undisturbed(command: Command, world: World, folder: Path, run: Run) -> Path:
    out = command.set_up(world, folder)
    outcome = run(command, world, out, None)
    assert outcome.code == 0, outcome.err
    assert all((out / name).exists() for name in command.finals)
    return out


def sizes(command: Command, out: Path) -> list[int]:
    """Give the sizes of all final files, ascending."""
    places = [out / name for name in command.finals]
    files = [path for place in places for path in (place, *place.rglob("*")) if path.is_file()]
    return sorted({path.stat().st_size for path in files})


def put_older(command: Command, out: Path) -> None:
    """Put other files where the command's shall be, where it replaces any."""
    for name in command.finals:
        if "." in name and not name.endswith(".zarr") and "train" not in command.name:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(OLDER)


def check(
    command: Command, world: World, out: Path, whole: Path, run: Run, n_bytes: int, cause: str
) -> None:
    """Let a command meet a full disk, then give it room."""
    command.set_up(world, out)
    if command.name != "download --study":
        put_older(command, out)
    before, straight = contents(out), contents(whole)
    outcome = run(command, world, out, n_bytes)
    assert not_one_line(command, outcome) == []
    last = outcome.err.splitlines()[-1]
    assert str(out) in last
    assert cause in last
    found = contents(out)
    assert damaged(found, before, straight) == []
    assert set(before) <= set(found)
    # Some file must have met the limit, and is not there in its new form.
    assert any(found.get(name) != checksum for name, checksum in straight.items())
    assert left_behind(out) == []
    outcome = run(command, world, out, None)
    assert outcome.code == 0, outcome.err
    assert contents(out) == straight
    assert left_behind(out) == []


@pytest.mark.parametrize("name", QUICK)
def test_half_a_file_is_no_file(name, world, tmp_path) -> None:
    command = commands()[name]
    whole = undisturbed(command, world, tmp_path / "whole", here)
    check(command, world, tmp_path / "out", whole, here, sizes(command, whole)[-1] // 2, CAUSE)


@pytest.mark.parametrize("n_bytes", [0, 7])
@pytest.mark.parametrize("name", ["train", "download --study", "predict h5ad"])
def test_not_a_byte_fits(name, n_bytes, world, tmp_path) -> None:
    command, out = commands()[name], tmp_path / "out"
    command.set_up(world, out)
    outcome = here(command, world, out, n_bytes)
    assert not_one_line(command, outcome) == []
    assert str(out) in outcome.err
    assert CAUSE in outcome.err
    assert left_behind(out) == []
    assert contents(out) == {}


def test_the_first_bytes_of_a_prepared_study(world, tmp_path) -> None:
    """Then HDF5 can't close it. In a process of its own, as HDF5 stays spoilt in this one."""
    command, out = commands()["prepare"], tmp_path / "out"
    command.set_up(world, out)
    outcome = child(command, world, out, 100)
    assert not_one_line(command, outcome) == []
    assert CAUSE in outcome.err
    assert left_behind(out) == []
    assert contents(out) == {}


@pytest.mark.long
@pytest.mark.parametrize("name", commands())
def test_every_command_in_a_process_of_its_own(name, world, tmp_path) -> None:
    command = commands()[name]
    whole = undisturbed(command, world, tmp_path / "whole", child)
    largest = sizes(command, whole)[-1]
    for n_bytes in (largest // 2, largest - 1):
        check(command, world, tmp_path / f"{n_bytes}", whole, child, n_bytes, CAUSE)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*commands(), *SCRIPTS])
def test_full_at_the_last_byte_of_each_file(name, world, tmp_path) -> None:
    command = command_of(name, world)
    whole = undisturbed(command, world, tmp_path / "whole", child)
    all_sizes = sizes(command, whole)
    places = {0, 1, 100, *(size - 1 for size in all_sizes), *(size // 2 for size in all_sizes)}
    for n_bytes in sorted(places):
        check(command, world, tmp_path / f"{n_bytes}", whole, child, n_bytes, CAUSE)
        shutil.rmtree(tmp_path / f"{n_bytes}")


@pytest.mark.parametrize("name", ["export", "predict zarr", "predict --shard"])
@pytest.mark.long
def test_an_older_folder_stays_as_it_is(name, world, tmp_path) -> None:
    command, out = commands()[name], tmp_path / "out"
    out.mkdir()
    other = {"export": ["--best", "1000G"]}.get(name, ["--scale", "reference"])
    made = command.child(out, world.folder, *other).ended()
    assert made.code == 0, made.err
    before, replace = contents(out), ["--overwrite"] if name == "export" else []
    whole = undisturbed(command, world, tmp_path / "whole", child)
    for n_bytes in (0, 7, sizes(command, whole)[-1] // 2, sizes(command, whole)[-1] - 1):
        outcome = command.child(out, world.folder, *replace, n_bytes=n_bytes).ended()
        assert not_one_line(command, outcome) == []
        assert contents(out) == before
        assert left_behind(out) == []
    assert command.child(out, world.folder, *replace).ended().code == 0
    assert contents(out) == contents(whole) != before


@pytest.mark.long
def test_a_cache_on_a_full_disk_is_silent_and_mends_itself(world, tmp_path) -> None:
    """JAX leaves half a program there, which it would never use nor replace."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMP")}
    environment = keep | {
        "XDG_CACHE_HOME": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(CHECKOUT),
    }

    def train(out: str, limit: str) -> subprocess.CompletedProcess[str]:
        argv = [one.replace("{out}/run", out) for one in commands()["train"].arguments]
        script = "import sys, resource; resource.setrlimit(resource.RLIMIT_FSIZE, "
        script += f"({limit}, -1)); from dgex_jax.cli import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", script, *argv],
            cwd=world.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def programs() -> dict[str, int]:
        return {path.name: path.stat().st_size for path in tmp_path.rglob("*-cache")}

    # The files of the run fit, the largest program does not.
    limit = 40_000
    done = train(str(tmp_path / "run"), str(limit))
    assert (done.returncode, done.stderr) == (0, "")
    halves = {name for name, size in programs().items() if size == limit}
    assert halves
    done = train(str(tmp_path / "again"), "-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(programs()[name] > limit for name in halves)
