"""Times of PyTorch's training, in a process of its own: prints JSON (seconds of each round).

Needs PyTorch and NumPy, no JAX: the CUDA libraries of the two may not agree in one process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers.torch_mlp import load_torch, torch_training
from dgex_jax.train.pylearn2 import initial_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.peers.torch_mlp import TorchTraining


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.torch_times")
    parser.add_argument("sizes", type=int, nargs=4, help="landmarks, layers, units, targets")
    parser.add_argument("--precision", choices=("highest", "tf32"), default="highest")
    parser.add_argument("--modes", nargs="+", default=["eager"], help="eager, or of torch.compile")
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dropout", type=float, default=0.1)
    options = parser.parse_args()
    torch = load_torch()
    if torch is None:
        print(json.dumps({"missing": True}))
        return
    torch.set_float32_matmul_precision("high" if options.precision == "tf32" else "highest")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    n_landmarks, layers, units, n_targets = options.sizes
    rng = np.random.default_rng(0)
    n_profiles = 200 * options.batches
    weights = initial_weights(1, n_landmarks, n_targets, layers, units)
    X = rng.standard_normal((n_profiles, n_landmarks), np.float32)
    Y = rng.standard_normal((n_profiles, n_targets), np.float32)
    order = rng.permutation(n_profiles).astype(np.int32)
    seconds = {}
    for mode in options.modes:
        training = torch_training(
            torch,
            weights,
            X,
            Y,
            learning_rate=1e-4,
            dropout=options.dropout,
            device=device,
            compiled=None if mode == "eager" else mode,
        )
        try:
            seconds[mode] = epochs(training, order, options.rounds)
        except Exception as error:  # noqa: BLE001  (torch.compile fails in many ways)
            print(f"{mode}: {error}", file=sys.stderr)
    print(json.dumps({"version": torch.__version__, "device": device, "seconds": seconds}))


def epochs(training: TorchTraining, order: NDArray[np.int32], rounds: int) -> list[float]:
    """Time epochs, after two that aren't counted."""
    seconds = []
    for number in range(-2, rounds):
        start = time.perf_counter()
        training.epoch(order)
        if number >= 0:
            seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
