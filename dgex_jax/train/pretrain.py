"""Hidden layers initialised by a stacked denoising autoencoder (a departure).

The paper's discussion names autoencoders [34] as a way of unsupervised feature learning. This is
the stack of Vincent et al. 2010 (J. Mach. Learn. Res. 11), on the landmarks of GEO-tr alone.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgex_jax.train.network import MASK_GENERATOR, PRECISIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.config import TrainingConfig
    from dgex_jax.train.pylearn2 import Params

CORRUPTION = 0.25
"""Share of a layer's inputs set to 0 in each update (masking noise)."""

LEARNING_RATE = 1e-3
"""Of Adam, its usual one; the network's own rate is made for another loss."""

Layer = dict[str, Any]
Coder = dict[str, Layer]
Carry = tuple[Coder, Any]


def pretrained_hidden(
    X: NDArray[np.float32], initial: Params, training: TrainingConfig, device: jax.Device
) -> Params:
    """Train the hidden layers of a network one after the other, each as an autoencoder.

    A layer encodes the code of the layers below it, which no longer change: some of its input is
    set to 0, and a linear decoder of its own (untied weights) learns with it to give the input
    back, by mean squared error. `X` ``(n_profiles, n_landmarks)`` are the landmarks of GEO-tr,
    `initial` the weights to start from; `device` is the only one used, so that their number changes
    nothing. Returns ``{"hidden1": {"kernel", "bias"}, …}`` float32 on the host, without the output
    layer.
    """
    hidden: Params = {}
    # Within a training 64-bit types are enabled, alone not: the numbers must be the same.
    with jax.enable_x64(False), jax.default_device(device):
        placed = jax.device_put(X, device)
        run_key = jax.random.key(training.seed, impl=MASK_GENERATOR)
        below: tuple[Layer, ...] = ()
        for number, name in enumerate(name for name in initial if name != "output"):
            key = jax.random.fold_in(run_key, number)
            encoder, _ = train_layer(placed, below, initial[name], training, key)
            below = (*below, encoder)
            hidden[name] = jax.tree.map(np.asarray, jax.device_get(encoder))
    return hidden


def train_layer(
    X: jax.Array,
    below: tuple[Layer, ...],
    encoder: Layer,
    training: TrainingConfig,
    key: jax.Array,
) -> tuple[Layer, list[float]]:
    """Train `encoder` on the code of the layers `below`; gives it, and each epoch's error."""
    key, decoder_key = jax.random.split(key)
    n_inputs, n_units = encoder["kernel"].shape
    # Drawn as hidden layers are: uniform within ±sqrt(6/(fan_in + fan_out)).
    kernel = jax.nn.initializers.glorot_uniform()(decoder_key, (n_units, n_inputs), jnp.float32)
    decoder = {"kernel": kernel, "bias": jnp.zeros(n_inputs, jnp.float32)}
    coder = {"encoder": encoder, "decoder": decoder}
    # A copy, since the program overwrites it.
    carry = jax.device_put(
        (coder, optax.adam(LEARNING_RATE).init(coder)), X.device, may_alias=False
    )
    errors = []
    for epoch in range(training.pretrain_epochs):
        carry, error = train_epoch(
            carry,
            below,
            X,
            jax.random.fold_in(key, epoch),
            batch_size=min(training.batch_size, X.shape[0]),
            precision=PRECISIONS[training.precision],
        )
        errors.append(float(error))
    return carry[0]["encoder"], errors


@partial(jax.jit, static_argnames=("batch_size", "precision"), donate_argnums=0)
def train_epoch(
    carry: Carry,
    below: tuple[Layer, ...],
    X: jax.Array,
    key: jax.Array,
    *,
    batch_size: int,
    precision: jax.lax.Precision,
) -> tuple[Carry, jax.Array]:
    """Update on every full batch of a fresh shuffle; the profiles left over are others each time.

    Returns the coder with the state of its optimizer, and the mean of the batches' errors.
    """
    n_batches = X.shape[0] // batch_size
    order_key, mask_key = jax.random.split(key)
    order = jax.random.permutation(order_key, jnp.arange(X.shape[0], dtype=jnp.int32))
    batches = order[: n_batches * batch_size].reshape(n_batches, batch_size)

    def step(carry: Carry, batch: tuple[jax.Array, jax.Array]) -> tuple[Carry, jax.Array]:
        rows, number = batch
        coder, moments = carry
        inputs = X.at[rows].get(mode="promise_in_bounds")
        for layer in below:
            inputs = _encode(layer, inputs, precision)
        kept = jax.random.bernoulli(
            jax.random.fold_in(mask_key, number), 1 - CORRUPTION, inputs.shape
        )
        error, gradients = jax.value_and_grad(reconstruction_error)(
            coder, jnp.where(kept, inputs, jnp.zeros_like(inputs)), inputs, precision
        )
        # optax raises a float to its whole number of steps, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            change, moments = optax.adam(LEARNING_RATE).update(gradients, moments, coder)
        return (optax.apply_updates(coder, change), moments), error

    carry, errors = jax.lax.scan(step, carry, (batches, jnp.arange(n_batches, dtype=jnp.int32)))
    return carry, errors.mean()


def _affine(layer: Layer, inputs: jax.Array, precision: jax.lax.Precision) -> jax.Array:
    kernel, bias = layer["kernel"], layer["bias"]
    outputs: jax.Array = jnp.dot(inputs, kernel, precision=precision) + bias[None]
    return outputs


def _encode(layer: Layer, inputs: jax.Array, precision: jax.lax.Precision) -> jax.Array:
    return jnp.tanh(_affine(layer, inputs, precision))


def reconstruction_error(
    coder: Coder, corrupted: jax.Array, inputs: jax.Array, precision: jax.lax.Precision
) -> jax.Array:
    """Mean squared difference of `inputs` from what is decoded of the `corrupted` ones."""
    code = _encode(coder["encoder"], corrupted, precision)
    return jnp.mean(jnp.square(inputs - _affine(coder["decoder"], code, precision)))
