"""What killed processes left is removed, what others are at work on is not."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dgex_jax.formats.atomic import atomic_path
from dgex_jax.formats.temporary import is_temporary, temporary_folder, temporary_path

if TYPE_CHECKING:
    from pathlib import Path

DIES = """
import os, sys
from pathlib import Path
from dgex_jax.formats.temporary import temporary_path
place = Path(sys.argv[1])
temporary_path(place).write_text("half")
folder = temporary_path(place)
folder.mkdir()
(folder / "inside").write_text("half")
os._exit(9)
"""


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if is_temporary(path.name))


@pytest.fixture
def left(tmp_path) -> Path:
    """An output whose writer was killed, with a temporary file and a temporary folder."""
    place = tmp_path / "out.h5"
    subprocess.run([sys.executable, "-c", DIES, place], check=False)
    assert len(leftovers(tmp_path)) == 2
    return place


def test_the_next_writer_of_the_same_output_clears_up(left) -> None:
    with atomic_path(left) as temporary:
        assert leftovers(left.parent) == [temporary.name]
        temporary.write_text("whole")
    assert [path.name for path in left.parent.iterdir()] == ["out.h5"]


def test_what_belongs_to_another_output_or_process_or_machine_stays(left) -> None:
    folder = left.parent
    (mine := temporary_path(folder / "other.h5")).write_text("at work")
    assert len(leftovers(folder)) == 3
    machine, rest = mine.name.split("-", 1)
    foreign = folder / f".{'0' * 8}-{rest.replace('other', 'out')}"
    foreign.write_text("at work")
    alive = folder / f"{machine}-1-01234567.tmp.out.h5"
    alive.write_text("at work")
    strangers = [".tmp.out.h5", "x.tmp.out.h5", ".0123-1-01234567.tmp.out.h5"]
    for name in strangers:
        (folder / name).write_text("a user's")
    with atomic_path(left) as temporary:
        temporary.write_text("whole")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["out.h5", mine.name, foreign.name, alive.name, *strangers]
    )


def test_two_outputs_in_the_making_don_t_disturb_each_other(tmp_path) -> None:
    with atomic_path(tmp_path / "a") as first, atomic_path(tmp_path / "a") as second:
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "a").read_text() == "1"
    assert os.listdir(tmp_path) == ["a"]  # noqa: PTH208 (hidden ones too)


def test_a_folder_goes_with_all_that_is_in_it(tmp_path) -> None:
    def fails() -> None:
        with temporary_folder(tmp_path / "x.scratch") as folder:
            (folder / "inside").write_text("1")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert not list(tmp_path.iterdir())
