"""The original's random streams and learning-rate rule, bit for bit.

Pylearn2 draws weights and batch orders from NumPy's legacy generator, the training script its
monitored profiles from Python 2.7's `random`. Only the dropout masks (Theano's generator) can't be
repeated; their effect can.
"""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

OUTPUT_RANGE = 1e-4
BATCH_SEED = (2012, 10, 5)
MONITOR_SEED = 0
DECAY = 0.9
LOWEST_RATE = 1e-5
FIRST_COMPARISON = 10.0

Params = dict[str, dict[str, Any]]


def layer_names(n_layers: int) -> list[str]:
    """Name the Flax layers of a network with `n_layers` weight matrices, first to last."""
    return [*(f"hidden{layer}" for layer in range(1, n_layers)), "output"]


def initial_weights(
    seed: int, n_landmarks: int, n_targets: int, hidden_layers: int, units: int
) -> Params:
    """Draw the initial weights of one network, layer by layer.

    Hidden weights are uniform within ±sqrt(6/(fan_in + fan_out)), output weights within ±1e-4,
    biases 0. After each layer's draw Pylearn2 draws as many numbers again (its mask of included
    weights) and throws them away; so do we.

    Returns ``{"hidden1": {"kernel": (fan_in, units), "bias": (units,)}, …, "output": …}``, float32.
    """
    stream = np.random.RandomState(seed)
    shapes = pairwise([n_landmarks, *[units] * hidden_layers, n_targets])
    params: Params = {}
    for name, shape in zip(layer_names(hidden_layers + 1), shapes, strict=True):
        limit = OUTPUT_RANGE if name == "output" else math.sqrt(6.0 / sum(shape))
        kernel = stream.uniform(-limit, limit, shape).astype(np.float32)
        stream.uniform(0.0, 1.0, shape)
        params[name] = {"kernel": kernel, "bias": np.zeros(shape[1], np.float32)}
    return params


def learning_rate_scales(hidden_layers: int) -> dict[str, dict[str, float]]:
    """Give the factor of each learning rate: 1 for the first layer and all biases, else 3."""
    names = layer_names(hidden_layers + 1)
    return {name: {"kernel": 1.0 if name == "hidden1" else 3.0, "bias": 1.0} for name in names}


def batch_orders(n_profiles: int) -> Iterator[NDArray[np.int32]]:
    """Yield each epoch's order of the training profiles, ``(n_profiles,)``; one stream a run."""
    stream = np.random.RandomState(BATCH_SEED)
    while True:
        order = np.arange(n_profiles)
        stream.shuffle(order)
        yield order.astype(np.int32)


def monitored_profiles(n_profiles: int, size: int) -> NDArray[np.int32]:
    """Choose the training profiles whose error steers the learning rate, ``(size,)``; at most all.

    Python 2.7's ``random.seed(0); random.sample(range(n_profiles), size)``, which Python 3 answers
    with other numbers: a small population is drawn from a pool (where that takes less memory than
    a set), a large one redraws repeats.
    """
    size = min(size, n_profiles)
    uniform = random.Random(MONITOR_SEED).random
    set_size = 21
    if size > 5:
        set_size += 4 ** math.ceil(math.log(size * 3, 4))
    drawn: dict[int, None] = {}
    if n_profiles > set_size:
        while len(drawn) < size:
            drawn.setdefault(int(uniform() * n_profiles))
        return np.array(list(drawn), np.int32)
    pool = list(range(n_profiles))
    for left in range(n_profiles, n_profiles - size, -1):
        place = int(uniform() * left)
        drawn[pool[place]] = None
        pool[place] = pool[left - 1]
    return np.array(list(drawn), np.int32)
