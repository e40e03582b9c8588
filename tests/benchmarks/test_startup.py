from __future__ import annotations

import os

import pytest

from benchmarks.startup import main, seconds_to_line
from dgex_jax.errors import DgexError


def test_a_command_that_fails_is_not_timed() -> None:
    with pytest.raises(DgexError, match="exit code 2"):
        seconds_to_line(["info", "nowhere"], os.environ)


@pytest.mark.long
def test_all_starts_are_measured(capsys) -> None:
    assert main(["--small"]) == 0
    said = capsys.readouterr().out
    for what in ("dgex --help", "nothing compiled yet", "a later start"):
        assert what in said
