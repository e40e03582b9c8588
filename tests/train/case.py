"""What the tests of training share."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest

from dgex_jax.errors import Stopped
from dgex_jax.train.run import StopRequest
from dgex_jax.train.train import Conduct, train_runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.prepare.prepared import Prepared
    from dgex_jax.train.arrays import StudyArrays

SIDES = (slice(0, 19), slice(19, 39))
"""Halves of unequal size."""


def devices(n: int) -> list[jax.Device]:
    """The first `n` devices; the test is skipped where there are fewer."""
    found = jax.local_devices()[:n]
    if len(found) < n:
        pytest.skip(f"needs {n} devices")
    return found


def odd(arrays: StudyArrays) -> StudyArrays:
    """A narrow and a wide half."""
    narrow = {part: Y[:, :39] for part, Y in arrays.Y.items()}
    return dataclasses.replace(arrays, Y=narrow, halves=SIDES)


def same(ours: Any, theirs: Any) -> None:
    """Two trees have the same bits."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype


def farthest(a: Any, b: Any) -> float:
    """Largest difference of two trees."""
    distances = jax.tree.map(lambda x, y: np.abs(np.asarray(x) - np.asarray(y)).max(), a, b)
    return float(max(jax.tree.leaves(distances)))


def contents(*folders: Path) -> dict[str, Any]:
    """Every file of run folders, without the times and the names of the devices."""
    found: dict[str, Any] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            content: Any = path.read_bytes()
            if path.name == "done.json":
                content = json.loads(content)
                for key in ("seconds", "devices", "files", "content_sha256"):
                    del content[key]
                del content["provenance"]["commit"]
            elif path.name.startswith("log"):
                content = [line.rsplit("\t", 1)[0] for line in content.decode().splitlines()]
            found[f"{folder.name}/{path.name}"] = content
    return found


def run(
    study: Prepared,
    networks: Sequence[NetworkConfig],
    training: TrainingConfig,
    folders: Sequence[Path],
    stop_after: int | None = None,
    n_devices: int = 1,
    *,
    overwrite: bool = False,
) -> list[int]:
    """Train a group, all checkpoints written; returns the epochs that were trained (from 1)."""
    request, seen = StopRequest(), []

    def report(network: NetworkConfig, done: int, _line: str) -> None:
        if network == networks[0]:
            seen.append(done)
        if done == stop_after:
            request.ask(15)

    conduct = Conduct(report, overwrite, request=request, checkpoint_share=1.0)
    start = partial(train_runs, study, networks, training, folders, devices(n_devices))
    if stop_after in {None, training.epochs}:
        assert start(conduct=conduct)
    else:
        with pytest.raises(Stopped, match=f"epoch {stop_after} of {training.epochs}") as stopped:
            start(conduct=conduct)
        assert stopped.value.signal_number == 15
    return seen
