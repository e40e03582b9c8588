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


def initial_weights(
    seed: int, n_landmarks: int, n_targets: int, hidden_layers: int, units: int
) -> Params:
    """Draw the initial weights of one network, layer by layer.

    Hidden weights are uniform within ±sqrt(6/(fan_in + fan_out)), output weights within ±1e-4,
    biases 0. After each layer's draw Pylearn2 draws as many numbers again (its mask of included
    weights) and throws them away; so do we.

    Returns
    -------
    dict
        ``{"hidden1": {"kernel": (fan_in, units), "bias": (units,)}, …, "output": …}``, float32.
    """
    stream = np.random.RandomState(seed)
    sizes = [n_landmarks, *[units] * hidden_layers, n_targets]
    params: Params = {}
    for layer, shape in enumerate(pairwise(sizes)):
        is_output = layer == hidden_layers
        limit = OUTPUT_RANGE if is_output else math.sqrt(6.0 / sum(shape))
        kernel = stream.uniform(-limit, limit, shape).astype(np.float32)
        stream.uniform(0.0, 1.0, shape)
        params["output" if is_output else f"hidden{layer + 1}"] = {
            "kernel": kernel,
            "bias": np.zeros(shape[1], np.float32),
        }
    return params


def learning_rate_scales(hidden_layers: int) -> dict[str, dict[str, float]]:
    """Factor of each weight's learning rate: 1 for the first layer and all biases, else 3."""
    names = [*(f"hidden{layer + 1}" for layer in range(hidden_layers)), "output"]
    return {name: {"kernel": 1.0 if name == "hidden1" else 3.0, "bias": 1.0} for name in names}


def batch_orders(n_profiles: int) -> Iterator[NDArray[np.int32]]:
    """Yield each epoch's order of the training profiles, ``(n_profiles,)``; one stream a run."""
    stream = np.random.RandomState(BATCH_SEED)
    while True:
        order = np.arange(n_profiles)
        stream.shuffle(order)
        yield order.astype(np.int32)


def monitored_profiles(n_profiles: int, size: int) -> NDArray[np.int32]:
    """Choose the `size` training profiles whose error steers the learning rate.

    Python 2.7's ``random.seed(0); random.sample(range(n_profiles), size)``, which Python 3 answers
    with other numbers. Returns all of them, in that order, ``(min(size, n_profiles),)``.
    """
    return np.asarray(sample_python27(n_profiles, min(size, n_profiles), MONITOR_SEED), np.int32)


def sample_python27(population: int, size: int, seed: int) -> list[int]:
    """Repeat ``random.seed(seed); random.sample(range(population), size)`` of Python 2.7.

    A large population redraws repeats; a small one is drawn from a pool (its limit is Python's:
    the pool is used where it takes less memory than a set).
    """
    uniform = random.Random(seed).random
    set_size = 21
    if size > 5:
        set_size += 4 ** math.ceil(math.log(size * 3, 4))
    if population <= set_size:
        pool = list(range(population))
        drawn = []
        for count in range(size):
            place = int(uniform() * (population - count))
            drawn.append(pool[place])
            pool[place] = pool[population - count - 1]
        return drawn
    chosen: dict[int, None] = {}
    while len(chosen) < size:
        chosen.setdefault(int(uniform() * population))
    return list(chosen)
