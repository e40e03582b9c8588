"""Tables that can be learnt in a moment, and a small DGEXRegressor that learns them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax import DGEXRegressor

if TYPE_CHECKING:
    from numpy.typing import NDArray

N, N_LANDMARKS, N_TARGETS = 60, 6, 3


def tables(n: int = N, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Raw values far from mean 0 and deviation 1, different in each gene."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, N_LANDMARKS))
    weights = np.random.default_rng(99).normal(size=(N_LANDMARKS, N_TARGETS))
    Y = np.tanh(X @ weights) + rng.normal(0, 0.1, (n, N_TARGETS))
    return 7.0 + X * np.arange(1, 7), -3.0 + Y * np.array([0.1, 5.0, 1.0])


def new_network(**changed: Any) -> DGEXRegressor:
    settings = {"units": 8, "epochs": 40, "learning_rate": 0.03, "random_state": 1}
    return DGEXRegressor(**(settings | changed))
