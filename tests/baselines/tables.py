"""Landmarks and targets that the tests of all baselines fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def following(n: int, p: int, t: int, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Float32 landmarks, and targets that each follow one of them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)).astype(np.float32)
    return X, (X[:, rng.integers(p, size=t)] + rng.normal(size=(n, t))).astype(np.float32)


def off_centre(n: int, p: int, t: int = 11, seed: int = 0) -> tuple[NDArray, NDArray, NDArray]:
    """Float32 landmarks and targets away from mean 0, and landmarks of new profiles."""
    rng = np.random.default_rng(seed)
    X = rng.normal(2.0, 1.5, (n, p)).astype(np.float32)
    Y = (X @ rng.normal(size=(p, t)) / p + rng.normal(-1.0, 0.5, (n, t))).astype(np.float32)
    return X, Y, rng.normal(2.0, 1.5, (7, p)).astype(np.float32)


def correlated(n: int, p: int, t: int = 9, *, common: float = 0.0) -> tuple[NDArray, NDArray]:
    """Landmarks, `common` of their sd shared by all, and targets of sd 1 that follow some."""
    rng = np.random.default_rng(0)
    X = np.sqrt(1 - common**2) * rng.normal(size=(n, p)) + common * rng.normal(size=(n, 1)) + 0.3
    weights = rng.normal(size=(p, t)) * (rng.random((p, t)) < 0.3)
    Y = X @ weights + rng.normal(size=(n, t))
    Y = (Y - Y.mean(axis=0)) / Y.std(axis=0) - 0.7
    return X.astype(np.float32), Y.astype(np.float32)
