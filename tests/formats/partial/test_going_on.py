"""An interrupted file goes on where it stopped and ends in the bytes of an undisturbed one."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from dgex_jax.formats.gctx import Gctx, GctxWriter
from dgex_jax.formats.partial import Resume

if TYPE_CHECKING:
    from pathlib import Path
from tests.formats.partial.case import (
    FORMATS,
    JOB,
    RUN,
    UNIT,
    VALUES,
    N,
    blocks,
    fill,
    names,
    stopped,
    writer,
)


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
            (pending,) = again.pending()
            # A run that has just ended may still be on its way to the disk.
            assert pending in (slice(done, N), slice(max(done - RUN, 0), N))
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


def test_through_a_symbolic_link(tmp_path: Path, straight: Any) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.gctx"
    link.symlink_to(tmp_path / "there" / "a.gctx")
    stopped(link)
    assert names(tmp_path / "there") == ["a.gctx.partial", "a.gctx.partial.json"]
    fill(link)
    assert link.is_symlink()
    assert (tmp_path / "there" / "a.gctx").read_bytes() == straight("a.gctx")


def test_a_compressed_matrix_has_no_place_of_its_own(tmp_path: Path) -> None:
    resume = Resume(JOB, UNIT, print)
    with pytest.raises(ValueError, match="compressed matrix can't go on"):
        GctxWriter(tmp_path / "a.gctx", ["p"], ["g"], compression="gzip", resume=resume)


@FORMATS
def test_the_checksum_is_that_of_the_file_also_of_one_that_went_on(
    tmp_path: Path, name: str
) -> None:
    for path, before in ((tmp_path / name, None), (tmp_path / f"b.{name}", 5)):
        if before is not None:
            stopped(path, stop=before)
        with writer(path) as file:
            assert file.sha256 is None
            for block in blocks(file.pending(), 7):
                file.append(block)
        assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
