"""What training the dropout rates of an architecture side by side gains: seconds an epoch.

``python -m benchmarks.side_by_side`` prints one line an architecture: the rates one after the
other, all of them in one batched program, and the ratio. Both run in turns in the same process.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import jax

from dgex_jax.cli import run_command
from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.data.prepared import open_prepared
from dgex_jax.training.arrays import load_arrays
from dgex_jax.training.devices import choose_devices, share_cpu
from dgex_jax.training.loop import train_group
from reproduce.stages import prepared_study
from reproduce.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dgex_jax.training.arrays import StudyArrays

RATES = (0.0, 0.1, 0.25)


def seconds_an_epoch(
    arrays: StudyArrays,
    networks: Sequence[NetworkConfig],
    training: TrainingConfig,
    devices: Sequence[jax.Device],
) -> float:
    """Train a few epochs; returns the quickest (the first holds the compilation)."""
    seconds: list[float] = []
    train_group(
        arrays, networks, training, devices, lambda row, _fetch: seconds.append(row[0].seconds)
    )
    return min(seconds[1:])


def main() -> int:
    """Print the table."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side", description=__doc__, allow_abbrev=False
    )
    command.add_argument("--study", default="demo")
    command.add_argument("--out", type=Path)
    command.add_argument("--hidden-layers", type=int, nargs="+", default=[1, 3])
    command.add_argument("--units", type=int, nargs="+", default=[16, 32, 64, 128, 256, 512])
    command.add_argument("--epochs", type=int, default=8)

    def run(options: argparse.Namespace) -> None:
        space = open_workspace(options.study, options.out)
        training = TrainingConfig(
            epochs=options.epochs, monitor_size=space.study.training.monitor_size
        )
        share_cpu(training.halves)
        (devices, *_), _ = choose_devices(None, training.halves)
        kind = f"{len(devices)} x {devices[0].device_kind}"
        print(f"{kind}, {platform.machine()}, jax {jax.__version__}")
        print("| network | one after the other | side by side | gain |\n|---|---|---|---|")
        with open_prepared(prepared_study(space)) as study:
            arrays = load_arrays(study, training.halves)
            for layers in options.hidden_layers:
                for units in options.units:
                    group = [NetworkConfig(layers, units, rate) for rate in RATES]
                    alone = sum(
                        seconds_an_epoch(arrays, [network], training, devices) for network in group
                    )
                    together = seconds_an_epoch(arrays, group, training, devices)
                    print(
                        f"| {units}x{layers} | {alone:.3f} s | {together:.3f} s "
                        f"| {alone / together:.2f} |",
                        flush=True,
                    )

    command.set_defaults(run=run)
    return run_command(command, None)


if __name__ == "__main__":
    start = time.perf_counter()
    code = main()
    print(f"{time.perf_counter() - start:.0f} s in all")
    sys.exit(code)
