"""What leak-free scaling changes: one study prepared both ways, LR and one network on each.

    python -m benchmarks.scaling --study demo --units 512 --hidden-layers 2

The original standardises GEO with means, deviations and a reference quantile of all profiles, the
test set included; ``scale_on = "train"`` takes GEO-tr alone. Prints the overall errors of both.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.analysis.errors import mae_per_gene, overall
from dgex_jax.cli import run_command
from dgex_jax.config import NetworkConfig, PrepareConfig, ScaleOn
from dgex_jax.data.prepare import prepare
from dgex_jax.data.prepared import open_prepared
from dgex_jax.models.linear import LeastSquares
from dgex_jax.training.arrays import load_arrays
from dgex_jax.training.devices import choose_devices, share_cpu
from dgex_jax.training.geneerrors import ERROR_PARTS, read_gene_errors
from dgex_jax.training.run import train_runs
from reproduce.render import PART_NAMES
from reproduce.stages import raw_files
from reproduce.workspace import open_workspace

if TYPE_CHECKING:
    from reproduce.workspace import Workspace


def measure(space: Workspace, network: NetworkConfig, scale_on: ScaleOn) -> list[list[str]]:
    """Prepare, fit and train one way; returns a line of cells for LR and one for D-GEX."""
    config: PrepareConfig = dataclasses.replace(space.study.prepare, scale_on=scale_on)
    training = space.study.training
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.h5"
        prepare(
            raw_files(space),
            prepared,
            config,
            name=space.study.name,
            title=space.study.title,
            simulated=space.study.simulated,
        )
        with open_prepared(prepared) as study:
            arrays = load_arrays(study, training.halves)
            model = LeastSquares().fit(arrays.X["tr"], arrays.Y["tr"])
            linear = [
                overall(mae_per_gene(model.predict(arrays.X[part]), arrays.Y[part])).mean
                for part in ERROR_PARTS
            ]
            share_cpu(training.halves)
            (devices, *_), _ = choose_devices(None, training.halves)
            run = Path(scratch) / "run"
            train_runs(study, [network], training, [run], devices, arrays=arrays)
            errors = read_gene_errors(run / "errors.tsv")
            deep = [overall(errors.mae[part]).mean for part in ERROR_PARTS]
    return [
        [scale_on, name, *(f"{value:.4f}" for value in values)]
        for name, values in (("LR", linear), (network.name, deep))
    ]


def main() -> int:
    """Run both ways and print the table."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    command.add_argument("--study", default="demo")
    command.add_argument("--out", type=Path)
    command.add_argument("--hidden-layers", type=int, default=2)
    command.add_argument("--units", type=int, default=512)
    command.add_argument("--dropout", type=float, default=0.1)

    def run(options: argparse.Namespace) -> None:
        space = open_workspace(options.study, options.out)
        network = NetworkConfig(options.hidden_layers, options.units, options.dropout)
        print(
            "| scale_on | method | " + " | ".join(PART_NAMES[part] for part in ERROR_PARTS) + " |"
        )
        print("|---" * (2 + len(ERROR_PARTS)) + "|")
        for scale_on in ("all", "train"):
            for cells in measure(space, network, scale_on):
                print(f"| {' | '.join(cells)} |", flush=True)

    command.set_defaults(run=run)
    return run_command(command, None)


if __name__ == "__main__":
    sys.exit(main())
