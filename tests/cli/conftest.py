"""What the tests of commands share."""

from __future__ import annotations

from functools import partial

import pytest
from threadpoolctl import threadpool_limits

from tests.cli.case import refused_line


@pytest.fixture(autouse=True)
def one_thread():
    """Keep tests that run side by side from waiting for each other's thread pools."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def refused(capsys, tmp_path):
    """Give a function that runs a command which must fail with one line and change nothing."""
    return partial(refused_line, capsys, tmp_path)
