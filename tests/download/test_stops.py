"""Downloads that are stopped, killed, or run into the end of the disk, and go on."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dgex_jax.data.progress import Progress
from dgex_jax.download import fetch as fetching
from dgex_jax.download.fetch import download
from dgex_jax.errors import DgexError
from tests.download.server import NAME

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import json, pathlib, sys
from dgex_jax.download.fetch import download
from dgex_jax.download.limits import Limits
from dgex_jax.download.sources import Source
source, limits, folder = json.loads(sys.argv[1])
download([Source(**source)], pathlib.Path(folder), limits=Limits(**limits))
"""


@pytest.fixture
def finish(site, source_of, limits, tmp_path, content):
    """Give a function that starts again, here, and gives what was asked for."""

    def run() -> list[str | None]:
        site.requests.clear()
        download([source_of(site)], tmp_path, limits=limits, report=lambda _: None)
        assert (tmp_path / NAME).read_bytes() == content
        left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
        assert left == {NAME, "SHA256SUMS"}
        return site.gets

    return run


def wait_for(path: Path, n_bytes: int) -> None:
    for _ in range(2000):
        if path.exists() and json.loads(path.read_text())["n_bytes"] >= n_bytes:
            return
        time.sleep(0.01)
    pytest.fail(f"{path.name} never came that far")


def start_of(asked: str | None) -> int:
    assert asked is not None
    return int(asked.removeprefix("bytes=").removesuffix("-"))


@pytest.mark.long
def test_a_process_that_is_killed_in_the_middle(
    site, source_of, limits, finish, faults, tmp_path
) -> None:
    site.faults = [faults.stalled(70_000)]
    job = [vars(source_of(site)), {**vars(limits), "timeout": 60}, str(tmp_path)]
    command = [sys.executable, "-c", SCRIPT, json.dumps(job)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_for(tmp_path / f"{NAME}.partial.json", 1 << 15)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / NAME).exists()
    (asked,) = finish()
    assert 1 << 15 <= start_of(asked) <= 70_000


def test_a_user_who_stops_it(site, source_of, limits, finish, tmp_path, faults) -> None:
    said: list[str] = []
    site.faults = [faults.truncated(40_000)]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    patience = replace(limits, sync_bytes=1 << 30, sync_seconds=3600)
    with pytest.raises(KeyboardInterrupt):
        download(
            [source_of(site)],
            tmp_path,
            limits=patience,
            report=said.append,
            progress=Progress(stop),
        )
    assert not (tmp_path / NAME).exists()
    n_bytes = (tmp_path / f"{NAME}.partial").stat().st_size
    assert said[-1] == (
        f"{NAME}: stopped; {n_bytes:,} bytes are kept in {NAME}.partial, the same command goes on "
        "there"
    )
    assert 0 < n_bytes <= 40_000
    assert finish() == [f"bytes={n_bytes}-"]


@pytest.fixture
def small_files():
    """Let this process write no file longer than 50,000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextmanager
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


def test_a_disk_that_takes_no_more(
    site, source_of, limits, finish, tmp_path, small_files, faults
) -> None:
    # In two bites, so that a first one is whole before the disk is full.
    site.faults = [faults.truncated(30_000)]
    with small_files(), pytest.raises(DgexError, match=r"File too large; \d+,\d+ bytes are kept"):
        download([source_of(site)], tmp_path, limits=limits, report=lambda _: None)
    assert not (tmp_path / NAME).exists()
    (asked,) = finish()
    assert start_of(asked) >= 30_000


@pytest.mark.parametrize("length_is_told", [True, False])
def test_killed_while_it_is_checked_nothing_is_fetched_again(
    site, source_of, limits, finish, faults, tmp_path, monkeypatch, length_is_told
) -> None:
    site.faults = [] if length_is_told else [faults.until_close()]

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "require_whole", killed)
        with pytest.raises(SystemExit):
            download([source_of(site)], tmp_path, limits=limits, report=lambda _: None)
    # What a kill during pooch's check leaves: its file, linked to ours.
    os.link(tmp_path / f"{NAME}.partial", tmp_path / "tmp0abc")
    (tmp_path / "tmp_of_somebody").write_text("else")
    with pytest.raises(AssertionError):
        finish()
    assert site.gets == []
    (tmp_path / "tmp_of_somebody").unlink()
    (tmp_path / NAME).unlink()
    finish()


def test_without_hard_links_it_works_as_well(finish, monkeypatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    assert finish() == [None]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"url": 3}', None])
def test_what_is_kept_without_sound_notes_is_not_used(
    site, source_of, limits, faults, finish, tmp_path, damage
) -> None:
    site.faults = [faults.truncated(30_000), *[faults.status(500)] * 2]
    with pytest.raises(ValueError, match="are kept"):
        download([source_of(site)], tmp_path, limits=limits, report=lambda _: None)
    notes = tmp_path / f"{NAME}.partial.json"
    if damage is None:
        notes.unlink()
    else:
        notes.write_bytes(damage)
    assert finish() == [None]


def test_a_link_in_the_place_of_what_is_kept_is_not_followed(
    site, source_of, limits, faults, finish, tmp_path_factory, tmp_path
) -> None:
    site.faults = [faults.truncated(30_000), *[faults.status(500)] * 2]
    with pytest.raises(ValueError, match="are kept"):
        download([source_of(site)], tmp_path, limits=limits, report=lambda _: None)
    other = tmp_path_factory.mktemp("other") / "file"
    other.write_bytes(bytes(50_000))
    partial = tmp_path / f"{NAME}.partial"
    partial.unlink()
    partial.symlink_to(other)
    assert finish() == [None]
    assert other.read_bytes() == bytes(50_000)


def test_fewer_bytes_than_noted_are_no_beginning(
    site, source_of, limits, faults, finish, tmp_path
) -> None:
    site.faults = [faults.truncated(30_000), *[faults.status(500)] * 2]
    with pytest.raises(ValueError, match="are kept"):
        download([source_of(site)], tmp_path, limits=limits, report=lambda _: None)
    os.truncate(tmp_path / f"{NAME}.partial", 20_000)
    assert finish() == [None]


def test_more_bytes_than_noted_are_not_trusted(
    site, source_of, limits, faults, finish, tmp_path
) -> None:
    site.faults = [faults.truncated(30_000), *[faults.status(500)] * 2]
    with pytest.raises(ValueError, match="are kept"):
        download([source_of(site)], tmp_path, limits=limits, report=lambda _: None)
    with (tmp_path / f"{NAME}.partial").open("ab") as file:
        file.write(bytes(100_000))
    assert finish() == ["bytes=30000-"]


def test_the_disk_has_a_file_before_it_gets_its_name(
    site, source_of, limits, tmp_path, content, monkeypatch
) -> None:
    synced: set[tuple[int, int]] = set()

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.add((status.st_ino, status.st_size))
        if (tmp_path / NAME).exists():
            named = (tmp_path / NAME).stat()
            assert (named.st_ino, len(content)) in synced

    monkeypatch.setattr(os, "fsync", fsync)
    download([source_of(site)], tmp_path, limits=limits, report=lambda _: None)
    assert (tmp_path / NAME).stat().st_ino in {inode for inode, _ in synced}
    assert tmp_path.stat().st_ino in {inode for inode, _ in synced}
