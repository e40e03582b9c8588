"""What a training starts from: the modules, the initial states, and the study on the devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgex_jax.config import LOGGED
from dgex_jax.models.mlp import MLP
from dgex_jax.training.devices import place, replicate, stack
from dgex_jax.training.epoch import MASK_GENERATOR, Data, Network, PartSizes, State, initial_state
from dgex_jax.training.pretrain import pretrained_hidden
from dgex_jax.training.pylearn2 import initial_weights, monitored_profiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.training.arrays import StudyArrays


def mask_key(seed: int, half: int) -> NDArray[np.uint32]:
    """Raw key of the dropout masks of one half: both halves share a seed, but not their masks."""
    return np.asarray(_mask_key(np.int64(seed), np.int64(half)))


@jax.jit
def _mask_key(seed: jax.Array, half: jax.Array) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(seed, impl=MASK_GENERATOR), half)
    return jax.random.key_data(key)


def build_model(network: NetworkConfig, training: TrainingConfig, n_targets: int) -> MLP:
    """Build the Flax module of one half."""
    return MLP(network.hidden_layers, network.units, n_targets, training.precision)


def initial_states(
    arrays: StudyArrays, network: NetworkConfig, training: TrainingConfig
) -> list[State]:
    """Draw the initial state of each half; the narrower half is padded with zero columns."""
    sizes = arrays.half_sizes()
    states = []
    for size in sizes:
        params = initial_weights(
            training.seed, arrays.n_landmarks, size, network.hidden_layers, network.units
        )
        missing = max(sizes) - size
        output = params["output"]
        params["output"] = {
            "kernel": np.pad(output["kernel"], ((0, 0), (0, missing))),
            "bias": np.pad(output["bias"], (0, missing)),
        }
        rate = training.initial_rate(network.hidden_layers)
        states.append(
            initial_state(params, network.hidden_layers, rate, with_1000g="1000G" in arrays.X)
        )
    return states


def pretrained_states(
    states: Sequence[State], arrays: StudyArrays, training: TrainingConfig, device: jax.Device
) -> Sequence[State]:
    """Replace the hidden layers of initial states by pretrained ones, if `training` asks for them.

    One pretraining, on `device`, is that of all halves and networks of a group: they start from
    the same hidden layers, as without. Output layers stay as drawn.
    """
    if training.pretrain == "none":
        return states
    hidden = pretrained_hidden(arrays.X["tr"], states[0].params, training, device)
    return [
        state.replace(params=state.params | hidden)  # type: ignore[attr-defined]
        for state in states
    ]


def half_networks(
    arrays: StudyArrays, networks: Sequence[NetworkConfig], training: TrainingConfig
) -> list[Network]:
    """List what tells the halves of `networks` apart: all networks' first halves, then the second.

    A network's masks depend on its seed and half alone, not on the networks beside it.
    """
    return [
        Network(mask_key(training.seed, half), np.float32(1 - network.dropout), np.int32(size))
        for half, size in enumerate(arrays.half_sizes())
        for network in networks
    ]


def device_data(
    arrays: StudyArrays, training: TrainingConfig, devices: Sequence[jax.Device]
) -> tuple[Data, PartSizes]:
    """Move the study to the devices once, as `epoch_program` takes it, with its part sizes."""
    n_devices = len(devices)
    width = max(arrays.half_sizes())
    halves = range(len(arrays.halves))
    monitored = monitored_profiles(arrays.X["tr"].shape[0], training.monitor_size)
    parts = [part for part in LOGGED if part in arrays.X]
    rows: dict[str, Any] = dict.fromkeys(parts, slice(None)) | {"tr": monitored}

    def watched(half: int) -> NDArray[np.float32]:
        return np.concatenate([arrays.half(part, half, width)[rows[part]] for part in parts])

    data = Data(
        X=replicate(arrays.X["tr"], n_devices),
        Y=stack([arrays.half("tr", half, width) for half in halves], n_devices, -1),
        watched_X=replicate(
            np.concatenate([arrays.X[part][rows[part]] for part in parts]), n_devices
        ),
        watched_Y=stack([watched(half) for half in halves], n_devices, -1),
    )
    sizes = tuple((part, len(arrays.X[part][rows[part]])) for part in parts)
    return place(data, devices), sizes
