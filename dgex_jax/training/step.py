"""One update of one network: the original's loss, momentum and learning-rate scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from dgex_jax.training.pylearn2 import learning_rate_scales

if TYPE_CHECKING:
    import numpy as np

    from dgex_jax.models.mlp import MLP


def loss(
    params: Any,
    model: MLP,
    X: jax.Array,
    Y: jax.Array,
    mask_key: jax.Array,
    include: jax.Array,
) -> jax.Array:
    """Squared error summed over the targets and averaged over the batch, without ½.

    A mean over targets would make the learning rate `n_targets` times too small; a sum over the
    batch as many times too large as the batch has profiles.

    `X` is ``(n_profiles, n_landmarks)``, `Y` ``(n_profiles, n_targets)``; both float32.
    """
    predicted = model.apply({"params": params}, X, mask_key, include)
    return jnp.sum(jnp.square(Y - jnp.asarray(predicted))) / X.shape[0]


def optimizer(
    hidden_layers: int, learning_rate: jax.Array | np.float32, momentum: float
) -> optax.GradientTransformation:
    """Pylearn2's momentum: ``v ← momentum·v - (learning_rate·scale)·g; p ← p + v``.

    The learning rate stands inside the velocity, so `optax.sgd`, which keeps the raw gradient
    there, would differ after each change of the rate. `learning_rate` is a float32 scalar and may
    be traced.
    """
    scales = learning_rate_scales(hidden_layers)

    def scale(gradients: Any, _params: Any) -> Any:
        return jax.tree.map(lambda factor, g: -(learning_rate * factor) * g, scales, gradients)

    return optax.chain(optax.stateless(scale), optax.trace(decay=momentum))


def update(
    params: Any,
    velocity: Any,
    model: MLP,
    learning_rate: jax.Array,
    momentum: float,
    X: jax.Array,
    Y: jax.Array,
    mask_key: jax.Array,
    include: jax.Array,
) -> tuple[Any, Any]:
    """Do one update on one batch; returns the new parameters and velocity (the optimizer's state).

    `X` is ``(n_batch, n_landmarks)``, `Y` ``(n_batch, n_targets)``; both float32.
    """
    gradients = jax.grad(loss)(params, model, X, Y, mask_key, include)
    change, velocity = optimizer(model.hidden_layers, learning_rate, momentum).update(
        gradients, velocity, params
    )
    return optax.apply_updates(params, change), velocity
