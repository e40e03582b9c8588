"""The halves are independent networks, wherever and beside whatever they train."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.training.start import initial_states

if TYPE_CHECKING:
    from collections.abc import Callable

    from dgex_jax.training.arrays import StudyArrays

NETWORK = NetworkConfig(1, 48, 0.0)
TRAINING = TrainingConfig(epochs=60, learning_rate=1.2e-2, monitor_size=300)


def _farthest(a: Any, b: Any) -> float:
    distances = jax.tree.map(lambda x, y: np.abs(x - y).max(), a, b)
    return float(max(jax.tree.leaves(distances)))


@pytest.fixture(scope="module")
def both(halved_a: StudyArrays, train: Callable[..., Any]) -> Any:
    """Both halves in one stack on one device."""
    return train(halved_a, NETWORK, TRAINING)


@pytest.mark.parametrize("dropout", [pytest.param(0.0, marks=pytest.mark.long), 0.25])
def test_one_device_and_two_give_the_same_bits(
    halved_a: StudyArrays, train: Callable[..., Any], dropout: float
) -> None:
    network = replace(NETWORK, dropout=dropout)
    one, two = (train(halved_a, network, TRAINING, n_devices) for n_devices in (1, 2))
    np.testing.assert_array_equal(one.errors, two.errors)
    np.testing.assert_array_equal(one.rates, two.rates)
    for ours, theirs in zip(one.halves, two.halves, strict=True):
        assert ours.best_va_epoch == theirs.best_va_epoch
        assert ours.best_1000G_epoch == theirs.best_1000G_epoch
        for kind in ("final", "best_va", "best_1000G"):
            jax.tree.map(np.testing.assert_array_equal, getattr(ours, kind), getattr(theirs, kind))


def test_each_half_trains_as_if_alone(
    halved_a: StudyArrays, train: Callable[..., Any], both: Any
) -> None:
    """To the bit: the network beside it changes nothing."""
    for index, half in enumerate(halved_a.halves):
        alone = train(replace(halved_a, halves=(half,)), NETWORK, TRAINING)
        np.testing.assert_array_equal(alone.errors[:, 0], both.errors[:, index])
        np.testing.assert_array_equal(alone.rates[:, 0], both.rates[:, index])
        jax.tree.map(np.testing.assert_array_equal, alone.halves[0].final, both.halves[index].final)


def test_each_half_has_its_own_rate_and_best_epochs(both: Any) -> None:
    assert not np.array_equal(both.rates[:, 0], both.rates[:, 1])
    for index, half in enumerate(both.halves):
        assert half.best_va_epoch == both.errors[:, index, 0].argmin()
        assert half.best_1000G_epoch == both.errors[:, index, 2].argmin()
    first, second = both.halves
    assert (first.best_va_epoch, first.best_1000G_epoch) != (
        second.best_va_epoch,
        second.best_1000G_epoch,
    )


def test_halves_share_their_seed_and_not_their_targets(halved_a: StudyArrays) -> None:
    """Both start from the same weights (the original gives both the same seed)."""
    first, second = initial_states(halved_a, NETWORK, TRAINING)
    jax.tree.map(np.testing.assert_array_equal, first.params, second.params)


@pytest.mark.long
def test_odd_number_of_targets(halved_a: StudyArrays, train: Callable[..., Any]) -> None:
    """The narrower half is padded, and learns what it learns alone, without padding."""
    odd = replace(
        halved_a,
        Y={part: Y[:, :39] for part, Y in halved_a.Y.items()},
        halves=(slice(0, 19), slice(19, 39)),
    )
    padded = train(odd, NETWORK, TRAINING)
    for index, (half, size) in enumerate(zip(odd.halves, (19, 20), strict=True)):
        alone = train(replace(odd, halves=(half,)), NETWORK, TRAINING)
        (mine,), ours = alone.halves, padded.halves[index]
        assert ours.final["output"]["kernel"].shape == (48, size)
        assert ours.final["output"]["bias"].shape == (size,)
        np.testing.assert_allclose(padded.errors[:, index], alone.errors[:, 0], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(padded.rates[:, index], alone.rates[:, 0])
        assert ours.best_va_epoch == mine.best_va_epoch
        assert ours.best_1000G_epoch == mine.best_1000G_epoch
        assert _farthest(ours.final, mine.final) < 1e-5
