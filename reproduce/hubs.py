"""The weight hubs of a workspace: the network's weights, its kept connections, the genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dgex_jax.analysis.weight_hubs import find_hubs
from dgex_jax.data.prepared import open_prepared
from dgex_jax.training.weights import load_weights
from reproduce.networks import hub_network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dgex_jax.analysis.weight_hubs import WeightHubs
    from dgex_jax.config import NetworkConfig
    from reproduce.workspace import Workspace

IN_SD, OUT_SD = 4.0, 5.0
"""The paper's thresholds (section 3.3)."""


@dataclass(frozen=True)
class HubAnalysis:
    """The first half of one network: its weights and what is kept of them.

    Attributes
    ----------
    network
        One hidden layer, the narrowest, 10 % dropout; best on GEO-va.
    found
        Kept connections and hubs.
    W_in, W_out
        ``(n_landmarks, units)`` and ``(units, n_targets)`` float32.
    landmarks, targets
        Gene symbols.
    """

    network: NetworkConfig
    found: WeightHubs
    W_in: NDArray[np.float32]
    W_out: NDArray[np.float32]
    landmarks: Sequence[str]
    targets: Sequence[str]

    def connections(self) -> pd.DataFrame:
        """List the kept connections: layer, the units they join, the gene, the weight."""
        frames = []
        for layer, kept, weights in (
            ("input", self.found.kept_in, self.W_in),
            ("output", self.found.kept_out, self.W_out),
        ):
            start, end = np.nonzero(kept)
            symbols, of_gene = (self.landmarks, start) if layer == "input" else (self.targets, end)
            frames.append(
                pd.DataFrame(
                    {
                        "layer": layer,
                        "from": start,
                        "to": end,
                        "gene": [symbols[int(gene)] for gene in of_gene],
                        "weight": weights[start, end],
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)


def hub_analysis(space: Workspace) -> HubAnalysis:
    """Find the hubs of a workspace where the network is trained.

    Raises
    ------
    FormatError
        Its weights can't be read.
    """
    network = hub_network(space.study)
    params = load_weights(space.run(network) / "best_va.safetensors")[0]
    W_in, W_out = params["hidden1"]["kernel"], params["output"]["kernel"]
    with open_prepared(space.prepared) as study:
        landmarks = study.landmark_symbols
        columns = study.halves[0] if space.study.training.halves == 2 else slice(None)
        targets = study.symbols[columns]
    found = find_hubs(W_in, W_out, in_sd=IN_SD, out_sd=OUT_SD)
    return HubAnalysis(network, found, W_in, W_out, landmarks, targets)
