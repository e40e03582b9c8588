"""A small study of any seed, the networks that start on it, and how far weights lie apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from hypothesis import strategies as st

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.parts import PAPER
from dgex_jax.train.arrays import StudyArrays
from dgex_jax.train.train import initial_states

if TYPE_CHECKING:
    from dgex_jax.train.epoch import State

LANDMARKS, TARGETS, UNITS, HALF = 5, 8, 6, 4
SIZES = {"tr": 47, "va": 9, "te": 5, "1000G": 8, "GTEx": 6}
NETWORK = NetworkConfig(2, UNITS, 0.0)
TRAINING = TrainingConfig(epochs=3, batch_size=20, learning_rate=2e-2, monitor_size=12)
SEEDS = st.integers(0, 2**20)


def study(seed: int) -> StudyArrays:
    """Profiles whose targets can be learnt; 47 = 2 batches of 20 and one of 7."""
    rng = np.random.default_rng(seed)
    X = {part: rng.normal(size=(n, LANDMARKS)).astype(np.float32) for part, n in SIZES.items()}
    mixing = rng.normal(size=(LANDMARKS, TARGETS))
    Y = {
        part: (np.tanh(x @ mixing) + 0.3 * rng.normal(size=(len(x), TARGETS))).astype(np.float32)
        for part, x in X.items()
    }
    return StudyArrays(X, Y, (slice(0, HALF), slice(HALF, TARGETS)), PAPER)


def first_states(seed: int, training: TrainingConfig = TRAINING) -> list[State]:
    """Networks away from the original's start, whose output weights are next to nothing."""
    rng = np.random.default_rng(seed)
    return [
        state.replace(  # type: ignore[attr-defined]
            params=jax.tree.map(
                lambda leaf: (0.5 * rng.normal(size=leaf.shape)).astype(np.float32), state.params
            )
        )
        for state in initial_states(study(0), NETWORK, training)
    ]


def farthest(ours: Any, theirs: Any) -> float:
    distances = jax.tree.map(lambda a, b: np.abs(np.float64(a) - b).max(), ours, theirs)
    return float(max(jax.tree.leaves(distances)))
