"""Where a zarr store may be written, what it replaces, what it leaves alone."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import zarr

from dgex_jax.errors import DgexError, FormatError
from tests.formats.zarr_stores.case import blocks, hashes, names, partial_of, values, write, writer


def test_blocks_that_do_not_fit(tmp_path) -> None:
    with writer(tmp_path / "out.zarr", 300, part=(1, 2)) as out:
        assert out.pending() == (slice(0, 256),)
        for wrong in (values(257), values(10, 8), values(10).ravel()):
            with pytest.raises(FormatError, match="does not fit at profile 0 of 300 x 9 genes"):
                out.append(wrong)
        out.append(values(256))
        with pytest.raises(FormatError, match="does not fit"):
            out.append(values(1))


def test_parts_that_could_write_the_same_are_refused(tmp_path) -> None:
    path = tmp_path / "out.zarr"
    with writer(path, part=(1, 2)) as out:
        for part, match in [((1, 2), "part-1-of-2: in use"), ((1, 1), "a part of 2 is in use")] * 2:
            with pytest.raises(DgexError, match=rf"{match} by process \d+"):
                write(path, part=part)
        for block in blocks(values(), out.pending()[0]):
            out.append(block)
    assert write(path).finished


@pytest.mark.parametrize("what", ["folder", "empty", "file", "store", "partial"])
def test_what_is_not_ours_is_refused_and_left(tmp_path, what) -> None:
    path = tmp_path / "out.zarr"
    place = tmp_path / "out.zarr.partial" if what == "partial" else path
    if what == "file":
        place.write_text("mine")
    elif what == "store":
        zarr.create_array(place, shape=(3,), dtype="float32", zarr_format=3)
    else:
        place.mkdir()
        if what != "empty":
            (place / "thesis.tex").write_text("mine")
    before = hashes(place) if place.is_dir() else place.read_text()
    with pytest.raises(DgexError, match=rf"{place.name}: is in the way: not a zarr store written"):
        write(path)
    assert before == (hashes(place) if place.is_dir() else place.read_text())
    assert names(tmp_path) == {place.name}


def test_what_came_meanwhile_is_left_and_nothing_is_lost(tmp_path, whole) -> None:
    path = tmp_path / "out.zarr"

    def write_slowly() -> None:
        with writer(path) as out:
            for block in blocks(values(), out.pending()[0]):
                out.append(block)
            path.mkdir()
            (path / "thesis.tex").write_text("mine")

    with pytest.raises(DgexError, match="is in the way"):
        write_slowly()
    assert names(path) == {"thesis.tex"}
    (path / "thesis.tex").unlink()
    path.rmdir()
    with writer(path) as out:
        assert out.pending() == ()
    assert hashes(path) == hashes(whole)


def test_an_older_store_is_replaced_in_the_end(tmp_path, whole) -> None:
    path = tmp_path / "out.zarr"
    write(path, job={"older": True})
    older = hashes(path)
    for i in (1, 2):
        assert hashes(path) == older
        write(path, part=(i, 2))
    assert hashes(path) == hashes(whole)
    assert names(tmp_path) == {"out.zarr", ".out.zarr.partial.lock"}


@pytest.mark.parametrize("moment", ["job.json gone", "older store moved away"])
def test_a_kill_between_two_moves_is_mended(tmp_path, whole, moment) -> None:
    path, replaced = tmp_path / "out.zarr", tmp_path / ".out.zarr.replaced"
    write(path, job={"older": True})
    older = hashes(path)
    partial_of(path)
    (tmp_path / "out.zarr.partial" / "job.json").unlink()
    # Half begun, or half removed.
    (tmp_path / f".out.zarr.{'0' * 12}.tmp").mkdir()
    if moment != "job.json gone":
        path.rename(replaced)
    with writer(path) as out:
        assert out.pending() == (slice(512, 1500),)
        assert hashes(path) == older
        for block in blocks(values(), out.pending()[0]):
            out.append(block)
    assert hashes(path) == hashes(whole)
    assert names(tmp_path) == {"out.zarr", ".out.zarr.partial.lock"}


def test_all_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch) -> None:
    synced: set[int] = set()
    renamed: list[str] = []
    fsync, rename, replace = os.fsync, Path.rename, Path.replace

    def recorded_fsync(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def checked(move: Any) -> Any:
        def moved(path: Path, target: Path) -> Any:
            for inner in [path, *path.rglob("*")] if path.is_dir() else [path]:
                assert inner.stat().st_ino in synced, inner
            renamed.append(Path(target).name)
            # What it is moved into has to be synced afterwards.
            synced.discard(Path(target).parent.stat().st_ino)
            return move(path, target)

        return moved

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "rename", checked(rename))
    monkeypatch.setattr(Path, "replace", checked(replace))
    write(tmp_path / "out.zarr", values(600))
    assert renamed == ["out.zarr.partial", "c.0.0", "c.1.0", "c.2.0", "out.zarr"]
    assert tmp_path.stat().st_ino in synced


def test_a_symbolic_link_keeps_its_folder(tmp_path, whole) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.zarr"
    link.symlink_to(tmp_path / "there" / "real.zarr")
    write(link)
    assert link.is_symlink()
    assert hashes(tmp_path / "there" / "real.zarr") == hashes(whole)


@pytest.mark.parametrize("name", ["zarr", "anndata"])
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, name) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda _: "0.11.4")
        with pytest.raises(DgexError, match=r"needs zarr >= 3\.1, not 0\.11\.4: pip install"):
            writer(tmp_path / "out.zarr")
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DgexError, match=rf'needs {name} >= .*: pip install "dgex-jax\[anndata\]"'):
        writer(tmp_path / "out.zarr")
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"part": (0, 2)}, DgexError, "part 0 of 2"),
        ({"part": (3, 2)}, DgexError, "part 3 of 2"),
        ({"profiles_per_shard": 300}, ValueError, "300 profiles per shard"),
        ({"n_profiles": 0}, FormatError, "has no profiles"),
        ({"n_genes": 0}, FormatError, "has no genes"),
    ],
)
def test_what_can_not_be_written(tmp_path, options, error, match) -> None:
    with pytest.raises(error, match=match):
        writer(tmp_path / "out.zarr", **options)


def test_a_place_that_can_not_be_written_to(tmp_path) -> None:
    with pytest.raises(DgexError, match="not in a folder that is there"):
        write(tmp_path / "nowhere" / "out.zarr")
    assert names(tmp_path) == set()
