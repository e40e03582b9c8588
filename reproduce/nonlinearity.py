"""Adjusted R² of every target on the landmarks and on the best network's last hidden layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgex_jax import __version__
from dgex_jax.analysis.activations import last_hidden
from dgex_jax.analysis.adjusted_r2 import Comparison, adjusted_r2, compare
from dgex_jax.data.prepared import open_prepared
from dgex_jax.errors import FormatError
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.inference.provenance import told_device
from dgex_jax.provenance import record
from dgex_jax.training.arrays import load_arrays
from dgex_jax.training.pylearn2 import initial_weights
from dgex_jax.training.record import DONE, is_done, mark_done, read_json
from dgex_jax.training.weights import load_weights
from reproduce.comparison import best_of
from reproduce.networks import at_rates
from reproduce.stages import make_folder
from reproduce.steprecord import inputs_of

if TYPE_CHECKING:
    from pathlib import Path

    from dgex_jax.config import NetworkConfig
    from reproduce.workspace import Workspace

LANDMARKS, HIDDEN = "adjusted_r2_landmarks", "adjusted_r2_hidden"
UNTRAINED = "adjusted_r2_untrained"


@dataclass(frozen=True)
class Nonlinearity:
    """What the last hidden layer adds (paper section 3.3, "Examining the nonlinearity").

    Attributes
    ----------
    network
        The best on GEO-va.
    by_target
        A row a target: ids, half, adjusted R² on the `LANDMARKS`, on the `HIDDEN` layer, and as a
        control on that of the `UNTRAINED` network, whose units are random features; the R² that
        are not adjusted. NaN where there is no number.
    sizes
        Profiles, landmarks and hidden units, and the rank of each design.
    reasons
        Why a design gives no numbers, if it does not.
    """

    network: NetworkConfig
    by_target: pd.DataFrame
    sizes: dict[str, int]
    reasons: dict[str, str]

    @property
    def comparison(self) -> Comparison:
        """In how many targets the activations explain more."""
        return compare(self.by_target[LANDMARKS], self.by_target[HIDDEN])

    @property
    def control(self) -> Comparison:
        """In how many targets random features explain more: what width alone does."""
        return compare(self.by_target[LANDMARKS], self.by_target[UNTRAINED])


def nonlinearity(space: Workspace) -> Nonlinearity:
    """Return the analysis of a workspace whose grid is trained; computed once, then read.

    Raises
    ------
    FormatError
        Weights or the kept results can't be read.
    """
    network = best_of(space, at_rates(space.study), "va")
    folder = space.analyses / "adjusted_r2"
    run = read_json(space.run(network) / DONE) or {}
    config = {
        "run": run.get("config_hash"),
        "network": network.name,
        "dgex_jax": __version__,
        "numpy": np.__version__,
    }
    path = folder / "by_target.tsv"
    if not (is_done(folder, config) and path.is_file()):
        table, facts = _compute(space, network)
        make_folder(folder)
        with atomic_path(path) as temporary:
            table.to_csv(temporary, sep="\t", index=False)
        inputs = inputs_of(space, [space.run(network) / DONE, space.prepared])
        made = record(
            "reproduce adjusted-r2",
            precision="float64",
            inputs=inputs,
            seeds={"untrained": space.study.training.seed},
            device=told_device(),
        )
        mark_done(folder, config, files=[path.name], provenance=made, **facts)
    done = read_json(folder / DONE) or {}
    return Nonlinearity(network, _read(path), done.get("sizes", {}), done.get("reasons", {}))


def _compute(space: Workspace, network: NetworkConfig) -> tuple[pd.DataFrame, dict[str, Any]]:
    halves = load_weights(space.run(network) / "best_va.safetensors")
    with open_prepared(space.prepared) as study:
        arrays = load_arrays(study, space.study.training.halves)
        table = pd.DataFrame({"target": study.targets, "symbol": study.symbols})
    X, Y = arrays.X["tr"], arrays.Y["tr"]
    table["half"] = 0
    raw = adjusted_r2(X, Y)
    table[LANDMARKS], table["r2_landmarks"] = raw.values, raw.r2
    table[HIDDEN] = table["r2_hidden"] = np.nan
    sizes = {"profiles": len(X), "landmarks": X.shape[1], "rank of landmarks": raw.rank}
    reasons = {"landmarks": raw.reason}
    for number, (columns, params) in enumerate(zip(arrays.halves, halves, strict=True), start=1):
        found = adjusted_r2(last_hidden(params, X), Y[:, columns])
        rows = table.index[columns]
        table.loc[rows, "half"] = number
        table.loc[rows, HIDDEN], table.loc[rows, "r2_hidden"] = found.values, found.r2
        sizes["hidden units"] = found.n_features
        sizes[f"rank of the hidden layer, half {number}"] = found.rank
        reasons[f"hidden layer, half {number}"] = found.reason
    units, depth = network.units, network.hidden_layers
    # Both halves start with the same hidden layers.
    start = initial_weights(space.study.training.seed, X.shape[1], 1, depth, units)
    table[UNTRAINED] = adjusted_r2(last_hidden(start, X), Y).values
    return table, {
        "sizes": sizes,
        "reasons": {name: reason for name, reason in reasons.items() if reason},
    }


def _read(path: Path) -> pd.DataFrame:
    try:
        # Text first, so that the same numbers come back to the last bit.
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        for name in (LANDMARKS, HIDDEN, UNTRAINED, "r2_landmarks", "r2_hidden"):
            column = table[name].to_numpy(str)
            table[name] = np.where(column == "", "nan", column).astype(np.float64)
        table["half"] = table["half"].astype(int)
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"{path}: is no table of adjusted R² ({error}); remove it") from error
    return table
