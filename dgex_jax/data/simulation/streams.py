"""Random streams: one for each part of the mechanism, and within it one for each profile.

A profile's numbers depend on the seed and on its own index alone, so a copy's source can be made
again at any time, and blocks of any size give the same study.
"""

from __future__ import annotations

import numpy as np

STREAMS = {
    "catalogue": 1,
    "states": 2,
    "regulation": 3,
    "probes": 4,
    "rnaseq genes": 5,
    "plan": 6,
    "series": 7,
    "donors": 8,
    "GEO samples": 10,
    "GEO genes": 11,
    "GEO arrays": 12,
    "GEO copies": 13,
    "series probes": 14,
    "gene order": 15,
    "GTEx samples": 20,
    "GTEx genes": 21,
    "GTEx counts": 22,
    "1000G samples": 30,
    "1000G genes": 31,
    "1000G counts": 32,
}


def stream(seed: int, name: str) -> np.random.Generator:
    """Give the generator of a part that is drawn once for the whole study."""
    return np.random.Generator(np.random.Philox(_sequence(seed, name)))


class ProfileStreams:
    """Generators of a part that is drawn profile by profile.

    Parameters
    ----------
    seed
        The study's.
    name
        A name of `STREAMS`.
    """

    def __init__(self, seed: int, name: str) -> None:
        self._key = _sequence(seed, name).generate_state(2, np.uint64)

    def __getitem__(self, index: int) -> np.random.Generator:
        """Give the generator of profile `index`, at its start each time."""
        # Philox counts up from here; 2**192 draws lie between one index and the next.
        return np.random.Generator(np.random.Philox(key=self._key, counter=int(index) << 192))


def _sequence(seed: int, name: str) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(STREAMS[name],))
