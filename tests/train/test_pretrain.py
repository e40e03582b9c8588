"""Hidden layers pretrained by denoising autoencoders: what they learn, and that runs stay exact."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.train import train as loop
from dgex_jax.train.pretrain import pretrained_hidden, reconstruction_error, train_layer
from dgex_jax.train.pylearn2 import Params, initial_weights
from dgex_jax.train.train import first_states
from tests.train.case import contents, devices, odd, run, same

if TYPE_CHECKING:
    from collections.abc import Callable


NETWORK = NetworkConfig(hidden_layers=2, units=8, dropout=0.1)
PLAIN = TrainingConfig(epochs=4, learning_rate=1e-2, monitor_size=300)
TRAINING = dataclasses.replace(PLAIN, pretrain="autoencoder", pretrain_epochs=60)

pytestmark = pytest.mark.usefixtures("quick_compilation")


def drawn(layers: int = 2) -> Params:
    return initial_weights(TRAINING.seed, 24, 20, layers, NETWORK.units)


@pytest.fixture(scope="module")
def hidden(halved_a) -> Callable[..., Params]:
    """Pretrain the layers of the recorded study, some settings changed."""

    @cache
    def pretrain(layers: int = 2, **changes: Any) -> Params:
        training = dataclasses.replace(TRAINING, **changes)
        return pretrained_hidden(halved_a.X["tr"], drawn(layers), training, devices(1)[0])

    return pretrain


def codes(params: Params, X: np.ndarray) -> list[np.ndarray]:
    """The inputs and the code of each hidden layer, float64."""
    found = [X.astype(np.float64)]
    for name in ("hidden1", "hidden2"):
        layer = params[name]
        found.append(np.tanh(found[-1] @ layer["kernel"] + layer["bias"]))
    return found


def unexplained(code: np.ndarray, values: np.ndarray, n_fitted: int) -> float:
    """Mean squared error, of the other profiles, of the best linear decoder of the first."""
    with_one = np.column_stack([code, np.ones(len(code))])
    decoder = np.linalg.lstsq(with_one[:n_fitted], values[:n_fitted], rcond=None)[0]
    return float(np.mean((with_one[n_fitted:] @ decoder - values[n_fitted:]) ** 2))


@pytest.mark.long
def test_codes_keep_more_of_the_landmarks_than_the_drawn_layers(halved_a, hidden) -> None:
    """With a decoder fitted anew for both, on profiles that pretraining never saw."""
    X = np.concatenate([halved_a.X[part] for part in ("tr", "va", "te")])
    for layer in (1, 2):
        ours, theirs = (
            unexplained(codes(one, X)[layer], X, len(halved_a.X["tr"]))
            for one in (hidden(), drawn())
        )
        assert ours < 0.9 * theirs


def test_reconstruction_error_falls(halved_a) -> None:
    with jax.enable_x64(False):
        X = jax.device_put(halved_a.X["tr"], devices(1)[0])
        below: tuple[Any, ...] = ()
        for name in ("hidden1", "hidden2"):
            layer, errors = train_layer(X, below, drawn()[name], TRAINING, jax.random.key(3))
            assert len(errors) == TRAINING.pretrain_epochs
            assert np.mean(errors[-5:]) < np.mean(errors[25:30]) < np.mean(errors[:5])
            below = (*below, layer)


def test_error_is_that_of_a_tanh_coder_with_a_decoder_of_its_own() -> None:
    rng = np.random.default_rng(1)
    inputs, corrupted = rng.normal(size=(2, 7, 5)).astype(np.float32)
    W, W2 = (rng.normal(size=shape).astype(np.float32) for shape in ((5, 3), (3, 5)))
    b, c = (rng.normal(size=n).astype(np.float32) for n in (3, 5))
    coder = {"encoder": {"kernel": W, "bias": b}, "decoder": {"kernel": W2, "bias": c}}
    error = reconstruction_error(coder, corrupted, inputs, jax.lax.Precision.HIGHEST)
    by_hand = np.mean((np.tanh(corrupted @ W + b) @ W2 + c - inputs) ** 2)
    np.testing.assert_allclose(error, by_hand, rtol=1e-5)


def test_layers_are_those_of_the_network_float32_on_the_host(hidden) -> None:
    layers = {name: layer for name, layer in drawn().items() if name != "output"}
    assert jax.tree.map(np.shape, hidden()) == jax.tree.map(np.shape, layers)
    for leaf in jax.tree.leaves(hidden()):
        assert isinstance(leaf, np.ndarray)
        assert leaf.dtype == np.float32
        assert np.isfinite(leaf).all()
    # The first layer does not know the second.
    same(hidden(1)["hidden1"], hidden(2)["hidden1"])


def differ(ours: Params, theirs: Params, name: str = "hidden1") -> bool:
    return bool((ours[name]["kernel"] != theirs[name]["kernel"]).any())


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"seed": 2}, True),
        ({"batch_size": 150}, True),
        ({"pretrain_epochs": 59}, True),
        ({"epochs": 9, "learning_rate": 0.5, "momentum": 0.0, "halves": 1}, False),
    ],
)
def test_settings_that_count(hidden, changes, counts) -> None:
    assert differ(hidden(1, **changes), hidden(1)) == counts
    if not counts:
        same(hidden(1, **changes), hidden(1))


@pytest.mark.long
def test_same_bits_with_and_without_64_bit_types_and_on_every_device(halved_a, hidden) -> None:
    for device in jax.local_devices():
        for x64 in (True, False):
            with jax.enable_x64(x64):
                again = pretrained_hidden(halved_a.X["tr"], drawn(1), TRAINING, device)
            same(again, hidden(1))


def test_more_profiles_a_batch_than_there_are_and_nothing_overwritten(halved_a) -> None:
    few, initial = halved_a.X["tr"][:30], drawn(1)
    before = jax.tree.map(np.copy, (few, initial))
    large, exact = (
        pretrained_hidden(
            few, initial, dataclasses.replace(TRAINING, batch_size=size), devices(1)[0]
        )
        for size in (200, 30)
    )
    same(large, exact)
    assert differ(large, initial)
    same((few, initial), before)


def test_halves_share_the_hidden_layers_and_keep_their_output_layers(
    halved_a, hidden, monkeypatch
) -> None:
    """Seen where the first epoch would begin, of two halves of two networks."""
    arrays = odd(halved_a)
    networks = [NETWORK, dataclasses.replace(NETWORK, dropout=0.25)]
    before = first_states(arrays, networks, TRAINING)

    class Seen(Exception):  # noqa: N818
        pass

    def look(states: Any, *_leading: int) -> None:
        raise Seen(states)

    monkeypatch.setattr(loop, "stack", look)
    for training in (PLAIN, TRAINING):
        with pytest.raises(Seen) as seen:
            loop.train_group(arrays, networks, training, devices(1))
        (after,) = seen.value.args
        for old, new in zip(before, after, strict=True):
            layers = {} if training is PLAIN else hidden()
            same(new, old.replace(params=old.params | layers))


@pytest.mark.long
def test_one_device_and_two_give_the_same_bits(halved_a, train) -> None:
    one, two = (train(halved_a, NETWORK, TRAINING, n) for n in (1, 2))
    np.testing.assert_array_equal(one.errors, two.errors)
    for half, other in zip(one.halves, two.halves, strict=True):
        same(half.final, other.final)


def test_training_starts_from_what_was_pretrained(halved_a, train) -> None:
    """From the first epoch on it is another training, and it learns."""
    ours, plain = (train(halved_a, NETWORK, training).errors for training in (TRAINING, PLAIN))
    assert (np.abs(ours[0] - plain[0]) > 1e-4).all()
    assert (ours[-1][:, 0] < ours[0][:, 0]).all()


def test_a_resumed_run_equals_a_straight_one_and_pretrains_once(
    study, tmp_path, monkeypatch
) -> None:
    calls = []

    def counted(*arguments: Any) -> Params:
        calls.append(1)
        return pretrained_hidden(*arguments)

    monkeypatch.setattr(loop, "pretrained_hidden", counted)
    straight, resumed = tmp_path / "straight" / "run", tmp_path / "resumed" / "run"
    run(study, [NETWORK], TRAINING, [straight])
    assert len(calls) == 1
    for stop in (1, 3, None):
        run(study, [NETWORK], TRAINING, [resumed], stop)
    assert len(calls) == 2
    assert contents(resumed) == contents(straight)
    config = json.loads((straight / "config.json").read_text())
    assert config["training"]["pretrain"] == "autoencoder"
    assert config["training"]["pretrain_epochs"] == 60
