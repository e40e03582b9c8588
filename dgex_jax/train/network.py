"""The D-GEX network: a multi-task multi-layer perceptron (paper section 2.3), and its masks."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

PRECISIONS = {"highest": jax.lax.Precision.HIGHEST, "tf32": jax.lax.Precision.HIGH}
"""JAX's names; ``HIGH`` is TF32 on GPUs that have it and plain float32 on a CPU."""

MASK_GENERATOR = "threefry2x32"
"""Draws the same masks on every platform and under every transformation. (philox4x32 is twice as
fast on a CPU, but JAX 0.10.2 and 0.12.0 can't compile it under `jax.pmap` on several devices.)"""

THREEFRY_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
THREEFRY_PARITY = 0x1BD11BDA


class MLP(nn.Module):
    """Hidden layers of tanh units and a linear output unit for each target gene.

    The output units share all hidden units, which is what makes the regression multi-task.
    `precision` is that of the matrix products: ``highest`` (float32) or ``tf32``.
    """

    hidden_layers: int
    units: int
    n_targets: int
    precision: str = "highest"

    @nn.compact
    def __call__(
        self,
        X: jax.Array,
        mask_key: jax.Array | None = None,
        include: jax.Array | None = None,
    ) -> jax.Array:
        """Infer ``(n_profiles, n_targets)`` of ``(n_profiles, n_landmarks)``, standardised float32.

        With a `mask_key`, of this batch, units are dropped; `include`, the share of hidden units
        kept, is a float32 scalar that may be traced.
        """
        precision = PRECISIONS[self.precision]
        hidden = X
        for layer in range(self.hidden_layers):
            dense = nn.Dense(self.units, precision=precision, name=f"hidden{layer + 1}")
            hidden = jnp.tanh(dense(hidden))
            if mask_key is not None:
                if include is None:
                    raise TypeError("a mask key needs an include rate")
                shape = (X.shape[0], self.units)
                hidden = hidden * mask(jax.random.fold_in(mask_key, layer), include, shape)
        # Nothing in a program that doesn't collect ``intermediates``, as an analysis does.
        self.sow("intermediates", "last_hidden", hidden)
        return nn.Dense(self.n_targets, precision=precision, name="output")(hidden)


def mask(key: jax.Array, include: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Draw a dropout mask of `shape`: 1/include with probability `include`, else 0 (float32).

    Survivors are scaled while training and nothing is scaled at test time, as Pylearn2 does (the
    paper's text says the reverse, which is the same in expectation). An include rate of 1 keeps
    every unit. `key` is a threefry key; the units kept are those of `jax.random.bernoulli`.
    """
    if jax.random.key_impl(key) != MASK_GENERATOR:
        raise TypeError(f"dropout masks need a threefry key, not {jax.random.key_impl(key)}")

    def draw(words: jax.Array, include: jax.Array) -> jax.Array:
        # A uniform number has 23 bits, so comparing them is comparing the numbers.
        limit = jnp.ceil(include * 2**23).astype(jnp.uint32)
        kept = random_bits(words, shape) >> 9 < limit
        return jnp.where(kept, 1 / include, jnp.zeros_like(include))

    def draw_if_needed(words: jax.Array, include: jax.Array) -> jax.Array:
        ones = jnp.ones(shape, include.dtype)
        drawn: jax.Array = jax.lax.cond(include < 1, draw, lambda *_: ones, words, include)
        return drawn

    # On a GPU the draws are part of another kernel; a condition is one of its own and waits.
    scaled: jax.Array = jax.lax.platform_dependent(
        jax.random.key_data(key), include, cpu=draw_if_needed, default=draw
    )
    return scaled


def random_bits(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Draw uint32 numbers of `shape`, those of `jax.random.bits` for a raw threefry key ``(2,)``.

    Threefry-2x32 with 20 rounds (Salmon et al. 2011) of each number's place, written out: JAX
    rolls the rounds up into a loop on a CPU, whose many passes over memory take twice the time.
    """
    rows, columns = (jax.lax.broadcasted_iota(jnp.uint32, shape, axis) for axis in (0, 1))
    low = rows * np.uint32(shape[1]) + columns
    words = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(THREEFRY_PARITY))
    left, right = jnp.full_like(low, 0) + words[0], low + words[1]
    for group in range(5):
        for rotation in THREEFRY_ROTATIONS[group % 2]:
            left = left + right
            right = left ^ (right << rotation | right >> 32 - rotation)
        left = left + words[(group + 1) % 3]
        right = right + words[(group + 2) % 3] + np.uint32(group + 1)
    return left ^ right


def mask_key(seed: int, half: int) -> NDArray[np.uint32]:
    """Give the raw key of one half's dropout masks: halves share a seed, but not their masks."""
    return np.asarray(_mask_key(np.int64(seed), np.int64(half)))


@jax.jit
def _mask_key(seed: jax.Array, half: jax.Array) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(seed, impl=MASK_GENERATOR), half)
    return jax.random.key_data(key)


def n_parameters(n_landmarks: int, n_targets: int, hidden_layers: int, units: int) -> int:
    """Count the weights and biases of one network."""
    sizes = [n_landmarks, *[units] * hidden_layers, n_targets]
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))


class Forward:
    """All halves of a trained network on the default device, without dropout.

    `halves` gives the weights of each, ``{"hidden1": {"kernel", "bias"}, …, "output": …}`` float32.
    """

    def __init__(self, halves: Sequence[Mapping[str, Any]], precision: str = "highest") -> None:
        self._modules = tuple(
            MLP(len(params) - 1, units, n_targets, precision)
            for params in halves
            for units, n_targets in [params["output"]["kernel"].shape]
        )
        self._halves = jax.device_put(list(halves))

    def __call__(self, X: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Infer the targets of standardised landmarks ``(n_profiles, n_landmarks)`` float32.

        Yields ``(n, n_targets)`` float32, standardised units, halves side by side, n <= `BATCH`, in
        order. The first row of X is the first of a batch; the last batch is filled up with zeros.
        """
        running: tuple[jax.Array, int] | None = None
        for start in range(0, len(X), BATCH):
            rows = X[start : start + BATCH]
            # A new array each time: JAX may still read the one before.
            batch = np.zeros((BATCH, X.shape[1]), np.float32)
            batch[: len(rows)] = rows
            # The next batch is under way while the caller works on this one.
            inferred = _infer(self._modules, self._halves, batch)
            previous, running = running, (inferred, len(rows))
            if previous is not None:
                yield np.asarray(previous[0])[: previous[1]]
        if running is not None:
            yield np.asarray(running[0])[: running[1]]


# Outside the class: networks of one architecture share the compiled program.
@partial(jax.jit, static_argnums=0)
def _infer(modules: tuple[MLP, ...], halves: Sequence[Any], X: jax.Array) -> jax.Array:
    outputs: list[Any] = [
        module.apply({"params": params}, X) for module, params in zip(modules, halves, strict=True)
    ]
    return jnp.concatenate(outputs, axis=1)
