"""Error measures and scores equal their definitions, in float64 and however profiles are cut."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score

from dgex_jax.errors import DgexError
from dgex_jax.scores import (
    GeneScores,
    Overall,
    RunningScores,
    choose,
    mae_per_gene,
    overall,
    relative_improvement,
    share_better,
    summarise,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def test_mae_of_float32_is_taken_in_float64() -> None:
    prediction = np.array([[1.0], [2.0**24]], dtype=np.float32)
    truth = np.array([[2.0**-30], [-1.0]], dtype=np.float32)
    exact = (1 - Fraction(1, 2**30) + 2**24 + 1) / 2
    assert mae_per_gene(prediction, truth)[0] == float(exact)


def test_mae_of_the_recorded_mean_row_is_the_mean_absolute_value(golden: Path) -> None:
    with np.load(golden / "study_a.npz") as study:
        truth = study["Y_GTEx"]
    got = mae_per_gene(np.zeros_like(truth), truth)
    np.testing.assert_allclose(got, np.abs(truth).mean(axis=0), rtol=1e-13)


def test_overall_is_mean_and_population_deviation_over_genes() -> None:
    assert overall([1.0, 3.0]) == Overall(mean=2.0, sd=1.0)
    mae = np.array([0.5, 0.25, 4.0, 0.75])
    chosen = overall(mae, np.array([True, True, False, True]))
    assert chosen.mean == pytest.approx(0.5)
    assert chosen.sd == pytest.approx(np.sqrt((0.25**2 + 0.25**2) / 3))


def test_share_better_counts_strictly_smaller_errors() -> None:
    ours, reference = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 2.0, 5.0])
    assert share_better(ours, reference) == 0.5
    assert share_better(ours, ours) == 0.0
    assert share_better(ours, reference, np.array([True, False, False, True])) == 1.0


def test_relative_improvement_is_a_share_of_the_reference() -> None:
    assert relative_improvement(0.5, 0.4) == pytest.approx(0.2)
    assert relative_improvement(reference=0.4, ours=0.5) == pytest.approx(-0.25)
    assert relative_improvement(0.4, 0.4) == 0.0


ONES, NONE = np.ones((3, 2)), np.zeros(4, dtype=bool)


@pytest.mark.parametrize(
    ("measure", "given", "cause"),
    [
        (mae_per_gene, (ONES, np.ones((3, 1))), "truth: must be 3 profiles x 2 genes, not 3 x 1"),
        (mae_per_gene, (ONES, np.ones((1, 2))), "truth: must be 3 profiles x 2 genes, not 1 x 2"),
        (mae_per_gene, (np.ones((0, 2)), np.ones((0, 2))), "prediction: is empty"),
        (mae_per_gene, (np.full((3, 2), np.nan), ONES), "prediction: 6 of 6 values are not finite"),
        (mae_per_gene, ([[1.0]], [[np.inf]]), "truth: 1 of 1 .* inf at profile 0, gene 0"),
        (overall, ([],), "mae: no genes to average over, there are no genes"),
        (overall, ([1.0, 2.0], NONE[:2]), "the selection leaves none of 2"),
        (overall, ([1.0, 2.0], NONE[:3]), "genes: must be 2 booleans"),
        (overall, ([1.0, 2.0], np.array([0, 1])), "must be 2 booleans, one a gene, not int64"),
        (overall, ([1.0, np.nan],), "mae: 1 of 2 errors are not finite, the first nan at gene 1"),
        (overall, ([[1.0, 2.0]],), r"mae: must be 2 errors, one a gene, not \(1, 2\)"),
        (overall, (1.0,), r"mae: must be 1 errors, one a gene, not \(\)"),
        (share_better, (np.ones(4), np.ones(3)), "reference: must be 4 errors"),
        (share_better, (np.ones(4), np.ones(4), NONE), "ours, reference: no genes"),
        (relative_improvement, (0.0, 1.0), "relative improvement of"),
        (relative_improvement, (-1.0, 1.0), "relative improvement of"),
        (relative_improvement, (np.nan, 1.0), "relative improvement of"),
        (relative_improvement, (1.0, np.nan), "relative improvement of"),
        (relative_improvement, (1.0, -0.1), "relative improvement of"),
        (choose, ([], []), "no values"),
        (choose, ([1, 2, 1], [1.0, 2.0, 3.0]), "a value twice: 1, 2, 1"),
        (choose, ([1, 2], [1.0]), r"2 values need as many errors, not \(1,\)"),
        (choose, ([1, 2], [[1.0, 2.0]]), r"as many errors, not \(1, 2\)"),
        (choose, ([1, 2], [1.0, np.nan]), "the error of 2 is nan"),
        (choose, ([1, 2], [np.inf, 1.0]), "the error of 1 is inf"),
        (RunningScores.scores, (RunningScores(3),), "no profiles were given"),
        (RunningScores.add, (RunningScores(2), ONES, np.ones((3, 4))), "truth: must be 3 profiles"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    measure: Callable[..., object], given: tuple[Any, ...], cause: str
) -> None:
    with pytest.raises(DgexError, match=cause):
        measure(*given)


@pytest.mark.parametrize(
    ("values", "errors", "value", "at_edge"),
    [
        (range(1, 5), [3.0, 2.0, 1.0, 2.0], 3, False),
        (range(1, 5), [1.0, 2.0, 2.0, 2.0], 1, True),
        (range(1, 5), [3.0, 2.0, 2.0, 1.0], 4, True),
        # Of equal errors the first.
        (range(1, 5), [3.0, 1.0, 1.0, 2.0], 2, False),
        (range(1, 5), [2.0, 2.0, 2.0, 2.0], 1, True),
        (range(1, 5), [3.0, 1.0, 2.0, 1.0], 2, False),
        # Edges are the extreme values in whatever order they stand; a single value is one.
        ([1e-3, 1e-1, 1e-5], [1.0, 2.0, 3.0], 1e-3, False),
        ([1e-3, 1e-1, 1e-5], [2.0, 1.0, 3.0], 1e-1, True),
        ([1e-3, 1e-1, 1e-5], [2.0, 2.0, 1.0], 1e-5, True),
        ([5], [0.1], 5, True),
    ],
)
def test_the_smallest_error_is_chosen(
    values: list[float], errors: list[float], value: float, at_edge: bool
) -> None:
    assert choose(values, np.array(errors)) == (value, at_edge)


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
    truth, guess = np.random.default_rng(3).normal(size=(2, 300, 4))
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
