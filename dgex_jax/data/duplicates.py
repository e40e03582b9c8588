"""Which GEO profiles are dropped as duplicates of another (paper section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.closepairs import close_pairs
from dgex_jax.data.clusters import cluster_profiles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from dgex_jax.config import DuplicateRule
    from dgex_jax.data.progress import Progress
    from dgex_jax.data.rowstore import FloatRows


@dataclass(frozen=True)
class Duplicates:
    """The outcome of the search for duplicates.

    Attributes
    ----------
    kept
        ``(n_profiles,)`` bool.
    n_close
        Number of pairs closer than the threshold; ``None`` if nobody looked (rule ``none``).
    n_straddling
        How many of these pairs clustering split, so that both profiles may have stayed; ``None``
        without clusters.
    """

    kept: NDArray[np.bool_]
    n_close: int | None = None
    n_straddling: int | None = None


def drop_later(
    n_profiles: int, pairs: Iterable[NDArray[np.intp]], labels: NDArray[np.intp] | None = None
) -> Duplicates:
    """Drop the later profile of every close pair within a cluster.

    As in the original, j is dropped for every close pair i < j even if i itself was dropped: in a
    chain a ~ b ~ c both b and c go although a and c may be far apart.

    Parameters
    ----------
    n_profiles
        Number of profiles.
    pairs
        Arrays ``(n, 2)`` of pairs i < j in file order.
    labels
        ``(n_profiles,)`` cluster of each profile; pairs in different clusters are not compared.
        ``None``: all profiles are compared.
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


def find_duplicates(
    profiles: FloatRows, rule: DuplicateRule, *, seed: int, progress: Progress
) -> Duplicates:
    """Find duplicates by one of the rules of `PrepareConfig.duplicates`.

    Parameters
    ----------
    profiles
        ``(n_profiles, n_probes)``: all probes of the array, not only those of the study's genes.
    rule
        ``clusters``: close pairs inside k-means clusters (the original). ``all-pairs``: every close
        pair (a named departure). ``none``: nothing is dropped and no pair is looked for.
    seed
        Seeds the clustering.
    progress
        Where to report to.
    """
    n_profiles = len(profiles)
    if rule == "none":
        return Duplicates(np.ones(n_profiles, dtype=bool))
    labels = None
    if rule == "clusters":
        labels = cluster_profiles(profiles, seed=seed, progress=progress)
    pairs = close_pairs(profiles, seed=seed, progress=progress)
    return drop_later(n_profiles, pairs, labels)
