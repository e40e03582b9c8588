"""Arrays and devices, and the loop: groups, halves, padding, donation, divergence, compilations."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgex_jax.config import GridConfig, NetworkConfig, TrainingConfig
from dgex_jax.errors import DivergedError, StudyError
from dgex_jax.parts import ARRAYS_ALONE, OF_COMPENDIUM
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train import epoch
from dgex_jax.train import network as network_module
from dgex_jax.train import train as loop
from dgex_jax.train.arrays import StudyArrays, load_arrays
from dgex_jax.train.devices import (
    choose_devices,
    cpu_devices,
    place,
    replicate,
    share_cpu,
    stack,
    unstack,
)
from dgex_jax.train.epoch import epoch_program, gene_errors_program
from dgex_jax.train.train import build_model, initial_states, train_group
from tests.train.case import devices, farthest, odd, same

if TYPE_CHECKING:
    from collections.abc import Callable

    from dgex_jax.train.run import EpochRecord

    Around = Callable[..., Any]

NETWORK = NetworkConfig(1, 8, 0.25)
TRAINING = TrainingConfig(epochs=3, learning_rate=1e-2, monitor_size=300)
RATES = (0.0, 0.1, 0.25)
GROUP = [NetworkConfig(2, 10, rate) for rate in RATES]
LONG = replace(TRAINING, epochs=12)
APART = NetworkConfig(1, 48, 0.0)
APART_TRAINING = replace(TRAINING, epochs=60, learning_rate=1.2e-2)
KINDS = ("final", "best", "best_epoch")
quickly = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def around_epochs(monkeypatch) -> Callable[[Around], None]:
    """Run the program of an epoch by a function of it and its arguments."""

    def wrap(around: Around) -> None:
        monkeypatch.setattr(
            loop, "epoch_program", lambda *static: partial(around, epoch_program(*static))
        )

    return wrap


# Arrays and devices


def test_arrays_are_float32_of_the_file(golden, study_a) -> None:
    with np.load(golden / "study_a.npz") as file:
        for name, arrays in (("X", study_a.X), ("Y", study_a.Y)):
            for part in study_a.parts:
                assert arrays[part].dtype == np.float32
                expected = file[f"{name}_{part}"].astype(np.float32)
                np.testing.assert_array_equal(arrays[part], expected)
    assert study_a.n_landmarks == 24


def test_halves_divide_the_targets(study_a, halved_a) -> None:
    assert (study_a.half_sizes(), halved_a.half_sizes()) == ([40], [20, 20])
    for part in study_a.parts:
        columns = [halved_a.half(part, index, 20) for index in (0, 1)]
        np.testing.assert_array_equal(np.concatenate(columns, axis=1), study_a.Y[part])
    padded = odd(study_a).half("va", 0, 20)
    assert (padded.shape, padded.dtype) == ((150, 20), np.float32)
    np.testing.assert_array_equal(padded[:, :19], study_a.Y["va"][:, :19])
    assert not padded[:, 19:].any()


def test_one_target_makes_no_two_halves(golden, tmp_path) -> None:
    with np.load(golden / "study_a.npz") as file:
        arrays = {name: file[name][:, :1] if name[0] == "Y" else file[name] for name in file}
    np.savez(tmp_path / "narrow.npz", **arrays)
    with open_prepared(tmp_path / "narrow.npz") as study:
        assert load_arrays(study, 1).half_sizes() == [1]
        with pytest.raises(StudyError, match=r"narrow\.npz: 1 target makes no 2 halves; take 1"):
            load_arrays(study, 2)


@pytest.mark.parametrize(
    ("present", "gpus", "halves", "networks", "sizes", "cause"),
    [
        (2, None, 2, 1, [2], None),
        (2, 2, 2, 1, [2], None),
        (1, None, 2, 5, [1], None),
        (8, None, 2, 1, [2], None),
        (8, None, 1, 1, [1], None),
        (2, 1, 2, 9, [1], None),
        (4, 4, 2, 9, [2, 2], None),
        (8, 3, 2, 9, [2, 1], None),
        (8, None, 2, 3, [2, 2, 2], None),
        (4, None, 1, 9, [1, 1, 1, 1], None),
        (1, 2, 2, 9, [1], "1 here"),
        (4, 4, 2, 1, [2], "1 network(s) of 2 half/halves to train"),
        (4, 2, 1, 1, [1], "1 network(s) of 1 half/halves to train"),
    ],
)
def test_each_set_trains_a_network_a_half_on_each_device(
    monkeypatch, present, gpus, halves, networks, sizes, cause
) -> None:
    machine = [SimpleNamespace(platform="gpu", id=number) for number in range(present)]
    monkeypatch.setattr(jax, "local_devices", lambda: machine)
    sets, note = choose_devices(gpus, halves, networks)
    assert [len(each) for each in sets] == sizes
    assert [device for each in sets for device in each] == machine[: sum(sizes)]
    told = None if cause is None else f"{gpus} GPUs asked for, {cause}: training on {sizes[0]}"
    assert note == told


@pytest.mark.parametrize("gpus", [1, 2, 4])
def test_gpus_asked_for_where_there_are_none(monkeypatch, gpus) -> None:
    """The CPU trains instead, and says so."""
    machine = [SimpleNamespace(platform="cpu", id=number) for number in range(2)]
    monkeypatch.setattr(jax, "local_devices", lambda: machine)
    note = f"{gpus} GPU(s) asked for, none here: training on 2 CPU device(s)"
    assert choose_devices(gpus, 2) == ([tuple(machine)], note)


@pytest.mark.parametrize(
    ("gpus", "halves", "cores", "expected"),
    [(None, 2, 8, 2), (2, 2, 1, 2), (4, 2, 8, 4), (4, 2, 2, 2), (None, 1, 8, 1), (6, 1, 4, 4)],
)
def test_cpu_devices(monkeypatch, gpus, halves, cores, expected) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert cpu_devices(gpus, halves) == expected


def test_sharing_the_cpu_late_does_no_harm() -> None:
    present = jax.local_devices()
    for n in (1, 2, 3):
        share_cpu(n)
        assert jax.local_devices() == present


@pytest.mark.parametrize("n_devices", [1, 2])
def test_stack_and_back(n_devices) -> None:
    trees = [{"w": np.full((2, 3), i, np.float32), "n": np.int32(i)} for i in range(4)]
    stacked = stack(trees, n_devices, -1)
    assert stacked["w"].shape == (n_devices, 4 // n_devices, 2, 3)
    assert stacked["n"].shape == (n_devices, 4 // n_devices)
    placed = place(stacked, devices(n_devices))
    assert {one.device for one in placed["w"].addressable_shards} == set(devices(n_devices))
    for tree, back in zip(trees, unstack(placed, 2), strict=True):
        same(back, tree)
        assert isinstance(back["w"], np.ndarray)
        assert back["w"].dtype == np.float32


def test_replicating_takes_no_memory() -> None:
    leaf = np.arange(6, dtype=np.float32).reshape(2, 3)
    repeated = replicate({"x": leaf}, 2)["x"]
    assert np.shares_memory(repeated, leaf)
    np.testing.assert_array_equal(repeated, [leaf, leaf])


# The start


def test_initial_states_need_no_program() -> None:
    """Each would be compiled at every start: at a shape no other test uses, none is found ready."""
    names: list[str] = []
    compiled = "/jax/core/compile/backend_compile_duration"
    # JAX has no way to take one listener away again; this one costs nothing.
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, _seconds, **_: names.append(name)
    )
    X, Y = ({"tr": np.zeros((5, n), np.float32)} for n in (7, 43))
    arrays = StudyArrays(X, Y, (slice(0, 21), slice(21, 43)), ARRAYS_ALONE)
    with jax.enable_x64(True):
        initial_states(arrays, NetworkConfig(2, 37, 0.1), TrainingConfig())
        assert compiled not in names
        jax.numpy.zeros((37, 43, 41)).block_until_ready()
    assert compiled in names


def test_first_epoch_comes_before_what_only_results_need(golden, tmp_path) -> None:
    code = """
