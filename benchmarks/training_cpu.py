"""Training on this machine's CPU against PyTorch: ``python -m benchmarks.training_cpu``.

Ours is `train_group`, as ``dgex train`` runs it: its own times of whole epochs, one network
(``--halves 1``) or both halves side by side on as many CPU devices. PyTorch trains the same
networks on the same batches, one after the other, with a thread a core. They take turns.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax

from benchmarks.machine import usable_cores
from benchmarks.peers.torch_mlp import MISSING, TorchTraining, load_torch, torch_training
from benchmarks.random_study import random_study
from benchmarks.rates import GIGA, jax_product_rate, numpy_product_rate
from benchmarks.report import Bound, Line, Report
from benchmarks.script import progress, script
from benchmarks.shapes import Shape
from benchmarks.step_parts import parts_table
from benchmarks.timing import Timing
from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.train.devices import choose_devices, share_cpu
from dgex_jax.train.pylearn2 import batch_orders
from dgex_jax.train.train import initial_states, train_group

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from dgex_jax.train.arrays import StudyArrays

NAME = "training_cpu"
TITLE = "Training on a CPU against PyTorch, seconds an epoch"
SHAPES = ((Shape(200, 2, 512, 1000), 4000), (Shape(943, 2, 1000, 1190), 2000))
SMALL = ((Shape(12, 2, 16, 10), 450),)
DROPOUT = 0.1
PEER_NOTE = (
    f"float32, batches of 200, {DROPOUT:.0%} dropout, whole epochs; PyTorch: "
    "torch.optim.SGD(fused=True), a thread a core, halves one after the other"
)
PAUSE = 0.3
"""Seconds between turns: threads of one library wait busily for a while after their work."""


def measure(options: argparse.Namespace) -> Report:
    """Measure all shapes."""
    jax.config.update("jax_platforms", "cpu")  # type: ignore[no-untyped-call]
    torch, cores = load_torch(), usable_cores()
    share_cpu(2)
    if torch is not None:
        torch.set_num_threads(cores)
    rates = [product_rate(options) for _ in range(2)]
    lines, tables = [], []
    for shape, n_profiles in SMALL if options.small else SHAPES:
        for halves in options.halves:
            lines += [
                compare(torch, peer, shape, n_profiles, halves, options, rates)
                for peer in (options.peers if torch is not None else options.peers[:1])
            ]
        if not options.no_parts:
            progress(f"parts of an update, {shape}")
            tables.append(
                (
                    f"Where an update's time goes, {shape}, {DROPOUT:.0%} dropout, one network",
                    parts_table(shape, DROPOUT, options.rounds),
                )
            )
    rates.append(product_rate(options))
    best = max(rates)
    return Report(
        name=NAME,
        title=TITLE,
        lines=[replace(line, bound=product_bound(operations, best)) for line, operations in lines],
        rates=[rate_note(rates, numpy_product_rate(size(options), seconds(options)))],
        tables=tables,
        notes=[PEER_NOTE, *([MISSING] if torch is None else [])],
    )


def compare(
    torch: Any,
    peer: str,
    shape: Shape,
    n_profiles: int,
    halves: int,
    options: argparse.Namespace,
    rates: list[float],
) -> tuple[Line, int]:
    """Train some epochs of ours and of the peer in turns; with the operations of an epoch."""
    what = f"{shape}, {n_profiles} profiles, {'one network' if halves == 1 else 'both halves'}"
    progress(f"{what}, against PyTorch {peer}")
    arrays = random_study(n_profiles, shape.n_landmarks, shape.n_targets, halves)
    network = NetworkConfig(shape.hidden_layers, shape.units, DROPOUT)
    training = TrainingConfig(epochs=options.rounds + 2, monitor_size=1, halves=halves)
    peers = torch_peers(torch, peer, arrays, network, training) if torch is not None else []
    ours, theirs = in_turns(arrays, network, training, peers)
    rates.append(product_rate(options))
    operations = shape.training_operations(n_profiles * halves)
    return Line(what, ours, f"PyTorch {peer}", theirs), operations


def torch_peers(
    torch: Any, peer: str, arrays: StudyArrays, network: NetworkConfig, training: TrainingConfig
) -> list[TorchTraining]:
    """Set up PyTorch's training of each half, from our initial weights."""
    return [
        torch_training(
            torch,
            state.params,
            arrays.X["tr"],
            arrays.half("tr", half, max(arrays.half_sizes())),
            learning_rate=training.initial_rate(network.hidden_layers),
            dropout=network.dropout,
            batch_size=training.batch_size,
            compiled="default" if peer == "compiled" else None,
        )
        for half, state in enumerate(initial_states(arrays, network, training))
    ]


def in_turns(
    arrays: StudyArrays,
    network: NetworkConfig,
    training: TrainingConfig,
    peers: Sequence[TorchTraining],
) -> tuple[Timing, Timing | None]:
    """Time epochs: ours by `train_group`'s own clock, the peers' between them.

    The first two rounds hold compilations and are left out.
    """
    ours: list[float] = []
    theirs: list[float] = []
    orders = batch_orders(arrays.X["tr"].shape[0])

    def peer_epoch(records: Sequence[Any], _fetch: object) -> None:
        ours.append(records[0].seconds)
        order = next(orders)
        time.sleep(PAUSE if peers else 0)
        start = time.perf_counter()
        for peer in peers:
            peer.epoch(order)
        theirs.append(time.perf_counter() - start)
        time.sleep(PAUSE if peers else 0)

    (devices, *_), _ = choose_devices(None, training.halves)
    train_group(arrays, [network], training, devices, peer_epoch)
    return Timing(tuple(ours[2:])), Timing(tuple(theirs[2:])) if peers else None


def rate_note(rates: Sequence[float], blas: float) -> str:
    """Say the rates of matrix products: JAX's trials, taken between the others, and NumPy's."""
    low, high = min(rates) / GIGA, max(rates) / GIGA
    return (
        f"float32 products of square matrices: JAX {high:.0f} Gflop/s (the best of {len(rates)} "
        f"trials; the worst {low:.0f}), NumPy {blas / GIGA:.0f} Gflop/s"
    )


def product_bound(operations: int, rate: float) -> Bound:
    """Return the time of the matrix products alone, at the measured rate."""
    return Bound(
        operations / rate,
        f"{operations / GIGA:.1f} Gflop of products at {rate / GIGA:.0f} Gflop/s",
    )


def size(options: argparse.Namespace) -> int:
    """Rows of the matrices that give the rate."""
    return 64 if options.small else 2048


def seconds(options: argparse.Namespace) -> float:
    """How long a rate is measured."""
    return 0.05 if options.small else 1.0


def product_rate(options: argparse.Namespace) -> float:
    """Measure JAX's rate of matrix products."""
    return jax_product_rate(size(options), seconds=seconds(options))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--rounds", type=int, default=12, help="measured epochs of each")
    parser.add_argument(
        "--halves", type=int, nargs="+", choices=(1, 2), default=[1, 2], help="default: 1 and 2"
    )
    parser.add_argument(
        "--peers", nargs="+", choices=("eager", "compiled"), default=["eager", "compiled"]
    )
    parser.add_argument("--no-parts", action="store_true", help="leave the parts of an update out")


main = script(NAME, TITLE, measure, add_options)

if __name__ == "__main__":
    sys.exit(main())
