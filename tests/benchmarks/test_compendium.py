"""The benchmark of a study of GSE92743's size: its parts are prepared and a network is trained."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from benchmarks.compendium import main
from dgex_jax.prepare.prepared import open_prepared

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_a_small_run_prepares_and_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--small", "--epochs", "3", "--keep", str(tmp_path)]) == 0
    with open_prepared(tmp_path / "prepared.h5") as study:
        assert study.parts.names == ("RNAseq", "L1000")
        assert (study.n_landmarks, study.n_targets) == (978, 122)
        assert [study.n_profiles(part) for part in ("tr", "va", "te")] == [240, 30, 30]
        assert study.n_profiles("L1000") == 40
    seconds = pd.read_csv(tmp_path / "run" / "log.tsv", sep="\t")["seconds"]
    assert len(seconds) == 3
    shown = capsys.readouterr().out
    assert "200 epochs of it, reckoned from 2: " in shown
    assert re.search(r"peak memory: prepare [\d,]+ MiB, train [\d,]+ MiB", shown)
    assert not re.search(r"\b(nan|inf)\b", shown)
