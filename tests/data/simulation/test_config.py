from __future__ import annotations

import pytest

from dgex_jax.data.simulation.config import SimulationConfig
from dgex_jax.errors import StudyError


def test_the_default_is_the_demo_study() -> None:
    config = SimulationConfig()
    assert config.n_profiles >= 5200
    assert config.n_profiles - config.n_copies >= 5000
    assert int(0.8 * (config.n_profiles - config.n_copies)) >= 4000
    assert config.n_probes >= 3000
    assert (config.n_landmarks, config.n_targets) == (200, 1000)
    assert config.n_1000g >= 60
    assert config.n_gtex >= 250


def test_the_paper_study_has_the_paper_sizes() -> None:
    config = SimulationConfig.paper(seed=3)
    assert config.seed == 3
    assert (config.n_profiles, config.n_probes) == (129_158, 22_268)
    assert config.n_profiles - config.n_copies == 111_009
    assert config.n_mapped == (943, 9520)
    assert config.n_target_probes == 15_744
    assert config.n_shared == 445
    assert (config.n_gtex, config.n_1000g) == (2921, 462)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", -1),
        ("n_profiles", 1),
        ("n_landmarks", 0),
        ("replicate_share", 0.6),
        ("probes_per_target", 0.5),
        ("shared_targets", float("nan")),
        ("array_noise", 0.0),
        ("platform_discordance", 1.1),
        ("library_size", 0.0),
    ],
)
def test_values_out_of_range_are_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(StudyError, match=rf"^{key} = "):
        SimulationConfig(**{key: value})


def test_more_shared_targets_than_landmarks_are_refused() -> None:
    with pytest.raises(StudyError, match="shared_targets"):
        SimulationConfig(n_landmarks=10, shared_targets=0.5)


def test_too_few_probes_to_tell_copies_from_others_are_refused() -> None:
    with pytest.raises(StudyError, match="distance"):
        SimulationConfig(n_landmarks=5, n_targets=10, missing_targets=0, extra_probes=0)
