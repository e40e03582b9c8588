"""Zarr stores: the same bytes however they were written, and damage is found and named."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.zarr import (
    MANIFEST,
    ZarrWriter,
    check_zarr,
    default_profiles_per_shard,
    quiet,
)

zarr = pytest.importorskip("zarr")
anndata = pytest.importorskip("anndata")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

N_PROFILES, N_GENES, PER_SHARD, N_SHARDS = 1500, 9, 256, 6
PROVENANCE = {"made_by": "dgex", "options": {"scale": "reference"}, "imputed": ["g1"]}
JOB = {"model": "ab", "options": {"scale": "reference", "platform": "rnaseq"}}
SCALED = JOB | {"options": {"scale": "standardized", "platform": "rnaseq"}}
V1 = Path(__file__).parents[1] / "data" / "v1" / "inferred.zarr"
ALONE = {"out.zarr", ".out.zarr.partial.lock"}
"""What is left of a finished store: it, and the output's own lock, as beside all outputs."""


def values(n_profiles: int = N_PROFILES, n_genes: int = N_GENES) -> NDArray[np.float32]:
    X = np.random.default_rng(n_profiles).normal(size=(n_profiles, n_genes)).astype(np.float32)
    # Chunks of what readers take for missing are values like any others.
    X[256:512] = 0
    X[512:768] = np.nan
    X[-1, :3] = [np.inf, -np.inf, -0.0][:n_genes]
    return X


def writer(
    path: Path, n_profiles: int = N_PROFILES, n_genes: int = N_GENES, **options: Any
) -> ZarrWriter:
    profiles = [f"p{i}" for i in range(n_profiles)]
    genes = [f"g{i}" for i in range(n_genes)]
    obs = pd.DataFrame(
        {
            "tissue": [("liver", "brain", None)[i % 3] for i in range(n_profiles)],
            "dose": np.arange(n_profiles) / 3,
            "note": [f"né {i}" for i in range(n_profiles)],
        },
        index=profiles,
    )
    var = pd.DataFrame({"expected_error": np.linspace(0, 1, n_genes)}, index=genes)
    settings: dict[str, Any] = {"job": JOB, "profiles_per_shard": PER_SHARD} | options
    return ZarrWriter(path, profiles, genes, obs, var, PROVENANCE, **settings)


def blocks(runs: Any, size: int = 256, shape: Any = ()) -> Iterator[NDArray[np.float32]]:
    X = values(*shape)
    for run in runs:
        for start in range(run.start, run.stop, size):
            yield X[start : min(start + size, run.stop)]


def write(path: Path, *shape: int, pause: float = 0, **options: Any) -> ZarrWriter:
    """All that a process has to write; blocks as the network gives them."""
    with writer(path, *shape, **options) as out:
        for block in blocks(out.pending(), shape=shape):
            out.append(block)
            time.sleep(pause)
    return out


class Interrupted(BaseException):
    """Something other than an error, like Ctrl-C."""


def interrupt(path: Path, after: int = 600, **options: Any) -> None:
    """Write `after` profiles in small blocks, then fail."""

    def until_then() -> None:
        with writer(path, **options) as out:
            for count, block in enumerate(blocks(out.pending(), 100)):
                if 100 * count >= after:
                    raise Interrupted
                out.append(block)

    with pytest.raises(Interrupted):
        until_then()


