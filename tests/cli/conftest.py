"""What the tests of commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from threadpoolctl import threadpool_limits

from tests.cli.case import (
    GOLDEN,
    command,
    snapshot,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def one_thread():
    """Keep tests that run side by side from waiting for each other's thread pools."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def refused(capsys, tmp_path):
    """Give a function that runs a command which must fail with one line and change nothing."""

    def call(run, *arguments: object) -> str:
        before = snapshot(tmp_path)
        try:
            code = run(*arguments)
        except SystemExit as stop:
            code = stop.code
        error = capsys.readouterr().err
        assert code == 2
        assert error.count("\n") == 1
        assert error.startswith("dgex")
        assert "Traceback" not in error
        assert snapshot(tmp_path) == before
        return error

    return call


@pytest.fixture(scope="module")
def flags() -> list[str]:
    """The raw files of the recorded preprocessing, as flags."""
    names = {"geo": "geo.gctx", "gtex": "gtex.gct.gz", "1000g": "1000g.txt.gz"}
    names |= {"landmarks": "map_lm.txt", "targets": "map_tg.txt"}
    return [
        text
        for flag, name in names.items()
        for text in (f"--{flag}", str(GOLDEN / "preprocess" / name))
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, flags) -> Path:
    """The recorded raw files, prepared from flags."""
    output = tmp_path_factory.mktemp("prepared") / "one.h5"
    changes = ("--duplicates", "all-pairs", "--scale-on", "train", "--seed", "3", "-q")
    assert command("prepare", *flags, "-o", output, *changes) == 0
    return output
