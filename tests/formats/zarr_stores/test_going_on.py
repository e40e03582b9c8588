"""Zarr stores that were interrupted, or whose job changed."""

from __future__ import annotations

import pytest

from dgex_jax.errors import DgexError, FormatError
from tests.formats.zarr_stores.case import (
    SCALED,
    Interrupted,
    blocks,
    hashes,
    interrupted,
    names,
    partial_of,
    values,
    write,
    writer,
)


def test_goes_on_after_an_exception(tmp_path, whole) -> None:
    path = tmp_path / "out.zarr"
    with pytest.raises(Interrupted):
        interrupted(path, 700)
    partial = tmp_path / "out.zarr.partial"
    assert names(partial / "X") == {"zarr.json", "c.0.0", "c.1.0"}
    assert names(tmp_path) == {"out.zarr.partial", ".out.zarr.partial.lock"}
    shard = (partial / "X" / "c.1.0").stat()
    # An empty file is none, and a gap in the middle is filled.
    (partial / "X" / "c.0.0").write_bytes(b"")
    with pytest.raises(Interrupted):
        interrupted(path, 600)
    with writer(path) as out:
        assert out.pending() == (slice(768, 1500),)
        assert out.missing == 3
        for block in blocks(values(), slice(768, 1500), 256):
            out.append(block)
    assert (path / "X" / "c.1.0").stat().st_mtime_ns == shard.st_mtime_ns
    assert hashes(path) == hashes(whole)


@pytest.mark.parametrize("after", [0, 200])
def test_an_exception_before_the_first_shard_leaves_nothing(tmp_path, after) -> None:
    with pytest.raises(Interrupted):
        interrupted(tmp_path / "out.zarr", after)
    assert names(tmp_path) == {".out.zarr.partial.lock"}


def test_an_exception_leaves_the_partial_that_another_part_is_at(tmp_path, whole) -> None:
    path = tmp_path / "out.zarr"
    with writer(path, part=(1, 2)) as out:
        with pytest.raises(Interrupted):
            interrupted(path, 0, part=(2, 2))
        for block in blocks(values(), out.pending()[0]):
            out.append(block)
    assert write(path, part=(2, 2)).finished
    assert hashes(path) == hashes(whole)


def test_who_ends_last_finishes(tmp_path, whole) -> None:
    path, lines = tmp_path / "out.zarr", []
    with writer(path, part=(2, 2)) as out:
        for block in blocks(values(), out.pending()[0]):
            out.append(block)
        first = write(path, part=(1, 2), report=lines.append)
        # The other part's last shard may still be on its way through its process.
        assert (first.finished, first.missing) == (False, 0)
        assert "left to part 2 of 2, process " in lines[0]
        assert not path.exists()
    assert out.finished
    assert hashes(path) == hashes(whole)


def test_missing_profiles_are_an_error_and_the_rest_stays(tmp_path, whole) -> None:
    path = tmp_path / "out.zarr"

    def too_few() -> None:
        with writer(path) as out:
            out.append(values()[:200])
            out.append(values()[200:400])

    with pytest.raises(FormatError, match=r"out\.zarr: not written: 400 of 1500 profiles"):
        too_few()
    assert names(tmp_path / "out.zarr.partial" / "X") == {"zarr.json", "c.0.0"}
    assert write(path).finished
    assert hashes(path) == hashes(whole)


@pytest.mark.parametrize(
    ("key", "other"),
    [("job.options.scale", {"job": SCALED}), ("profiles_per_shard", {"profiles_per_shard": 512})],
)
def test_another_job_begins_anew_and_says_why(tmp_path, whole, key, other) -> None:
    path, lines = tmp_path / "out.zarr", []
    partial_of(path, **other)
    before = hashes(tmp_path / "out.zarr.partial")
    with pytest.raises(DgexError, match=rf"partial: belongs to another job \(its {key} differs\)"):
        write(path, part=(1, 2))
    assert hashes(tmp_path / "out.zarr.partial") == before
    write(path, report=lines.append)
    assert lines == [f"{path}.partial: belongs to another job (its {key} differs), removed"]
    assert hashes(path) == hashes(whole)
    assert names(tmp_path) == {"out.zarr", ".out.zarr.partial.lock"}
