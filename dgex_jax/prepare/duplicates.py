"""Which GEO profiles are dropped as duplicates of another (paper section 2.1).

Close pairs are found without comparing all pairs in full: profiles are projected on a few
orthonormal directions, which never enlarges a distance, so pairs that are far apart in the
projection are far apart. What is left is decided in float64 from direct differences, never from
squared norms and products (in float32 these turned 1.00004 into 1.25).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import MiniBatchKMeans, kmeans_plusplus
from threadpoolctl import threadpool_limits

from dgex_jax.io.progress import in_order
from dgex_jax.prepare.split import random_stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from dgex_jax.config import DuplicateRule
    from dgex_jax.io.progress import Progress
    from dgex_jax.prepare.normalize import RowStore

    Pairs = NDArray[np.intp]

MAX_DISTANCE = 1.0
N_DIRECTIONS = 64
N_SAMPLE = 1000
TILE = 1024
PAIRS_AT_A_TIME = 64

N_CLUSTERS = 100
BATCH = 1000
FIRST_PROFILES = 3 * BATCH
MAX_PASSES = 10
MAX_STEPS_WITHOUT_GAIN = 10
ROWS_AT_A_TIME = 64
"""Profiles read together: the float32 copy beside their float64 stays small."""


@dataclass(frozen=True)
class Duplicates:
    """The outcome of the search for duplicates: which of the profiles ``(n_profiles,)`` stay."""

    kept: NDArray[np.bool_]
    n_close: int | None = None
    """Number of pairs closer than the threshold; ``None`` if nobody looked (rule ``none``)."""
    n_straddling: int | None = None
    """How many of these pairs clustering split, so that both may have stayed (else ``None``)."""


def find_duplicates(
    profiles: RowStore, rule: DuplicateRule, *, seed: int, progress: Progress
) -> Duplicates:
    """Find duplicates by one of the rules of `PrepareConfig.duplicates`; `seed` seeds k-means.

    Profiles are compared by all probes of the array, not only by those of the study's genes.
    """
    if rule == "none":
        return Duplicates(np.ones(len(profiles), dtype=bool))
    labels = None
    if rule == "clusters":
        labels = cluster_profiles(profiles, seed=seed, progress=progress)
    return drop_later(len(profiles), close_pairs(profiles, seed=seed, progress=progress), labels)


def drop_later(
    n_profiles: int, pairs: Iterable[Pairs], labels: NDArray[np.intp] | None = None
) -> Duplicates:
    """Drop the later profile of every close pair within a cluster.

    As in the original, j is dropped for every close pair i < j even if i itself was dropped: in a
    chain a ~ b ~ c both b and c go although a and c may be far apart.
    Pairs i < j come in arrays ``(n, 2)``; those whose `labels` ``(n_profiles,)``, the clusters,
    differ are not compared.
    """
    kept = np.ones(n_profiles, dtype=bool)
    n_close = n_straddling = 0
    for earlier, later in (part.T for part in pairs):
        n_close += len(later)
        if labels is None:
            kept[later] = False
            continue
        together = labels[earlier] == labels[later]
        kept[later[together]] = False
        n_straddling += int(np.count_nonzero(~together))
    return Duplicates(kept, n_close, None if labels is None else n_straddling)


def distances(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Euclidean distances ``(n,)`` between the rows of `a` and `b`, in float64 by differences."""
    difference = np.subtract(a, b, dtype=np.float64)
    return np.asarray(np.sqrt(np.sum(difference * difference, axis=1)))


