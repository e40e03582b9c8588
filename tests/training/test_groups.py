"""Networks side by side, devices, and what an epoch may not do."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest

from dgex_jax.config import GridConfig, NetworkConfig, TrainingConfig
from dgex_jax.training import devices as devices_module
from dgex_jax.training import loop
from dgex_jax.training.devices import epoch_program, gene_errors_program
from dgex_jax.training.loop import EpochRecord, train_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from dgex_jax.training.arrays import StudyArrays

pytestmark = pytest.mark.long

RATES = (0.0, 0.1, 0.25)
NETWORKS = [NetworkConfig(2, 10, rate) for rate in RATES]
TRAINING = TrainingConfig(epochs=12, learning_rate=1e-2, monitor_size=300)


@pytest.fixture(scope="module")
def together(halved_a: StudyArrays) -> tuple[list[list[EpochRecord]], Any]:
    """Three dropout rates in one batched program on one device."""
    rows: list[list[EpochRecord]] = []
    trained = train_group(
        halved_a, NETWORKS, TRAINING, jax.local_devices()[:1], lambda row, _: rows.append(list(row))
    )
    return rows, trained


@pytest.mark.long
def test_side_by_side_agrees_with_alone(
    halved_a: StudyArrays, train: Callable[..., Any], together: tuple[Any, Any]
) -> None:
    rows, trained = together
    assert len(trained) == 3
    for number, network in enumerate(NETWORKS):
        alone = train(halved_a, network, TRAINING)
        errors = np.stack([row[number].errors for row in rows])
        np.testing.assert_allclose(errors, alone.errors, rtol=0, atol=1e-6)
        rates = np.stack([row[number].learning_rates for row in rows])
        np.testing.assert_array_equal(rates, alone.rates)
        for part, ours in trained[number].gene_errors.items():
            np.testing.assert_allclose(ours, alone.gene_errors[part], rtol=0, atol=1e-6)
        for mine, theirs in zip(trained[number].halves, alone.halves, strict=True):
            assert mine.best_va_epoch == theirs.best_va_epoch
            assert mine.best_1000G_epoch == theirs.best_1000G_epoch
    # They are three networks, not one three times.
    assert len({tuple(row.errors[:, 0]) for row in rows[-1]}) == 3


@pytest.mark.long
def test_side_by_side_on_two_devices_gives_the_same_bits(
    halved_a: StudyArrays, together: tuple[Any, Any]
) -> None:
    if jax.local_device_count() < 2:
        pytest.skip("needs 2 devices")
    rows: list[list[EpochRecord]] = []
    trained = train_group(
        halved_a, NETWORKS, TRAINING, jax.local_devices()[:2], lambda row, _: rows.append(list(row))
    )
    for ours, theirs in zip(rows, together[0], strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine.errors, other.errors)
    for ours, theirs in zip(trained, together[1], strict=True):
        for half, other in zip(ours.halves, theirs.halves, strict=True):
            jax.tree.map(np.testing.assert_array_equal, half.final, other.final)


def test_groups_depend_on_the_study_alone() -> None:
    grid = GridConfig(hidden_layers=(1, 2), units=(8, 16), dropout=RATES, side_by_side=8)
    narrow = [tuple(NetworkConfig(layers, 8, rate) for rate in RATES) for layers in (1, 2)]
    for rates in (RATES, (0.1,)):
        groups = grid.groups(rates)
        assert [group for group in groups if len(group) > 1] == narrow
        wide = [(NetworkConfig(layers, 16, rate),) for layers in (1, 2) for rate in rates]
        assert [group for group in groups if len(group) == 1] == wide


@pytest.mark.long
def test_one_compilation_an_architecture(
    halved_a: StudyArrays, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted by the compiler itself: the epoch, and the errors of the best epochs, once each."""
    epoch_program.cache_clear()
    gene_errors_program.cache_clear()
    devices = jax.local_devices()[:1]
    training = replace(TRAINING, epochs=2)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        for network in NETWORKS:
            train_group(halved_a, [replace(network, units=11)], training, devices)
        lines = [line for line in caplog.messages if line.startswith("Finished XLA compilation")]
        # What pmap compiles is called _fun.
        assert len([line for line in lines if "jit(_fun)" in line]) == 2
        train_group(halved_a, [NetworkConfig(1, 11, 0.1)], training, devices)
        again = [line for line in caplog.messages if line.startswith("Finished XLA compilation")]
        assert len([line for line in again if "jit(_fun)" in line]) == 4


@pytest.mark.parametrize("n_devices", [1, 2])
def test_nothing_is_transferred_behind_the_loops_back(
    halved_a: StudyArrays, monkeypatch: pytest.MonkeyPatch, n_devices: int
) -> None:
    """Every epoch, and the errors at the end, run on what lies on the devices already."""
    genuine, guarded = devices_module.epoch_program, []

    def watched(*arguments: Any) -> Any:
        program = genuine(*arguments)

        def run(*inputs: Any) -> Any:
            with jax.transfer_guard("disallow"):
                guarded.append(1)
                return program(*inputs)

        return run

    monkeypatch.setattr(loop, "epoch_program", watched)
    network = NetworkConfig(1, 8, 0.25)
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match=r"(?i)disallow"):
        jax.jit(lambda x: x + 1)(np.ones(3, np.float32))
    train_group(halved_a, [network], TRAINING, jax.local_devices()[:n_devices])
    assert len(guarded) == TRAINING.epochs


def test_each_halfs_weights_live_on_its_own_device(
    halved_a: StudyArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    if jax.local_device_count() < 2:
        pytest.skip("needs 2 devices")
    devices = jax.local_devices()[:2]
    seen: list[Any] = []
    genuine = devices_module.epoch_program

    def watched(*arguments: Any) -> Any:
        program = genuine(*arguments)

        def run(state: Any, *others: Any) -> Any:
            new, measured = program(state, *others)
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
            seen.append(
                [
                    {shard.device: shard.data.shape for shard in leaf.addressable_shards}
                    for leaf in jax.tree.leaves(new)
                ]
            )
            return new, measured

        return run

    monkeypatch.setattr(loop, "epoch_program", watched)
    train_group(halved_a, [NetworkConfig(1, 8, 0.0)], replace(TRAINING, epochs=2), devices)
    assert len(seen) == 2
    for leaves in seen:
        for shards in leaves:
            # One half on each: (its device's slice, halves there, networks side by side, …).
            assert set(shards) == set(devices)
            assert {shape[:3] for shape in shards.values()} == {(1, 1, 1)}
