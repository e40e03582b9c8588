"""A file is complete under its name or absent."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dgex_jax.errors import DgexError
from dgex_jax.formats.atomic import atomic_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_success_moves_into_place_and_replaces(tmp_path: Path) -> None:
    final = tmp_path / "a.tar.gz"
    final.write_text("old")
    with atomic_path(final) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".tar.gz")
        temporary.write_text("new")
        assert final.read_text() == "old"
    assert final.read_text() == "new"
    assert names(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")

    def fail() -> None:
        with atomic_path(final) as temporary:
            temporary.write_text("half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        fail()
    assert final.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_permissions_are_those_of_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("x")
    mode = stat.S_IMODE((tmp_path / "a").stat().st_mode)
    assert mode == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_symbolic_link_is_kept(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "a", tmp_path / "link"
    link.symlink_to(real)
    with atomic_path(link) as temporary:
        temporary.write_text("x")
    assert link.is_symlink()
    assert real.read_text() == "x"


def test_a_very_long_name_works(tmp_path: Path) -> None:
    final = tmp_path / ("n" * 251 + ".txt")
    with atomic_path(final) as temporary:
        temporary.write_text("x")
    assert final.read_text() == "x"


def test_unusable_places_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "a.txt"
    with pytest.raises(DgexError, match=r"no/a\.txt: can't be written: No such file"):
        atomic_path(missing).__enter__()
    with pytest.raises(DgexError, match="not an ordinary file"):
        atomic_path(tmp_path).__enter__()
    with pytest.raises(DgexError, match="not an ordinary file"):
        atomic_path(Path(os.devnull)).__enter__()


def test_a_failing_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(DgexError, match=r"a\.txt: can't be written: No space left on device"),
        atomic_path(tmp_path / "a.txt") as temporary,
    ):
        temporary.write_text("x")
    assert names(tmp_path) == []
