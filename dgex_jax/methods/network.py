"""The paper's network, trained, as one of the methods."""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dgex_jax.config import NetworkConfig, Precision
from dgex_jax.errors import DgexError
from dgex_jax.methods import Fitted, Float32
from dgex_jax.train.pylearn2 import layer_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dgex_jax.train.network import Forward

PRECISION: Precision = "highest"
"""Of all products of a network in use, float32: whatever `TrainingConfig.precision` it was trained
with, which is a matter of speed, so that a model gives one result on every device."""


class Network(Fitted):
    """A network for each half of the targets: ``half1/W0``, ``half1/b0``, … in order of layers.

    `settings` are those of `NetworkConfig` and ``half_sizes``, the targets of each half; `halves`
    has the parameters of each as Flax takes them.
    """

    kind: ClassVar[str] = "network"

    def __init__(self, settings: Mapping[str, Any], tensors: Mapping[str, Float32]) -> None:
        super().__init__(settings, tensors)
        names = {one.name for one in fields(NetworkConfig)}
        if set(settings) != names | {"half_sizes"}:
            raise DgexError(f"settings are {', '.join(settings)}, not those of a network")
        self.config = NetworkConfig(**{name: settings[name] for name in names})
        if not all(type(size) is int for size in (self.config.hidden_layers, self.config.units)):
            raise DgexError(f"no such network: {self.config}")
        self.half_sizes = tuple(settings["half_sizes"])
        if not 1 <= len(self.half_sizes) <= 2 or not all(
            type(size) is int and size > 0 for size in self.half_sizes
        ):
            raise DgexError(f"half_sizes = {settings['half_sizes']}: must be one or two counts")
        first = tensors.get("half1/W0")
        self.n_landmarks = 0 if first is None else int(first.shape[0])
        self.n_targets = sum(self.half_sizes)
        shapes = self._shapes()
        for name, shape in shapes.items():
            if name not in tensors:
                raise DgexError(f"tensor {name} is missing")
            if tensors[name].shape != shape:
                found = tensors[name].shape
                raise DgexError(f"tensor {name} has shape {found}, expected {shape}")
        for name in tensors:
            if name not in shapes:
                raise DgexError(f"tensor {name} belongs to no such model")

    @property
    def title(self) -> str:
        """The paper's name of the network."""
        return self.config.name

    def facts(self) -> dict[str, str]:
        """Say its size, and how the targets share it."""
        of = " + ".join(f"{size:,}" for size in self.half_sizes)
        halves = f"a network for each half of the targets ({of})"
        layers = self.config.hidden_layers
        return {
            "network": f"{layers} hidden layer{'' if layers == 1 else 's'} of "
            f"{self.config.units:,} units, dropout {self.config.dropout:.4g}; "
            f"{halves if len(self.half_sizes) > 1 else 'one network for all targets'}"
        }

    @cached_property
    def halves(self) -> list[Any]:
        """Parameters of each half, ``{"hidden1": {"kernel", "bias"}, …, "output": …}``."""
        names = layer_names(self.config.hidden_layers + 1)
        return [
            {
                name: {
                    "kernel": self.tensors[f"half{half}/W{place}"],
                    "bias": self.tensors[f"half{half}/b{place}"],
                }
                for place, name in enumerate(names)
            }
            for half in range(1, len(self.half_sizes) + 1)
        ]

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for half, n_targets in enumerate(self.half_sizes, start=1):
            hidden = [self.config.units] * self.config.hidden_layers
            for layer, (fan_in, fan_out) in enumerate(
                pairwise([self.n_landmarks, *hidden, n_targets])
            ):
                shapes[f"half{half}/W{layer}"] = (fan_in, fan_out)
                shapes[f"half{half}/b{layer}"] = (fan_out,)
        return shapes

    @cached_property
    def _forward(self) -> Forward:
        from dgex_jax.train.network import Forward  # noqa: PLC0415  (to look at one takes no JAX)

        return Forward(self.halves, PRECISION)

    def __call__(self, X: Float32) -> Iterator[Float32]:
        """Infer batch by batch, the next one under way while the caller works on this one."""
        return self._forward(X)

    def infer(self, X: Float32) -> Float32:
        """Infer a batch."""
        (inferred,) = self._forward(X)
        return inferred


def network(config: NetworkConfig, halves: Sequence[Any]) -> Network:
    """Make one of the parameters of each half, as Flax has them."""
    tensors = {
        f"half{half}/{letter}{place}": np.asarray(params[name][kind])
        for half, params in enumerate(halves, start=1)
        for place, name in enumerate(layer_names(len(params)))
        for letter, kind in (("W", "kernel"), ("b", "bias"))
    }
    settings = {
        "hidden_layers": config.hidden_layers,
        "units": config.units,
        "dropout": config.dropout,
        "half_sizes": [int(half["output"]["bias"].size) for half in halves],
    }
    return Network(settings, tensors)
