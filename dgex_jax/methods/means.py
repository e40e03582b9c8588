"""Training profiles told without any of them: means of similar ones, and made-up ones around those.

A model that is passed on need not hold anybody's profile. The means, and the covariance about
them, are all that is taken from the training landmarks here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dgex_jax.methods import Float32

    Doubles = NDArray[np.float64]

LEAST = 10
"""Profiles that a mean is taken over, at least."""
TURNS = 10
"""Of the power iteration for the direction in which profiles are divided; any will do."""


@dataclass(frozen=True)
class Means:
    """Means ``(n_groups, n_landmarks)`` float64 of groups of similar profiles.

    `group` ``(n_profiles,)`` says which group a profile is of, `sizes` ``(n_groups,)`` how many
    it has, `LEAST` or more.
    """

    values: Doubles
    group: NDArray[np.intp]
    sizes: NDArray[np.intp]

    def distances(self, X: Float32) -> Doubles:
        """Distance of each of the profiles to the nearest mean without its own share in it.

        Root mean square difference over landmarks, as of a profile that is new.
        """
        apart = (
            np.square(X, dtype=np.float64).sum(axis=1)[:, np.newaxis]
            + np.square(self.values).sum(axis=1)
            - 2 * X @ self.values.T
        )
        own = self.sizes[self.group]
        apart[np.arange(len(X)), self.group] *= (own / (own - 1)) ** 2
        nearest: Doubles = np.sqrt(np.maximum(apart.min(axis=1), 0) / X.shape[1])
        return nearest


def means_of_similar(X: Float32) -> Means:
    """Divide profiles ``(n_profiles, n_landmarks)`` into groups, in halves as long as that can be.

    Each is divided at the median in the direction of its largest variance. Raises `DgexError` for
    fewer than `LEAST` profiles.
    """
    if len(X) < LEAST:
        raise DgexError(f"{len(X)} training profiles: a mean is taken of {LEAST} at least")
    wide = X.astype(np.float64)
    groups = list(_divided(wide, np.arange(len(X))))
    group = np.empty(len(X), np.intp)
    for number, rows in enumerate(groups):
        group[rows] = number
    return Means(
        np.stack([wide[rows].mean(axis=0) for rows in groups]),
        group,
        np.array([len(rows) for rows in groups]),
    )


def made_up(X: Float32, n: int, seed: int) -> Float32:
    """Draw `n` profiles like those of X, ``(n, n_landmarks)``, none of which is one of them.

    Each is the mean of a group of similar profiles, drawn by its size, and noise of the covariance
    of profiles about the means of their groups.
    """
    means = means_of_similar(X)
    apart = X - means.values[means.group]
    values, vectors = np.linalg.eigh(apart.T @ apart / len(X))
    # The symmetric root: the signs of eigenvectors are the library's choice.
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    rng = np.random.default_rng(seed)
    drawn = means.values[rng.choice(means.group, n)]
    made: Float32 = (drawn + rng.normal(size=drawn.shape) @ root).astype(np.float32)
    return made


def _divided(X: Doubles, rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    if len(rows) < 2 * LEAST:
        yield rows
        return
    apart = X[rows] - X[rows].mean(axis=0)
    direction = apart[np.argmax(np.square(apart).sum(axis=1))]
    for _ in range(TURNS):
        direction = apart.T @ (apart @ direction)
        direction /= np.linalg.norm(direction) or 1.0
    order = rows[np.argsort(apart @ direction, kind="stable")]
    half = len(rows) // 2
    yield from _divided(X, order[:half])
    yield from _divided(X, order[half:])
