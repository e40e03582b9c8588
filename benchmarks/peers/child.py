"""Asking PyTorch's process for its times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers.torch_mlp import MISSING
from benchmarks.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.shapes import Shape


def torch_times(
    shape: Shape,
    *,
    precision: str,
    modes: Sequence[str],
    batches: int,
    rounds: int,
    python: str = sys.executable,
    timeout: float = 150,
) -> tuple[dict[str, Timing], str]:
    """Time PyTorch's updates on `batches` batches.

    - `shape`, `precision`, `batches`, `rounds`: what to train, and how (`peers.torch_mlp`).
    - `modes`: ``eager``, or modes of ``torch.compile``.
    - `python`: an interpreter that has PyTorch.
    - `timeout`: seconds after which the peer is given up.

    Returns mode → times of all batches, without those that failed; and PyTorch's version with its
    device, or why there are no times.
    """
    command = [
        python,
        "-m",
        "benchmarks.peers.torch_times",
        *map(str, (shape.n_landmarks, shape.hidden_layers, shape.units, shape.n_targets)),
        *("--precision", precision, "--batches", str(batches), "--rounds", str(rounds)),
        *("--modes", *modes),
    ]
    root = Path(__file__).parents[2]
    try:
        done = subprocess.run(  # noqa: S603  (our own module)
            command, cwd=root, capture_output=True, text=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return {}, f"no answer within {timeout:.0f} s"
    if done.returncode:
        return {}, (done.stderr.strip().splitlines() or ["failed without a word"])[-1]
    answer = json.loads(done.stdout.splitlines()[-1])
    if answer.get("missing"):
        return {}, MISSING
    times = {mode: Timing(tuple(seconds)) for mode, seconds in answer["seconds"].items()}
    failed = [mode for mode in modes if mode not in times]
    about = f"PyTorch {answer['version']} on {answer['device']}"
    return times, f"{about}; failed: {', '.join(failed)}" if failed else about
