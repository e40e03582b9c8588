"""The recorded study in memory, and a training with its log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import pytest

from dgex_jax.prepare.prepared import Prepared, open_prepared
from dgex_jax.train.arrays import StudyArrays, load_arrays
from dgex_jax.train.train import train_group
from tests.train.case import devices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.train.record import TrainedHalf
    from dgex_jax.train.run import EpochRecord


@dataclass(frozen=True)
class Training:
    """A training: errors ``(epochs, halves, parts)``, rates ``(epochs, halves)``, its network."""

    errors: NDArray[np.float64]
    rates: NDArray[np.float32]
    halves: list[TrainedHalf]
    gene_errors: Mapping[str, NDArray[np.float64]]


@pytest.fixture(scope="session")
def study() -> Prepared:
    """The recorded study."""
    return open_prepared(Path(__file__).parents[1] / "golden" / "study_a.npz")


@pytest.fixture(scope="session")
def study_a(study: Prepared) -> StudyArrays:
    """The recorded study, all 40 targets inferred by one network."""
    return load_arrays(study, 1)


@pytest.fixture(scope="session")
def halved_a(study: Prepared) -> StudyArrays:
    """The recorded study, 20 targets for each of two networks."""
    return load_arrays(study, 2)


@pytest.fixture(scope="session")
def tolerance() -> float:
    """Largest difference of a logged MAE from the recorded one."""
    return 1e-7 if jax.local_devices()[0].platform == "cpu" else 1e-6


@pytest.fixture(scope="session")
def train() -> Callable[..., Training]:
    """Train on the first `n_devices` devices and keep the log."""

    def run(
        arrays: StudyArrays, network: NetworkConfig, training: TrainingConfig, n_devices: int = 1
    ) -> Training:
        records: list[EpochRecord] = []
        (trained,) = train_group(
            arrays, [network], training, devices(n_devices), lambda row, _: records.extend(row)
        )
        assert [record.epoch for record in records] == list(range(training.epochs))
        return Training(
            np.stack([record.errors for record in records]),
            np.stack([record.learning_rates for record in records]),
            list(trained.halves),
            trained.gene_errors,
        )

    return run
