"""An interrupted file goes on where it stopped and ends in the bytes of an undisturbed one."""

from __future__ import annotations

import json
import os
import resource
import shutil
import tracemalloc
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats import partial
from dgex_jax.formats.gctx import Gctx, GctxWriter
from dgex_jax.formats.h5ad_write import H5adWriter
from dgex_jax.formats.partial import Resume

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

N, GENES, UNIT = 50, 9, 4
RUN = 8
"""Profiles of a run in these tests."""

VALUES = np.random.default_rng(3).normal(size=(N, GENES)).astype(np.float32)
JOB = {"options": {"scale": "reference", "impute": False}, "input": "ab12"}
FORMATS = pytest.mark.parametrize("name", ["a.gctx", "a.h5ad"])


@pytest.fixture(scope="module", autouse=True)
def small_runs() -> Iterator[None]:
    """Runs of `RUN` profiles: a multiple of the unit, of at least so many bytes. No power cuts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial, "RUN_BYTES", 4 * GENES * (RUN - 1))
        patch.setattr(os, "fsync", lambda _: None)
        yield


def writer(path: Path, job: Any = JOB, said: Any = None, ids: str = "p") -> GctxWriter | H5adWriter:
    resume = Resume(job, UNIT, (said if said is not None else []).append)
    profiles, genes = [f"{ids}{n}" for n in range(N)], [f"g{n}" for n in range(GENES)]
    about = pd.DataFrame({"tissue": ["liver", "brain"] * 25}, index=profiles, dtype=object)
    if path.suffix == ".gctx":
        return GctxWriter(path, profiles, genes, profile_metadata=about, resume=resume)
    pytest.importorskip("anndata")
    return H5adWriter(path, profiles, genes, about, pd.DataFrame(index=genes), {}, resume)


def blocks(pending: Sequence[slice], step: int) -> Iterator[np.ndarray]:
    for run in pending:
        assert run.start % UNIT == 0
        for start in range(run.start, run.stop, step):
            yield VALUES[start : min(start + step, run.stop)]


def fill(path: Path, step: int = 5, stop: int | None = None, **how: Any) -> list[str]:
    """Write what is pending, or raise after `stop` blocks; give what was said."""
    said: list[str] = []
    with writer(path, said=said, **how) as file:
        for count, block in enumerate(blocks(file.pending(), step)):
            if count == stop:
                raise InterruptedError("unplugged")
            file.append(block)
    return said


def stopped(path: Path, step: int = 5, stop: int = 5, **how: Any) -> None:
    with pytest.raises(InterruptedError, match="unplugged"):
        fill(path, step, stop, **how)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give the bytes of an undisturbed file."""
    known: dict[str, bytes] = {}

    def made(name: str, **how: Any) -> bytes:
        key = f"{name} {how}"
        if key not in known:
            path = tmp_path_factory.mktemp("straight") / name
            assert fill(path, **how) == []
            assert names(path.parent) == [name]
            known[key] = path.read_bytes()
        return known[key]

    return made


@FORMATS
def test_others_read_what_was_written(tmp_path: Path, name: str) -> None:
    fill(tmp_path / name)
    with h5py.File(tmp_path / name) as file:
        matrix = file["0/DATA/0/matrix" if name == "a.gctx" else "X"]
        assert matrix.chunks is None
        np.testing.assert_array_equal(matrix[...], VALUES)
    if name == "a.h5ad":
        import anndata

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = anndata.read_h5ad(tmp_path / name)
        np.testing.assert_array_equal(data.X, VALUES)
        assert list(data.obs["tissue"]) == ["liver", "brain"] * 25
    else:
        with Gctx(tmp_path / name) as source:
            np.testing.assert_array_equal(source.read(), VALUES)
            assert list(source.profile_metadata["tissue"]) == ["liver", "brain"] * 25


@FORMATS
@pytest.mark.parametrize("step", [1, 4, 7, 50])
def test_the_cut_into_blocks_changes_nothing(tmp_path: Path, straight: Any, name, step) -> None:
    fill(tmp_path / name, step)
    assert (tmp_path / name).read_bytes() == straight(name)


@FORMATS
def test_killed_after_any_block_it_ends_as_if_it_was_not(
    tmp_path: Path, straight: Any, name: str
) -> None:
    """What a kill leaves is what is on the disk: the folder as it is after every block."""
    expected = straight(name)
    path = tmp_path / "one" / name
    path.parent.mkdir()
    path.write_text("older")
    with writer(path) as file:
        for count, block in enumerate(blocks(file.pending(), 3)):
            file.append(block)
            shutil.copytree(path.parent, tmp_path / f"killed{count}")
    assert path.read_bytes() == expected
    for killed in tmp_path.glob("killed*"):
        done = min(3 * (int(killed.name.removeprefix("killed")) + 1), N) // RUN * RUN
        assert (killed / name).read_text() == "older"
        with writer(killed / name) as again:
            assert again.pending() == (slice(done, N),)
            for block in blocks(again.pending(), 11):
                again.append(block)
        assert (killed / name).read_bytes() == expected
        assert names(killed) == [name]


