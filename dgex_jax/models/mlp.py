"""The D-GEX network: a multi-task multi-layer perceptron (paper section 2.3)."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
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
                hidden = hidden * mask(jax.random.fold_in(mask_key, layer), include, hidden.shape)
        # Nothing in a program that doesn't collect ``intermediates``; analysis/activations.py does.
        self.sow("intermediates", "last_hidden", hidden)
        return nn.Dense(self.n_targets, precision=precision, name="output")(hidden)


def mask(key: jax.Array, include: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draw a dropout mask of `shape`: 1/include with probability `include`, else 0 (float32).

    Survivors are scaled while training and nothing is scaled at test time, as Pylearn2 does (the
    paper's text says the reverse, which is the same in expectation). An include rate of 1 draws
    nothing.
    """

    def draw() -> jax.Array:
        kept = jax.random.bernoulli(key, include, shape)
        return jnp.where(kept, 1 / include, jnp.zeros_like(include))

    ones = jnp.ones(shape, include.dtype)
    scaled: jax.Array = jax.lax.cond(include < 1, draw, lambda: ones)
    return scaled


def n_parameters(n_landmarks: int, n_targets: int, hidden_layers: int, units: int) -> int:
    """Count the weights and biases of one network."""
    sizes = [n_landmarks, *[units] * hidden_layers, n_targets]
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))
