"""Hidden layers pretrained by denoising autoencoders: what they learn, and that runs stay exact."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.data.prepared import Prepared, open_prepared
from dgex_jax.errors import Stopped
from dgex_jax.training import start
from dgex_jax.training.arrays import StudyArrays, load_arrays
from dgex_jax.training.loop import first_states, train_group
from dgex_jax.training.pretrain import pretrained_hidden, reconstruction_error, train_layer
from dgex_jax.training.pylearn2 import Params, initial_weights
from dgex_jax.training.run import Conduct, train_runs
from dgex_jax.training.start import pretrained_states
from dgex_jax.training.stopping import StopRequest

GOLDEN = Path(__file__).parents[1] / "golden"
NETWORK = NetworkConfig(hidden_layers=2, units=8, dropout=0.1)
PLAIN = TrainingConfig(epochs=4, learning_rate=1e-2, monitor_size=300)
TRAINING = dataclasses.replace(PLAIN, pretrain="autoencoder", pretrain_epochs=60)

pytestmark = pytest.mark.usefixtures("quick_compilation")


def study() -> Prepared:
    return open_prepared(GOLDEN / "study_a.npz")


@cache
def arrays() -> StudyArrays:
    with study() as opened:
        return load_arrays(opened, 2)


@cache
def drawn(layers: int = 2) -> Params:
    return initial_weights(TRAINING.seed, arrays().n_landmarks, 20, layers, NETWORK.units)


@cache
def hidden(layers: int = 2, **changes: Any) -> Params:
    training = dataclasses.replace(TRAINING, **changes)
    return pretrained_hidden(arrays().X["tr"], drawn(layers), training, jax.local_devices()[0])


def codes(params: Params, X: np.ndarray) -> list[np.ndarray]:
    """The inputs and the code of each hidden layer, float64."""
    found = [X.astype(np.float64)]
    for name in ("hidden1", "hidden2"):
        layer = params[name]
        found.append(np.tanh(found[-1] @ layer["kernel"] + layer["bias"]))
    return found


def unexplained(code: np.ndarray, values: np.ndarray, others: slice, fitted: slice) -> float:
    """Mean squared error on `others` of the best linear decoder of `fitted` profiles."""
    with_one = np.column_stack([code, np.ones(len(code))])
    decoder = np.linalg.lstsq(with_one[fitted], values[fitted], rcond=None)[0]
    return float(np.mean((with_one[others] @ decoder - values[others]) ** 2))


@pytest.mark.long
def test_codes_keep_more_of_the_landmarks_than_the_drawn_layers() -> None:
    """With a decoder fitted anew for both, on profiles that pretraining never saw."""
    X = np.concatenate([arrays().X[part] for part in ("tr", "va", "te")])
    n_train = len(arrays().X["tr"])
    for layer in (1, 2):
        ours, theirs = (
            unexplained(codes(one, X)[layer], X, slice(n_train, None), slice(0, n_train))
            for one in (hidden(), drawn())
        )
        assert ours < 0.9 * theirs


def test_reconstruction_error_falls() -> None:
    with jax.enable_x64(False):
        X = jax.device_put(arrays().X["tr"], jax.local_devices()[0])
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


def test_layers_are_those_of_the_network_float32_on_the_host() -> None:
    assert list(hidden()) == ["hidden1", "hidden2"]
    for name, layer in hidden().items():
        for kind in ("kernel", "bias"):
            assert isinstance(layer[kind], np.ndarray)
            assert layer[kind].dtype == np.float32
            assert layer[kind].shape == drawn()[name][kind].shape
            assert np.isfinite(layer[kind]).all()


def differ(ours: Params, theirs: Params, name: str) -> bool:
    return bool((ours[name]["kernel"] != theirs[name]["kernel"]).any())


@pytest.mark.parametrize(
    ("key", "value"), [("seed", 2), ("batch_size", 150), ("pretrain_epochs", 59)]
)
def test_settings_that_count(key: str, value: int) -> None:
    assert differ(hidden(1, **{key: value}), hidden(1), "hidden1")


@pytest.mark.parametrize(
    ("key", "value"), [("epochs", 9), ("learning_rate", 0.5), ("momentum", 0.0), ("halves", 1)]
)
def test_settings_that_do_not(key: str, value: float) -> None:
    jax.tree.map(np.testing.assert_array_equal, hidden(1, **{key: value}), hidden(1))


def test_first_layer_does_not_know_the_second() -> None:
    jax.tree.map(np.testing.assert_array_equal, hidden(1)["hidden1"], hidden(2)["hidden1"])


@pytest.mark.long
def test_same_bits_with_and_without_64_bit_types_and_on_every_device() -> None:
    for device in jax.local_devices():
        for x64 in (True, False):
            with jax.enable_x64(x64):
                again = pretrained_hidden(arrays().X["tr"], drawn(1), TRAINING, device)
            jax.tree.map(np.testing.assert_array_equal, again, hidden(1))


def test_more_profiles_a_batch_than_there_are() -> None:
    few = arrays().X["tr"][:30]
    large, exact = (
        pretrained_hidden(
            few, drawn(1), dataclasses.replace(TRAINING, batch_size=size), jax.local_devices()[0]
        )
        for size in (200, 30)
    )
    jax.tree.map(np.testing.assert_array_equal, large, exact)
    assert differ(large, drawn(), "hidden1")


def test_halves_share_the_hidden_layers_and_keep_their_output_layers() -> None:
    odd = StudyArrays(
        arrays().X,
        {part: Y[:, :39] for part, Y in arrays().Y.items()},
        (slice(0, 19), slice(19, 39)),
    )
    networks = [NETWORK, dataclasses.replace(NETWORK, dropout=0.25)]
    before = first_states(odd, networks, TRAINING)
    after = pretrained_states(before, odd, TRAINING, jax.local_devices()[0])
    assert len(after) == 4
    for old, new in zip(before, after, strict=True):
        for name in ("hidden1", "hidden2"):
            assert differ(new.params, old.params, name)
            jax.tree.map(np.testing.assert_array_equal, new.params[name], after[0].params[name])
        rest = [one.replace(params=one.params["output"]) for one in (old, new)]
        jax.tree.map(np.testing.assert_array_equal, *rest)
        assert jax.tree.structure(old) == jax.tree.structure(new)


def test_weights_to_start_from_are_not_overwritten() -> None:
    X, initial = arrays().X["tr"][:40], initial_weights(1, 24, 20, 1, 64)
    before = jax.tree.map(np.copy, (X, initial))
    pretrained_hidden(X, initial, TRAINING, jax.local_devices()[0])
    jax.tree.map(np.testing.assert_array_equal, (X, initial), before)


def test_without_pretraining_nothing_is_touched() -> None:
    states = first_states(arrays(), [NETWORK], PLAIN)
    assert pretrained_states(states, arrays(), PLAIN, jax.local_devices()[0]) is states


@cache
def trained(pretrain: str, n_devices: int) -> tuple[list[Any], Any]:
    """The logged errors and the network of a training."""
    training = TRAINING if pretrain == "autoencoder" else PLAIN
    records: list[Any] = []
    devices = jax.local_devices()[:n_devices]
    (network,) = train_group(
        arrays(), [NETWORK], training, devices, lambda row, _fetch: records.extend(row)
    )
    return [one.errors for one in records], network


@pytest.mark.long
def test_one_device_and_two_give_the_same_bits() -> None:
    if jax.local_device_count() < 2:
        pytest.skip("needs 2 devices")
    (one, ours), (two, theirs) = (trained("autoencoder", n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    for half, other in zip(ours.halves, theirs.halves, strict=True):
        jax.tree.map(np.testing.assert_array_equal, half.final, other.final)


def test_training_starts_from_what_was_pretrained() -> None:
    """From the first epoch on it is another training, and it learns."""
    (ours, _), (plain, _) = (trained(name, 1) for name in ("autoencoder", "none"))
    assert (np.abs(ours[0] - plain[0]) > 1e-4).all()
    assert (ours[-1][:, 0] < ours[0][:, 0]).all()


def contents(folder: Path) -> dict[str, Any]:
    """Every file of a run, without times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        content: Any = path.read_bytes()
        if path.name == "done.json":
            content = json.loads(content)
            del content["seconds"], content["files"], content["content_sha256"]
            del content["provenance"]["commit"]
        elif path.name.startswith("log"):
            content = [line.rsplit("\t", 1)[0] for line in content.decode().splitlines()]
        found[path.name] = content
    return found


def test_a_resumed_run_equals_a_straight_one_and_pretrains_once(tmp_path, monkeypatch) -> None:
    calls = []

    def counted(*arguments: Any) -> Params:
        calls.append(1)
        return pretrained_hidden(*arguments)

    monkeypatch.setattr(start, "pretrained_hidden", counted)
    device = jax.local_devices()[:1]

    def run(folder: Path, stop_after: int | None = None) -> None:
        request = StopRequest()

        def report(_network: NetworkConfig, done: int, _line: str) -> None:
            if done == stop_after:
                request.ask(15)

        conduct = Conduct(report=report, request=request, checkpoint_share=1.0)
        with study() as opened:
            train_runs(opened, [NETWORK], TRAINING, [folder], device, conduct=conduct)

    run(tmp_path / "straight")
    assert len(calls) == 1
    for stop in (1, 3):
        with pytest.raises(Stopped):
            run(tmp_path / "resumed", stop)
    run(tmp_path / "resumed")
    assert len(calls) == 2
    assert contents(tmp_path / "resumed") == contents(tmp_path / "straight")
    config = json.loads((tmp_path / "straight" / "config.json").read_text())
    assert config["training"]["pretrain"] == "autoencoder"
    assert config["training"]["pretrain_epochs"] == 60
