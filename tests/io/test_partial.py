"""An interrupted file resumes where it stopped and ends in the bytes of an undisturbed one."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io import partial
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.h5ad import H5adWriter
from dgex_jax.io.partial import Resume
from dgex_jax.io.writers import GctxWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

N, GENES, UNIT = 50, 9, 4
RUN = 8
"""Profiles of a run in these tests."""

VALUES = np.random.default_rng(3).normal(size=(N, GENES)).astype(np.float32)
JOB = {"options": {"scale": "reference", "impute": False}, "input": "ab12"}
FORMATS = pytest.mark.parametrize("name", ["a.gctx", "a.h5ad"])
KEPT = "the same command resumes there"


@pytest.fixture(scope="module", autouse=True)
def small_runs() -> Iterator[None]:
    """Runs of `RUN` profiles: a multiple of the unit, of at least so many bytes. No power cuts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial, "RUN_BYTES", 4 * GENES * (RUN - 1))
        patch.setattr(os, "fsync", lambda _: None)
        yield


def writer(path: Path, job: Any = JOB, said: Any = None) -> GctxWriter | H5adWriter:
    resume = Resume(job, UNIT, (said if said is not None else []).append)
    profiles, genes = [f"p{n}" for n in range(N)], [f"g{n}" for n in range(GENES)]
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


def fill(path: Path, step: int = 5, stop: int | None = None, job: Any = JOB) -> list[str]:
    """Write what is pending, or raise after `stop` blocks; give what was said."""
    said: list[str] = []
    with writer(path, job, said) as file:
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


