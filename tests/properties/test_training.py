"""Training: which order genes stand in, on how many devices, and how often cut short.

Reordered genes are added up in another order (landmarks in the first layer, targets where errors
are sent back), so float32 weights then agree up to rounding and not to the bit. Devices and stops
change no bit at all.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgex_jax.train.run import Checkpoints, EpochRecord, Progress
from dgex_jax.train.train import train_group
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
    from dgex_jax.train.arrays import StudyArrays
    from dgex_jax.train.epoch import State
    from dgex_jax.train.record import TrainedNetwork

CLOSE = 5e-6

pytestmark = pytest.mark.usefixtures("quick_compilation")


class Trained(NamedTuple):
    """A training and what it told after each epoch."""

    network: TrainedNetwork
    records: list[EpochRecord]


def train(
    arrays: StudyArrays,
    start: Progress,
    training: TrainingConfig = TRAINING,
    network: NetworkConfig = NETWORK,
    n_devices: int = 1,
    look: Callable[[Any, Any], object] = lambda _row, _fetch: None,
) -> Trained:
    devices = jax.local_devices()[:n_devices]
    if len(devices) < n_devices:
        pytest.skip(f"needs {n_devices} devices")
    records = [record for (record,) in start.records]

    def note(row: Sequence[EpochRecord], fetch: Callable[[], list[State]]) -> None:
        records.extend(row)
        look(records, fetch)

    (trained,) = train_group(arrays, [network], training, devices, note, start)
    return Trained(trained, records)


def reordered(params: Any, landmarks: Any, units: Any, targets: Any) -> Any:
    """Weights of the same network with its genes, or the units of its first layer, reordered."""
    first, second, output = params["hidden1"], params["hidden2"], params["output"]
    return {
        "hidden1": {"kernel": first["kernel"][landmarks][:, units], "bias": first["bias"][units]},
        "hidden2": {"kernel": second["kernel"][units], "bias": second["bias"]},
        "output": {"kernel": output["kernel"][:, targets], "bias": output["bias"][targets]},
    }


def assert_reordered(ours: Trained, theirs: Trained, orders: Any, targets: Any) -> None:
    """The second training is the first with everything in another order."""
    for one, other in zip(ours.records, theirs.records, strict=True):
        np.testing.assert_array_equal(one.learning_rates, other.learning_rates)
        np.testing.assert_allclose(other.errors, one.errors, rtol=0, atol=CLOSE)
    for half, twin, order in zip(ours.network.halves, theirs.network.halves, orders, strict=True):
        assert half.best_epoch == twin.best_epoch
        ours_kept, theirs_kept = ({"final": one.final, **one.best} for one in (half, twin))
        assert set(ours_kept) == set(theirs_kept) == {"final", "va", "1000G"}
        for kind, params in ours_kept.items():
            assert farthest(theirs_kept[kind], reordered(params, *order)) < CLOSE, kind
    for part, mae in ours.network.gene_errors.items():
        found = theirs.network.gene_errors[part]
        np.testing.assert_allclose(found, mae[targets], rtol=0, atol=CLOSE)


def assert_same(ours: Trained, theirs: Trained) -> None:
    """To the bit, whatever time they took."""

    def bits(one: Trained) -> list[bytes]:
        told = [asdict(replace(record, seconds=0.0)) for record in one.records]
        leaves = jax.tree.leaves([asdict(one.network), told])
        return [np.asarray(leaf).tobytes() for leaf in leaves]

    assert bits(ours) == bits(theirs)


@examples(6, shrink=False)
@given(seed=SEEDS, data=st.data(), what=st.sampled_from(["targets", "landmarks", "units", "all"]))
def test_order_of_genes_and_units_is_the_order_of_the_weights(
    seed: int, data: Any, what: str
) -> None:
    def draw(kind: str, size: int) -> NDArray[np.intp]:
        chosen = what in {kind, "all"}
        return data.draw(permutations(size)) if chosen else np.arange(size)

    landmarks = draw("landmarks", LANDMARKS)
    orders = [(landmarks, draw("units", UNITS), draw("targets", HALF)) for _ in range(2)]
    targets = np.concatenate([orders[0][2], HALF + orders[1][2]])
    arrays, states = study(seed), first_states(seed + 1)
    plain = train(arrays, Progress([], states))
    for half, state in zip(plain.network.halves, states, strict=True):
        # The weights moved far more than the room for rounding.
        assert farthest(half.final, state.params) > 4000 * CLOSE
    other_arrays = replace(
        arrays,
        X={part: X[:, landmarks] for part, X in arrays.X.items()},
        Y={part: Y[:, targets] for part, Y in arrays.Y.items()},
    )
    other_states = [
        state.replace(params=reordered(state.params, *order))  # type: ignore[attr-defined]
        for state, order in zip(states, orders, strict=True)
    ]
    moved = train(other_arrays, Progress([], other_states))
    assert_reordered(plain, moved, orders, targets)


@pytest.mark.long
@examples(5, shrink=False)
@given(seed=SEEDS, dropout=st.sampled_from([0.0, 0.1, 0.25, 0.9]), rate=st.floats(1e-4, 5e-2))
def test_one_device_and_two_give_the_same_bits(seed: int, dropout: float, rate: float) -> None:
    training = replace(TRAINING, seed=seed, learning_rate=rate)
    network = replace(NETWORK, dropout=dropout)
    start = Progress([], first_states(seed, training))
    assert_same(*(train(study(seed), start, training, network, n) for n in (1, 2)))


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

    def stored(done: int) -> Checkpoints:
        return Checkpoints(folder / str(done), "group", 1.0)

    def keep(records: list[EpochRecord], fetch: Callable[[], list[State]]) -> None:
        stored(len(records)).save(Progress([[record] for record in records], fetch()))

    straight = train(arrays, Progress([], states), training, network, look=keep)
    assert (straight.records[-1].learning_rates < straight.records[0].learning_rates).any()
    for done in range(1, EPOCHS):
        told: list[str] = []
        resume = stored(done).newest(states, told.append)
        assert resume is not None
        assert (len(resume.records), told) == (done, [])
        assert_same(straight, train(arrays, resume, training, network))
