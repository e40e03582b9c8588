"""Training: an error that is no number is never the best, and ends the training by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgex_jax.errors import DivergedError
from dgex_jax.parts import PAPER
from dgex_jax.train.devices import place, stack, unstack
from dgex_jax.train.epoch import Best, epoch_program, keep_best
from dgex_jax.train.run import Progress
from dgex_jax.train.train import build_model, device_data, half_networks, train_group
from tests.properties.inputs import examples
from tests.properties.trainings import (
    HALF,
    NETWORK,
    SEEDS,
    SIZES,
    TRAINING,
    farthest,
    first_states,
    study,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from dgex_jax.config import TrainingConfig
    from dgex_jax.train.arrays import StudyArrays
    from dgex_jax.train.epoch import State
    from dgex_jax.train.run import EpochRecord

pytestmark = pytest.mark.usefixtures("quick_compilation")


ERRORS = st.sampled_from([np.nan, np.inf, 0.5, 0.25, 0.125]) | st.floats(1e-300, 2)
"""XLA takes denormals for 0."""
LENGTH = 8


@jax.jit
def best_of(errors: jax.Array) -> Any:
    """The best after each of `LENGTH` epochs, whose weights are their number."""

    def step(best: Best, epoch: jax.Array) -> tuple[Best, Best]:
        number, mae = epoch
        best = keep_best(best, mae, number, {"w": number.astype(np.float32)[None]})
        return best, best

    numbers = jax.numpy.arange(LENGTH, dtype=np.int32)
    nothing = Best(np.float64(np.inf), np.int32(-1), {"w": np.full(1, -1, np.float32)})
    return jax.lax.scan(step, jax.tree.map(jax.numpy.asarray, nothing), (numbers, errors))[1]


def train(arrays: StudyArrays, states: list[State], training: TrainingConfig, look: Any) -> None:
    train_group(arrays, [NETWORK], training, jax.local_devices()[:1], look, Progress([], states))


@examples(60)
@given(st.lists(ERRORS, min_size=LENGTH, max_size=LENGTH))
def test_nan_is_never_the_best_wherever_it_comes(errors: list[float]) -> None:
    """First, last or in between; nor does it keep a later epoch from being it."""
    with jax.enable_x64(True):
        found = jax.device_get(best_of(np.array(errors)))
    best, epoch = np.inf, -1
    for number, error in enumerate(errors):
        if error < best:
            best, epoch = error, number
        assert found.mae[number] == best
        assert found.epoch[number] == epoch
        assert found.params["w"][number] == [epoch]


def spoilt(arrays: StudyArrays, part: str, table: str, place: tuple[int, int], bad: float) -> Any:
    values = getattr(arrays, table)[part].copy()
    values[place] = bad
    return replace(arrays, **{table: {**getattr(arrays, table), part: values}})


@examples(12, shrink=False)
@given(
    part=st.sampled_from(PAPER.logged),
    table=st.sampled_from(["X", "Y"]),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    data=st.data(),
)
def test_an_error_that_is_no_number_ends_the_training_and_is_told(
    part: str, table: str, bad: float, data: Any
) -> None:
    """In any part, in the first epoch, and before anything is recorded or saved."""
    arrays = study(1)
    rows, columns = getattr(arrays, table)[part].shape
    place = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    # An infinite landmark only saturates tanh, so it takes one that isn't a number.
    bad = np.nan if table == "X" else bad
    seen: list[Any] = []
    bad_arrays = spoilt(arrays, part, table, place, bad)
    with pytest.raises(DivergedError) as told:
        train(bad_arrays, first_states(2), TRAINING, lambda row, _fetch: seen.append(row))
    text = str(told.value)
    assert seen == []
    assert "\n" not in text
    # A landmark is an input of both halves, a target of its own; what is trained on spoils no more.
    half = 2 if table == "Y" and place[1] >= HALF else 1
    assert f"half {half} are no longer finite after epoch 0 (counted from 0)" in text
    assert f"{NETWORK.name}: training diverged" in text
    assert "learning rate 0.02" in text


@examples(12, shrink=False)
@given(seed=SEEDS, exponent=st.floats(-2, 3))
def test_a_training_ends_finite_or_says_where_it_diverged(seed: int, exponent: float) -> None:
    """At any learning rate; until then each best is the smallest error, of finite weights."""
    training = replace(TRAINING, epochs=8, seed=seed, learning_rate=10.0**exponent)
    errors: list[NDArray[np.float64]] = []
    bests: list[State] = []

    def look(row: Sequence[EpochRecord], fetch: Callable[[], list[State]]) -> None:
        (record,) = row
        errors.append(record.errors)
        bests[:] = fetch()

    told = f"no longer finite after epoch {training.epochs} ("
    try:
        train(study(seed), first_states(seed, training), training, look)
    except DivergedError as error:
        told = str(error)
    assert f"no longer finite after epoch {len(errors)} (" in told
    assert np.isfinite(errors).all()
    for half, state in enumerate(bests):
        for part, column in (("va", 0), ("1000G", 2)):
            best, measured = state.best[part], np.array(errors)[:, half, column]
            assert best.epoch == measured.argmin()
            assert best.mae == measured.min()
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(best.params))


@pytest.mark.parametrize("part", ["va", "1000G"])
def test_weights_of_an_epoch_without_an_error_are_never_kept(part: str) -> None:
    """NaN, a number, NaN again: the epoch in the middle is the best, in the program itself."""
    arrays, devices = study(4), jax.local_devices()[:1]
    with jax.enable_x64(True):
        model = build_model(NETWORK, TRAINING, HALF)
        networks = place(stack(half_networks(arrays, [NETWORK], TRAINING), 1, -1, 1), devices)
        state = place(stack(first_states(4), 1, -1, 1), devices)
        order = place(np.arange(SIZES["tr"], dtype=np.int32)[None], devices)
        kept = []
        for one in (spoilt(arrays, part, "Y", (2, 1), np.nan), arrays) * 2:
            data, watched = device_data(one, TRAINING, devices)
            program = epoch_program(model, 0.5, TRAINING.batch_size, watched, tuple(devices))
            state, (errors, _) = program(state, networks, data, order)
            first_half, _ = unstack(state, 3)
            kept.append(first_half.best[part])
            is_nan = np.isnan(np.asarray(errors)[0, 0, 0, PAPER.logged.index(part)])
            assert is_nan == (one is not arrays)
    first, second, third, fourth = kept
    assert (int(first.epoch), float(first.mae)) == (-1, np.inf)
    assert not any(leaf.any() for leaf in jax.tree.leaves(first.params))
    assert int(second.epoch) == int(third.epoch) == 1
    assert farthest(third.params, second.params) == 0
    assert int(fourth.epoch) == 3
    assert float(fourth.mae) < float(third.mae) == float(second.mae)