def journal_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_name(f"{path.name}.partial.json").read_text())
    return found


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Give the bytes of an undisturbed file."""
    known: dict[str, bytes] = {}

    def made(name: str) -> bytes:
        if name not in known:
            path = tmp_path_factory.mktemp("straight") / name
            assert fill(path) == []
            assert names(path.parent) == [name]
            known[name] = path.read_bytes()
        return known[name]

    return made


@FORMATS
@pytest.mark.parametrize("step", [1, 4, 7, 50])
def test_the_cut_into_blocks_changes_nothing(tmp_path, straight, name, step) -> None:
    fill(tmp_path / name, step)
    assert (tmp_path / name).read_bytes() == straight(name)


@FORMATS
def test_killed_after_any_block_it_ends_as_if_it_was_not(tmp_path, straight, name) -> None:
    """What a kill leaves is what is on the disk: the folder as it is after every block."""
    path = tmp_path / "one" / name
    path.parent.mkdir()
    path.write_text("older")
    with writer(path) as file:
        for count, block in enumerate(blocks(file.pending(), 3)):
            file.append(block)
            # What this very process is renaming at the moment is none of a kill's.
            ignored = shutil.ignore_patterns(".*")
            shutil.copytree(path.parent, tmp_path / f"killed{count}", ignore=ignored)
    assert path.read_bytes() == straight(name)
    for killed in tmp_path.glob("killed*"):
        done = min(3 * (int(killed.name.removeprefix("killed")) + 1), N) // RUN * RUN
        assert (killed / name).read_text() == "older"
        with writer(killed / name) as again:
            (pending,) = again.pending()
            # A run that has just ended may still be on its way to the disk.
            assert pending in (slice(done, N), slice(max(done - RUN, 0), N))
            for block in blocks(again.pending(), 11):
                again.append(block)
        assert (killed / name).read_bytes() == straight(name)
        assert names(killed) == [name]


@FORMATS
@pytest.mark.parametrize("step", [1, 5, 16])
def test_stopped_again_and_again(tmp_path, straight, name, step) -> None:
    path, stops = tmp_path / name, 0
    while not path.exists():
        try:
            said = fill(path, step, 1 + RUN // step)
        except InterruptedError:
            stops += 1
        assert stops < N
    assert stops >= N // (RUN + step)
    assert said[0].startswith(f"{path}: resumes at profile ")
    assert said[0].endswith(f" of {N}")
    assert path.read_bytes() == straight(name)


def test_without_a_run_nothing_is_left(tmp_path) -> None:
    path = tmp_path / "a.gctx"
    path.write_text("older")
    stopped(path, RUN - 1, 1)
    assert names(tmp_path) == ["a.gctx"]
    stopped(path, RUN, 1)
    assert names(tmp_path) == ["a.gctx", "a.gctx.partial", "a.gctx.partial.json"]
    assert path.read_text() == "older"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"input": "cd34"}, "input"),
        ({"options": {"scale": "standardized"}}, "options (impute, scale)"),
        ({"options": JOB["options"] | {"impute": True}}, "options (impute)"),
        ({"device": "GPU", "input": "1"}, "device, input"),
    ],
)
@FORMATS
def test_another_job_restarts(tmp_path, straight, name, change, cause) -> None:
    path = tmp_path / name
    stopped(path)
    said = fill(path, job=JOB | change)
    assert said == [f"{path}: restarts, not at profile 24: not the same {cause}"]
    assert path.read_bytes() == straight(name)
    assert names(tmp_path) == [name]


def test_layout_is_part_of_the_job(tmp_path) -> None:
    path, said = tmp_path / "a.gctx", []
    stopped(path)
    resume = Resume(JOB, 2, said.append)
    with GctxWriter(path, ["p"], ["g"], dtype=np.float64, resume=resume) as file:
        file.append(np.ones((1, 1)))
    assert said[0].endswith(": not the same layout (dtype, shape, unit)")


def test_through_a_symbolic_link(tmp_path, straight) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.gctx"
    link.symlink_to(tmp_path / "there" / "a.gctx")
    stopped(link)
    assert names(tmp_path / "there") == ["a.gctx.partial", "a.gctx.partial.json"]
    fill(link)
    assert link.is_symlink()
    assert (tmp_path / "there" / "a.gctx").read_bytes() == straight("a.gctx")


@FORMATS
@pytest.mark.parametrize("before", [None, 5])
def test_the_checksum_is_that_of_the_file_also_of_one_that_resumed(tmp_path, name, before) -> None:
    path = tmp_path / name
    if before is not None:
        stopped(path, stop=before)
    with writer(path) as file:
        for block in blocks(file.pending(), 7):
            file.append(block)
        assert file.sha256 is None
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


# The journal


@FORMATS
@pytest.mark.parametrize(
    ("profile", "told"),
    [
        (0, "restarts, not at profile 24: values before that are damaged"),
        (RUN, "resumes at profile 8 of 50, not 24: values before that are damaged"),
        (2 * RUN + 3, "resumes at profile 16 of 50, not 24: values before that are damaged"),
        # Beyond what was journaled nothing is believed anyway.
        (3 * RUN + 1, "resumes at profile 24 of 50"),
    ],
)
def test_a_flipped_bit_is_found_and_redone(tmp_path, straight, name, profile, told) -> None:
    path, unfinished = tmp_path / name, tmp_path / f"{name}.partial"
    stopped(path)
    content = bytearray(unfinished.read_bytes())
    content[journal_of(path)["offset"] + 4 * GENES * profile] ^= 4
    unfinished.write_bytes(content)
    assert fill(path) == [f"{path}: {told}"]
    assert path.read_bytes() == straight(name)


OTHER = "restarts, not at profile 24: it is damaged, or another file than its journal's"
NO_JOURNAL = "restarts: its journal is damaged or of another version"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("head", OTHER),
        ("tail", OTHER),
        ("short", OTHER),
        ("other", OTHER),
        ("file gone", None),
        ("journal gone", None),
        ("journal cut", NO_JOURNAL),
        ("journal bit", NO_JOURNAL),
        ("version", NO_JOURNAL),
    ],
)
def test_a_journal_goes_with_its_file_alone(tmp_path, straight, damage, told) -> None:
    path, unfinished = tmp_path / "a.h5ad", tmp_path / "a.h5ad.partial"
    journal = tmp_path / "a.h5ad.partial.json"
    stopped(path)
    content, lines = bytearray(unfinished.read_bytes()), journal.read_bytes()
    match damage:
        case "head" | "tail":
            content[700 if damage == "head" else -1] ^= 1
            unfinished.write_bytes(content)
        case "short":
            unfinished.write_bytes(content[:-1])
        case "other":
            stopped(tmp_path / "b.gctx")
            (tmp_path / "b.gctx.partial").replace(unfinished)
        case "file gone":
            unfinished.unlink()
        case "journal gone":
            journal.unlink()
        case "journal cut":
            journal.write_bytes(lines[:-20])
        case "journal bit":
            journal.write_bytes(lines.replace(b"24", b"25"))
        case "version":
            # As version 2 began.
            journal.write_bytes(b'{"format": "dgex partial", "format_version": 2}\n{}\n')
    assert fill(path) == ([] if told is None else [f"{path}: {told}"])
    assert path.read_bytes() == straight("a.h5ad")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="files are told apart by /proc")
class TestOrder:
    """What is on the disk when, as a power cut would find it."""

    def test_the_journal_never_knows_more_than_the_disk(self, tmp_path, monkeypatch) -> None:
        events: list[str] = []
        write, move, journal = os.pwrite, partial.move_whole, partial.write_record

        def synced(descriptor: int) -> None:
            name = Path(f"/proc/self/fd/{descriptor}").readlink().name
            if name == "a.gctx.partial":
                events.append("synced")

        def noted(event: str, call: Any) -> Any:
            def noting(*arguments: Any) -> Any:
                events.append(event)
                return call(*arguments)

            return noting

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "pwrite", noted("written", write))
        monkeypatch.setattr(partial, "write_record", noted("journaled", journal))
        monkeypatch.setattr(partial, "move_whole", noted("moved", move))
        fill(tmp_path / "a.gctx", RUN)
        ordered = [event for event in events if event != "written"]
        assert ordered == [*["synced", "journaled"] * (1 + N // RUN), "moved", "synced"]
        # The next run may be written while one is synced; never the other way round.
        writes = [place for place, event in enumerate(events) if event == "written"]
        _, *syncs, _ = (place for place, event in enumerate(events) if event == "synced")
        assert len(writes) == N // RUN + 1
        assert all(write < sync for write, sync in zip(writes, syncs, strict=False))
        assert writes[-1] < events.index("moved")

    @pytest.mark.parametrize("refused", [".partial", ".json"])
    def test_what_the_disk_did_not_take_is_not_journaled(
        self, tmp_path, monkeypatch, refused
    ) -> None:
        """Also where the next run was written before the disk said so."""
        path = tmp_path / "a.gctx"

        def sync(descriptor: int) -> None:
            name = Path(f"/proc/self/fd/{descriptor}").readlink().name
            journal = tmp_path / "a.gctx.partial.json"
            if name.endswith(refused) and journal.exists() and len(journal_of(path)["runs"]) == 2:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", sync)
        with pytest.raises(DgexError, match="No space left on device; 16 of 50 profiles are kept"):
            fill(path, RUN)
        monkeypatch.setattr(os, "fsync", lambda _: None)
        assert fill(path) == [f"{path}: resumes at profile 16 of 50"]


def test_an_error_of_ours_says_what_is_kept(tmp_path) -> None:
    path = tmp_path / "a.gctx"
    stopped(path, 20, 1)
    with pytest.raises(FormatError) as caught, writer(path) as file:
        file.append(VALUES[:1, 1:])
    kept = f"16 of 50 profiles are kept in a.gctx.partial, {KEPT}"
    assert str(caught.value).endswith(f"does not fit at profile 16 of 50 x 9 genes; {kept}")
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), writer(path, said=said) as file:
        raise KeyboardInterrupt
    assert said == [f"{path}: resumes at profile 16 of 50", f"{path}: {kept}"]


# What a disk refuses


def fail_after(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Let the disk be full after `n` writes of values."""
    write, left = os.pwrite, iter(range(n))

    def full(*arguments: Any) -> int:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", full)


