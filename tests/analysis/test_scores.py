"""Scores of each gene: those of scipy and scikit-learn, however the profiles are cut."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score

from dgex_jax.analysis.scores import GeneScores, RunningScores, summarise
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def scored(guess: NDArray[Any], truth: NDArray[Any], size: int) -> GeneScores:
    running = RunningScores(guess.shape[1])
    for start in range(0, len(guess), size):
        rows = slice(start, start + size)
        running.add(guess[rows], truth[rows])
    return running.scores()


@pytest.mark.parametrize("size", [1, 7, 64, 150])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_are_those_of_scipy_and_scikit_learn(size, dtype) -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(150, 9)).astype(dtype)
    guess = (truth * rng.uniform(-1, 1, 9) + rng.normal(size=truth.shape)).astype(dtype)
    found = scored(guess, truth, size)
    assert found.n_profiles == 150
    assert not found.flat.any()
    guess, truth = guess.astype(np.float64), truth.astype(np.float64)
    close = {"rtol": 1e-12, "atol": 1e-13}
    mae = mean_absolute_error(truth, guess, multioutput="raw_values")
    np.testing.assert_allclose(found.mae, mae, **close)
    r2 = r2_score(truth, guess, multioutput="raw_values")
    np.testing.assert_allclose(found.r2, r2, **close)
    r = [pearsonr(guess[:, gene], truth[:, gene]).statistic for gene in range(9)]
    np.testing.assert_allclose(found.r, r, **close)


def test_values_far_from_zero_lose_no_digits() -> None:
    """A million beside a spread of a hundredth; the truth is the exact one, in fractions."""
    rng = np.random.default_rng(2)
    # The second half lies elsewhere: a shift fixed by the first profiles would not do.
    truth = 1e6 + np.repeat([0.0, 50.0], 40) + rng.normal(scale=1e-2, size=80)
    guess = truth + rng.normal(scale=1e-2, size=80)
    found = scored(guess[:, None], truth[:, None], 16)
    p, t = ([Fraction(value) for value in values.tolist()] for values in (guess, truth))
    p_mean, t_mean = sum(p) / 80, sum(t) / 80
    pairs = [*zip(p, t, strict=True)]
    sse, sst = sum((a - b) ** 2 for a, b in pairs), sum((b - t_mean) ** 2 for b in t)
    both = sum((a - p_mean) * (b - t_mean) for a, b in pairs)
    spread = np.sqrt(float(sst)) * np.sqrt(float(sum((a - p_mean) ** 2 for a in p)))
    # R² is nearly 1: its distance from 1 holds the digits.
    assert 1 - found.r2[0] == pytest.approx(float(sse / sst), rel=1e-8)
    assert found.r[0] == pytest.approx(float(both) / spread, rel=1e-14)
    assert found.mae[0] == pytest.approx(float(sum(abs(a - b) for a, b in pairs) / 80), rel=1e-12)


@pytest.mark.parametrize("size", [1, 32, 300])
def test_genes_without_spread(size) -> None:
    """A constant truth, be it no binary fraction, has no r and no R²; a constant guess no r."""
    rng = np.random.default_rng(3)
    truth, guess = rng.normal(size=(2, 300, 4))
    truth[:, 0], truth[:, 1] = 0.1, 0.0
    guess[:, 1:3] = 0.3
    found = scored(guess, truth, size)
    assert found.constant.tolist() == [True, True, False, False]
    assert found.flat.tolist() == [False, True, True, False]
    assert np.isnan(found.r).tolist() == [True, True, True, False]
    assert np.isnan(found.r2).tolist() == [True, True, False, False]
    np.testing.assert_allclose(found.mae, np.abs(guess - truth).mean(axis=0), rtol=1e-12)
    every = summarise(found)
    assert (every.n_genes, every.n_constant, every.n_flat) == (4, 2, 1)
    assert every.r == (found.r[3], found.r[3])
    assert every.r2 == (np.mean(found.r2[2:]), np.median(found.r2[2:]))
    first = summarise(found, np.array([True, True, False, False]))
    assert (first.n_genes, first.r, first.r2) == (2, None, None)
    assert first.mae.sd == found.mae[:2].std()


def test_nothing_to_score() -> None:
    with pytest.raises(DgexError, match="no profiles were given"):
        RunningScores(3).scores()
    with pytest.raises(DgexError, match="truth: must be 2 profiles x 3 genes"):
        RunningScores(3).add(np.zeros((2, 3)), np.zeros((2, 4)))
