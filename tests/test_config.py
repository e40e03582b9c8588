from __future__ import annotations

import dataclasses

import pytest

from dgex_jax.config import (
    BaselineConfig,
    GridConfig,
    JobsConfig,
    NetworkConfig,
    PrepareConfig,
    TrainingConfig,
)
from dgex_jax.errors import StudyError


def test_defaults_are_the_original_settings() -> None:
    """Paper sections 2.1 to 2.3 and Table S1; the published scripts."""
    assert GridConfig().shapes() == [(n, u) for n in (1, 2, 3) for u in (3000, 6000, 9000)]
    training = TrainingConfig()
    assert dataclasses.asdict(training) == {
        "epochs": 200,
        "batch_size": 200,
        "learning_rate": None,
        "monitor_size": 5000,
        "momentum": 0.5,
        "seed": 1,
        "halves": 2,
        "precision": "highest",
        "pretrain": "none",
        "pretrain_epochs": 50,
    }
    assert [training.initial_rate(layers) for layers in (1, 2, 3)] == [5e-4, 3e-4, 3e-4]
    prepare = PrepareConfig()
    assert (prepare.duplicates, prepare.scale_on) == ("clusters", "all")
    assert prepare.partition == "random"
    assert not prepare.accept_wrong_dimensions


def test_a_given_rate_is_that_of_every_depth() -> None:
    training = TrainingConfig(learning_rate=0.01)
    assert {training.initial_rate(layers) for layers in (1, 2, 3)} == {0.01}


@pytest.mark.parametrize(
    ("dropout", "name"),
    [(0.1, "10"), (0.25, "25"), (0.0, "0"), (0.125, "12.5"), (0.5, "50"), (0.29, "29")],
)
def test_networks_are_named_as_in_the_paper(dropout, name) -> None:
    assert NetworkConfig(3, 9000, dropout).name == f"D-GEX-{name}%-9000x3"


REFUSED = [
    (PrepareConfig, "duplicates", "some"),
    (PrepareConfig, "scale_on", "test"),
    (PrepareConfig, "partition", "sorted"),
    (PrepareConfig, "seed", -1),
    (PrepareConfig, "seed", 2**32),
    (PrepareConfig, "block_size", 0),
    (NetworkConfig, "hidden_layers", 0),
    (NetworkConfig, "hidden_layers", 4),
    (NetworkConfig, "units", 0),
    (NetworkConfig, "units", 10**20),
    (NetworkConfig, "dropout", -0.1),
    (NetworkConfig, "dropout", 1.0),
    (NetworkConfig, "dropout", float("nan")),
    (GridConfig, "hidden_layers", (0,)),
    (GridConfig, "hidden_layers", (2, 1)),
    (GridConfig, "units", (5, 5)),
    (GridConfig, "units", (0,)),
    (GridConfig, "dropout", (0.1, 0.1)),
    (GridConfig, "dropout", (1.0,)),
    (GridConfig, "side_by_side", -1),
    (JobsConfig, "minutes", 0),
    (JobsConfig, "cpus", 0),
    (JobsConfig, "memory_gb", 0),
    (JobsConfig, "parallel", 0),
    (BaselineConfig, "k_max", 0),
    (BaselineConfig, "l1_lambdas", (0.0,)),
    (BaselineConfig, "l1_lambdas", (0.1, float("inf"))),
    (BaselineConfig, "l2_lambdas", (2.0, 1.0)),
    (TrainingConfig, "epochs", 0),
    (TrainingConfig, "batch_size", 0),
    (TrainingConfig, "learning_rate", 0.0),
    (TrainingConfig, "learning_rate", float("nan")),
    (TrainingConfig, "learning_rate", float("inf")),
    (TrainingConfig, "monitor_size", 0),
    (TrainingConfig, "momentum", -0.1),
    (TrainingConfig, "momentum", 1.1),
    (TrainingConfig, "seed", -1),
    (TrainingConfig, "halves", 0),
    (TrainingConfig, "halves", 3),
    (TrainingConfig, "precision", "bfloat16"),
    (TrainingConfig, "pretrain", "rbm"),
    (TrainingConfig, "pretrain_epochs", 0),
    # Without pretraining it would be ignored.
    (TrainingConfig, "pretrain_epochs", 51),
]


@pytest.mark.parametrize(("kind", "key", "value"), REFUSED)
def test_values_out_of_range_are_refused_by_name(kind, key, value) -> None:
    with pytest.raises(StudyError, match=f"^{key} = ") as caught:
        kind(**{key: value})
    assert "\n" not in str(caught.value)


def test_epochs_of_a_pretraining_that_there_is() -> None:
    with pytest.raises(StudyError, match=r"^pretrain_epochs = 0: must be at least 1"):
        TrainingConfig(pretrain="autoencoder", pretrain_epochs=0)
    assert TrainingConfig(pretrain="autoencoder", pretrain_epochs=51).pretrain_epochs == 51


def test_every_value_but_a_flag_is_checked() -> None:
    checked = {(kind, key) for kind, key, _ in REFUSED}
    for kind in {kind for kind, _, _ in REFUSED}:
        for field in dataclasses.fields(kind):
            # A text can hold anything.
            if field.type not in {"bool", "str"}:
                assert (kind, field.name) in checked


def test_configurations_do_not_change() -> None:
    for one in (PrepareConfig(), NetworkConfig(), GridConfig(), BaselineConfig(), TrainingConfig()):
        field = dataclasses.fields(one)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, field, getattr(one, field))
