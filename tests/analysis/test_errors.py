"""Error measures equal their definitions, in float64 and whatever the block."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error

import dgex_jax.analysis.errors as module
from dgex_jax.analysis.errors import (
    Overall,
    mae_per_gene,
    overall,
    relative_improvement,
    share_better,
)
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def _pair(n: int = 37, t: int = 9) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, t)).astype(np.float32), rng.normal(size=(n, t)).astype(np.float32)


@pytest.mark.parametrize("block_values", [1, 50, 2**22])
def test_mae_equals_scikit_learn_for_any_block(
    monkeypatch: pytest.MonkeyPatch, block_values: int
) -> None:
    monkeypatch.setattr(module, "BLOCK_VALUES", block_values)
    prediction, truth = _pair()
    wanted = mean_absolute_error(
        truth.astype(np.float64), prediction.astype(np.float64), multioutput="raw_values"
    )
    got = mae_per_gene(prediction, truth)
    assert got.dtype == np.float64
    assert got.shape == (9,)
    np.testing.assert_allclose(got, wanted, rtol=1e-14)


def test_mae_of_float32_is_taken_in_float64() -> None:
    prediction = np.array([[1.0], [2.0**24]], dtype=np.float32)
    truth = np.array([[2.0**-30], [-1.0]], dtype=np.float32)
    exact = (1 - Fraction(1, 2**30) + 2**24 + 1) / 2
    assert mae_per_gene(prediction, truth)[0] == float(exact)


def test_mae_takes_mixed_dtypes_and_leaves_them_alone() -> None:
    prediction, truth = _pair()
    before = truth.copy()
    wide = mae_per_gene(prediction.astype(np.float64), truth)
    np.testing.assert_array_equal(wide, mae_per_gene(prediction, truth))
    np.testing.assert_array_equal(truth, before)


def test_mae_of_the_recorded_mean_row_is_the_mean_absolute_value(golden: Path) -> None:
    with np.load(golden / "study_a.npz") as study:
        truth = study["Y_GTEx"]
    got = mae_per_gene(np.zeros_like(truth), truth)
    np.testing.assert_allclose(got, np.abs(truth).mean(axis=0), rtol=1e-13)


@pytest.mark.parametrize(
    ("prediction", "truth", "cause"),
    [
        (np.ones((3, 2)), np.ones((3, 1)), "truth: must be 3 profiles x 2 genes, not 3 x 1"),
        (np.ones((3, 2)), np.ones((1, 2)), "truth: must be 3 profiles x 2 genes, not 1 x 2"),
        (np.ones((0, 2)), np.ones((0, 2)), "prediction: is empty"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), "prediction: 6 of 6 values are not finite"),
        (np.ones((1, 1)), np.full((1, 1), np.inf), "truth: 1 of 1 .* inf at profile 0, gene 0"),
    ],
)
def test_mae_refuses_what_it_cannot_compare(
    prediction: NDArray, truth: NDArray, cause: str
) -> None:
    with pytest.raises(DgexError, match=cause):
        mae_per_gene(prediction, truth)


def test_overall_is_mean_and_population_deviation_over_genes() -> None:
    assert overall([1.0, 3.0]) == Overall(mean=2.0, sd=1.0)
    mae = np.array([0.5, 0.25, 4.0, 0.75])
    chosen = overall(mae, np.array([True, True, False, True]))
    assert chosen.mean == pytest.approx(0.5)
    assert chosen.sd == pytest.approx(np.sqrt((0.25**2 + 0.25**2) / 3))


@pytest.mark.parametrize(
    ("mae", "genes", "cause"),
    [
        ([], None, "mae: no genes to average over, there are no genes"),
        ([1.0, 2.0], np.zeros(2, dtype=bool), "the selection leaves none of 2"),
        ([1.0, 2.0], np.ones(3, dtype=bool), "genes: must be 2 booleans"),
        ([1.0, 2.0], np.array([0, 1]), "genes: must be 2 booleans, one a gene, not int64"),
        ([1.0, np.nan], None, "mae: 1 of 2 errors are not finite, the first nan at gene 1"),
        ([[1.0, 2.0]], None, r"mae: must be 2 errors, one a gene, not \(1, 2\)"),
        (1.0, None, r"mae: must be 1 errors, one a gene, not \(\)"),
    ],
)
def test_overall_refuses_empty_and_broken_selections(
    mae: list[float], genes: NDArray | None, cause: str
) -> None:
    with pytest.raises(DgexError, match=cause):
        overall(mae, genes)


def test_share_better_counts_strictly_smaller_errors() -> None:
    ours = np.array([1.0, 2.0, 3.0, 4.0])
    reference = np.array([2.0, 2.0, 2.0, 5.0])
    assert share_better(ours, reference) == 0.5
    assert share_better(ours, ours) == 0.0
    assert share_better(ours, reference, np.array([True, False, False, True])) == 1.0
    with pytest.raises(DgexError, match="reference: must be 4 errors"):
        share_better(ours, reference[:3])
    with pytest.raises(DgexError, match="ours, reference: no genes"):
        share_better(ours, reference, np.zeros(4, dtype=bool))


def test_relative_improvement_is_a_share_of_the_reference() -> None:
    assert relative_improvement(0.5, 0.4) == pytest.approx(0.2)
    assert relative_improvement(reference=0.4, ours=0.5) == pytest.approx(-0.25)
    assert relative_improvement(0.4, 0.4) == 0.0


@pytest.mark.parametrize(
    ("reference", "ours"), [(0.0, 1.0), (-1.0, 1.0), (np.nan, 1.0), (1.0, np.nan), (1.0, -0.1)]
)
def test_relative_improvement_refuses_errors_that_cannot_be(reference: float, ours: float) -> None:
    with pytest.raises(DgexError, match="relative improvement of"):
        relative_improvement(reference, ours)
