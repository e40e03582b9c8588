"""Zarr stores: what is read back, the same bytes however they were written, and whose they are."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.zarr_check import check_zarr
from dgex_jax.formats.zarr_layout import Layout
from dgex_jax.formats.zarr_library import quiet
from dgex_jax.formats.zarr_write import ZarrWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

N_PROFILES, N_GENES, PER_SHARD = 1500, 9, 256
PROVENANCE = {"made_by": "dgex", "options": {"scale": "reference"}, "imputed": ["g1"]}
JOB = {"model": "ab", "options": {"scale": "reference", "platform": "rnaseq"}}


def values(n_profiles: int = N_PROFILES, n_genes: int = N_GENES) -> NDArray[np.float32]:
    X = np.random.default_rng(n_profiles).normal(size=(n_profiles, n_genes)).astype(np.float32)
    # Chunks of what readers take for missing are values like any others.
    X[256:512] = 0
    X[512:768] = np.nan
    X[-1, :3] = [np.inf, -np.inf, -0.0][:n_genes]
    return X


def writer(path: Path, n_profiles: int = N_PROFILES, n_genes: int = N_GENES, **options: Any) -> Any:
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
    settings: dict[str, Any] = {
        "job": JOB,
        "profiles_per_shard": PER_SHARD,
        "provenance": PROVENANCE,
    } | options
    provenance = settings.pop("provenance")
    return ZarrWriter(path, profiles, genes, obs, var, provenance, **settings)


def blocks(X: NDArray[np.float32], run: slice, size: int = 256) -> Iterator[NDArray[np.float32]]:
    for start in range(run.start, run.stop, size):
        yield X[start : min(start + size, run.stop)]


def write(path: Path, X: NDArray[np.float32] | None = None, **options: Any) -> ZarrWriter:
    """All that a process has to write; blocks as the network gives them."""
    X = values() if X is None else X
    with writer(path, *X.shape, **options) as out:
        for run in out.pending():
            for block in blocks(X, run):
                out.append(block)
    return out


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
    assert out.finished
    assert (out.missing, out.n_shards) == (0, 6)
    return path


def test_anndata_reads_what_was_written(whole) -> None:
    with quiet():
        data = anndata.read_zarr(whole)
    np.testing.assert_array_equal(data.X, values())
    assert data.X.dtype == np.float32
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
    # To the bit: minus zero is one of them.
    assert X[:].tobytes() == values().tobytes()
    assert X[700:900, 2:5].tobytes() == values()[700:900, 2:5].tobytes()


def test_metadata_is_the_same_with_and_without_consolidation(whole) -> None:
    with quiet():
        alone = zarr.open_group(whole, mode="r", use_consolidated=False)
        together = zarr.open_group(whole, mode="r", use_consolidated=True)
        members = [
            sorted((name, node.metadata.to_dict()["attributes"]) for name, node in group.members(9))
            for group in (alone, together)
        ]
    assert members[0] == members[1]
    assert len(members[0]) > 10


def test_a_store_is_files_of_zarr_alone(whole) -> None:
    files = hashes(whole)
    shards = {name for name in files if name.startswith("X/c")}
    assert shards == {f"X/c.{shard}.0" for shard in range(6)}
    others = {name for name in files if name not in shards and not name.endswith("zarr.json")}
    assert {name.split("/")[0] for name in others} == {"obs", "var", "uns"}
    # The output's own lock stays, like those of all outputs.
    assert names(whole.parent) == {"out.zarr", ".out.zarr.partial.lock"}
    assert check_zarr(whole) == 6


@pytest.mark.parametrize(
    ("shape", "per_shard"),
    [((1, 1), 256), ((1, 5), None), ((255, 3), 256), ((257, 4), 512), ((300, 8200), 512)],
)
def test_any_size(tmp_path, shape, per_shard) -> None:
    X = values(*shape)
    out = write(tmp_path / "out.zarr", X, profiles_per_shard=per_shard)
    assert out.finished
    assert check_zarr(tmp_path / "out.zarr") == out.n_shards
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "out.zarr", path="X")[:], X)


@pytest.mark.parametrize(("n_parts", "seed"), [(2, 2), (3, 1), (9, 0)])
def test_parts_in_any_order_are_the_same_bytes(tmp_path, whole, n_parts, seed) -> None:
    path = tmp_path / "out.zarr"
    order = np.random.default_rng(seed).permutation(n_parts) + 1
    there = 0
    for i in order[:-1]:
        out = write(path, part=(int(i), n_parts))
        there += len(Layout(N_PROFILES, N_GENES, PER_SHARD).part(int(i), n_parts))
        if there < 6:
            assert not out.finished
            assert out.missing == 6 - there
            assert not path.exists()
            assert names(tmp_path) == {"out.zarr.partial", ".out.zarr.partial.lock"}
    lines: list[str] = []
    out = write(path, part=(int(order[-1]), n_parts), report=lines.append)
    assert out.finished
    assert out.missing == 0
    assert hashes(path) == hashes(whole)
    assert names(tmp_path) == {"out.zarr", ".out.zarr.partial.lock"}


def test_a_part_that_comes_after_the_end_has_nothing_to_do(tmp_path, whole) -> None:
    path, lines = tmp_path / "out.zarr", []
    empty = next(i for i in range(1, 8) if not Layout(N_PROFILES, N_GENES, PER_SHARD).part(i, 7))
    for i in set(range(1, 8)) - {empty}:
        out = write(path, part=(i, 7))
    assert out.finished
    late = write(path, part=(empty, 7), report=lines.append)
    assert late.finished
    assert lines == [f"{path}: is already complete"]
    assert hashes(path) == hashes(whole)
    assert names(tmp_path) == {"out.zarr", ".out.zarr.partial.lock"}


class Interrupted(BaseException):
    """Something other than an error, like Ctrl-C."""


def interrupted(path: Path, after: int, **options: Any) -> None:
    """Write `after` profiles in small blocks, then fail."""
    X = values()
    with writer(path, **options) as out:
        done = 0
        for run in out.pending():
            for block in blocks(X, run, 100):
                if done >= after:
                    raise Interrupted
                out.append(block)
                done += len(block)


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


def test_blocks_that_do_not_fit(tmp_path) -> None:
    with writer(tmp_path / "out.zarr", 300, part=(1, 2)) as out:
        assert out.pending() == (slice(0, 256),)
        for wrong in (values(257), values(10, 8), values(10).ravel()):
            with pytest.raises(FormatError, match="does not fit at profile 0 of 300 x 9 genes"):
                out.append(wrong)
        out.append(values(256))
        with pytest.raises(FormatError, match="does not fit"):
            out.append(values(1))


def partial_of(path: Path, **options: Any) -> None:
    with pytest.raises(Interrupted):
        interrupted(path, 600, **options)


SCALED = JOB | {"options": {"scale": "standardized", "platform": "rnaseq"}}


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
