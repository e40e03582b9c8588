"""The benchmark of the baselines runs, and its peers give the same answers as ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.baselines import Rates, Size, bound, main
from benchmarks.baselines_peers import compare
from benchmarks.baselines_run import METHODS
from benchmarks.madeup_study import load_study, scaled, write_study

if TYPE_CHECKING:
    from pathlib import Path

    from dgex_jax.train.arrays import StudyArrays

PARTS = {"tr": 2100, "va": 70, "1000G": 500}


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> StudyArrays:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, PARTS, 25, 30)
    return load_study(folder)


def test_made_up_profiles_are_standardised_correlated_and_repeatable(
    arrays: StudyArrays, tmp_path: Path
) -> None:
    for part, n in PARTS.items():
        for table, genes in ((arrays.X[part], 25), (arrays.Y[part], 30)):
            assert table.shape == (n, genes)
            assert table.dtype == np.float32
            assert np.abs(table.mean(axis=0)).max() < 5 / n**0.5
            assert np.abs(table.var(axis=0) - 1).max() < 8 / n**0.5
    # Blocks of profiles are drawn apart: none repeats another.
    assert len(np.unique(arrays.X["tr"][:, 0])) > 2090
    within = np.abs(np.corrcoef(arrays.X["tr"].T))[np.triu_indices(25, 1)]
    assert within.max() > 0.2
    write_study(tmp_path, PARTS, 25, 30)
    again = load_study(tmp_path)
    np.testing.assert_array_equal(again.Y["tr"], arrays.Y["tr"])


@pytest.mark.parametrize("method", METHODS)
def test_answers_equal_the_peers(method: str, arrays: StudyArrays) -> None:
    one = compare(method, arrays, rounds=1, lasso_targets=3)
    assert one.difference <= one.allowed
    assert one.line.peer is not None
    assert one.line.peer.median > 0


def test_bounds_count_the_products_of_the_papers_study() -> None:
    profiles, n_landmarks, n_targets = scaled(1)
    assert (profiles["tr"], n_landmarks, n_targets) == (88_807, 943, 9520)
    size, rates = Size(profiles, n_landmarks, n_targets), Rates(1e12, 2e12, 1e12)
    gram = 1e-12 * 88_807 * 943 * (943 + 2 * 9520)
    predictions = 1e-12 * 2 * 943 * 9520 * (11_101 + 462 + 11_101 + 2921)
    assert bound("lr", size, rates).seconds == pytest.approx(gram + predictions)
    assert bound("lr-l2", size, rates).seconds > bound("lr", size, rates).seconds
    few, many = (bound("lr-l1", size, rates, [steps] * 10) for steps in (8, 16))
    step = 1e-12 * 4 * 9520 * 943**2
    assert many.seconds - few.seconds == pytest.approx(80 * (step / 2 + step / 8))
    assert scaled(1 / 16)[2] == 2380


@pytest.mark.slow
def test_the_small_run_reports_times_memory_gaps_and_answers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--small", "--only", "lr-l1", "--folder", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    for text in ("LR-L1, 300 x 30 to 40", "peak memory", "largest gap", "lasso_path on 8"):
        assert text in told
    assert not list(tmp_path.iterdir())
