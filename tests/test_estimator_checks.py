"""scikit-learn's own checks of its conventions, for every estimator and without exceptions.

One of them is skipped unless SCIPY_ARRAY_API=1 stood in the environment before SciPy's import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import dgex_jax

if TYPE_CHECKING:
    from collections.abc import Iterator

ESTIMATORS = [
    dgex_jax.KNNGE(),
    dgex_jax.LR(),
    dgex_jax.LRL1(),
    dgex_jax.LRL2(),
    # The paper's rates are for thousands of targets; the checks have one or two.
    dgex_jax.DGEXRegressor(units=8, dropout=0.0, epochs=30, learning_rate=0.1),
]


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation() -> Iterator[None]:
    """Every shape is compiled anew, some twenty here; tiny programs need no optimisation."""
    option = "jax_disable_most_optimizations"
    before = jax.config.values[option]
    jax.config.update(option, True)
    yield
    jax.config.update(option, before)


@parametrize_with_checks(ESTIMATORS)
def test_convention(estimator: Any, check: Any) -> None:
    check(estimator)
