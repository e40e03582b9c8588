"""The errors of a network's weights, gene by gene, on a part of a prepared study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.models.arrays import blocks
from dgex_jax.training.weights import layer_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dgex_jax.data.prepared import Prepared

PROFILES_AT_A_TIME = 1024


def part_errors(halves: Sequence[Any], study: Prepared, part: str) -> NDArray[np.float64]:
    """MAE of every target on a part, ``(n_targets,)`` float64, standardised units.

    In NumPy: a thousand profiles of a part need no accelerator, and reading a run no JAX.

    Parameters
    ----------
    halves
        Parameters of each half, as `training.weights.load_weights` gives them.
    study, part
        The study, and one of its parts.
    """
    X = study.X(part)
    errors = []
    start = 0
    for params in halves:
        stop = start + params["output"]["bias"].size
        Y = study.Y(part, slice(start, stop))
        total = np.zeros(stop - start)
        for rows in blocks(len(X), PROFILES_AT_A_TIME):
            total += np.abs(_infer(params, X[rows]).astype(np.float64) - Y[rows]).sum(axis=0)
        errors.append(total / len(X))
        start = stop
    return np.concatenate(errors)


def _infer(params: Any, X: NDArray[np.float32]) -> NDArray[np.float32]:
    *hidden, output = layer_names(len(params))
    values = X
    for name in hidden:
        values = np.tanh(values @ params[name]["kernel"] + params[name]["bias"])
    inferred: NDArray[np.float32] = values @ params[output]["kernel"] + params[output]["bias"]
    return inferred
