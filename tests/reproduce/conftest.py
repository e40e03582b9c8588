"""A tiny simulated study, reproduced once for all tests here."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from threadpoolctl import threadpool_limits

from reproduce import all as all_tables
from reproduce.workspace import Workspace, open_workspace
from tests.compiling import compiled_quickly
from tests.tinystudy import SIMULATE

if TYPE_CHECKING:
    from pathlib import Path

STUDY = {
    "": 'name = "tiny"\ntitle = "A tiny study"',
    "simulate": SIMULATE,
    "prepare": "",
    "networks": "hidden_layers = [1, 2]\nunits = [6, 9]",
    "training": "epochs = 3\nmonitor_size = 50\nbatch_size = 50\nlearning_rate = 1e-2",
    "baselines": "k_max = 5",
}


@pytest.fixture(autouse=True)
def one_thread():
    """Keep tests that run side by side from waiting for each other's thread pools."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="package", autouse=True)
def quick_compilation():
    """Compile in half the time."""
    with compiled_quickly():
        yield


def _write_study(path: Path, replace: dict[str, str] | None = None) -> Path:
    tables = STUDY | (replace or {})
    lines = [tables.pop(""), *(f"[{name}]\n{text}" for name, text in tables.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def write_study():
    """Give a function that writes the tiny study, some of its tables replaced."""
    return _write_study


@dataclass(frozen=True)
class Made:
    """The study file, the folder of everything, the workspace, what was printed, and warnings."""

    study: Path
    out: Path
    space: Workspace
    shown: str
    told: str


def run_script(script: Any, study: Path, out: Path) -> Made:
    """Run a script of a study, which must succeed."""
    with (
        threadpool_limits(1),
        redirect_stdout(io.StringIO()) as shown,
        redirect_stderr(io.StringIO()) as told,
    ):
        assert script.main(["--study", str(study), "--out", str(out)]) == 0
    space = open_workspace(str(study), out)
    return Made(study, out, space, shown.getvalue(), told.getvalue())


@pytest.fixture(scope="package")
def made(tmp_path_factory, quick_compilation) -> Made:  # noqa: ARG001
    """Everything of the tiny study; not to be written to."""
    folder = tmp_path_factory.mktemp("reproduce")
    return run_script(all_tables, _write_study(folder / "tiny.toml"), folder / "out")


@pytest.fixture
def out(made, tmp_path) -> Path:
    """A copy of everything, ``out``, in which the raw files have another path."""
    return shutil.copytree(made.out, tmp_path / "out")


def rewrite_done(path: Path, *without: str, **changes: object) -> None:
    """Change the record of what is done; its own checksum, which would tell, goes."""
    record = json.loads(path.read_text()) | changes
    for key in ("content_sha256", *without):
        del record[key]
    path.write_text(json.dumps(record))
