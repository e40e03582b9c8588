"""The random choices of preparation: shuffles, train, validation and test, halves of the targets.

The original draws from one unseeded global generator, so its split is lost. Here each choice has a
stream of its own: adding or skipping one (no clustering, say) never moves another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dgex_jax.errors import PreparationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

STREAMS = {
    "profiles": 1,
    "landmarks": 2,
    "targets": 3,
    "clusters": 4,
    "screen": 5,
    "sample": 6,
    "partition": 7,
    "groups": 8,
    "samples": 9,
}

MOST_PROFILES = 2000
"""Of GEO-tr that the partition looks at: a correlation over so many has a standard error of 0.02,
and all of the paper's would take 6.8 GB."""
RESTARTS = 10
MAX_ROUNDS = 100


def random_stream(seed: int, name: str) -> np.random.RandomState:
    """Legacy generator ``RandomState([seed, STREAMS[name]])``, the same on every platform."""
    return np.random.RandomState([seed, STREAMS[name]])


def shuffled(seed: int, name: str, n: int) -> NDArray[np.intp]:
    """Return a permutation of 0 ... n - 1 drawn from the named stream of `STREAMS`."""
    return random_stream(seed, name).permutation(n)


class SplitSizes(NamedTuple):
    """Number of profiles of GEO-tr, GEO-va and GEO-te."""

    train: int
    validation: int
    test: int

    @property
    def slices(self) -> dict[str, slice]:
        """Rows of each part once the profiles stand in shuffled order."""
        middle = self.train + self.validation
        return {
            "train": slice(0, self.train),
            "validation": slice(self.train, middle),
            "test": slice(middle, middle + self.test),
        }


def split_sizes(n_profiles: int) -> SplitSizes:
    """Sizes of the parts of `n_profiles` kept GEO profiles (paper section 2.1).

    Train has floor(0.8 N), validation floor((N - train) / 2), test the rest; for the paper's
    111,009 profiles 88,807, 11,101 and 11,101. Raises `PreparationError` if a part would be empty.
    """
    train = 4 * n_profiles // 5
    validation = (n_profiles - train) // 2
    sizes = SplitSizes(train, validation, n_profiles - train - validation)
    if min(sizes) < 1:
        raise PreparationError(
            f"{n_profiles} profiles are left: too few to split into train, validation and test"
        )
    return sizes


def split_groups(groups: NDArray[np.intp], seed: int) -> tuple[NDArray[np.intp], SplitSizes]:
    """Split profiles by whole groups: the order to store them in, and the sizes of the parts.

    `groups` ``(n_profiles,)`` are numbers from 0. In random order groups go to test until it has a
    tenth of the profiles, then to validation likewise, the rest to train; one that would bring more
    than a fifth is passed over unless no other is left. Raises `PreparationError` if there are too
    few groups.
    """
    sizes = np.bincount(groups)
    tenth = len(groups) / 10
    parts = np.zeros(len(sizes), dtype=np.intp)
    drawn = shuffled(seed, "groups", len(sizes))
    for part in (2, 1):
        held = 0
        for group in drawn:
            fits = held < tenth and held + sizes[group] <= 2 * tenth
            # The other parts need groups too.
            if fits and parts[group] == 0 and np.count_nonzero(parts == 0) > part:
                parts[group], held = part, held + sizes[group]
        left = np.flatnonzero(parts == 0)
        if not held and len(left):
            parts[left[sizes[left].argmin()]] = part
    shuffle = shuffled(seed, "profiles", len(groups))
    order = [shuffle[parts[groups[shuffle]] == part] for part in range(3)]
    found = SplitSizes(*map(len, order))
    if min(found) < 1:
        raise PreparationError(
            f"{len(sizes)} groups of profiles: too few to split into train, validation and test"
        )
    return np.concatenate(order), found


def half_slices(n_targets: int) -> tuple[slice, slice]:
    """Columns of the two halves of the shuffled targets; the first has floor(T / 2) of them."""
    return slice(0, n_targets // 2), slice(n_targets // 2, n_targets)


def sampled_profiles(n_train: int, seed: int) -> NDArray[np.intp]:
    """Draw the profiles of GEO-tr that `clustered_order` looks at, ascending."""
    return np.sort(shuffled(seed, "sample", n_train)[:MOST_PROFILES])


def clustered_order(values: NDArray[np.float64], seed: int) -> NDArray[np.intp]:
    """Order targets so that the halves of the order are two clusters of their expression.

    `values` are ``(n_profiles, n_targets)`` float64 in any units, in the order of the shuffle, and
    are overwritten; the result ``(n_targets,)`` are places in them: the first half's targets, then
    the second's, each in the order they came in (just that order if all targets are alike).

    A departure: the original splits the targets at random. The paper's discussion proposes to
    "first cluster target genes based on their expression profiles, and then partition them
    accordingly", since targets of similar expression share weights.

    Targets are compared by their correlation: each is the vector of its values, centred and of
    length 1, so neither its mean nor its scale counts. scikit-learn's k-means finds two clusters,
    and two steps make them halves of the sizes of `half_slices`, in turn until nothing changes: the
    targets ordered by the difference of their squared distances to both centres are cut at the
    first half's size (for given centres no other cut has less squared distance in all), and each
    centre becomes the mean of its half. So the distance only falls, and rounds end, at the latest
    after `MAX_ROUNDS`.
    """
    # Loaded here, as training reads prepared studies without scikit-learn.
    from sklearn.cluster import KMeans  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

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
    from sklearn.preprocessing import normalize  # noqa: PLC0415

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
