"""Dropout: the masks' statistics, their seeds, and the recorded runs' errors in the mean."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest

from dgex_jax.config import LOGGED, NetworkConfig, TrainingConfig
from dgex_jax.models import mlp
from dgex_jax.training import loop
from dgex_jax.training.devices import epoch_program
from dgex_jax.training.start import mask_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dgex_jax.training.arrays import StudyArrays

RECORDED = NetworkConfig(2, 32, 0.25)
TRAINING = TrainingConfig(epochs=60, learning_rate=3e-3, monitor_size=300, halves=1)
SEEDS = (1, 2, 3, 4, 5, 6)
"""The recorded runs' weight seeds. The masks' seeds follow from them; no others may be chosen."""


@pytest.fixture
def fresh_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile anew for a test that changes the network's code, and keep none of it."""
    monkeypatch.setattr(loop, "epoch_program", lru_cache(epoch_program.__wrapped__))


@pytest.fixture
def six_runs(study_a: StudyArrays, train: Callable[..., Any]) -> Callable[[float], Any]:
    """Train with the six seeds: `best` and `final` errors, each ``(6, 5)``."""

    def run(dropout: float) -> dict[str, Any]:
        network = replace(RECORDED, dropout=dropout)
        runs = [train(study_a, network, replace(TRAINING, seed=seed)) for seed in SEEDS]
        errors = np.stack([run.errors[:, 0] for run in runs])
        return {"best": errors.min(axis=1), "final": errors[:, -1]}

    return run


def _outside(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Name the means (of ten) that lie more than two standard errors of the difference apart."""
    outside = []
    for kind, (column, part) in product(("best", "final"), enumerate(LOGGED)):
        errors = ours[kind][:, column]
        mean, deviation = (theirs[f"{kind}_{what}"][f"MAE_{part}"] for what in ("mean", "sd"))
        error = np.sqrt((errors.var(ddof=1) + deviation**2) / len(SEEDS))
        if not abs(errors.mean() - mean) <= 2 * error:
            outside.append(f"{kind} {part}")
    return outside


@pytest.fixture
def recorded(golden: Path) -> dict[str, Any]:
    """Means and sample standard deviations over the six recorded runs."""
    values: dict[str, Any] = json.loads((golden / "run_a_dropout.json").read_text())
    assert values["seeds"] == len(SEEDS)
    assert (values["hidden_layers"], values["units"]) == (2, 32)
    assert values["include_rate"] == 1 - RECORDED.dropout
    return values


def test_best_means_the_smallest_error_of_each_column(recorded: dict[str, Any]) -> None:
    """Not the row of the best GEO-va epoch.

    The best GEO-va error differs from the final one, so in some run its epoch isn't the last; the
    row of that epoch would give a best monitored error above the final one, which falls to the
    end. Yet these two are equal in all recorded digits, and so are their deviations.
    """
    assert recorded["best_mean"]["MAE_va"] < recorded["final_mean"]["MAE_va"]
    for what in ("mean", "sd"):
        assert recorded[f"best_{what}"]["MAE_tr"] == recorded[f"final_{what}"]["MAE_tr"]


def test_all_ten_means_are_the_recorded_ones(
    six_runs: Callable[[float], Any], recorded: dict[str, Any]
) -> None:
    assert _outside(six_runs(0.25), recorded) == []


def test_criterion_turns_red_for_another_include_rate(
    six_runs: Callable[[float], Any], recorded: dict[str, Any]
) -> None:
    assert _outside(six_runs(0.30), recorded) != []


@pytest.mark.long
@pytest.mark.usefixtures("fresh_programs")
def test_criterion_turns_red_without_the_scale(
    six_runs: Callable[[float], Any], recorded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Survivors that aren't scaled by 1/include make a network too large at test time."""

    def unscaled(key: jax.Array, include: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.bernoulli(key, include, shape).astype(include.dtype)

    monkeypatch.setattr(mlp, "mask", unscaled)
    assert _outside(six_runs(0.25), recorded) != []


def test_each_run_and_half_has_masks_of_its_own() -> None:
    keys = {mask_key(seed, half).tobytes() for seed in (0, 1, 2, 6, 2**32 - 1) for half in (0, 1)}
    assert len(keys) == 10
    np.testing.assert_array_equal(mask_key(3, 1), mask_key(3, 1))
    with jax.enable_x64(True):
        np.testing.assert_array_equal(mask_key(2**32 - 1, 1), again := mask_key(2**32 - 1, 1))
    assert again.dtype == np.uint32


@pytest.mark.long
@pytest.mark.usefixtures("fresh_programs")
def test_masks_are_fresh_for_every_layer_batch_epoch_and_half(
    halved_a: StudyArrays, train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The masks that a training really multiplies by; none in the errors."""
    drawn: list[Any] = []
    genuine = mlp.mask

    def watched(key: jax.Array, include: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        values = genuine(key, include, shape)
        jax.debug.callback(lambda mask: drawn.append(np.array(mask)), values)
        return values

    monkeypatch.setattr(mlp, "mask", watched)
    # Three epochs, so that masks which only change places from one to the next are seen.
    training = TrainingConfig(epochs=3, batch_size=500, monitor_size=300)
    train(halved_a, NetworkConfig(2, 8, 0.25), training)
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    # 1,207 profiles are two batches of 500 and one of 207.
    shapes = [mask.shape for mask in drawn]
    assert (shapes.count((500, 8)), shapes.count((207, 8))) == (3 * 2 * 2 * 2, 3 * 2 * 2)
    assert len(drawn) == 36
    # The first rows tell any two apart, those of a short batch included.
    assert len({mask[:200].tobytes() for mask in drawn}) == 36
    values = np.concatenate(drawn)
    assert set(np.unique(values)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    share = np.count_nonzero(values) / values.size
    assert share == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / values.size))
