"""What the last hidden layer of a trained network makes of the landmark genes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgex_jax.config import check_range
from dgex_jax.errors import DgexError
from dgex_jax.models.arrays import blocks, check_matrix
from dgex_jax.models.mlp import MLP
from dgex_jax.training.weights import layer_names

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def last_hidden(params: Any, X: ArrayLike, *, block_size: int = 1024) -> NDArray[np.float32]:
    """Activations of the last hidden layer, no dropout (paper section 3.3, "nonlinearity").

    Parameters
    ----------
    params
        One half of what `dgex_jax.training.weights.load_weights` reads: layer name →
        ``kernel`` ``(fan_in, fan_out)`` and ``bias`` ``(fan_out,)``, float32. Products are taken
        in float32, whatever precision the network was trained with.
    X
        ``(n_profiles, n_landmarks)`` standardised values; never copied as a whole.
    block_size
        Profiles on the device at a time; changes memory and speed, results only by rounding.

    Returns
    -------
    NDArray
        ``(n_profiles, units)`` float32, from -1 to 1.

    Raises
    ------
    DgexError
        Weights that make no network with a hidden layer, another number of landmarks, an empty
        table, values that are not finite, or a bad block size.
    """
    check_range("block_size", block_size, 1)
    model, n_landmarks = _network(params)
    profiles = check_matrix("X", X, n_genes=n_landmarks)
    n_profiles = profiles.shape[0]
    weights = jax.device_put(params)
    activations = np.empty((n_profiles, model.units), np.float32)
    # A short last block is filled up with zeros: a shape of its own would be compiled again.
    block = np.zeros((min(block_size, n_profiles), n_landmarks), np.float32)
    for rows in blocks(n_profiles, len(block)):
        length = rows.stop - rows.start
        block[:length], block[length:] = profiles[rows], 0
        # np.asarray waits for the result; before that, JAX may still read `block` in place.
        activations[rows] = np.asarray(_activations(model, weights, block))[:length]
    return activations


@partial(jax.jit, static_argnums=0)
def _activations(model: MLP, params: Any, X: jax.Array) -> jax.Array:
    # The unused output layer is left out by the compiler.
    _, state = model.apply({"params": params}, X, mutable=["intermediates"])
    (activations,) = state["intermediates"]["last_hidden"]
    return activations  # type: ignore[no-any-return]


def _network(params: Any) -> tuple[MLP, int]:
    """Return the module that `params` belong to, and its number of landmarks."""
    n_hidden = len(params) - 1
    names = layer_names(len(params))
    if n_hidden < 1 or sorted(params) != sorted(names):
        raise DgexError(
            f"weights: need the layers hidden1, ... and output, not {', '.join(params) or 'none'}"
        )
    shapes = {name: np.shape(params[name]["kernel"]) for name in names}
    if any(len(shape) != 2 or 0 in shape for shape in shapes.values()):
        raise DgexError(f"weights: a kernel is empty or no matrix, shapes {shapes}")
    n_landmarks, units = shapes["hidden1"]
    sizes = [n_landmarks, *[units] * n_hidden, shapes["output"][1]]
    for name, fan_in, fan_out in zip(names, sizes, sizes[1:], strict=False):
        found = (shapes[name], np.shape(params[name]["bias"]))
        if found != ((fan_in, fan_out), (fan_out,)):
            raise DgexError(
                f"weights of {name}: must be {fan_in} x {fan_out} and {fan_out} biases, "
                f"not of shapes {found[0]} and {found[1]}"
            )
    return MLP(n_hidden, units, shapes["output"][1]), n_landmarks
