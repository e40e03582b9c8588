from __future__ import annotations

import numpy as np
import pytest

from dgex_jax.errors import StudyError
from dgex_jax.simulate.config import SimulationConfig


def test_the_default_is_the_demo_study() -> None:
    config = SimulationConfig()
    assert (config.n_profiles, config.n_copies, config.n_probes) == (6000, 843, 3200)
    assert (config.n_landmarks, config.n_targets) == (200, 1000)
    assert (config.n_gtex, config.n_1000g) == (300, 80)


def test_the_paper_study_has_the_paper_sizes() -> None:
    config = SimulationConfig.paper(seed=3)
    assert config.seed == 3
    assert (config.n_profiles, config.n_probes) == (129_158, 22_268)
    assert config.n_profiles - config.n_copies == 111_009
    assert config.n_mapped == (943, 9520)
    assert (config.n_target_probes, config.n_shared) == (15_744, 445)
    assert (config.n_gtex, config.n_1000g) == (2921, 462)


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"seed": -1}, "^seed = -1"),
        ({"n_profiles": 1}, "^n_profiles = 1"),
        ({"n_landmarks": 0}, "^n_landmarks = 0"),
        ({"replicate_share": 0.6}, "^replicate_share = 0.6: must be between 0.0 and 0.5"),
        ({"probes_per_target": 0.5}, "^probes_per_target = "),
        ({"shared_targets": np.nan}, "^shared_targets = nan"),
        ({"array_noise": 0.0}, "^array_noise = "),
        ({"platform_discordance": 1.1}, "^platform_discordance = "),
        ({"library_size": 0.0}, "^library_size = "),
        ({"n_landmarks": 10, "shared_targets": 0.5}, "shared_targets = 0.5: makes 500 targets"),
        (
            {"n_landmarks": 5, "n_targets": 10, "missing_targets": 0, "extra_probes": 0},
            "n_targets = 10: .* too close to distance 1.0",
        ),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(values: dict[str, float], cause: str) -> None:
    with pytest.raises(StudyError, match=cause):
        SimulationConfig(**values)
