"""Target genes of many profiles by a trained network: one compiled batch, whatever their number."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from dgex_jax.models.mlp import MLP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

BATCH = 256
"""Profiles of a batch: enough for a GPU, few enough for a single profile. Fixed, because another
shape may add products up in another order; so the bits of a profile depend on its place among the
profiles given, never on how many there are."""


class Forward:
    """All halves of a network on the default device, without dropout.

    Parameters
    ----------
    halves
        Weights of each half, ``{"hidden1": {"kernel", "bias"}, …, "output": …}``, float32.
    precision
        Of the matrix products, as in `mlp.MLP`.
    """

    def __init__(self, halves: Sequence[Mapping[str, Any]], precision: str = "highest") -> None:
        self._modules = tuple(_module_of(params, precision) for params in halves)
        self._halves = jax.device_put(list(halves))

    def __call__(self, X: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Infer targets batch by batch.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)`` float32, standardised; its first row begins a batch, and
            the last batch is filled up with zeros.

        Yields
        ------
        NDArray
            ``(n, n_targets)`` float32, standardised units, halves side by side, n <= `BATCH`, in
            order.
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


def _module_of(params: Mapping[str, Any], precision: str) -> MLP:
    units, n_targets = params["output"]["kernel"].shape
    return MLP(len(params) - 1, units, n_targets, precision)
