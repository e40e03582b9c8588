"""The recorded study in memory, and a training with its log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import pytest

from dgex_jax.data.prepared import open_prepared
from dgex_jax.training.arrays import StudyArrays, load_arrays
from dgex_jax.training.loop import EpochRecord, TrainedHalf, train_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig, TrainingConfig

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class Training:
    """A training: errors ``(epochs, halves, 5)``, rates ``(epochs, halves)``, and its network."""

    errors: NDArray[np.float64]
    rates: NDArray[np.float32]
    halves: list[TrainedHalf]
    gene_errors: Mapping[str, NDArray[np.float64]]


def _load(n_halves: int) -> StudyArrays:
    with open_prepared(GOLDEN / "study_a.npz") as study:
        return load_arrays(study, n_halves)


@pytest.fixture(scope="session")
def study_a() -> StudyArrays:
    """The recorded study, all 40 targets inferred by one network."""
    return _load(1)


@pytest.fixture(scope="session")
def halved_a() -> StudyArrays:
    """The recorded study, 20 targets for each of two networks."""
    return _load(2)


@pytest.fixture(scope="session")
def tolerance() -> float:
    """Largest difference of a logged MAE from the recorded one."""
    return 1e-7 if jax.local_devices()[0].platform == "cpu" else 1e-6


@pytest.fixture(scope="session")
def train() -> Callable[..., Training]:
    """Train on the first `n_devices` devices and keep the log."""

    def run(
        arrays: StudyArrays,
        network: NetworkConfig,
        training: TrainingConfig,
        n_devices: int = 1,
    ) -> Training:
        devices = jax.local_devices()[:n_devices]
        if len(devices) < n_devices:
            pytest.skip(f"needs {n_devices} devices")
        records: list[EpochRecord] = []
        (trained,) = train_group(
            arrays, [network], training, devices, lambda row, _fetch: records.extend(row)
        )
        assert [record.epoch for record in records] == list(range(training.epochs))
        return Training(
            np.stack([record.errors for record in records]),
            np.stack([record.learning_rates for record in records]),
            list(trained.halves),
            trained.gene_errors,
        )

    return run
