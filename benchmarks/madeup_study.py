"""Made-up standardised profiles in the parts of a study: low rank plus noise, as arrays on disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.machine import usable_cores
from dgex_jax.io.expression import blocks
from dgex_jax.parts import OF_COMPENDIUM, PAPER
from dgex_jax.train.arrays import StudyArrays

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

LANDMARKS, TARGETS = 943, 9520
PROFILES: Final = {"tr": 88_807, "va": 11_101, "te": 11_101, "1000G": 462, "GTEx": 2921}
"""The paper's study (sections 2.1 and 2.2)."""

RANK = 200
SHARES = (0.5, 0.97)
"""Least and largest share of a gene's variance that it has in common with others."""

BLOCK = 2048


def scaled(fraction: float) -> tuple[dict[str, int], int, int]:
    """Profiles of each part, landmarks and targets of a study with part of the paper's numbers.

    The fraction applies to profiles and, by its square root, to targets: the landmarks stay, so
    that what is done per landmark keeps its share.
    """
    profiles = {part: max(2, round(fraction * n)) for part, n in PROFILES.items()}
    return profiles, LANDMARKS, max(2, round(TARGETS * fraction**0.5))


def write_study(
    folder: Path, profiles: Mapping[str, int], n_landmarks: int, n_targets: int, seed: int = 0
) -> None:
    """Write ``X_<part>.npy`` and ``Y_<part>.npy`` of every part, the same on every machine.

    Values are ``(n_profiles, n_genes)`` float32 with mean 0 and variance 1 in the expectation;
    `RANK` factors of falling weight are common to all genes, weaker by a third in RNA-seq parts.
    """
    n_genes = n_landmarks + n_targets
    rng = np.random.default_rng(seed)
    loadings = rng.standard_normal((RANK, n_genes), np.float32)
    loadings /= np.sqrt(np.arange(1, RANK + 1, dtype=np.float32))[:, np.newaxis]
    shares = rng.uniform(*SHARES, n_genes).astype(np.float32)
    for number, (part, n) in enumerate(profiles.items()):
        common = shares if part in OF_COMPENDIUM else shares * np.float32(2 / 3)
        weights = loadings * np.sqrt(common / np.square(loadings).sum(axis=0))
        noise = np.sqrt(1 - common)
        X = _array(folder / f"X_{part}.npy", n, n_landmarks)
        Y = _array(folder / f"Y_{part}.npy", n, n_targets)

        def fill(
            rows: slice,
            key: tuple[int, int],
            weights: NDArray[np.float32] = weights,
            noise: NDArray[np.float32] = noise,
            X: NDArray[np.float32] = X,
            Y: NDArray[np.float32] = Y,
        ) -> None:
            rng = np.random.default_rng((seed, *key))
            factors = rng.standard_normal((rows.stop - rows.start, RANK), np.float32)
            values = rng.standard_normal((rows.stop - rows.start, n_genes), np.float32)
            values *= noise
            values += factors @ weights
            X[rows], Y[rows] = values[:, :n_landmarks], values[:, n_landmarks:]

        with ThreadPoolExecutor(usable_cores()) as pool:
            for done in [
                pool.submit(fill, rows, (number, rows.start)) for rows in blocks(n, BLOCK)
            ]:
                done.result()


def _array(path: Path, n_profiles: int, n_genes: int) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(n_profiles, n_genes)
    )
    return array


def load_study(folder: Path) -> StudyArrays:
    """Read all parts into memory, as the baselines of a study get them."""
    parts = [part for part in PAPER if (folder / f"X_{part}.npy").is_file()]
    X = {part: np.load(folder / f"X_{part}.npy") for part in parts}
    Y = {part: np.load(folder / f"Y_{part}.npy") for part in parts}
    return StudyArrays(X, Y, (slice(0, Y[parts[0]].shape[1]),), PAPER)