def hashes(store: Path) -> dict[str, str]:
    return {
        str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in store.rglob("*")
        if file.is_file()
    }


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A store that one process wrote undisturbed."""
    path: Path = tmp_path_factory.mktemp("whole") / "out.zarr"
    out = write(path)
    assert (out.missing, out.n_shards) == (0, N_SHARDS)
    assert names(path.parent) == ALONE
    return path


@pytest.fixture
def complete(tmp_path, whole) -> Callable[[], None]:
    """Check that a store is the one that nothing disturbed, and nothing else is left."""

    def check() -> None:
        assert hashes(tmp_path / "out.zarr") == hashes(whole)
        assert names(tmp_path) == ALONE

    return check


# What is read back


def test_anndata_reads_what_was_written(whole) -> None:
    with quiet():
        data = anndata.read_zarr(whole)
    # To the bit: minus zero is one of them.
    assert data.X.tobytes() == values().tobytes()
    assert list(data.obs_names) == [f"p{i}" for i in range(N_PROFILES)]
    assert list(data.var_names) == [f"g{i}" for i in range(N_GENES)]
    assert list(data.obs["tissue"][:4]) == ["liver", "brain", "", "liver"]
    assert list(data.obs["note"]) == [f"né {i}" for i in range(N_PROFILES)]
    np.testing.assert_array_equal(data.obs["dose"], np.arange(N_PROFILES) / 3)
    np.testing.assert_array_equal(data.var["expected_error"], np.linspace(0, 1, N_GENES))
    assert json.loads(str(data.uns["dgex"])) == PROVENANCE


def test_zarr_reads_what_was_written(whole) -> None:
    X = zarr.open_group(whole, mode="r")["X"]
    assert X.attrs.asdict() == {"encoding-type": "array", "encoding-version": "0.2.0"}
    assert (X.metadata.zarr_format, X.dtype) == (3, np.float32)
    assert (X.chunks, X.shards) == ((256, N_GENES), (PER_SHARD, N_GENES))
    assert X[700:900, 2:5].tobytes() == values()[700:900, 2:5].tobytes()
    with quiet():
        alone, together = (
            sorted(
                (name, node.metadata.to_dict()["attributes"])
                for name, node in zarr.open_group(whole, mode="r", use_consolidated=use).members(9)
            )
            for use in (False, True)
        )
    assert alone == together
    assert len(alone) > 10
    assert {name for name in hashes(whole) if name.startswith("X/c")} == {
        f"X/c.{shard}.0" for shard in range(N_SHARDS)
    }


@pytest.mark.parametrize(
    ("shape", "per_shard"),
    [((1, 1), 256), ((1, 5), None), ((255, 3), 256), ((257, 4), 512), ((300, 8200), 512)],
)
def test_any_size(tmp_path, shape, per_shard) -> None:
    out = write(tmp_path / "out.zarr", *shape, profiles_per_shard=per_shard)
    assert not out.missing
    assert check_zarr(tmp_path / "out.zarr") == out.n_shards
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "out.zarr", path="X")[:], values(*shape)
    )


@pytest.mark.parametrize("n_genes", [1, 978, 4096, 4097, 10463, 12000, 60000])
def test_shards_are_of_about_64_mib(n_genes) -> None:
    per_shard = default_profiles_per_shard(n_genes)
    assert per_shard % 256 == 0
    assert 0.75 < 4 * per_shard * n_genes / 2**26 < 1.5


# Parts


@pytest.mark.parametrize(("n_parts", "seed"), [(2, 2), (3, 1), (9, 0)])
def test_parts_in_any_order_are_the_same_bytes(tmp_path, complete, n_parts, seed) -> None:
    path, missing = tmp_path / "out.zarr", N_SHARDS
    for i in np.random.default_rng(seed).permutation(n_parts) + 1:
        assert not path.exists() or not missing
        out = write(path, part=(int(i), n_parts), report=[].append)
        mine = range(N_SHARDS * (int(i) - 1) // n_parts, N_SHARDS * int(i) // n_parts)
        missing -= len(mine)
        assert out.missing == missing
    complete()


def test_a_part_that_comes_after_the_end_has_nothing_to_do(tmp_path, complete) -> None:
    path, lines = tmp_path / "out.zarr", []
    for i in range(2, 8):
        out = write(path, part=(i, 7))
    assert not out.missing
    assert not write(path, part=(1, 7), report=lines.append).missing
    assert lines == [f"{path}: is already complete"]
    complete()


def test_a_part_is_of_one_process_and_others_go_on(tmp_path, complete) -> None:
    path = tmp_path / "out.zarr"
    with writer(path, part=(1, 2)) as out:
        with pytest.raises(DgexError, match=r"part-1-of-2: in use by process \d+"):
            write(path, part=(1, 2))
        # An error of another part, before its first shard, leaves what this one is at.
        interrupt(path, 0, part=(2, 2))
        for block in blocks(out.pending()):
            out.append(block)
        assert write(path, part=(2, 2)).missing in range(2)
    complete()


def test_a_store_that_another_job_took_over_is_not_mixed(tmp_path) -> None:
    path = tmp_path / "out.zarr"

    def overtaken() -> None:
        with writer(path, part=(1, 2)) as out:
            shutil.rmtree(tmp_path / "out.zarr.partial")
            interrupt(path, part=(2, 2), job=SCALED)
            for block in blocks(out.pending()):
                out.append(block)

    with pytest.raises(DgexError, match="was removed or replaced by another process"):
        overtaken()
    assert not write(path, job=SCALED).missing
    assert check_zarr(path) == N_SHARDS


# Interruptions


def test_resumes_after_an_exception(tmp_path, complete) -> None:
    path, partial, lines = tmp_path / "out.zarr", tmp_path / "out.zarr.partial", []
    interrupt(path, 700)
    assert names(partial / "X") == {"zarr.json", "dgex.json", "c.0.0", "c.1.0"}
    assert names(tmp_path) == {"out.zarr.partial", ".out.zarr.partial.lock"}
    shard = (partial / "X" / "c.1.0").stat()
    # A gap in the middle is filled.
    (partial / "X" / "c.0.0").write_bytes(b"")
    interrupt(path, 600, report=lines.append)
    assert lines == [f"{partial}/X/c.0.0: damaged, is written again"]
    with writer(path) as out:
        assert out.pending() == (slice(768, 1500),)
        assert out.missing == 3
        for block in blocks(out.pending()):
            out.append(block)
    assert (path / "X" / "c.1.0").stat().st_mtime_ns == shard.st_mtime_ns
    complete()


@pytest.mark.parametrize("after", [0, 200])
def test_an_exception_before_the_first_shard_leaves_nothing(tmp_path, after) -> None:
    interrupt(tmp_path / "out.zarr", after)
    assert names(tmp_path) == {".out.zarr.partial.lock"}


def test_missing_profiles_are_an_error_and_the_rest_stays(tmp_path, complete) -> None:
    path = tmp_path / "out.zarr"
    match = r"out\.zarr: not written: 300 of 1500 profiles"
    with pytest.raises(FormatError, match=match), writer(path) as out:
        out.append(values()[:300])
    assert "c.0.0" in names(tmp_path / "out.zarr.partial" / "X")
    assert not write(path).missing
    complete()


def damage(name: str) -> Callable[[Path], None]:
    def flip(partial: Path) -> None:
        data = bytearray((partial / name).read_bytes())
        data[len(data) // 2] ^= 1
        (partial / name).write_bytes(data)

    return flip


def nothing(_partial: Path) -> None:
    """Leave it as it is."""


def as_version_1(partial: Path) -> None:
    (partial / MANIFEST).unlink()
    shutil.copy(V1 / "zarr.json", partial)


@pytest.mark.parametrize(
    ("before", "change", "told"),
    [
        ({"job": SCALED}, nothing, "belongs to another job (its options (scale) differs)"),
        (
            {"profiles_per_shard": 512},
            nothing,
            "belongs to another job (its layout (profiles_per_shard) differs)",
        ),
        ({}, damage(MANIFEST), "its manifest is damaged or of another version"),
        ({}, as_version_1, "its manifest is damaged or of another version"),
        ({}, damage("obs/zarr.json"), "its obs/zarr.json is damaged"),
    ],
)
def test_another_job_restarts_and_says_why(tmp_path, complete, before, change, told) -> None:
    path, partial, lines = tmp_path / "out.zarr", tmp_path / "out.zarr.partial", []
    interrupt(path, **before)
    change(partial)
    kept = hashes(partial)
    with pytest.raises(DgexError, match="others may be at work on it") as caught:
        write(path, part=(1, 2))
    assert str(caught.value).startswith(f"{partial}: {told}; ")
    assert hashes(partial) == kept
    write(path, report=lines.append)
    assert lines == [f"{partial}: {told}, removed"]
    complete()


# Places


def test_blocks_that_do_not_fit(tmp_path) -> None:
    with writer(tmp_path / "out.zarr", 300, part=(1, 2)) as out:
        assert out.pending() == (slice(0, 256),)
        for wrong in (values(257), values(10, 8), values(10).ravel()):
            with pytest.raises(FormatError, match="does not fit at profile 0 of 300 x 9 genes"):
                out.append(wrong)
        out.append(values(256))
        with pytest.raises(FormatError, match="does not fit"):
            out.append(values(1))


@pytest.mark.parametrize("what", ["folder", "empty", "file", "store", "partial"])
def test_what_is_not_ours_is_refused_and_left(tmp_path, what) -> None:
    place = tmp_path / ("out.zarr.partial" if what == "partial" else "out.zarr")
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
        write(tmp_path / "out.zarr")
    assert before == (hashes(place) if place.is_dir() else place.read_text())
    assert names(tmp_path) == {place.name}


def test_what_came_meanwhile_is_left_and_nothing_is_lost(tmp_path, complete) -> None:
    path = tmp_path / "out.zarr"

    def meanwhile() -> None:
        with writer(path) as out:
            for block in blocks(out.pending()):
                out.append(block)
            path.mkdir()
            (path / "thesis.tex").write_text("mine")

    with pytest.raises(DgexError, match="is in the way"):
        meanwhile()
    assert names(path) == {"thesis.tex"}
    shutil.rmtree(path)
    with writer(path) as out:
        assert out.pending() == ()
    complete()


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_store_is_replaced_in_the_end(tmp_path, complete, version) -> None:
    path = tmp_path / "out.zarr"
    if version == 1:
        shutil.copytree(V1, path)
    else:
        write(path, job={"older": True})
    older = hashes(path)
    for i in (1, 2):
        assert hashes(path) == older
        write(path, part=(i, 2))
    complete()


@pytest.mark.parametrize("moved", [False, True])
def test_a_kill_between_two_moves_is_mended(tmp_path, complete, moved) -> None:
    path, replaced = tmp_path / "out.zarr", tmp_path / ".out.zarr.replaced"
    write(path, job={"older": True})
    older = hashes(path)
    interrupt(path)
    if moved:
        path.rename(replaced)
    else:
        # The older one was to be removed.
        shutil.copytree(path, replaced)
    with writer(path) as out:
        assert out.pending() == (slice(512, 1500),)
        assert hashes(path) == older
        for block in blocks(out.pending()):
            out.append(block)
    complete()


def test_all_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch) -> None:
    synced: set[int] = set()
    renamed: list[str] = []
    fsync = os.fsync

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
    monkeypatch.setattr(Path, "rename", checked(Path.rename))
    monkeypatch.setattr(Path, "replace", checked(Path.replace))
    write(tmp_path / "out.zarr", 600)
    manifest = "dgex.json"
    shards = [name for k in range(3) for name in (f"c.{k}.0", manifest)]
    assert renamed == [manifest, "out.zarr.partial", *shards, "out.zarr"]
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


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"part": (0, 2)}, DgexError, "part 0 of 2"),
        ({"part": (3, 2)}, DgexError, "part 3 of 2"),
        ({"profiles_per_shard": 300}, ValueError, "300 profiles per shard"),
        ({"n_profiles": 0}, FormatError, "has no profiles"),
        ({"n_genes": 0}, FormatError, "has no genes"),
        ({"path": Path("nowhere/out.zarr")}, DgexError, "not in a folder that is there"),
    ],
)
def test_what_can_not_be_written(tmp_path, options, error, match) -> None:
    path = tmp_path / options.get("path", "out.zarr")
    with pytest.raises(error, match=match), writer(**options | {"path": path}):
        pass
    assert names(tmp_path) == set()


# Damage


@pytest.fixture
def store(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "out.zarr")


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def test_a_flipped_bit_or_a_lost_end_of_any_file_is_found(whole, store) -> None:
    random = np.random.default_rng(2)
    assert check_zarr(store) == N_SHARDS
    files = sorted(file for file in store.rglob("*") if file.is_file())
    assert len(files) > 20
    for file in files:
        good = whole / file.relative_to(store)
        listed = file != store / MANIFEST
        for bit in random.integers(8 * file.stat().st_size, size=3):
            flip(file, int(bit))
            with pytest.raises(FormatError, match=rf"{file}: damaged, or changed") as error:
                check_zarr(store)
            assert "\n" not in str(error.value)
            shutil.copy(good, file)
        os.truncate(file, file.stat().st_size - 1)
        if listed:
            with pytest.raises(FormatError, match=f"{file}: damaged, or changed since it was"):
                check_zarr(store)
        file.unlink()
        if listed:
            with pytest.raises(FormatError, match=f"{file}: can't be read: No such file or dir"):
                check_zarr(store)
        shutil.copy(good, file)


def test_a_store_of_version_1_is_checked(tmp_path) -> None:
    store = shutil.copytree(V1, tmp_path / "out.zarr")
    assert check_zarr(store) == 1
    for name, match in (("X/c.0.0", "a chunk or the index has"), ("obs/zarr.json", "changed")):
        flip(store / name, 999)
        with pytest.raises(FormatError, match=rf"{name}: damaged.*{match}"):
            check_zarr(store)
        (store / name).unlink()
        with pytest.raises(FormatError, match=f"{name}: can't be read: No such file or directory"):
            check_zarr(store)
        shutil.copy(V1 / name, store / name)


def test_what_is_no_store_of_ours(tmp_path, whole) -> None:
    zarr.create_array(tmp_path / "other.zarr", shape=(3,), dtype="float32", zarr_format=3)
    (tmp_path / "list.zarr").mkdir()
    (tmp_path / "list.zarr" / "zarr.json").write_text("[1]")
    for path in (tmp_path / "other.zarr", tmp_path / "list.zarr", tmp_path / "no", whole / "X"):
        with pytest.raises(DgexError, match="no zarr store written by dgex"):
            check_zarr(path)


# Several processes


def child(path: Path, *part: int, pause: float = 0, limit: int = 0) -> subprocess.Popen[str]:
    """Another process that writes; no file of its may be larger than `limit` bytes."""
    arguments = [str(path), *map(str, (*part, pause, limit))]
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def main() -> None:
    path, i, n, pause, limit = sys.argv[1:]
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        print(write(Path(path), pause=float(pause), part=(int(i), int(n))).missing, flush=True)
    except DgexError as error:
        sys.exit(f"dgex: {error}")


@pytest.mark.long
def test_parts_at_once_are_one_store(tmp_path, complete) -> None:
    path = tmp_path / "out.zarr"
    other = child(path, 2, 2, pause=0.1)
    here = write(path, part=(1, 2), pause=0.7)
    out, _ = other.communicate(timeout=60)
    assert other.returncode == 0
    assert 0 in {here.missing, int(out)}
    complete()


@pytest.mark.long
def test_a_kill_loses_at_most_a_shard(tmp_path, complete) -> None:
    path, partial = tmp_path / "out.zarr", tmp_path / "out.zarr.partial"
    with child(path, 1, 2, pause=0.3) as process:
        deadline = time.monotonic() + 30
        while len(list(partial.glob("X/c.*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        # While it lives, its part is its own.
        with pytest.raises(DgexError, match=rf"part-1-of-2: in use by process {process.pid} on "):
            write(path, part=(1, 2))
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = set(json.loads((partial / MANIFEST).read_text())["files"]) & {"X/c.0.0", "X/c.1.0"}
    assert kept
    times = {name: (partial / name).stat().st_mtime_ns for name in kept}
    # As a kill leaves it of a machine that nobody here knows of.
    (partial / "X" / ".01234567-1-01234567.tmp.c.2.0").write_bytes(b"half")
    assert write(path, part=(2, 2)).missing in {1, 2}
    assert not write(path).missing
    assert {name: (path / name).stat().st_mtime_ns for name in kept} == times
    complete()


@pytest.mark.long
@pytest.mark.parametrize("limit", [1000, 9200])
def test_a_full_disk_is_one_line(tmp_path, limit, complete) -> None:
    path = tmp_path / "out.zarr"
    kept = limit > 9000
    if kept:
        write(path, part=(1, 2))
    before = names(tmp_path)
    # Too little for the metadata; then for a shard alone.
    process = child(path, 2, 2, limit=limit)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith(f"dgex: {path}")
    assert "can't be written: File too large" in err
    assert err.count("\n") == 1
    assert names(tmp_path) == before | {".out.zarr.partial.lock"}
    assert not write(path).missing
    complete()


if __name__ == "__main__":
    main()
