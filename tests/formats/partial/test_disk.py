"""What a disk refuses, and how much of it and of memory a file takes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats import partial
from dgex_jax.formats.gctx import Gctx, GctxWriter
from dgex_jax.formats.partial import Resume

if TYPE_CHECKING:
    from pathlib import Path
from tests.formats.partial.case import (
    FORMATS,
    GENES,
    JOB,
    RUN,
    VALUES,
    N,
    fill,
    names,
    stopped,
    writer,
)


def fail_after(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Let the disk be full after `n` writes of values."""
    write, left = os.pwrite, iter(range(n))

    def full(*arguments: Any) -> int:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", full)


@FORMATS
def test_a_full_disk_keeps_what_is_there_and_says_so(
    tmp_path: Path, straight: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, path = straight(name), tmp_path / name
    with monkeypatch.context() as patch:
        fail_after(patch, 3)
        with pytest.raises(DgexError) as caught:
            fill(path, 7)
    assert str(caught.value) == (
        f"{path}: can't be written: No space left on device; 8 of 50 profiles are kept in "
        f"{name}.partial, the same command goes on there"
    )
    with monkeypatch.context() as patch:
        fail_after(patch, 0)
        # Nothing new, and nothing lost.
        with pytest.raises(DgexError, match="8 of 50 profiles are kept"):
            fill(path)
    assert fill(path) == [f"{path}: goes on at profile 8 of 50"]
    assert path.read_bytes() == expected
    with monkeypatch.context() as patch:
        fail_after(patch, 1)
        with pytest.raises(DgexError, match=r"No space left on device$"):
            fill(tmp_path / f"b.{name}", RUN - 1)
    assert names(tmp_path) == [name]


def test_a_limit_of_file_size_keeps_what_is_there(tmp_path: Path, straight: Any) -> None:
    path = tmp_path / "a.gctx"
    stopped(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = (tmp_path / "a.gctx.partial.json").read_text().splitlines()
    size = json.loads(journal[0])["offset"] + 4 * GENES * 34
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with pytest.raises(DgexError, match=r"File too large; 32 of 50 profiles are kept"):
            fill(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    fill(path)
    assert path.read_bytes() == straight("a.gctx")


def test_a_disk_that_writes_a_little_at_a_time(
    tmp_path: Path, straight: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, write = straight("a.gctx"), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, content, at: write(file, content[:50], at))
    fill(tmp_path / "a.gctx")
    assert (tmp_path / "a.gctx").read_bytes() == expected


def test_a_failure_at_the_very_end_loses_nothing(
    tmp_path: Path, straight: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the last profile ends a run, so that all are journaled."""
    monkeypatch.setattr(partial, "RUN_BYTES", 1)
    expected, path = straight("a.gctx"), tmp_path / "a.gctx"

    def gone(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(partial, "move_whole", gone)
        with pytest.raises(DgexError, match="Input/output error; 48 of 50 profiles are kept in"):
            fill(path)
    with writer(path) as file:
        assert file.pending() == (slice(48, 50),)
        file.append(VALUES[48:])
    assert path.read_bytes() == expected
    stopped(path, 50, 0)
    full = Resume(JOB, 1, print)
    profiles, genes = [f"p{n}" for n in range(5)], [f"g{n}" for n in range(GENES)]
    with monkeypatch.context() as patch:
        patch.setattr(partial, "move_whole", gone)
        with (
            pytest.raises(DgexError, match="5 of 5 profiles are kept"),
            GctxWriter(path, profiles, genes, resume=full) as other,
        ):
            other.append(VALUES[:5])
    with GctxWriter(path, profiles, genes, resume=full) as other:
        assert other.pending() == ()
    with Gctx(path) as source:
        np.testing.assert_array_equal(source.read(), VALUES[:5])


class Usage:
    """Of a disk."""

    def __init__(self, free: int) -> None:
        self.total, self.free = 10**12, free


@FORMATS
def test_too_little_space_is_told_before_anything_is_written(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    needed = 4 * GENES * N
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(needed - 1))
    with pytest.raises(DgexError) as caught:
        fill(path)
    assert str(caught.value) == (
        f"{path}: can't be written: needs {needed:,} bytes, the disk has {needed - 1:,} free"
    )
    assert names(tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(needed))
    stopped(path)
    assert names(tmp_path) == [f"{name}.partial", f"{name}.partial.json"]


def test_going_on_needs_space_for_what_is_missing_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, profiles, genes = tmp_path / "a.gctx", list("abcdefgh"), [f"g{n}" for n in range(10**5)]
    resume = Resume(JOB, 1, print)
    with (
        pytest.raises(FormatError, match="not written: 6 of 8 profiles; 6 of 8 profiles are kept"),
        GctxWriter(path, profiles, genes, resume=resume) as file,
    ):
        file.append(np.ones((6, 10**5)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(700_000))
    with (
        pytest.raises(DgexError, match=r"needs .* free; 6 of 8 profiles are kept in a\.gctx"),
        GctxWriter(path, profiles, genes, resume=resume),
    ):
        pytest.fail("there is no space")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(800_000))
    with GctxWriter(path, profiles, genes, resume=resume) as file:
        file.append(np.ones((2, 10**5)))
    with Gctx(path) as source:
        assert (source.read() == 1).all()


def open_large(folder: Path, profiles: list[str], genes: list[str]) -> GctxWriter:
    return GctxWriter(folder / "a.gctx", profiles, genes, resume=Resume(JOB, 256, print))


def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial, "RUN_BYTES", 1 << 22)
    n, n_genes = 20_000, 1000
    block = np.ones((256, n_genes), np.float32)
    profiles, genes = [f"p{k}" for k in range(n)], [f"g{k}" for k in range(n_genes)]
    with (
        pytest.raises(FormatError, match="not written: 17920 of 20000"),
        open_large(tmp_path, profiles, genes) as file,
    ):
        file.append(np.broadcast_to(np.float32(1), (17_920, n_genes)))
    tracemalloc.start()
    try:
        with open_large(tmp_path, profiles, genes) as file:
            (left,) = file.pending()
            # 70 MB are there and were read again.
            assert left.start > 16_000
            for start in range(left.start, n, 256):
                file.append(block[: min(256, n - start)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32e6
    assert (tmp_path / "a.gctx").stat().st_size > 80e6


def test_places_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(DgexError, match=r"no/a\.gctx: can't be written: "):
        fill(tmp_path / "no" / "a.gctx")
    (tmp_path / "b.gctx").mkdir()
    with pytest.raises(DgexError, match=r"b\.gctx: can't be written: it is not an ordinary file"):
        fill(tmp_path / "b.gctx")
    with pytest.raises(DgexError, match="can't be written: File name too long"):
        fill(tmp_path / f"{'n' * 250}.gctx")
