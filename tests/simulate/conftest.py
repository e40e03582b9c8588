"""A small simulated study, made once for all tests of the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import pytest

from dgex_jax.simulate.config import SimulationConfig
from dgex_jax.simulate.platforms import World, make_world
from dgex_jax.simulate.write import simulate

if TYPE_CHECKING:
    import numpy as np

    from dgex_jax.rawfiles import RawFiles

SMALL = SimulationConfig(
    seed=7,
    n_profiles=600,
    n_gtex=90,
    n_1000g=40,
    n_landmarks=60,
    n_targets=150,
    missing_landmarks=3,
    missing_targets=9,
    n_other_genes=60,
    extra_probes=40,
    shared_targets=0.06,
    n_tissues=12,
    n_regulators=30,
    n_programmes=6,
)


@pytest.fixture(scope="session")
def small() -> SimulationConfig:
    return SMALL


@pytest.fixture(scope="session")
def world() -> World:
    return make_world(SMALL)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> RawFiles:
    return simulate(SMALL, tmp_path_factory.mktemp("simulated"))


@pytest.fixture(scope="session")
def geo(files: RawFiles) -> np.ndarray:
    """Values of the GEO file, (n_profiles, n_probes) float64."""
    with h5py.File(files.geo) as file:
        return file["0/DATA/0/matrix"][:].astype(float)