@FORMATS
@pytest.mark.parametrize("step", [1, 5, 16])
def test_stopped_again_and_again(tmp_path: Path, straight: Any, name: str, step: int) -> None:
    path, stops = tmp_path / name, 0
    while not path.exists():
        try:
            said = fill(path, step, 1 + RUN // step)
        except InterruptedError:
            stops += 1
        assert stops < N
    assert stops >= N // (RUN + step)
    assert said[0].endswith(f" of {N}")
    assert said[0].startswith(f"{path}: goes on at profile ")
    assert path.read_bytes() == straight(name)


def test_without_a_run_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.gctx"
    path.write_text("older")
    stopped(path, RUN - 1, 1)
    assert names(tmp_path) == ["a.gctx"]
    assert path.read_text() == "older"
    stopped(path, RUN, 1)
    assert names(tmp_path) == ["a.gctx", "a.gctx.partial", "a.gctx.partial.json"]
    assert path.read_text() == "older"


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


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"job": JOB | {"input": "cd34"}}, "not the same input"),
        ({"job": JOB | {"options": {"scale": "standardized"}}}, "not the same options (imp"),
        ({"job": JOB | {"options": JOB["options"] | {"impute": True}}}, "same options (impute)"),
        ({"job": {"options": JOB["options"]}}, "not the same input"),
        ({"job": JOB | {"device": "GPU", "input": "1"}}, "not the same device, input"),
        ({"ids": "q"}, "not the same ids and metadata"),
    ],
)
@FORMATS
def test_another_job_begins_anew(
    tmp_path: Path, straight: Any, name: str, change: Any, cause: str
) -> None:
    path = tmp_path / name
    stopped(path)
    (line,) = fill(path, **change)
    assert line.startswith(f"{path}: begins anew, not at profile 24: ")
    assert cause in line
    assert path.read_bytes() == straight(name, **change)
    assert names(tmp_path) == [name]


def test_layout_is_part_of_the_job(tmp_path: Path) -> None:
    path, said = tmp_path / "a.gctx", []
    stopped(path)
    resume = Resume(JOB, 2, said.append)
    with GctxWriter(path, ["p"], ["g"], dtype=np.float64, resume=resume) as file:
        file.append(np.ones((1, 1)))
    (line,) = said
    assert line.endswith(": not the same ids and metadata, layout (dtype, shape, unit)")


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
        journal.write_bytes(journal.read_bytes().replace(b'_version": 1', b'_version": 2'))
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


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="files are told apart by /proc")
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
    run = ["written", "synced a.gctx.partial", "journaled", "synced a.gctx.partial.json"]
    begun = ["synced a.gctx.partial", "synced a.gctx.partial.json", f"synced {tmp_path.name}"]
    end = ["written", "moved", "synced a.gctx.partial", f"synced {tmp_path.name}"]
    assert events == [*begun, *run * (N // RUN), *end]


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


def open_large(folder: Path, profiles: list[str], genes: list[str]) -> GctxWriter:
    return GctxWriter(folder / "a.gctx", profiles, genes, resume=Resume(JOB, 256, print))


def test_through_a_symbolic_link(tmp_path: Path, straight: Any) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.gctx"
    link.symlink_to(tmp_path / "there" / "a.gctx")
    stopped(link)
    assert names(tmp_path / "there") == ["a.gctx.partial", "a.gctx.partial.json"]
    fill(link)
    assert link.is_symlink()
    assert (tmp_path / "there" / "a.gctx").read_bytes() == straight("a.gctx")


def test_places_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(DgexError, match=r"no/a\.gctx: can't be written: "):
        fill(tmp_path / "no" / "a.gctx")
    (tmp_path / "b.gctx").mkdir()
    with pytest.raises(DgexError, match=r"b\.gctx: can't be written: it is not an ordinary file"):
        fill(tmp_path / "b.gctx")
    with pytest.raises(DgexError, match="can't be written: File name too long"):
        fill(tmp_path / f"{'n' * 250}.gctx")


def test_a_compressed_matrix_has_no_place_of_its_own(tmp_path: Path) -> None:
    resume = Resume(JOB, UNIT, print)
    with pytest.raises(ValueError, match="compressed matrix can't go on"):
        GctxWriter(tmp_path / "a.gctx", ["p"], ["g"], compression="gzip", resume=resume)
