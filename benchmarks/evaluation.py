"""What evaluating, logging and keeping the best cost an epoch: ``python -m benchmarks.evaluation``.

A training as ``dgex train`` runs it, with its log and its best weights, against the updates of the
same epochs alone, in turns. The parts have the paper's proportions. Checkpoints, which a rule holds
to a share of the time, are left out.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from benchmarks.gpu_epochs import MONITORED
from benchmarks.madeup_study import PROFILES
from benchmarks.random_study import random_study, write_arrays
from benchmarks.report import Report, Table
from benchmarks.script import progress, script
from benchmarks.shapes import Shape
from benchmarks.timing import Timing
from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.errors import StudyError
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train.devices import AXIS, choose_devices, place, share_cpu, stack
from dgex_jax.train.epoch import Data, Network, State, over_networks, train
from dgex_jax.train.train import (
    Conduct,
    build_model,
    device_data,
    first_states,
    half_networks,
    placed_orders,
    train_runs,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from dgex_jax.train.arrays import StudyArrays

NAME = "evaluation"
TITLE = "What evaluating, logging and keeping the best cost an epoch"
SHAPES = ((Shape(200, 2, 512, 1000), 20), (Shape(943, 2, 1000, 1190), 40))
"""Networks, and by how much the paper's profiles are divided for them."""
SMALL = ((Shape(12, 2, 16, 10), 200),)
DROPOUT = 0.1
LEFT_OUT = 2
"""First epochs, which hold compilations."""


def measure(options: argparse.Namespace) -> Report:
    """Measure all shapes."""
    jax.config.update("jax_platforms", "cpu")  # type: ignore[no-untyped-call]
    if options.rounds < 1:
        raise StudyError(f"--rounds {options.rounds}: must be 1 or more")
    share_cpu(2)
    rows = []
    for shape, divisor in SMALL if options.small else SHAPES:
        profiles = {part: max(1, n // divisor) for part, n in PROFILES.items()}
        monitored = MONITORED // divisor
        progress(f"{shape}, {profiles['tr']} profiles")
        whole, updates = in_turns(shape, profiles, monitored, options.rounds)
        watched = sum(profiles.values()) - profiles["tr"] + monitored
        shares = [
            1 - bare / all_ for all_, bare in zip(whole.seconds, updates.seconds, strict=True)
        ]
        products = forward(shape, watched) / (
            forward(shape, watched) + shape.training_operations(profiles["tr"])
        )
        rows.append(
            (
                f"{shape}, {profiles['tr']} profiles, both halves",
                str(whole),
                str(updates),
                f"{1 - updates.median / whole.median:.1%} ({min(shares):.0%} to {max(shares):.0%})",
                f"{1 - updates.low / whole.low:.1%}",
                f"{products:.1%}",
            )
        )
    columns = ("network", "whole epoch", "its updates alone", "rest", "quickest", "by products")
    return Report(
        name=NAME,
        title=TITLE,
        tables=[
            ("Seconds an epoch, and the share that is not updates", Table(columns, tuple(rows)))
        ],
        notes=[
            "the rest: errors of all parts, the two bests and their weights, log",
            f"no checkpoints: at most {Conduct().checkpoint_share:.0%} of the time go into them",
            "by products: the share that the matrix products of the errors have of all",
        ],
    )


def forward(shape: Shape, n_profiles: int) -> int:
    """Operations of the products that infer so many profiles."""
    return (
        2 * n_profiles * (shape.n_parameters - shape.n_targets - shape.hidden_layers * shape.units)
    )


def in_turns(
    shape: Shape, profiles: dict[str, int], monitored: int, rounds: int
) -> tuple[Timing, Timing]:
    """Time whole epochs and, after each, the updates of one alone."""
    n_train = profiles["tr"]
    arrays = random_study(n_train, shape.n_landmarks, shape.n_targets, 2, profiles)
    network = NetworkConfig(shape.hidden_layers, shape.units, DROPOUT)
    training = TrainingConfig(epochs=rounds + LEFT_OUT, monitor_size=monitored)
    (devices, *_), _ = choose_devices(None, training.halves)
    updates = updates_alone(arrays, network, training, devices)
    whole: list[float] = []
    alone: list[float] = []
    begun = time.perf_counter()

    def one_more(_network: object, _done: int, _line: str) -> None:
        nonlocal begun
        whole.append(time.perf_counter() - begun)
        start = time.perf_counter()
        updates()
        alone.append(time.perf_counter() - start)
        begun = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.npz"
        write_arrays(arrays, path)
        with open_prepared(path) as study:
            conduct = Conduct(report=one_more, checkpoint_share=0.0)
            train_runs(
                study,
                [network],
                training,
                [Path(folder) / "run"],
                devices,
                arrays=arrays,
                conduct=conduct,
            )
    return Timing(tuple(whole[LEFT_OUT:])), Timing(tuple(alone[LEFT_OUT:]))


def updates_alone(
    arrays: StudyArrays,
    network: NetworkConfig,
    training: TrainingConfig,
    devices: Sequence[jax.Device],
) -> Callable[[], State]:
    """Return a call that does one epoch's updates, as `train_group` would."""
    leading = (len(devices), -1, 1)
    with jax.enable_x64(True):
        apart = place(stack(half_networks(arrays, [network], training), *leading), devices)
        data, _ = device_data(arrays, training, devices)
        state = place(stack(first_states(arrays, [network], training), *leading), devices)
        model = build_model(network, training, max(arrays.half_sizes()))
        one = partial(
            only_updates, model=model, momentum=training.momentum, batch_size=training.batch_size
        )
        program: Callable[..., State] = jax.pmap(
            over_networks(one), axis_name=AXIS, devices=devices, donate_argnums=(0,)
        )
        orders = placed_orders(arrays.X["tr"].shape[0], devices, 0)

    def updates() -> State:
        nonlocal state
        with jax.enable_x64(True):
            state = program(state, apart, data, next(orders))
            jax.block_until_ready(state)  # type: ignore[no-untyped-call]
        return state

    return updates


def only_updates(
    state: State,
    network: Network,
    data: Data,
    order: jax.Array,
    **settings: Any,
) -> State:
    """Train for an epoch without a look at the network."""
    state = train(state, network, X=data.X, Y=data.Y, order=order, **settings)
    return state.replace(epoch=state.epoch + 1)  # type: ignore[attr-defined,no-any-return]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--rounds", type=int, default=16, help="measured epochs of each")


main = script(NAME, TITLE, measure, add_options)

if __name__ == "__main__":
    sys.exit(main())