@FORMATS
def test_a_full_disk_keeps_what_is_there_and_says_so(tmp_path, straight, name, monkeypatch) -> None:
    path = tmp_path / name
    for n, kept in ((3, 8), (0, 8)):  # the second time nothing new, and nothing lost
        with monkeypatch.context() as patch:
            fail_after(patch, n)
            with pytest.raises(DgexError) as caught:
                fill(path, 7)
        assert str(caught.value) == (
            f"{path}: can't be written: No space left on device; {kept} of 50 profiles are kept in "
            f"{name}.partial, {KEPT}"
        )
    assert fill(path) == [f"{path}: resumes at profile 8 of 50"]
    assert path.read_bytes() == straight(name)
    with monkeypatch.context() as patch:
        fail_after(patch, 1)
        with pytest.raises(DgexError, match=r"No space left on device$"):
            fill(tmp_path / f"b.{name}", RUN - 1)
    assert names(tmp_path) == [name]


def test_a_limit_of_file_size_keeps_what_is_there(tmp_path, straight) -> None:
    path = tmp_path / "a.gctx"
    stopped(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal_of(path)["offset"] + 4 * GENES * 34, hard))
    try:
        with pytest.raises(DgexError, match=r"File too large; 32 of 50 profiles are kept"):
            fill(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    fill(path)
    assert path.read_bytes() == straight("a.gctx")


def test_a_disk_that_writes_a_little_at_a_time(tmp_path, straight, monkeypatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, content, at: write(file, content[:50], at))
    fill(tmp_path / "a.gctx")
    assert (tmp_path / "a.gctx").read_bytes() == straight("a.gctx")


def test_a_failure_at_the_very_end_loses_nothing(tmp_path, straight, monkeypatch) -> None:
    """Also where the last profile ends a run, so that all are journaled."""
    monkeypatch.setattr(partial, "RUN_BYTES", 1)
    path = tmp_path / "a.gctx"

    def gone(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(partial, "move_whole", gone)
        with pytest.raises(DgexError, match="Input/output error; 48 of 50 profiles are kept in"):
            fill(path)
    with writer(path) as file:
        assert file.pending() == (slice(48, 50),)
        file.append(VALUES[48:])
    assert path.read_bytes() == straight("a.gctx")
    five = [f"p{n}" for n in range(5)], [f"g{n}" for n in range(GENES)]
    with monkeypatch.context() as patch:
        patch.setattr(partial, "move_whole", gone)
        with (
            pytest.raises(DgexError, match="5 of 5 profiles are kept"),
            GctxWriter(path, *five, resume=Resume(JOB, 1, print)) as other,
        ):
            other.append(VALUES[:5])
    with GctxWriter(path, *five, resume=Resume(JOB, 1, print)) as other:
        assert other.pending() == ()
    with Gctx(path) as source:
        np.testing.assert_array_equal(source.read(), VALUES[:5])


def limit_disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, free=free))


