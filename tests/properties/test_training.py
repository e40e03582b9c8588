"""Training: which order genes stand in, on how many devices, and how often cut short.

Reordered genes are added up in another order (landmarks in the first layer, targets where errors
are sent back), so float32 weights then agree up to rounding and not to the bit. Devices and stops
change no bit at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgex_jax.training.checkpoint import Checkpoints
from dgex_jax.training.loop import EpochRecord, Progress, TrainedNetwork, train_group
from tests.properties.inputs import examples, permutations
from tests.properties.trainings import (
    HALF,
    LANDMARKS,
    NETWORK,
    SEEDS,
    TRAINING,
    UNITS,
    farthest,
    first_states,
    study,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig, TrainingConfig
    from dgex_jax.training.arrays import StudyArrays
    from dgex_jax.training.epoch import State

CLOSE = 5e-6

pytestmark = pytest.mark.usefixtures("quick_compilation")


@dataclass(frozen=True)
class Trained:
    """A training and what it told after each epoch."""

    network: TrainedNetwork
    records: list[EpochRecord]


def train(
    arrays: StudyArrays,
    states: Sequence[State],
    training: TrainingConfig = TRAINING,
    network: NetworkConfig = NETWORK,
    n_devices: int = 1,
) -> Trained:
    devices = jax.local_devices()[:n_devices]
    if len(devices) < n_devices:
        pytest.skip(f"needs {n_devices} devices")
    records: list[EpochRecord] = []
    start = Progress([], states)
    (trained,) = train_group(arrays, [network], training, devices, partial(note, records), start)
    return Trained(trained, records)


def note(records: list[EpochRecord], row: Sequence[EpochRecord], _fetch: Any) -> None:
    records.extend(row)


def reordered(params: Any, *, landmarks: Any = None, units: Any = None, targets: Any = None) -> Any:
    """Weights of the same network with its genes, or the units of its first layer, reordered."""
    landmarks, units, targets = (
        slice(None) if order is None else order for order in (landmarks, units, targets)
    )
    first, second, output = params["hidden1"], params["hidden2"], params["output"]
    return {
        "hidden1": {"kernel": first["kernel"][landmarks][:, units], "bias": first["bias"][units]},
        "hidden2": {"kernel": second["kernel"][units], "bias": second["bias"]},
        "output": {"kernel": output["kernel"][:, targets], "bias": output["bias"][targets]},
    }


def assert_reordered(
    plain: Trained, moved: Trained, orders: list[dict[str, Any]], targets: NDArray[np.intp]
) -> None:
    """The second training is the first with everything in another order."""
    errors = [np.stack([record.errors for record in one.records]) for one in (plain, moved)]
    np.testing.assert_allclose(errors[1], errors[0], rtol=0, atol=CLOSE)
    for ours, theirs in zip(plain.records, moved.records, strict=True):
        np.testing.assert_array_equal(ours.learning_rates, theirs.learning_rates)
    for ours, theirs, order in zip(plain.network.halves, moved.network.halves, orders, strict=True):
        assert ours.best_va_epoch == theirs.best_va_epoch
        assert ours.best_1000G_epoch == theirs.best_1000G_epoch
        for kind in ("final", "best_va", "best_1000G"):
            wanted = reordered(getattr(ours, kind), **order)
            assert farthest(getattr(theirs, kind), wanted) < CLOSE
    for part, mae in plain.network.gene_errors.items():
        found = moved.network.gene_errors[part]
        np.testing.assert_allclose(found, mae[targets], rtol=0, atol=CLOSE)


@examples(6, shrink=False)
@given(seed=SEEDS, data=st.data(), what=st.sampled_from(["targets", "landmarks", "units", "all"]))
def test_order_of_genes_and_units_is_the_order_of_the_weights(
    seed: int, data: Any, what: str
) -> None:
    def draw(kind: str, size: int) -> NDArray[np.intp]:
        chosen = what in {kind, "all"}
        return data.draw(permutations(size)) if chosen else np.arange(size)

    landmarks = draw("landmarks", LANDMARKS)
    orders = [
        {"landmarks": landmarks, "units": draw("units", UNITS), "targets": draw("targets", HALF)}
        for _ in range(2)
    ]
    targets = np.concatenate([orders[0]["targets"], HALF + orders[1]["targets"]])
    arrays, states = study(seed), first_states(seed + 1)
    plain = train(arrays, states)
    started = [
        farthest(h.final, s.params) for h, s in zip(plain.network.halves, states, strict=True)
    ]
    assert min(started) > 4000 * CLOSE, "the weights moved far more than the room for rounding"
    moved = train(
        replace(
            arrays,
            X={part: X[:, landmarks] for part, X in arrays.X.items()},
            Y={part: Y[:, targets] for part, Y in arrays.Y.items()},
        ),
        [
            state.replace(params=reordered(state.params, **order))  # type: ignore[attr-defined]
            for state, order in zip(states, orders, strict=True)
        ],
    )
    assert_reordered(plain, moved, orders, targets)


def assert_same(ours: Trained, theirs: Trained) -> None:
    """To the bit."""
    for one, other in zip(ours.records, theirs.records, strict=True):
        assert one.epoch == other.epoch
        assert one.errors.tobytes() == other.errors.tobytes()
        assert one.learning_rates.tobytes() == other.learning_rates.tobytes()
    for half, twin in zip(ours.network.halves, theirs.network.halves, strict=True):
        assert half.best_va_epoch == twin.best_va_epoch
        assert half.best_1000G_epoch == twin.best_1000G_epoch
        for kind in ("final", "best_va", "best_1000G"):
            pairs = jax.tree.map(np.array_equal, getattr(half, kind), getattr(twin, kind))
            assert all(jax.tree.leaves(pairs)), kind
    for part, mae in ours.network.gene_errors.items():
        assert mae.tobytes() == theirs.network.gene_errors[part].tobytes()


@pytest.mark.long
@examples(5, shrink=False)
@given(seed=SEEDS, dropout=st.sampled_from([0.0, 0.1, 0.25, 0.9]), rate=st.floats(1e-4, 5e-2))
def test_one_device_and_two_give_the_same_bits(seed: int, dropout: float, rate: float) -> None:
    training = replace(TRAINING, seed=seed, learning_rate=rate)
    network = replace(NETWORK, dropout=dropout)
    states = first_states(seed, training)
    one, two = (train(study(seed), states, training, network, n) for n in (1, 2))
    assert_same(one, two)


EPOCHS = 6


@examples(2, shrink=False)
@given(seed=SEEDS, dropout=st.sampled_from([0.0, 0.25]))
def test_resumed_from_every_epoch_is_the_straight_training(
    tmp_path_factory: Any, seed: int, dropout: float
) -> None:
    """To the bit, through files on disk, with the masks, orders, rates and bests that follow."""
    # So high that errors also grow and the rate falls on the way.
    training = replace(TRAINING, epochs=EPOCHS, seed=seed, learning_rate=0.2)
    network = replace(NETWORK, dropout=dropout)
    arrays, states = study(seed), first_states(seed, training)
    folder: Path = tmp_path_factory.mktemp("checkpoints")
    devices = jax.local_devices()[:1]
    history: list[list[EpochRecord]] = []

    def keep(row: Sequence[EpochRecord], fetch: Callable[[], list[State]]) -> None:
        history.append(list(row))
        store = Checkpoints(folder / str(len(history)), "group", 1.0)
        store.save(Progress(history, fetch()))

    (trained,) = train_group(arrays, [network], training, devices, keep, Progress([], states))
    straight = Trained(trained, [record for (record,) in history])
    rates = np.stack([record.learning_rates for record in straight.records])
    assert (rates[-1] < rates[0]).any()
    for done in range(1, EPOCHS):
        told: list[str] = []
        resume = Checkpoints(folder / str(done), "group", 1.0).newest(states, told.append)
        assert resume is not None
        assert (len(resume.records), told) == (done, [])
        records = [record for (record,) in resume.records]
        (trained,) = train_group(
            arrays, [network], training, devices, partial(note, records), resume
        )
        assert_same(Trained(trained, records), straight)
