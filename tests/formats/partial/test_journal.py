"""The journal of an interrupted file: believed as far as it and the file are whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats import partial
from tests.formats.partial.case import FORMATS, GENES, RUN, VALUES, N, fill, stopped, writer

PROC = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="files are told apart by /proc"
)


@FORMATS
@pytest.mark.parametrize("profile", [0, RUN, 2 * RUN + 3, 3 * RUN + 1])
def test_a_flipped_bit_is_found_and_redone(
    tmp_path: Path, straight: Any, name: str, profile: int
) -> None:
    path = tmp_path / name
    stopped(path)
    unfinished, journal = tmp_path / f"{name}.partial", tmp_path / f"{name}.partial.json"
    content = bytearray(unfinished.read_bytes())
    place = json.loads(journal.read_text().splitlines()[0])["offset"] + 4 * GENES * profile
    content[place] ^= 4
    unfinished.write_bytes(content)
    (line,) = fill(path)
    sound = profile // RUN * RUN
    if sound == 3 * RUN:
        # Beyond what was journaled nothing is believed anyway.
        assert line == f"{path}: goes on at profile 24 of 50"
    elif sound:
        assert (
            line
            == f"{path}: goes on at profile {sound} of 50, not 24: values before that are damaged"
        )
    else:
        assert line == f"{path}: begins anew, not at profile 24: values before that are damaged"
    assert path.read_bytes() == straight(name)


def test_any_journal_that_was_cut_off_is_believed_as_far_as_it_goes(
    tmp_path: Path, straight: Any
) -> None:
    expected = straight("a.gctx")
    stopped(tmp_path / "a.gctx")
    journal = (tmp_path / "a.gctx.partial.json").read_bytes()
    lines = journal.splitlines(keepends=True)
    assert len(lines) == 4
    first = len(lines[0])
    for size in (0, 1, first - 1, first, *range(first + 1, len(journal) + 1, 7)):
        copy = tmp_path / str(size)
        copy.mkdir()
        shutil.copy(tmp_path / "a.gctx.partial", copy)
        (copy / "a.gctx.partial.json").write_bytes(journal[:size])
        whole = max(journal[:size].count(b"\n") - 1, 0)
        stopped(copy / "a.gctx", RUN, 1)
        assert (copy / "a.gctx.partial.json").read_bytes().count(b"\n") == whole + 2
        fill(copy / "a.gctx")
        assert (copy / "a.gctx").read_bytes() == expected


@pytest.mark.parametrize("damage", ["head", "tail", "short", "gone", "other", "journal", "version"])
def test_a_journal_goes_with_its_file_alone(tmp_path: Path, straight: Any, damage: str) -> None:
    path, unfinished = tmp_path / "a.h5ad", tmp_path / "a.h5ad.partial"
    journal = tmp_path / "a.h5ad.partial.json"
    stopped(path)
    content = bytearray(unfinished.read_bytes())
    if damage == "other":
        stopped(path.with_name("b.h5ad"), ids="q")
        path.with_name("b.h5ad.partial").replace(unfinished)
    elif damage == "gone":
        unfinished.unlink()
    elif damage == "journal":
        journal.write_bytes(b"{" + journal.read_bytes())
    elif damage == "version":
        journal.write_bytes(journal.read_bytes().replace(b'_version": 2', b'_version": 1'))
    elif damage == "short":
        unfinished.write_bytes(content[:-1])
    else:
        content[700 if damage == "head" else -1] ^= 1
        unfinished.write_bytes(content)
    cause = "it is damaged, or another file than its journal's"
    if damage in {"journal", "version"}:
        cause = "its journal is damaged or of another version"
    anew = [f"{path}: begins anew, not at profile 24: {cause}"]
    assert fill(path) == ([] if damage == "gone" else anew)
    assert path.read_bytes() == straight("a.h5ad")


@PROC
def test_the_journal_never_knows_more_than_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of a power cut: values are synced before they are journaled or renamed."""
    events: list[str] = []
    write, move = os.pwrite, partial.move_whole

    def synced(descriptor: int) -> None:
        events.append(f"synced {Path(f'/proc/self/fd/{descriptor}').readlink().name}")

    def written(*arguments: Any) -> int:
        events.append("written")
        return write(*arguments)

    def journaled(*arguments: Any) -> None:
        events.append("journaled")
        add_run(*arguments)

    def moved(*arguments: Any) -> None:
        events.append("moved")
        move(*arguments)

    add_run = partial.add_run
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "pwrite", written)
    monkeypatch.setattr(partial, "add_run", journaled)
    monkeypatch.setattr(partial, "move_whole", moved)
    fill(tmp_path / "a.gctx", RUN)
    run = ["synced a.gctx.partial", "journaled", "synced a.gctx.partial.json"]
    begun = ["synced a.gctx.partial", "synced a.gctx.partial.json", f"synced {tmp_path.name}"]
    end = ["moved", "synced a.gctx.partial", f"synced {tmp_path.name}"]
    ordered = [event for event in events if event != "written"]
    assert ordered == [*begun, *run * (N // RUN), *end]
    # The next run may be written while one is synced; never the other way round.
    writes = [place for place, event in enumerate(events) if event == "written"]
    _, *syncs, _ = (place for place, event in enumerate(events) if event == run[0])
    assert len(writes) == N // RUN + 1
    assert all(write < sync for write, sync in zip(writes, syncs, strict=False))
    assert writes[-1] < events.index("moved")


@PROC
def test_a_run_that_the_disk_did_not_take_is_not_journaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the next run was written before the disk said so."""
    path, sync, journal = tmp_path / "a.gctx", os.fsync, []

    def refused(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if len(journal) == 2 and name.endswith(".partial"):
            raise OSError(28, "No space left on device")
        sync(descriptor)

    def journaled(*arguments: Any) -> None:
        journal.append(arguments)
        add_run(*arguments)

    add_run = partial.add_run
    monkeypatch.setattr(os, "fsync", refused)
    monkeypatch.setattr(partial, "add_run", journaled)
    with pytest.raises(DgexError, match="No space left on device; 16 of 50 profiles are kept"):
        fill(path, RUN)
    monkeypatch.undo()
    assert fill(path) == [f"{path}: goes on at profile 16 of 50"]


def test_an_error_of_ours_says_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.gctx"
    stopped(path, 20, 1)
    with pytest.raises(FormatError) as caught, writer(path) as file:
        file.append(VALUES[:1, 1:])
    assert str(caught.value).endswith(
        f"does not fit at profile 16 of 50 x 9 genes; 16 of 50 profiles are kept in {path.name}"
        ".partial, the same command goes on there"
    )
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), writer(path, said=said) as file:
        raise KeyboardInterrupt
    assert said == [
        f"{path}: goes on at profile 16 of 50",
        f"{path}: 16 of 50 profiles are kept in a.gctx.partial, the same command goes on there",
    ]
