"""Inferences in plain NumPy, and scores by others' formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.analysis.scores import GeneScores
    from dgex_jax.inference.model import Model


def infer(model: Model, X: NDArray[Any]) -> NDArray[np.float64]:
    """The network in plain NumPy, float64."""
    outputs = []
    for half in model.halves:
        hidden = X.astype(np.float64)
        for name in [name for name in half if name != "output"]:
            hidden = np.tanh(hidden @ half[name]["kernel"] + half[name]["bias"])
        outputs.append(hidden @ half["output"]["kernel"] + half["output"]["bias"])
    return np.concatenate(outputs, axis=1)


def assert_scores(
    found: GeneScores, guess: NDArray[np.float64], truth: NDArray[np.float64], tolerance: float
) -> None:
    """Scores as scipy's and scikit-learn's, and none where the truth is constant."""
    close = {"rtol": tolerance, "atol": tolerance}
    mae = mean_absolute_error(truth, guess, multioutput="raw_values")
    r2 = r2_score(truth, guess, multioutput="raw_values")
    np.testing.assert_allclose(found.mae, mae, **close)
    constant = (truth == truth[0]).all(axis=0)
    np.testing.assert_array_equal(found.constant, constant)
    for gene, none in enumerate(constant.tolist()):
        if none:
            assert np.isnan([found.r[gene], found.r2[gene]]).all()
            continue
        r = pearsonr(guess[:, gene], truth[:, gene]).statistic
        np.testing.assert_allclose([found.r[gene], found.r2[gene]], [r, r2[gene]], **close)
