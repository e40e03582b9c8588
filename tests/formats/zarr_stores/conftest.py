"""A store that nothing disturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path
from tests.formats.zarr_stores.case import write


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A store that one process wrote undisturbed."""
    path: Path = tmp_path_factory.mktemp("whole") / "out.zarr"
    out = write(path)
    assert out.finished
    assert (out.missing, out.n_shards) == (0, 6)
    return path