def close_pairs(
    profiles: RowStore, *, seed: int, progress: Progress, max_distance: float = MAX_DISTANCE
) -> Iterator[Pairs]:
    """Every pair of finite profiles at a Euclidean distance strictly below `max_distance`.

    They come once each, in arrays ``(n, 2)`` of indices i < j in no particular order (a study full
    of duplicates needs no list of all of them). `seed` chooses the profiles whose principal axes
    are the screen's directions; it changes how many pairs are decided in full, never the answer.
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
    profiles: RowStore, seed: int, progress: Progress
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


def _decide(profiles: RowStore, pairs: Pairs, max_distance: float) -> Iterator[Pairs]:
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


def cluster_profiles(
    profiles: RowStore, *, seed: int, progress: Progress, n_clusters: int = N_CLUSTERS
) -> NDArray[np.intp]:
    """Label every profile with its k-means cluster ``(n_profiles,)``, at most `n_clusters`.

    scikit-learn's ``MiniBatchKMeans(n_clusters, max_iter=10, batch_size=1000)`` in float64 on a
    random permutation of the profiles, as the original does before comparing pairs. ``fit`` needs
    all of them in memory, so the same steps are taken from outside: k-means++ centres from the
    first 3,000 of the permutation, ``partial_fit`` over its consecutive batches (``fit`` draws each
    batch with replacement), ten passes at most, and the early stopping of ``fit`` on the smoothed
    inertia of the batches. `seed` seeds the permutation, the first centres and the reassignment of
    small clusters.
    """
    n_profiles = len(profiles)
    n_clusters = min(n_clusters, n_profiles)
    random = random_stream(seed, "clusters")
    order = random.permutation(n_profiles)
    # Many small products: with several BLAS threads that wait for each other 15 times slower, and
    # with one the centres don't depend on the number of cores.
    with threadpool_limits(1, user_api="blas"):
        centres, _ = kmeans_plusplus(
            _float64(profiles, order[:FIRST_PROFILES]), n_clusters, random_state=random
        )
    model = MiniBatchKMeans(
        n_clusters,
        init=centres,
        n_init=1,
        batch_size=BATCH,
        compute_labels=False,
        random_state=random,
    )
    rule = _SmoothedInertia(n_profiles)
    with progress.step("fitting clusters, at most 10 passes", MAX_PASSES * n_profiles) as tick:
        for step, batch in enumerate(_batches(profiles, order, MAX_PASSES)):
            # The first batch only shows how good the first centres are; `fit` ignores it as well.
            stop = step > 0 and rule.stalled(-model.score(batch), len(batch))
            model.partial_fit(batch)
            tick(len(batch))
            if stop:
                break
    labels = []
    with progress.step("labelling profiles", n_profiles) as tick:
        for batch in _batches(profiles, np.arange(n_profiles)):
            labels.append(model.predict(batch))
            tick(len(batch))
    return np.concatenate(labels).astype(np.intp)


class _SmoothedInertia:
    """The stopping rule of ``MiniBatchKMeans.fit``: no new minimum for ten steps in a row."""

    def __init__(self, n_profiles: int) -> None:
        self._n_profiles = n_profiles
        self._smoothed: float | None = None
        self._lowest = np.inf
        self._without_gain = 0

    def stalled(self, inertia: float, n_batch: int) -> bool:
        """Take in a batch's inertia (before its update) and say whether to stop."""
        mean = inertia / n_batch
        alpha = min(1.0, 2.0 * n_batch / (self._n_profiles + 1))
        old = self._smoothed
        self._smoothed = mean if old is None else old * (1 - alpha) + mean * alpha
        if self._smoothed < self._lowest:
            self._lowest, self._without_gain = self._smoothed, 0
        else:
            self._without_gain += 1
        return self._without_gain >= MAX_STEPS_WITHOUT_GAIN


def _batches(
    profiles: RowStore, order: NDArray[np.intp], passes: int = 1
) -> Iterator[NDArray[np.float64]]:
    """Read batches of `order` again and again, one ahead of what is done with them."""
    parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return in_order(partial(_float64, profiles), parts * passes, workers=1)


def _float64(profiles: RowStore, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Read rows in the order asked for, a few at a time and upwards through the file."""
    values = np.empty((len(rows), profiles.n_columns))
    upwards = np.argsort(rows)
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        places = upwards[start : start + ROWS_AT_A_TIME]
        values[places] = profiles.read(rows[places])
    return values
