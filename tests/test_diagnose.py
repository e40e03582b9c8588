"""``dgex --diagnose``: what a report of a fault needs, and nothing of whose machine it is."""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from dgex_jax import __version__, diagnose
from dgex_jax.compiled import keep_compiled
from tests.cli.case import command

NAME = "janedoe"


@pytest.fixture(autouse=True)
def janes(monkeypatch, tmp_path: Path) -> Path:
    """A machine whose every setting names its user."""
    home = tmp_path / NAME / "of Jane"
    home.mkdir(parents=True)
    monkeypatch.chdir(home)
    for name in ("HOME", "XDG_CACHE_HOME", "PYTHONPATH", "LD_LIBRARY_PATH", "JAX_TRACEBACK_DIR"):
        monkeypatch.setenv(name, str(home))
    for name in ("USER", "LOGNAME", "CUDA_VISIBLE_DEVICES", "OMP_PLACES", "UNRELATED"):
        monkeypatch.setenv(name, NAME)
    flags = f"--xla_dump_to={home.parent} {NAME} --xla_cpu_threads=4 --xla_{NAME}/x=1"
    monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(platform, "node", lambda: f"{NAME}-laptop.example")
    return home


def test_it_says_versions_devices_and_settings(capsys) -> None:
    assert command("--diagnose") == 0
    said = capsys.readouterr().out
    for text in (
        f"dgex-jax {__version__} (",
        f"Python {platform.python_version()} (CPython)",
        f"jax {jax.__version__}",
        f"devices of JAX: {len(jax.local_devices())} x cpu (cpu)",
        f" of {os.cpu_count()} cores",
        "JAX_PLATFORMS=cpu",
        "OMP_NUM_THREADS=4,2",
        "CUDA_VISIBLE_DEVICES, ",
        "XLA_FLAGS=--xla_dump_to=… … --xla_cpu_threads=4 …",
        "compiled programs: kept in JAX_COMPILATION_CACHE_DIR; ",
    ):
        assert text in said
    assert "problem:" not in said
    assert "UNRELATED" not in said


def test_it_names_no_path_user_or_host(janes, monkeypatch, capsys) -> None:
    """Also where libraries put them into their errors."""

    def fail() -> None:
        raise RuntimeError(f"{janes}/libcudart.so: not for {NAME}\non {platform.node()}: bad\n")

    real = {getpass.getuser(), os.environ["DGEX_TEST_COMPILED"], str(Path(__file__).parents[1])}
    real |= {platform.uname().node, sys.prefix, str(Path.home()), str(Path.cwd())}
    monkeypatch.setattr(jax, "local_devices", fail)
    for form in ("text", "json"):
        assert command("--diagnose", form) == 0
        said = capsys.readouterr().out
        assert "JAX: RuntimeError: … not for … on … bad" in said
        assert NAME not in said
        assert "Jane" not in said
        words = set(re.split(r"[^\w./-]+", said))
        assert not real & words
        assert not [word for word in words if re.match(r"/|.*/.*/", word)]
        assert form == "text" or json.loads(said)["devices"] == []


def test_no_home_no_name_no_cache(monkeypatch) -> None:
    """A container's user that the system doesn't know."""

    def unknown(*_arguments: object) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr("dgex_jax.diagnose.getuser", unknown)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    told = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        keep_compiled()
        found = diagnose.diagnose()
    finally:
        jax.config.update("jax_compilation_cache_dir", told)
    assert found["compiled_programs"]["why"] == "there is no home folder"
    assert list(diagnose.lines(found))[-1] == "compiled programs: not kept: there is no home folder"


@pytest.mark.long
def test_a_broken_plugin_of_jax_is_a_line(tmp_path: Path) -> None:
    plugin = tmp_path / "path" / "jax_plugins" / "broken"
    plugin.mkdir(parents=True)
    fault = f"raise RuntimeError('libcudnn.so.9: no such file in {tmp_path}')"
    plugin.joinpath("__init__.py").write_text(f"def initialize():\n    {fault}\n")
    here = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "dgex_jax.cli", "--diagnose"],
        env={**os.environ, "PYTHONPATH": f"{here}:{plugin.parents[1]}", "JAX_PLATFORMS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "x cpu (cpu)" in done.stdout
    assert "RuntimeError: libcudnn.so.9: no such file in …\n" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
