"""The named random streams of preparation: one legacy generator for each random choice.

The original draws from one unseeded global generator, so its split is lost. A stream of its own
for each choice means that adding or skipping one (no clustering, say) never moves another.
"""

from __future__ import annotations

import numpy as np

STREAMS = {
    "profiles": 1,
    "landmarks": 2,
    "targets": 3,
    "clusters": 4,
    "screen": 5,
    "sample": 6,
    "partition": 7,
}


def random_stream(seed: int, name: str) -> np.random.RandomState:
    """Legacy generator ``RandomState([seed, STREAMS[name]])``, the same on every platform."""
    return np.random.RandomState([seed, STREAMS[name]])
