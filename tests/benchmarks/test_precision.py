"""The comparison of TF32 with float32: the study it runs on, and what its table says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from benchmarks import precision
from benchmarks.madeup_study import PROFILES
from dgex_jax.parts import PAPER
from dgex_jax.prepare.study import read_study

if TYPE_CHECKING:
    from pathlib import Path


def test_logs_are_compared_epoch_by_epoch() -> None:
    logs = [
        pd.DataFrame(
            {f"MAE_{part}": [0.5, middle, 0.25] for part in PAPER.logged}
            | {"seconds": [9.0, 1.0, 2.0]}
        )
        for middle in (0.5, 0.25)
    ]
    rows = precision.compare("8x1", *logs)
    assert [row[1] for row in rows] == list(PAPER.logged)
    assert rows[0][2:] == ("0.25000", "0.25000", "+0.0e+00", "-2.5e-01", "1.5 / 1.5")


def test_study_has_the_papers_size() -> None:
    settings = read_study(precision.STUDY).simulation
    assert settings is not None
    assert (settings.n_landmarks, settings.n_targets) == (943, 9520)
    copies = round(settings.n_profiles * settings.replicate_share)
    assert settings.n_profiles - copies == sum(PROFILES[part] for part in ("tr", "va", "te"))
    assert settings.n_gtex == PROFILES["GTEx"]


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--networks", "3000"], "--networks 3000: not UNITSxLAYERS, as 3000x1"),
        (["--epochs", "1"], "--epochs 1: must be 2 or more"),
        ([], "no GPU here"),
    ],
)
def test_what_can_not_be_done_is_one_line(
    words: list[str],
    cause: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(precision, "gpu_names", list)
    monkeypatch.chdir(tmp_path)
    assert precision.main(words) == 2
    assert cause in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_precisions_are_one_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert precision.main(["--small"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("8x1 ")]
    assert len(lines) == len(PAPER.logged)
    assert all(line.count("+0.0e+00") == 2 for line in lines)
