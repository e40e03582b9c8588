"""What training the dropout rates of an architecture side by side gains.

``python -m benchmarks.side_by_side``: the rates one after the other against all of them in one
batched program (`networks.side_by_side` of a study), seconds an epoch of both halves.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.random_study import random_study
from benchmarks.report import Line, Report
from benchmarks.script import progress, script
from benchmarks.timing import Timing
from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.train.devices import choose_devices, share_cpu
from dgex_jax.train.train import train_group

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import jax

    from dgex_jax.train.arrays import StudyArrays

NAME = "side_by_side"
TITLE = "Three dropout rates side by side against one after the other, seconds an epoch"
RATES = (0.0, 0.1, 0.25)
EPOCHS = 4
"""Epochs of a training; the first holds the compilation and isn't counted."""


def measure(options: argparse.Namespace) -> Report:
    """Measure every architecture, both ways in turns."""
    # The shape of the demo study.
    sizes = (450, 12, 10, 20) if options.small else (4125, 200, 500, 500)
    n_profiles, n_landmarks, n_targets, n_watched = sizes
    training = TrainingConfig(epochs=EPOCHS, monitor_size=n_watched)
    share_cpu(training.halves)
    (devices, *_), _ = choose_devices(None, training.halves)
    arrays = random_study(n_profiles, n_landmarks, n_targets, training.halves, n_watched)
    lines = []
    for layers in [1] if options.small else options.hidden_layers:
        for units in [8] if options.small else options.units:
            progress(f"{units} units x {layers}")
            group = [NetworkConfig(layers, units, rate) for rate in RATES]
            together: list[float] = []
            alone: list[float] = []
            for _ in range(options.rounds):
                together += seconds(arrays, group, training, devices)
                each = [seconds(arrays, [network], training, devices) for network in group]
                alone += [sum(times) for times in zip(*each, strict=True)]
            what = f"{units} units x {layers}"
            lines.append(
                Line(what, Timing(tuple(together)), "one after the other", Timing(tuple(alone)))
            )
    return Report(
        name=NAME,
        title=TITLE,
        lines=lines,
        notes=[f"{n_profiles} profiles, {n_landmarks} landmarks, 2 x {n_targets} targets"],
    )


def seconds(
    arrays: StudyArrays,
    networks: Sequence[NetworkConfig],
    training: TrainingConfig,
    devices: Sequence[jax.Device],
) -> list[float]:
    """Train a few epochs; returns the seconds of each but the first."""
    taken: list[float] = []
    train_group(
        arrays, networks, training, devices, lambda row, _fetch: taken.append(row[0].seconds)
    )
    return taken[1:]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--hidden-layers", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--units", type=int, nargs="+", default=[16, 32, 64, 128, 256, 512])
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each")


main = script(NAME, TITLE, measure, add_options)

if __name__ == "__main__":
    sys.exit(main())
