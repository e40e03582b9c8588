"""Mini-batch k-means over profiles that stay on disk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import MiniBatchKMeans, kmeans_plusplus
from threadpoolctl import threadpool_limits

from dgex_jax.data.ahead import in_order
from dgex_jax.data.streams import random_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dgex_jax.data.progress import Progress, Tick
    from dgex_jax.data.rowstore import FloatRows

N_CLUSTERS = 100
BATCH = 1000
FIRST_PROFILES = 3 * BATCH
MAX_PASSES = 10
ROWS_AT_A_TIME = 64
"""Profiles read together: the float32 copy beside their float64 stays small."""
MAX_STEPS_WITHOUT_GAIN = 10


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


def cluster_profiles(
    profiles: FloatRows, *, seed: int, progress: Progress, n_clusters: int = N_CLUSTERS
) -> NDArray[np.intp]:
    """Label every profile with its k-means cluster, as the original does before comparing pairs.

    scikit-learn's ``MiniBatchKMeans(n_clusters, max_iter=10, batch_size=1000)`` in float64 on a
    random permutation of the profiles. ``fit`` needs all of them in memory, so the same steps are
    taken from outside: k-means++ centres from the first 3,000 of the permutation, ``partial_fit``
    over its consecutive batches (``fit`` draws each batch with replacement), ten passes at most,
    and the early stopping of ``fit`` on the smoothed inertia of the batches.

    Parameters
    ----------
    profiles
        ``(n_profiles, n_probes)``, read a batch at a time.
    seed
        Seeds the permutation, the first centres and the reassignment of small clusters.
    progress
        Where to report to.
    n_clusters
        Fewer if there are fewer profiles.

    Returns
    -------
    ndarray
        ``(n_profiles,)`` labels 0 ... n_clusters - 1.
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
    with progress.step("fitting clusters, at most 10 passes", MAX_PASSES * n_profiles) as tick:
        _fit(model, profiles, order, tick)
    labels = np.empty(n_profiles, dtype=np.intp)
    with progress.step("labelling profiles", n_profiles) as tick:
        done = 0
        for batch in _batches(profiles, np.arange(n_profiles)):
            labels[done : done + len(batch)] = model.predict(batch)
            done += len(batch)
            tick(len(batch))
    return labels


def _fit(model: MiniBatchKMeans, profiles: FloatRows, order: NDArray[np.intp], tick: Tick) -> None:
    """Run at most ten passes over the batches of the permutation, stopping when nothing is won."""
    inertia = _SmoothedInertia(len(order))
    for step, batch in enumerate(_batches(profiles, order, MAX_PASSES)):
        # The first batch only shows how good the first centres are; `fit` ignores it as well.
        stop = step > 0 and inertia.stalled(-model.score(batch), len(batch))
        model.partial_fit(batch)
        tick(len(batch))
        if stop:
            return


def _batches(
    profiles: FloatRows, order: NDArray[np.intp], passes: int = 1
) -> Iterator[NDArray[np.float64]]:
    """Read batches of `order` again and again, one ahead of what is done with them."""
    parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return in_order(partial(_float64, profiles), parts * passes, workers=1)


def _float64(profiles: FloatRows, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Read rows in the order asked for, a few at a time and upwards through the file."""
    values = np.empty((len(rows), profiles.n_columns))
    upwards = np.argsort(rows)
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        places = upwards[start : start + ROWS_AT_A_TIME]
        values[places] = profiles.read(rows[places])
    return values
