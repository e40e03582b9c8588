"""The compiled network: one batch shape, so that no cut of a file into blocks changes a bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from dgex_jax.models.mlp import MLP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dgex_jax.inference.model import Model

BATCH = 256
"""Profiles of a batch. Fixed, because another shape may add products up in another order; batches
begin at multiples of it in the file, so not even a profile's place in its batch ever changes."""


class Network:
    """Both halves of a model on the default device.

    Parameters
    ----------
    model
        The model; products are taken in float32, whatever it was trained with.
    """

    def __init__(self, model: Model) -> None:
        modules = [
            MLP(model.network.hidden_layers, model.network.units, size) for size in model.half_sizes
        ]

        def infer(halves: Any, X: jax.Array) -> jax.Array:
            outputs: list[Any] = [
                module.apply({"params": params}, X)
                for module, params in zip(modules, halves, strict=True)
            ]
            return jnp.concatenate(outputs, axis=1)

        self._infer = jax.jit(infer)
        self._halves = jax.device_put(list(model.halves))

    def __call__(self, X: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Infer targets batch by batch.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)`` float32, standardised; its first row begins a batch.

        Yields
        ------
        NDArray
            ``(n, n_targets)`` float32, standardised units, n <= `BATCH`, in order.
        """
        running: tuple[jax.Array, int] | None = None
        for start in range(0, len(X), BATCH):
            rows = X[start : start + BATCH]
            # A new array each time: JAX may still read the one before.
            batch = np.zeros((BATCH, X.shape[1]), np.float32)
            batch[: len(rows)] = rows
            # The next batch is under way while the caller writes this one.
            previous, running = running, (self._infer(self._halves, batch), len(rows))
            if previous is not None:
                yield np.asarray(previous[0])[: previous[1]]
        if running is not None:
            yield np.asarray(running[0])[: running[1]]
