"""scikit-learn's own checks of its conventions, for every estimator and without exceptions.

One of them is skipped unless SCIPY_ARRAY_API=1 stood in the environment before SciPy's import.
"""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import dgex_jax

ESTIMATORS = [
    dgex_jax.KNNGE(),
    dgex_jax.LR(),
    dgex_jax.LRL1(),
    dgex_jax.LRL2(),
    # The paper's rates are for thousands of targets; the checks have one or two.
    dgex_jax.DGEXRegressor(units=8, dropout=0.0, epochs=30, learning_rate=0.1),
]

pytestmark = pytest.mark.usefixtures("quick_compilation")


@parametrize_with_checks(ESTIMATORS)
def test_convention(estimator: Any, check: Any) -> None:
    check(estimator)
