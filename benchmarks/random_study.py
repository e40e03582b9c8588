"""Arrays of a study's shape, made of random numbers: what trains as fast as real profiles do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.parts import PAPER
from dgex_jax.train.arrays import StudyArrays

if TYPE_CHECKING:
    from pathlib import Path


def random_study(
    n_profiles: int,
    n_landmarks: int,
    n_targets: int,
    n_halves: int = 1,
    n_watched: int | Mapping[str, int] = 1,
) -> StudyArrays:
    """Make profiles whose targets depend on their landmarks.

    - `n_profiles`: to train on.
    - `n_landmarks`: input genes.
    - `n_targets`: of each half.
    - `n_halves`: networks.
    - `n_watched`: profiles of each of the four parts whose errors every epoch computes, or by part.
    """
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((n_landmarks, n_halves * n_targets), np.float32)
    weights /= np.float32(np.sqrt(n_landmarks))
    X, Y = {}, {}
    watched = PAPER.evaluated
    sizes = n_watched if isinstance(n_watched, Mapping) else dict.fromkeys(watched, n_watched)
    for part, n in {"tr": n_profiles, **{part: sizes[part] for part in watched}}.items():
        X[part] = rng.standard_normal((n, n_landmarks), np.float32)
        Y[part] = np.tanh(X[part] @ weights)
    halves = tuple(slice(half * n_targets, (half + 1) * n_targets) for half in range(n_halves))
    return StudyArrays(X=X, Y=Y, halves=halves, parts=PAPER)


def write_arrays(arrays: StudyArrays, path: Path) -> None:
    """Write a study of arrays alone, ``.npz``."""
    tables = {f"X_{part}": values for part, values in arrays.X.items()}
    tables |= {f"Y_{part}": values for part, values in arrays.Y.items()}
    np.savez(path, **tables)  # type: ignore[arg-type]
