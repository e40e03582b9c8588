"""Compiled programs of the commands are kept, found again, and never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dgex_jax import compiled

GOLDEN = Path(__file__).parent / "golden"


def train(cache: Path, out: Path, **more: str) -> str:
    environment = {
        name: value for name, value in os.environ.items() if "CACHE" not in name and name != "HOME"
    }
    small = ["--hidden-layers", "1", "--units", "8", "--epochs", "2", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "dgex_jax.cli", "train", GOLDEN / "study_a.npz", "-o", out, *small],
        env={**environment, "XDG_CACHE_HOME": str(cache), **more},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def programs(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*-cache")}


@pytest.mark.long
def test_the_second_start_finds_the_programs_of_the_first(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    # All of them: which take longer than our limit depends on what else the machine does.
    everything = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    assert train(cache, tmp_path / "one", **everything) == ""
    first = programs(cache)
    assert first
    assert train(cache, tmp_path / "two", **everything) == ""
    assert programs(cache) == first
    for name in ("best_va.safetensors", "errors.tsv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("case", ["told", "a file", "not writable"])
def test_a_cache_that_is_done_without(tmp_path: Path, case: str) -> None:
    """Who told JAX already is obeyed."""
    cache = tmp_path / "cache"
    if case == "told":
        train(cache, tmp_path / "one", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "other"))
        assert not cache.exists()
        return
    if case == "a file":
        cache.write_text("")
    elif os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    else:
        cache.mkdir(mode=0o500)
    assert train(cache, tmp_path / "one") == ""


def test_each_kind_of_processor_has_a_folder_of_its_own(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    here = compiled.cache_folder()
    monkeypatch.setattr(compiled, "processor", lambda: {"model name": "another"})
    there = compiled.cache_folder()
    assert here.parent == there.parent == tmp_path / "dgex-jax" / "compiled"
    assert here != there
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert compiled.cache_folder().is_relative_to(Path.home() / ".cache")
