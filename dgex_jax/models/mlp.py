"""The D-GEX network: a multi-task multi-layer perceptron (paper section 2.3)."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

PRECISIONS = {"highest": jax.lax.Precision.HIGHEST, "tf32": jax.lax.Precision.HIGH}
"""JAX's names; ``HIGH`` is TF32 on GPUs that have it and plain float32 on a CPU."""


class MLP(nn.Module):
    """Hidden layers of tanh units and a linear output unit for each target gene.

    The output units share all hidden units, which is what makes the regression multi-task.

    Attributes
    ----------
    hidden_layers
        Number of hidden layers.
    units
        Hidden units of each hidden layer.
    n_targets
        Output units.
    precision
        Of the matrix products: ``highest`` (float32) or ``tf32``.
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
        """Infer target genes.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)`` float32, standardised.
        mask_key
            Random key of this batch's dropout masks; without one (at test time) no unit is dropped.
        include
            Share of hidden units kept, a float32 scalar that may be traced; needed with `mask_key`.

        Returns
        -------
        jax.Array
            ``(n_profiles, n_targets)`` float32, standardised units.
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
        # Nothing in a program that doesn't collect ``intermediates``; analysis/activations.py does.
        self.sow("intermediates", "last_hidden", hidden)
        return nn.Dense(self.n_targets, precision=precision, name="output")(hidden)


def mask(key: jax.Array, include: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Draw a dropout mask of `shape`: 1/include with probability `include`, else 0 (float32).

    Survivors are scaled while training and nothing is scaled at test time, as Pylearn2 does (the
    paper's text says the reverse, which is the same in expectation). An include rate of 1 keeps
    every unit. `key` is a threefry key; the units kept are those of `jax.random.bernoulli`.
    """
    if jax.random.key_impl(key) != "threefry2x32":
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


THREEFRY_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
THREEFRY_PARITY = 0x1BD11BDA


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


def n_parameters(n_landmarks: int, n_targets: int, hidden_layers: int, units: int) -> int:
    """Count the weights and biases of one network."""
    sizes = [n_landmarks, *[units] * hidden_layers, n_targets]
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))
