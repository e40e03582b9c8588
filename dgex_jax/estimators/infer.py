"""Target genes of many profiles by a trained network, in one compiled shape."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgex_jax.models.arrays import blocks
from dgex_jax.models.mlp import MLP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

PROFILES_AT_A_TIME = 256
"""The one compiled batch: large enough for a GPU, small enough for a single profile."""


def inferred_blocks(
    halves: Sequence[Mapping[str, Any]], X: NDArray[np.float32], precision: str
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Infer the targets of all halves, some profiles at a time.

    Every block has the same shape, the last one filled up with zeros, so that a profile's result
    doesn't depend on how many others come with it.

    Parameters
    ----------
    halves
        Weights of each half, ``{"hidden1": {"kernel", "bias"}, …, "output": …}``, float32.
    X
        ``(n_profiles, n_landmarks)`` in the units of training.
    precision
        As in `dgex_jax.models.mlp.MLP`.

    Yields
    ------
    tuple
        The profiles, and their targets ``(n_block, n_targets)``, halves side by side.
    """
    models = [_model_of(params, precision) for params in halves]
    weights = [jax.device_put(params) for params in halves]
    for rows in blocks(len(X), PROFILES_AT_A_TIME):
        block = np.zeros((PROFILES_AT_A_TIME, X.shape[1]), np.float32)
        block[: rows.stop - rows.start] = X[rows]
        inferred = [
            np.asarray(_infer(model, params, block))
            for model, params in zip(models, weights, strict=True)
        ]
        yield rows, np.concatenate(inferred, axis=1)[: rows.stop - rows.start]


@partial(jax.jit, static_argnums=0)
def _infer(model: MLP, params: Any, X: jax.Array) -> jax.Array:
    return model.apply({"params": params}, X)  # type: ignore[return-value]


def _model_of(params: Mapping[str, Any], precision: str) -> MLP:
    units, n_targets = params["output"]["kernel"].shape
    return MLP(len(params) - 1, units, n_targets, precision)
