"""Files are complete or absent, what a kill left is removed, and one process writes at a time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from dgex_jax.errors import DgexError
from dgex_jax.io.files import (
    atomic_path,
    is_temporary,
    locked,
    temporary_folder,
    temporary_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIES = """
import os, sys
from pathlib import Path
from dgex_jax.io.files import temporary_path
place = Path(sys.argv[1])
temporary_path(place).write_text("half")
folder = temporary_path(place)
folder.mkdir()
(folder / "inside").write_text("half")
os._exit(9)
"""
HOLDS = """
import sys
from pathlib import Path
from dgex_jax.io.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))  # noqa: PTH208 (hidden ones too)


def write(final: Path, text: str = "new") -> None:
    with atomic_path(final) as temporary:
        temporary.write_text(text)


def test_success_moves_into_place_and_replaces(tmp_path) -> None:
    final = tmp_path / "a.tar.gz"
    final.write_text("old")
    with atomic_path(final) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".tar.gz")
        temporary.write_text("new")
        assert final.read_text() == "old"
    assert final.read_text() == "new"
    assert names(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_error_leaves_the_old_file_and_nothing_else(tmp_path, error) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")

    def fail() -> None:
        with atomic_path(final) as temporary:
            temporary.write_text("half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        fail()
    assert final.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_permissions_links_and_long_names(tmp_path) -> None:
    (tmp_path / "plain").touch()
    long = tmp_path / ("n" * 251 + ".txt")
    real, link = tmp_path / "there", tmp_path / "link"
    link.symlink_to(real)
    for final in (long, link):
        write(final)
        assert final.read_text() == "new"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "plain", long, real)}
    assert len(modes) == 1
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("place", "cause"),
    [
        ("no/a.txt", r"no/a\.txt: can't be written: No such file"),
        (".", "not an ordinary file"),
        (os.devnull, "not an ordinary file"),
    ],
)
def test_unusable_places_are_named(tmp_path, place, cause) -> None:
    with pytest.raises(DgexError, match=cause):
        write(tmp_path / place)


def test_a_failing_disk_is_named(tmp_path, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DgexError, match=r"a\.txt: can't be written: No space left on device"):
        write(tmp_path / "a.txt")
    assert names(tmp_path) == []


@pytest.fixture
def left(tmp_path) -> Path:
    """An output whose writer was killed, with a temporary file and a temporary folder."""
    place = tmp_path / "out.h5"
    subprocess.run([sys.executable, "-c", DIES, place], check=False)
    assert [is_temporary(name) for name in names(tmp_path)] == [True, True]
    return place


def test_the_next_writer_of_the_same_output_clears_up(left) -> None:
    with atomic_path(left) as temporary:
        assert names(left.parent) == [temporary.name]
        temporary.write_text("complete")
    assert names(left.parent) == ["out.h5"]


def test_what_belongs_to_another_output_process_or_machine_stays(left) -> None:
    mine = temporary_path(left.with_name("other.h5")).name
    machine, rest = mine.split("-", 1)
    foreign = f".{'0' * 8}-{rest.replace('other', 'out')}"
    alive = f"{machine}-1-01234567.tmp.out.h5"
    strangers = [".tmp.out.h5", "x.tmp.out.h5", ".0123-1-01234567.tmp.out.h5"]
    for name in (mine, foreign, alive, *strangers):
        left.with_name(name).write_text("at work")
    write(left)
    assert names(left.parent) == sorted(["out.h5", mine, foreign, alive, *strangers])


def test_two_outputs_at_once_and_a_folder_that_goes_with_its_content(tmp_path) -> None:
    with atomic_path(tmp_path / "a") as first, atomic_path(tmp_path / "a") as second:
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "a").read_text() == "1"

    def fail() -> None:
        with temporary_folder(tmp_path / "x.scratch") as folder:
            (folder / "inside").write_text("1")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert names(tmp_path) == ["a"]


@contextmanager
def holder(output: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLDS, str(output)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def refused(output: Path, match: str, **how: object) -> None:
    with pytest.raises(DgexError, match=match), locked(output, **how):
        pytest.fail("the lock is held")


def test_a_lock_that_is_held_is_refused_or_given_up(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("dgex_jax.io.files.SECONDS_BETWEEN_LOOKS", 0.05)
    output, looks = tmp_path / "run", iter([True, True, False])
    with holder(output) as process:
        refused(output, rf"run: in use by process {process.pid} on .*since 20", wait=False)
        refused(output, "in use by", keep_waiting=lambda: next(looks), report=lambda _: None)
        assert next(looks, None) is None
        (tmp_path / ".run.lock.json").write_text("{half a fi")
        refused(output, "in use by another process", wait=False)
        # Another output is free.
        with locked(tmp_path / "other", wait=False):
            pass


@pytest.mark.parametrize("ending", ["exit", "kill"])
def test_waits_for_the_holder_and_no_longer(tmp_path, ending) -> None:
    output, lines = tmp_path / "run", []
    with holder(output) as process:

        def report(line: str) -> None:
            lines.append(line)
            assert process.poll() is None
            if ending == "exit":
                process.stdin.close()
            else:
                process.kill()

        start = time.monotonic()
        with locked(output, report=report):
            assert time.monotonic() - start < 20
        with locked(output, wait=False):
            pass
    (line,) = lines
    assert line.startswith(f"{output}: waiting for process {process.pid} on ")


def test_errors_inside_free_the_lock_and_a_missing_folder_is_made(tmp_path) -> None:
    output = tmp_path / "deep" / "run"
    with pytest.raises(RuntimeError, match="inside"), locked(output):
        raise RuntimeError("inside")
    with locked(output, wait=False):
        pass
    assert names(output.parent) == [".run.lock"]
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file/run", r"file/run: can't be locked: Not a directory|File exists")
