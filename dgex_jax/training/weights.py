"""Weights as safetensors: ``half1/W0``, ``half1/b0``, … in the order of the layers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dgex_jax.errors import FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.formats.tensors import fill_tensors
from dgex_jax.training.record import check_result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def layer_names(n_layers: int) -> list[str]:
    """Name the Flax layers of a network with `n_layers` weight matrices, first to last."""
    return [*(f"hidden{layer + 1}" for layer in range(n_layers - 1)), "output"]


def save_weights(path: Path, halves: Sequence[Any], metadata: Mapping[str, str]) -> None:
    """Write the parameters of each half, float32, atomically; the same input gives the same bytes.

    `metadata` goes in as one JSON string, key ``dgex``: safetensors writes several keys in an
    order that changes from run to run.

    Raises
    ------
    DgexError
        The disk refuses it.
    """
    tensors = {}
    for half, params in enumerate(halves, start=1):
        for number, name in enumerate(layer_names(len(params))):
            tensors[f"half{half}/W{number}"] = np.ascontiguousarray(params[name]["kernel"])
            tensors[f"half{half}/b{number}"] = np.ascontiguousarray(params[name]["bias"])
    about = {"dgex": json.dumps(dict(metadata), sort_keys=True)}
    with atomic_path(path) as temporary:
        fill_tensors(temporary, tensors, path, about)


def load_weights(path: Path) -> list[Any]:
    """Read the parameters of each half as Flax takes them.

    Raises
    ------
    FormatError
        The file is missing, damaged (also by the checksum of a finished run), or holds other
        tensors.
    """
    try:
        # By the system: safetensors takes what it may not open for missing.
        with path.open("rb"):
            tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path}: can't be read as weights: {one_line(error)}") from error
    halves: list[Any] = []
    while any(name.startswith(f"half{len(halves) + 1}/") for name in tensors):
        prefix = f"half{len(halves) + 1}/"
        n_layers = sum(name.startswith(f"{prefix}W") for name in tensors)
        try:
            halves.append(
                {
                    name: {
                        "kernel": tensors[f"{prefix}W{number}"],
                        "bias": tensors[f"{prefix}b{number}"],
                    }
                    for number, name in enumerate(layer_names(n_layers))
                }
            )
        except KeyError as error:
            raise FormatError(f"{path}: tensor {error} is missing") from error
    if not halves:
        raise FormatError(f"{path}: holds no weights of a D-GEX network (no tensor half1/W0)")
    check_result(path)
    return halves
