from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import archs4
from dgex_jax.io.archs4 import Archs4

if TYPE_CHECKING:
    from pathlib import Path


def test_copied_chunks_are_samples(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(archs4, "MADE", 3)
    monkeypatch.setattr(archs4, "CHUNKS", (16, 1))
    archs4.write_file(tmp_path / "a.h5", 8, 50)
    with Archs4(tmp_path / "a.h5") as source:
        values = source.read()
    np.testing.assert_array_equal(values[3:], values[[0, 1, 2, 0, 1]])
    assert len({row.tobytes() for row in values}) == 3
    for way, n in (("all", 8), ("some", 2), ("genes", 8), ("h5py", 8)):
        assert archs4.read_file(tmp_path / "a.h5", way) == n


@pytest.mark.long
def test_the_small_run_reports_every_way(capsys) -> None:
    assert archs4.main(["--small"]) == 0
    said = capsys.readouterr().out
    assert all(what in said for what in archs4.WAYS.values())
