"""What the commands read, made once for all tests and processes of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reliability.commands import make_world

if TYPE_CHECKING:
    from tests.reliability.commands import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Not to be written to."""
    base = tmp_path_factory.getbasetemp()
    # With several processes each has a folder of its own in that of the session.
    session = base.parent if base.name.startswith("popen-") else base
    return make_world(session / "reliability")
