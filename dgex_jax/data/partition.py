"""The two halves of the targets by clusters of their expression (a departure).

The original splits the targets at random. The paper's discussion proposes to "first cluster target
genes based on their expression profiles, and then partition them accordingly", since targets of
similar expression share weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from dgex_jax.data.split import half_slices
from dgex_jax.data.streams import random_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PROFILES = 2000
"""Of GEO-tr that are looked at: a correlation over so many has a standard error of 0.02, and all
of the paper's would take 6.8 GB."""

RESTARTS = 10
MAX_ROUNDS = 100


def sampled_profiles(n_train: int, seed: int) -> NDArray[np.intp]:
    """Draw the profiles of GEO-tr that the partition looks at, all of them if they are few.

    Returns
    -------
    ndarray
        ``(min(n_train, MOST_PROFILES),)``, ascending; the first of a permutation drawn from the
        stream ``sample``.
    """
    return np.sort(random_stream(seed, "sample").permutation(n_train)[:MOST_PROFILES])


def clustered_order(values: NDArray[np.float64], seed: int) -> NDArray[np.intp]:
    """Order targets so that the halves of the order are two clusters of their expression.

    Targets are compared by their correlation: each is the vector of its values, centred and of
    length 1, so neither its mean nor its scale counts. scikit-learn's k-means finds two clusters,
    and two steps make them halves of the sizes of `split.half_slices`, in turn until nothing
    changes: the targets ordered by the difference of their squared distances to both centres are
    cut at the first half's size (for given centres no other cut has less squared distance in all),
    and each centre becomes the mean of its half. So the distance only falls, and rounds end, at
    the latest after `MAX_ROUNDS`.

    Parameters
    ----------
    values
        ``(n_profiles, n_targets)`` float64: targets in any units, in the order of the shuffle.
        Overwritten.
    seed
        Of k-means (the stream ``partition``).

    Returns
    -------
    ndarray
        ``(n_targets,)`` places in `values`: the first half's targets, then the second's, each in
        the order they came in. That order as a whole if all targets are alike.
    """
    vectors = _unit_vectors(values)
    n_targets = len(vectors)
    if (vectors == vectors[0]).all():
        return np.arange(n_targets)
    # Threads add up in any order; with one the same targets give the same halves everywhere.
    with threadpool_limits(1):
        model = KMeans(2, n_init=RESTARTS, random_state=random_stream(seed, "partition"))
        model.fit(vectors)
        # The smaller cluster first, as the first half is never the larger one.
        smaller_first = np.argsort(np.bincount(model.labels_), kind="stable")
        first, second = model.cluster_centers_[smaller_first]
        halves = _balanced(vectors, first, second)
        for _ in range(MAX_ROUNDS):
            first, second = (vectors[half].mean(axis=0) for half in halves)
            previous, halves = halves, _balanced(vectors, first, second)
            if np.array_equal(halves[0], previous[0]):
                break
    return np.concatenate(halves)


def _unit_vectors(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors ``(n_targets, n_profiles)`` whose products are correlations; 0 for constant targets.

    A constant target would otherwise be its own rounding error, blown up to length 1.
    """
    constant = np.ptp(values, axis=0) == 0
    values -= values.mean(axis=0)
    values[:, constant] = 0
    return np.asarray(normalize(np.ascontiguousarray(values.T), copy=False))


def _balanced(
    vectors: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Cut the targets into halves of fixed sizes that lie nearest to the two centres."""
    # The squares of the vectors cancel in the difference of the squared distances.
    difference = (first @ first - second @ second) - 2 * (vectors @ (first - second))
    order = np.argsort(difference, kind="stable")
    one, other = (np.sort(order[half]) for half in half_slices(len(vectors)))
    return one, other
