"""Locks: one at a time, the holder is named, and no lock outlives its process."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from dgex_jax.errors import DgexError
from dgex_jax.locks import locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from dgex_jax.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(output: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLD, str(output)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_no_wait_names_the_holder(tmp_path) -> None:
    output = tmp_path / "run"
    with holder(output) as process:
        with (
            pytest.raises(DgexError, match=rf"run: in use by process {process.pid} on .*since 20"),
            locked(output, wait=False),
        ):
            pytest.fail("the lock is held")
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
            waited = time.monotonic() - start
        with locked(output, wait=False):
            pass
    assert waited < 20
    assert len(lines) == 1
    assert lines[0].startswith(f"{output}: waiting for process {process.pid} on ")


def test_waiting_can_be_given_up(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("dgex_jax.locks.SECONDS_BETWEEN_LOOKS", 0.05)
    looks = iter([True, True, False])
    with (
        holder(tmp_path / "run"),
        pytest.raises(DgexError, match="in use by"),
        locked(tmp_path / "run", keep_waiting=lambda: next(looks), report=lambda _: None),
    ):
        pytest.fail("the lock is held")
    assert next(looks, None) is None


def test_an_unknown_holder_is_still_waited_for(tmp_path) -> None:
    with holder(tmp_path / "run"):
        (tmp_path / ".run.lock.json").write_text("{half a fi")
        with (
            pytest.raises(DgexError, match="in use by another process"),
            locked(tmp_path / "run", wait=False),
        ):
            pytest.fail("the lock is held")


def test_errors_inside_free_the_lock(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="inside"), locked(tmp_path / "deep" / "run"):
        raise RuntimeError("inside")
    with locked(tmp_path / "deep" / "run", wait=False):
        pass
    assert not (tmp_path / "deep" / ".run.lock.json").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DgexError, match=r"file/run: can't be locked: Not a directory|File exists"),
        locked(tmp_path / "file" / "run"),
    ):
        pytest.fail("there is no such folder")
