"""Zarr stores written by several processes, some of them killed or out of disk space."""

from __future__ import annotations

import hashlib
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import DgexError
from dgex_jax.formats.zarr_check import check_zarr
from dgex_jax.formats.zarr_write import ZarrWriter

pytestmark = pytest.mark.long

SHAPE = (3000, 40)
N_SHARDS = 12


def write(path: Path, part: int = 1, parts: int = 1, pause: float = 0) -> ZarrWriter:
    X = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    profiles, genes = (
        [f"{kind}{i}" for i in range(n)] for kind, n in zip("pg", SHAPE, strict=True)
    )
    obs, var = pd.DataFrame({"a": 1.5}, index=profiles), pd.DataFrame(index=genes)
    with ZarrWriter(
        path, profiles, genes, obs, var, {}, job={}, part=(part, parts), profiles_per_shard=256
    ) as writer:
        print("begun", flush=True)
        for run in writer.pending():
            for start in range(run.start, run.stop, 256):
                writer.append(X[start : min(start + 256, run.stop)])
                time.sleep(pause)
    return writer


def child(
    path: Path, part: int = 1, parts: int = 1, pause: float = 0, limit: int = 0
) -> subprocess.Popen[str]:
    """Another process that writes; no file of its may be larger than `limit` bytes."""
    arguments = [str(path), *map(str, (part, parts, pause, limit))]
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def main() -> None:
    path, part, parts, pause, limit = sys.argv[1:]
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        writer = write(Path(path), int(part), int(parts), float(pause))
    except DgexError as error:
        sys.exit(f"dgex: {error}")
    print(writer.finished, writer.missing, flush=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def hashes(store: Path) -> dict[str, str]:
    return {
        str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in store.rglob("*")
        if file.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("whole") / "out.zarr"
    assert write(path).finished
    assert check_zarr(path) == N_SHARDS
    return hashes(path)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_parts_at_once_are_one_store(tmp_path, whole) -> None:
    path = tmp_path / "out.zarr"
    other = child(path, 2, 2, pause=0.05)
    here = write(path, 1, 2, pause=0.2)
    code, out, _ = end(other)
    assert code == 0
    # Exactly one of them was the last.
    assert [here.finished, "True 0" in out].count(True) == 1
    assert hashes(path) == whole
    assert names(tmp_path) == {"out.zarr", ".out.zarr.partial.lock"}


def test_a_kill_loses_at_most_a_shard(tmp_path, whole) -> None:
    path, partial = tmp_path / "out.zarr", tmp_path / "out.zarr.partial"
    with child(path, 1, 2, pause=0.05) as process:
        deadline = time.monotonic() + 30
        while len(list(partial.glob("X/c.*"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        # While it lives, its part is its own.
        with pytest.raises(DgexError, match=rf"part-1-of-2: in use by process {process.pid} on "):
            write(path, 1, 2)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = {file.name: file.stat().st_mtime_ns for file in partial.glob("X/c.*")}
    assert 3 <= len(kept) < 6
    # A kill while shards are on their way to the disk leaves such files, of any part.
    left = [partial / "X" / f".0123456789ab.tmp.c.{shard}.0" for shard in (5, 9)]
    for file in left:
        file.write_bytes(b"half")
    second = write(path, 2, 2)
    assert (second.finished, second.missing) == (False, 6 - len(kept))
    assert [file.exists() for file in left] == [True, False]
    assert write(path).finished
    assert {name: (path / "X" / name).stat().st_mtime_ns for name in kept} == kept
    assert hashes(path) == whole
    assert names(tmp_path) == {"out.zarr", ".out.zarr.partial.lock"}


@pytest.mark.parametrize("limit", [1000, 40_900])
def test_a_full_disk_is_one_line(tmp_path, limit, whole) -> None:
    path = tmp_path / "out.zarr"
    kept = limit > 20_000
    if kept:
        write(path, 1, 2)
    before = names(tmp_path)
    # Too little for the metadata; then for a shard alone.
    code, out, err = end(child(path, 2, 2, limit=limit))
    assert (code, out) == (1, "begun\n" if kept else "")
    assert err.startswith(f"dgex: {path}")
    assert "can't be written: File too large" in err
    assert err.count("\n") == 1
    assert names(tmp_path) == before | {".out.zarr.partial.lock"}
    if kept:
        assert sorted(names(tmp_path / "out.zarr.partial" / "X")) == [
            *(f"c.{shard}.0" for shard in range(6)),
            "zarr.json",
        ]
        assert write(path, 2, 2).finished
        assert hashes(path) == whole


if __name__ == "__main__":
    main()