import sys
from dgex_jax.train import run
append = run.RunLog.append
def look(self, record):
    append(self, record)
    print(sorted({"pandas", "sklearn", "scipy", "zarr", "anndata"} & sys.modules.keys()))
run.RunLog.append = look
from dgex_jax.cli import main
sys.exit(main())
"""
    words = ["train", str(golden / "study_a.npz"), "-o", str(tmp_path / "run"), "-q"]
    small = ["--epochs", "1", "--hidden-layers", "1", "--units", "4"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words, *small],
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[0] == "[]"


def test_halves_share_their_seed_and_narrow_ones_are_padded(halved_a) -> None:
    """Both start from the same weights (the original gives both the same seed)."""
    first, second = initial_states(halved_a, NETWORK, TRAINING)
    same(first.params, second.params)
    narrow, wide = initial_states(odd(halved_a), NETWORK, TRAINING)
    kernel = narrow.params["output"]["kernel"]
    assert kernel.shape == wide.params["output"]["kernel"].shape == (8, 20)
    assert kernel[:, :19].all()
    assert not kernel[:, 19:].any()


@pytest.mark.parametrize("precision", ["highest", "tf32"])
def test_network_gets_the_configurations_shape_and_precision(precision) -> None:
    model = build_model(NetworkConfig(3, 8, 0.1), replace(TRAINING, precision=precision), 5)
    assert (model.hidden_layers, model.units, model.n_targets) == (3, 8, 5)
    assert model.precision == precision


# The loop


@quickly
def test_float64_stays_inside_the_training(halved_a) -> None:
    """Another thread sees float32 while an epoch runs, and so does everyone afterwards."""
    elsewhere: list[Any] = []

    def look() -> None:
        elsewhere.append(jnp.asarray(np.float64(1)).dtype)

    def on_epoch(*_: Any) -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    train_group(odd(halved_a), [NETWORK], TRAINING, devices(1), on_epoch)
    assert elsewhere == [jnp.float32] * 3
    assert not jax.config.jax_enable_x64
    assert jnp.asarray(np.float64(1)).dtype == jnp.float32


@quickly
def test_state_is_donated_and_padding_stays_zero(halved_a, train, around_epochs) -> None:
    states = []

    def watch(program: Around, state: Any, *others: Any) -> Any:
        new, measured = program(state, *others)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
        # A copy, because a view of the new state would keep the next epoch from taking it over.
        states.append(jax.tree.map(np.array, new))
        return new, measured

    around_epochs(watch)
    assert train(odd(halved_a), NETWORK, TRAINING).errors.dtype == np.float64
    assert len(states) == 3
    for after in states:
        params = [after.params, *(best.params for best in after.best.values())]
        assert len(params) == 3
        velocity = [leaf for leaf in jax.tree.leaves(after.velocity) if leaf.shape[-1] == 20]
        assert len(velocity) == 2
        for leaf in [*velocity, *(p["output"][kind] for p in params for kind in p["output"])]:
            assert leaf.dtype == np.float32
            (narrow,), (wide,) = leaf[0]
            assert not narrow[..., 19:].any()
            assert wide.all()


@quickly
def test_compiled_once_for_every_rate_and_seed(halved_a, train, monkeypatch) -> None:
    """Dropout rates, learning rates and seeds are data, so that a grid compiles once a shape."""
    traces = []
    genuine = epoch.run_epoch

    def counted(*arguments: Any, **named: Any) -> Any:
        traces.append(1)
        return genuine(*arguments, **named)

    program = lru_cache(epoch_program.__wrapped__)
    monkeypatch.setattr(loop, "epoch_program", program)
    monkeypatch.setattr(epoch, "run_epoch", counted)
    first = train(halved_a, NETWORK, TRAINING)
    after_first = len(traces)
    assert after_first > 0
    others = [
        train(halved_a, replace(NETWORK, dropout=0.0), TRAINING),
        train(halved_a, replace(NETWORK, dropout=0.5), replace(TRAINING, learning_rate=5e-3)),
        train(halved_a, NETWORK, replace(TRAINING, seed=2)),
    ]
    again = train(halved_a, NETWORK, TRAINING)
    assert len(traces) == after_first
    assert program.cache_info().misses == 1
    # None of them was ignored, and the same training repeats itself to the bit.
    assert all(not np.array_equal(first.errors, other.errors) for other in others)
    np.testing.assert_array_equal(first.errors, again.errors)
    same(first.halves[1].final, again.halves[1].final)


@pytest.mark.long
def test_one_compilation_an_architecture(halved_a, caplog) -> None:
    """Counted by the compiler itself: the epoch, and the errors of the best epochs, once each."""
    epoch_program.cache_clear()
    gene_errors_program.cache_clear()

    def compiled() -> int:
        # What pmap compiles is called _fun.
        lines = [one for one in caplog.messages if one.startswith("Finished XLA compilation")]
        return sum("jit(_fun)" in line for line in lines)

    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        for network in GROUP:
            train_group(halved_a, [replace(network, units=11)], TRAINING, devices(1))
        assert compiled() == 2
        train_group(halved_a, [NetworkConfig(1, 11, 0.1)], TRAINING, devices(1))
        assert compiled() == 4


@pytest.mark.long
@pytest.mark.parametrize("n_devices", [1, 2])
def test_nothing_is_transferred_behind_the_loops_back(halved_a, around_epochs, n_devices) -> None:
    """Every epoch runs on what lies on the devices already."""
    guarded = []

    def guard(program: Around, *inputs: Any) -> Any:
        with jax.transfer_guard("disallow"):
            guarded.append(1)
            return program(*inputs)

    around_epochs(guard)
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match=r"(?i)disallow"):
        jax.jit(lambda x: x + 1)(np.ones(3, np.float32))
    train_group(halved_a, [NETWORK], LONG, devices(n_devices))
    assert len(guarded) == LONG.epochs


@quickly
def test_divergence_names_epoch_rate_and_half(halved_a, train) -> None:
    with pytest.raises(DivergedError) as caught:
        train(halved_a, NETWORK, replace(TRAINING, epochs=60, learning_rate=50.0))
    text = str(caught.value)
    assert "\n" not in text
    found = re.search(r"half 1 .* epoch (\d+) .* learning rate (\d+(?:\.\d+)?)", text)
    assert found is not None
    assert int(found[1]) < 60
    # 50, or what is left of it after the decays by then.
    assert float(found[2]) in {float(f"{50 * 0.9**n:.3g}") for n in range(60)}
    assert not jax.config.jax_enable_x64


@quickly
def test_divergence_of_the_second_half_alone(halved_a, train) -> None:
    scale = np.where(np.arange(40) < 20, 1.0, 1e30).astype(np.float32)
    arrays = replace(halved_a, Y={part: Y * scale for part, Y in halved_a.Y.items()})
    with pytest.raises(DivergedError, match=r"half 2 .* epoch 0 .* learning rate 0\.01"):
        train(arrays, NETWORK, TRAINING)


@pytest.mark.long
def test_missing_parts_change_nothing_of_the_others(halved_a, train) -> None:
    """With and without RNA-seq: the same errors on GEO, the same best on GEO."""
    geo = StudyArrays(
        {part: halved_a.X[part] for part in OF_COMPENDIUM},
        {part: halved_a.Y[part] for part in OF_COMPENDIUM},
        halved_a.halves,
        ARRAYS_ALONE,
    )
    five, three = (train(arrays, NETWORK, TRAINING) for arrays in (halved_a, geo))
    assert (five.errors.shape, three.errors.shape) == ((3, 2, 5), (3, 2, 3))
    assert np.isfinite(five.errors).all()
    kept = [0, 1, 4]
    np.testing.assert_allclose(three.errors, five.errors[..., kept], rtol=0, atol=1e-6)
    assert set(three.gene_errors) == {"va", "te"}
    for half, other in zip(three.halves, five.halves, strict=True):
        assert half.best_epoch == {"va": other.best_epoch["va"]}
        assert half.best.keys() == {"va"}
    for part, errors in three.gene_errors.items():
        np.testing.assert_allclose(errors, five.gene_errors[part], atol=1e-5)


@pytest.mark.long
def test_masks_are_fresh_for_every_layer_batch_epoch_and_half(halved_a, train, monkeypatch) -> None:
    """The masks that a training really multiplies by; none in the errors."""
    drawn: list[Any] = []
    genuine = network_module.mask

    def watched(key: jax.Array, include: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        values = genuine(key, include, shape)
        jax.debug.callback(lambda mask: drawn.append(np.array(mask)), values)
        return values

    monkeypatch.setattr(network_module, "mask", watched)
    # Compiled anew with it, and none of it kept.
    monkeypatch.setattr(loop, "epoch_program", lru_cache(epoch_program.__wrapped__))
    # Three epochs, so that masks which only change places from one to the next are seen.
    training = TrainingConfig(epochs=3, batch_size=500, monitor_size=300)
    train(halved_a, NetworkConfig(2, 8, 0.25), training)
    jax.effects_barrier()
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


# Halves


def same_halves(ours: Any, theirs: Any) -> None:
    for half, other in zip(ours, theirs, strict=True):
        for kind in KINDS:
            same(getattr(half, kind), getattr(other, kind))


@pytest.fixture(scope="module")
def both(halved_a, train) -> Any:
    """Both halves in one stack on one device."""
    return train(halved_a, APART, APART_TRAINING)


@pytest.mark.parametrize("dropout", [pytest.param(0.0, marks=pytest.mark.long), 0.25])
def test_one_device_and_two_give_the_same_bits(halved_a, train, dropout) -> None:
    one, two = (train(halved_a, replace(APART, dropout=dropout), APART_TRAINING, n) for n in (1, 2))
    np.testing.assert_array_equal(one.errors, two.errors)
    np.testing.assert_array_equal(one.rates, two.rates)
    same_halves(one.halves, two.halves)


@pytest.mark.long
def test_each_halfs_weights_live_on_its_own_device(halved_a, around_epochs) -> None:
    seen = []

    def watch(program: Around, state: Any, *others: Any) -> Any:
        new, measured = program(state, *others)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
        shards = [leaf.addressable_shards for leaf in jax.tree.leaves(new)]
        seen.extend({one.device: one.data.shape[:3] for one in each} for each in shards)
        return new, measured

    around_epochs(watch)
    train_group(halved_a, [NETWORK], TRAINING, devices(2))
    assert len(seen) > 3
    # One half on each: (its device's slice, halves there, networks side by side, …).
    assert all(shards == dict.fromkeys(devices(2), (1, 1, 1)) for shards in seen)


def test_each_half_trains_as_if_alone(halved_a, train, both) -> None:
    """To the bit: the network beside it changes nothing."""
    for index, half in enumerate(halved_a.halves):
        alone = train(replace(halved_a, halves=(half,)), APART, APART_TRAINING)
        np.testing.assert_array_equal(alone.errors[:, 0], both.errors[:, index])
        np.testing.assert_array_equal(alone.rates[:, 0], both.rates[:, index])
        same(alone.halves[0].final, both.halves[index].final)


def test_each_half_has_its_own_rate_and_best_epochs(both) -> None:
    assert not np.array_equal(both.rates[:, 0], both.rates[:, 1])
    bests = [(half.best_epoch["va"], half.best_epoch["1000G"]) for half in both.halves]
    assert bests == [tuple(both.errors[:, half].argmin(axis=0)[[0, 2]]) for half in (0, 1)]
    assert bests[0] != bests[1]


@pytest.mark.long
def test_odd_number_of_targets(halved_a, train) -> None:
    """The narrower half is padded, and learns what it learns alone, without padding."""
    arrays = odd(halved_a)
    padded = train(arrays, APART, APART_TRAINING)
    for index, (half, size) in enumerate(zip(arrays.halves, (19, 20), strict=True)):
        alone = train(replace(arrays, halves=(half,)), APART, APART_TRAINING)
        (mine,), ours = alone.halves, padded.halves[index]
        assert ours.final["output"]["kernel"].shape == (48, size)
        assert ours.final["output"]["bias"].shape == (size,)
        np.testing.assert_allclose(padded.errors[:, index], alone.errors[:, 0], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(padded.rates[:, index], alone.rates[:, 0])
        assert ours.best_epoch == mine.best_epoch
        assert farthest(ours.final, mine.final) < 1e-5


# Networks side by side


def group(arrays: StudyArrays, n_devices: int) -> tuple[list[list[EpochRecord]], Any]:
    """Three dropout rates in one batched program."""
    rows: list[list[EpochRecord]] = []
    trained = train_group(
        arrays, GROUP, LONG, devices(n_devices), lambda row, _: rows.append(list(row))
    )
    return rows, trained


@pytest.fixture(scope="module")
def together(halved_a) -> tuple[list[list[EpochRecord]], Any]:
    return group(halved_a, 1)


@pytest.mark.long
def test_side_by_side_agrees_with_alone(halved_a, train, together) -> None:
    rows, trained = together
    assert len(trained) == 3
    for number, network in enumerate(GROUP):
        alone = train(halved_a, network, LONG)
        errors = np.stack([row[number].errors for row in rows])
        np.testing.assert_allclose(errors, alone.errors, rtol=0, atol=1e-6)
        rates = np.stack([row[number].learning_rates for row in rows])
        np.testing.assert_array_equal(rates, alone.rates)
        for part, ours in trained[number].gene_errors.items():
            np.testing.assert_allclose(ours, alone.gene_errors[part], rtol=0, atol=1e-6)
        for mine, theirs in zip(trained[number].halves, alone.halves, strict=True):
            assert mine.best_epoch == theirs.best_epoch
    # They are three networks, not one three times.
    assert len({tuple(row.errors[:, 0]) for row in rows[-1]}) == 3


@pytest.mark.long
def test_side_by_side_on_two_devices_gives_the_same_bits(halved_a, together) -> None:
    rows, trained = group(halved_a, 2)
    for ours, theirs in zip(rows, together[0], strict=True):
        same([one.errors for one in ours], [one.errors for one in theirs])
    for one, other in zip(trained, together[1], strict=True):
        same_halves(one.halves, other.halves)


def test_groups_depend_on_the_study_alone() -> None:
    grid = GridConfig(hidden_layers=(1, 2), units=(8, 16), dropout=RATES, side_by_side=8)
    narrow = [tuple(NetworkConfig(layers, 8, rate) for rate in RATES) for layers in (1, 2)]
    for rates in (RATES, (0.1,)):
        groups = grid.groups(rates)
        assert [each for each in groups if len(each) > 1] == narrow
        wide = [(NetworkConfig(layers, 16, rate),) for layers in (1, 2) for rate in rates]
        assert [each for each in groups if len(each) == 1] == wide
