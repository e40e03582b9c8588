"""All pairs of profiles closer than a threshold, without comparing all pairs in full.

Profiles are projected on a few orthonormal directions, which never enlarges a distance: pairs that
are far apart in the projection are far apart. What is left is decided in float64 from direct
differences, never from squared norms and products (in float32 these turned 1.00004 into 1.25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.ahead import in_order
from dgex_jax.data.streams import random_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dgex_jax.data.progress import Progress
    from dgex_jax.data.rowstore import FloatRows

    Pairs = NDArray[np.intp]

MAX_DISTANCE = 1.0
N_DIRECTIONS = 64
N_SAMPLE = 1000
TILE = 1024
PAIRS_AT_A_TIME = 64


def distances(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Euclidean distances ``(n,)`` between the rows of `a` and `b`, in float64 by differences."""
    difference = np.subtract(a, b, dtype=np.float64)
    return np.asarray(np.sqrt(np.sum(difference * difference, axis=1)))


def close_pairs(
    profiles: FloatRows,
    *,
    seed: int,
    progress: Progress,
    max_distance: float = MAX_DISTANCE,
) -> Iterator[Pairs]:
    """Every pair of profiles at a Euclidean distance strictly below `max_distance`.

    Parameters
    ----------
    profiles
        ``(n_profiles, n_probes)``, finite.
    seed
        Chooses the profiles whose principal axes are the screen's directions; it changes how many
        pairs have to be decided in full, never the answer.
    progress
        Where to report to.
    max_distance
        The original's threshold is 1.0.

    Yields
    ------
    ndarray
        ``(n, 2)`` indices i < j in no particular order; every pair comes once, in one of the
        yielded arrays (so that a study full of duplicates needs no list of all of them).
    """
    projected, slack = _project(profiles, seed, progress)
    # Sorted along the first axis, a tile needs comparing only with the tiles close to it there.
    order = np.argsort(projected[:, 0], kind="stable")
    projected = projected[order]
    limit = (max_distance + slack) ** 2
    radius = np.einsum("ij,ij->i", projected, projected)
    # |a - b|^2 as one product: (a, |a|^2, 1) . (-2b, 1, |b|^2). Its rounding error is bounded by
    # the usual gamma_k; a few units more cost nothing.
    ones = np.ones((len(order), 1))
    left = np.hstack([projected, radius[:, None], ones])
    right = np.hstack([-2.0 * projected, ones, radius[:, None]])
    limit += 8.0 * (left.shape[1] + 4) * np.finfo(np.float64).eps * float(radius.max())
    reach = np.sqrt(limit)
    with progress.step("comparing profiles", len(order)) as tick:
        for start in range(0, len(order), TILE):
            stop = min(start + TILE, len(order))
            for other in range(start, len(order), TILE):
                if projected[other, 0] - projected[stop - 1, 0] > reach:
                    break
                near = left[start:stop] @ right[other : other + TILE].T < limit
                if other == start:
                    near = np.triu(near, 1)
                a, b = np.nonzero(near)
                if len(a):
                    pairs = np.stack([order[start + a], order[other + b]], axis=1)
                    yield from _decide(profiles, np.sort(pairs, axis=1), max_distance)
            tick(stop - start)


def _project(
    profiles: FloatRows, seed: int, progress: Progress
) -> tuple[NDArray[np.float64], float]:
    """Coordinates ``(n_profiles, k)`` along principal axes, and by how much a distance may err."""
    n_profiles = len(profiles)
    random = random_stream(seed, "screen")
    chosen = np.sort(random.permutation(n_profiles)[:N_SAMPLE])
    sample = profiles.read(chosen).astype(np.float64)
    centre = sample.mean(axis=0)
    sample -= centre
    # Principal axes by way of profiles x profiles, ten times faster than an SVD; what that costs in
    # orthogonality the QR gives back.
    weights = np.linalg.eigh(sample @ sample.T)[1][:, ::-1][:, :N_DIRECTIONS]
    axes = np.linalg.qr(sample.T @ weights)[0]
    projected = np.empty((n_profiles, axes.shape[1]))
    largest = 0.0
    with progress.step("projecting profiles", n_profiles) as tick:
        tiles = [slice(start, start + TILE) for start in range(0, n_profiles, TILE)]
        centred = in_order(lambda rows: profiles.read(rows) - centre, tiles, workers=1)
        for rows, block in zip(tiles, centred, strict=True):
            projected[rows] = block @ axes
            largest = max(largest, float(np.einsum("ij,ij->i", block, block).max()))
            tick(len(block))
    # Each coordinate is a dot product of n_probes terms with a unit vector: it errs by at most
    # n_probes * eps * |x|; two profiles and k coordinates give the factor below. The axes are
    # orthonormal to about 1e-14, covered by the factor 4.
    n_probes, n_axes = axes.shape
    return projected, 4.0 * np.sqrt(n_axes * largest) * n_probes * np.finfo(np.float64).eps


def _decide(profiles: FloatRows, pairs: Pairs, max_distance: float) -> Iterator[Pairs]:
    """Keep the pairs whose distance really is below the threshold."""
    members, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    rows = profiles.read(members)
    close = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), PAIRS_AT_A_TIME):
        part = places[start : start + PAIRS_AT_A_TIME]
        apart = distances(rows[part[:, 0]], rows[part[:, 1]])
        close[start : start + PAIRS_AT_A_TIME] = apart < max_distance
    if close.any():
        yield pairs[close]
