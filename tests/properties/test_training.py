"""Training: which order genes stand in, on how many devices, how often cut short, and never by NaN.

Reordered genes are added up in another order (landmarks in the first layer, targets where errors
are sent back), so float32 weights then agree up to rounding and not to the bit. Devices and stops
change no bit at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.errors import DivergedError
from dgex_jax.training.arrays import StudyArrays
from dgex_jax.training.checkpoint import Checkpoints
from dgex_jax.training.devices import epoch_program, gene_errors_program, place, stack, unstack
from dgex_jax.training.epoch import PARTS, Best, keep_best
from dgex_jax.training.loop import EpochRecord, Progress, TrainedNetwork, train_group
from dgex_jax.training.start import build_model, device_data, half_networks, initial_states
from tests.properties.inputs import examples, permutations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.training.epoch import State

LANDMARKS, TARGETS, UNITS, HALF = 5, 8, 6, 4
SIZES = {"tr": 47, "va": 9, "te": 5, "1000G": 8, "GTEx": 6}
NETWORK = NetworkConfig(2, UNITS, 0.0)
TRAINING = TrainingConfig(epochs=3, batch_size=20, learning_rate=2e-2, monitor_size=12)
CLOSE = 5e-6
SEEDS = st.integers(0, 2**20)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """Compile in half the time; the programs are dropped, as others compare theirs bit by bit."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    epoch_program.cache_clear()
    gene_errors_program.cache_clear()


@dataclass(frozen=True)
class Trained:
    """A training and what it told after each epoch."""

    network: TrainedNetwork
    records: list[EpochRecord]


def study(seed: int) -> StudyArrays:
    """Profiles whose targets can be learnt; 47 = 2 batches of 20 and one of 7."""
    rng = np.random.default_rng(seed)
    X = {part: rng.normal(size=(n, LANDMARKS)).astype(np.float32) for part, n in SIZES.items()}
    mixing = rng.normal(size=(LANDMARKS, TARGETS))
    Y = {
        part: (np.tanh(x @ mixing) + 0.3 * rng.normal(size=(len(x), TARGETS))).astype(np.float32)
        for part, x in X.items()
    }
    return StudyArrays(X, Y, (slice(0, HALF), slice(HALF, TARGETS)))


def first_states(seed: int, training: TrainingConfig = TRAINING) -> list[State]:
    """Networks away from the original's start, whose output weights are next to nothing."""
    rng = np.random.default_rng(seed)
    return [
        state.replace(  # type: ignore[attr-defined]
            params=jax.tree.map(
                lambda leaf: (0.5 * rng.normal(size=leaf.shape)).astype(np.float32), state.params
            )
        )
        for state in initial_states(study(0), NETWORK, training)
    ]


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


def farthest(ours: Any, theirs: Any) -> float:
    distances = jax.tree.map(lambda a, b: np.abs(np.float64(a) - b).max(), ours, theirs)
    return float(max(jax.tree.leaves(distances)))


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


ERRORS = st.sampled_from([np.nan, np.inf, 0.5, 0.25, 0.125]) | st.floats(1e-300, 2)
"""XLA takes denormals for 0."""
LENGTH = 8


@cache
def best_of() -> Any:
    """The best after each of `LENGTH` epochs, whose weights are their number."""

    def step(best: Best, epoch: jax.Array) -> tuple[Best, Best]:
        number, mae = epoch
        best = keep_best(best, mae, number, {"w": number.astype(np.float32)[None]})
        return best, best

    def run(errors: jax.Array) -> Any:
        numbers = jax.numpy.arange(LENGTH, dtype=np.int32)
        nothing = Best(np.float64(np.inf), np.int32(-1), {"w": np.full(1, -1, np.float32)})
        return jax.lax.scan(step, jax.tree.map(jax.numpy.asarray, nothing), (numbers, errors))[1]

    return jax.jit(run)


@examples(60)
@given(st.lists(ERRORS, min_size=LENGTH, max_size=LENGTH))
def test_nan_is_never_the_best_wherever_it_comes(errors: list[float]) -> None:
    """First, last or in between; nor does it keep a later epoch from being it."""
    with jax.enable_x64(True):
        found = jax.device_get(best_of()(np.array(errors)))
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
    part=st.sampled_from(PARTS),
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
    with pytest.raises(DivergedError) as told:
        train_group(
            spoilt(arrays, part, table, place, bad),
            [NETWORK],
            TRAINING,
            jax.local_devices()[:1],
            lambda row, _fetch: seen.append(row),
            Progress([], first_states(2)),
        )
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
        train_group(
            study(seed), [NETWORK], training, jax.local_devices()[:1], look,
            Progress([], first_states(seed, training)),
        )  # fmt: skip
    except DivergedError as error:
        told = str(error)
    assert f"no longer finite after epoch {len(errors)} (" in told
    assert np.isfinite(errors).all()
    for half, state in enumerate(bests):
        for best, column in ((state.best_va, 0), (state.best_1000G, 2)):
            measured = np.array(errors)[:, half, column]
            assert best is not None
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
            data, sizes = device_data(one, TRAINING, devices)
            program = epoch_program(model, 0.5, TRAINING.batch_size, sizes, tuple(devices))
            state, (errors, _) = program(state, networks, data, order)
            first_half, _ = unstack(state, 3)
            kept.append({"va": first_half.best_va, "1000G": first_half.best_1000G}[part])
            is_nan = np.isnan(np.asarray(errors)[0, 0, 0, PARTS.index(part)])
            assert is_nan == (one is not arrays)
    first, second, third, fourth = kept
    assert (int(first.epoch), float(first.mae)) == (-1, np.inf)
    assert not any(leaf.any() for leaf in jax.tree.leaves(first.params))
    assert int(second.epoch) == int(third.epoch) == 1
    assert farthest(third.params, second.params) == 0
    assert int(fourth.epoch) == 3
    assert float(fourth.mae) < float(third.mae) == float(second.mae)
