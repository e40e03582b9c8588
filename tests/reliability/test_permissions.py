"""What may not be read or written: one line, exit code 2, nothing damaged; for root as well.

The folder of the output without the right to write, an older output that may not be written to,
the input without the right to read, and a folder of inputs that may not be looked into.
"""

from __future__ import annotations

import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.reliability.commands import Command, World, command_of, commands
from tests.reliability.running import (
    Outcome,
    contents,
    left_behind,
    not_one_line,
    plain_user,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPTS = ("table1", "figure1", "weight_hubs", "all")
CAUSE = "Permission denied"
QUICK = (
    *("simulate", "prepare", "train", "train --seeds", "export", "evaluate", "predict gctx"),
    *("predict gct", "predict gct.gz", "predict tsv.gz", "predict h5ad", "download --study"),
)


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """Give a file or folder other permissions for a while."""
    before = stat.S_IMODE(path.stat().st_mode)
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def run(command: Command, out: Path, folder: Path, process: str) -> Outcome:
    """Run a command with the rights of a plain user."""
    if process == "here":
        return command.here(out, folder, fault=plain_user())
    return command.child(out, folder, user=True).ended()


def check_fails(command: Command, outcome: Outcome, named: Path | str, out: Path) -> None:
    assert not_one_line(command, outcome) == []
    last = outcome.err.splitlines()[-1]
    assert str(named) in last
    assert CAUSE in last
    assert left_behind(out) == []


def check_read_only_folder(command: Command, world: World, out: Path, process: str) -> None:
    command.set_up(world, out)
    before = contents(out)
    below = [path for path in (out, *out.rglob("*")) if path.is_dir()]
    for folder in below:
        folder.chmod(0o555)
    try:
        outcome = run(command, out, world.folder, process)
    finally:
        for folder in below:
            folder.chmod(0o755)
    check_fails(command, outcome, out, out)
    assert contents(out) == before


def test_plain_users_are_refused_what_is_not_theirs(tmp_path) -> None:
    """All tests here would prove nothing if root kept its rights."""
    (tmp_path / "file").write_text("")
    with plain_user(), mode(tmp_path, 0o555), mode(tmp_path / "file", 0o000):
        with pytest.raises(PermissionError):
            (tmp_path / "file").read_bytes()
        with pytest.raises(PermissionError):
            (tmp_path / "new").touch()
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("name", QUICK)
def test_a_folder_that_may_not_be_written_to(name, world, tmp_path) -> None:
    check_read_only_folder(commands()[name], world, tmp_path / "out", "here")


@pytest.mark.parametrize("name", [name for name in QUICK if name != "download --study"])
def test_an_input_that_may_not_be_read(name, world, tmp_path) -> None:
    command, out = commands()[name], tmp_path / "out"
    out.mkdir()
    for number, read in enumerate(command.reads):
        inputs = world.beside(tmp_path / f"in{number}", read)
        with mode(inputs / read, 0o000):
            outcome = run(command, out, inputs, "here")
        check_fails(command, outcome, read, out)
    assert contents(out) == {}


@pytest.mark.parametrize("name", ["evaluate", "predict gctx"])
def test_a_model_of_which_a_file_may_not_be_read(name, world, tmp_path) -> None:
    command, out = commands()[name], tmp_path / "out"
    out.mkdir()
    for file in ("model.json", "weights.safetensors", "genes.tsv", "reference.safetensors"):
        inputs = world.beside(tmp_path / file, f"model/{file}")
        with mode(inputs / "model" / file, 0o000):
            outcome = run(command, out, inputs, "here")
        check_fails(command, outcome, f"model/{file}", out)
    assert contents(out) == {}


@pytest.mark.parametrize("name", ["evaluate", "prepare", "predict gctx"])
def test_an_older_file_is_replaced_whatever_its_own_permissions(name, world, tmp_path) -> None:
    """As everywhere: who may write to a folder may replace a file of theirs there."""
    command, out = commands()[name], tmp_path / "out"
    out.mkdir()
    (out / command.finals[0]).write_text("older")
    (out / command.finals[0]).chmod(0o444)
    assert run(command, out, world.folder, "here").code == 0
    assert (out / command.finals[0]).stat().st_size > 5


@pytest.mark.long
@pytest.mark.parametrize("name", commands())
def test_every_command_in_a_process_of_its_own(name, world, tmp_path) -> None:
    command = commands()[name]
    check_read_only_folder(command, world, tmp_path / "out", "child")
    for number, read in enumerate(command.reads):
        inputs = world.beside(tmp_path / f"in{number}", read)
        folder = (inputs / read).parent
        for path, named in ((inputs / read, read), (folder, f"{folder.name}/")):
            if path == inputs:
                continue
            with mode(path, 0o000):
                outcome = run(command, tmp_path / "out", inputs, "child")
            check_fails(command, outcome, named, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script(name, world, tmp_path) -> None:
    command = command_of(name, world)
    check_read_only_folder(command, world, tmp_path / "out", "child")
    # Everything but the folder of the products may be written to.
    for kind in ("tables", "figures"):
        out = command.set_up(world, tmp_path / kind)
        (out / "small" / kind).mkdir()
        with mode(out / "small" / kind, 0o555):
            outcome = run(command, out, world.folder, "child")
        if any(f"/{kind}/" in final for final in command.finals):
            check_fails(command, outcome, out / "small" / kind, out)
        assert left_behind(out) == []