@FORMATS
def test_too_little_space_is_told_before_anything_is_written(tmp_path, name, monkeypatch) -> None:
    path, needed = tmp_path / name, 4 * GENES * N
    limit_disk(monkeypatch, needed - 1)
    with pytest.raises(DgexError) as caught:
        fill(path)
    assert str(caught.value) == (
        f"{path}: can't be written: needs {needed:,} bytes, the disk has {needed - 1:,} free"
    )
    assert names(tmp_path) == []
    limit_disk(monkeypatch, needed)
    stopped(path)
    assert names(tmp_path) == [f"{name}.partial", f"{name}.partial.json"]


def test_resuming_needs_space_for_what_is_missing_alone(tmp_path, monkeypatch) -> None:
    profiles, genes = list("abcdefgh"), [f"g{n}" for n in range(10**5)]

    def large() -> GctxWriter:
        return GctxWriter(tmp_path / "a.gctx", profiles, genes, resume=Resume(JOB, 1, print))

    with (
        pytest.raises(FormatError, match="not written: 6 of 8 profiles; 6 of 8 profiles are kept"),
        large() as file,
    ):
        file.append(np.ones((6, 10**5)))
    limit_disk(monkeypatch, 700_000)
    match = r"needs .* free; 6 of 8 profiles are kept in a\.gctx"
    with pytest.raises(DgexError, match=match), large():
        pytest.fail("there is no space")
    limit_disk(monkeypatch, 800_000)
    with large() as file:
        file.append(np.ones((2, 10**5)))
    with Gctx(tmp_path / "a.gctx") as source:
        assert (source.read() == 1).all()


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(partial, "RUN_BYTES", 1 << 22)
    n, n_genes = 20_000, 1000
    block = np.ones((256, n_genes), np.float32)
    profiles, genes = [f"p{k}" for k in range(n)], [f"g{k}" for k in range(n_genes)]

    def large() -> GctxWriter:
        return GctxWriter(tmp_path / "a.gctx", profiles, genes, resume=Resume(JOB, 256, print))

    with pytest.raises(FormatError, match="not written: 17920 of 20000"), large() as file:
        file.append(np.broadcast_to(np.float32(1), (17_920, n_genes)))
    tracemalloc.start()
    try:
        with large() as file:
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


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("no/a.gctx", r"no/a\.gctx: can't be written: "),
        ("folder.gctx", r"folder\.gctx: can't be written: it is not an ordinary file"),
        (f"{'n' * 250}.gctx", "can't be written: File name too long"),
    ],
)
def test_places_that_can_not_be_written(tmp_path, name, match) -> None:
    (tmp_path / "folder.gctx").mkdir()
    with pytest.raises(DgexError, match=match):
        fill(tmp_path / name)
