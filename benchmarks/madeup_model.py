"""A model of the paper's L1000 size with made-up weights, and profiles for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.config import NetworkConfig
from dgex_jax.io.writers import GctxWriter
from dgex_jax.methods.network import network
from dgex_jax.model.model import Model, ModelGenes
from dgex_jax.parts import PAPER

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LANDMARKS, TARGETS = 978, 21_290
"""Probes of the paper's model for L1000 (section 3.4)."""

BLOCK = 1024


def made_up_model(units: int, hidden_layers: int = 1, targets: int = TARGETS) -> Model:
    """Draw a network's weights; genes are probes, values lie between 4 and 15 as on arrays."""
    rng = np.random.default_rng(units)

    def genes(name: str, n: int) -> ModelGenes:
        nothing = ("",) * n
        probes = tuple((f"{number}_{name}_at",) for number in range(n))
        return ModelGenes(
            nothing,
            nothing,
            nothing,
            probes,
            mean=rng.uniform(6, 10, n),
            sd=rng.uniform(0.3, 1.5, n),
        )

    def half(n_targets: int) -> dict[str, dict[str, NDArray[np.float32]]]:
        sizes = [LANDMARKS, *[units] * hidden_layers, n_targets]
        names = [*(f"hidden{number + 1}" for number in range(hidden_layers)), "output"]
        return {
            name: {
                "kernel": rng.standard_normal((fan_in, fan_out), np.float32)
                / np.float32(fan_in**0.5),
                "bias": np.zeros(fan_out, np.float32),
            }
            for name, fan_in, fan_out in zip(names, sizes[:-1], sizes[1:], strict=True)
        }

    sizes = (targets // 2, targets - targets // 2)
    quantile = np.sort(rng.uniform(4, 15, LANDMARKS + targets))
    return Model(
        landmarks=genes("l", LANDMARKS),
        targets=genes("t", targets),
        method=network(NetworkConfig(hidden_layers, units, 0.1), [half(size) for size in sizes]),
        selected_on="va",
        parts=PAPER,
        quantile=quantile,
        landmark_quantile=np.sort(rng.uniform(4, 15, LANDMARKS)),
        errors={},
        record={"study": {"name": "made-up", "simulated": True}},
    )


def write_profiles(path: Path, model: Model, n: int) -> None:
    """Write a GCTX file of `n` made-up profiles ``(n, 978)`` float32."""
    rng = np.random.default_rng(n)
    probes = [probe for (probe,) in model.landmarks.probes]
    with GctxWriter(path, [f"p{row}" for row in range(n)], probes) as writer:
        for start in range(0, n, BLOCK):
            rows = min(BLOCK, n - start)
            writer.append(rng.uniform(4, 15, (rows, LANDMARKS)).astype(np.float32))
