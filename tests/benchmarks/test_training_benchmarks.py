"""The training benchmarks: the kernel, the work counted, and small runs of the scripts."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import evaluation, fused_update, side_by_side, training_cpu, training_gpu
from benchmarks.evaluation import updates_alone
from benchmarks.gpu_updates import disagreement
from benchmarks.random_study import random_study
from benchmarks.shapes import Shape
from benchmarks.step_parts import PARTS
from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.train import epoch as step
from dgex_jax.train.devices import choose_devices, unstack
from dgex_jax.train.network import MLP
from dgex_jax.train.pylearn2 import initial_weights
from dgex_jax.train.train import train_group

if TYPE_CHECKING:
    from collections.abc import Callable


def test_operations_are_those_of_eight_products() -> None:
    shape = Shape(5, 2, 7, 3)
    products = [(5, 7)] * 2 + [(7, 7)] * 3 + [(7, 3)] * 3
    assert shape.training_operations(10) == sum(2 * 10 * a * b for a, b in products)
    assert shape.n_parameters == 5 * 7 + 7 + 7 * 7 + 7 + 7 * 3 + 3
    assert shape.update_bytes(6) == 24 * shape.n_parameters


def test_made_study_has_a_studys_shapes() -> None:
    arrays = random_study(30, 4, 3, n_halves=2, n_watched=2)
    assert arrays.half_sizes() == [3, 3]
    assert {part: len(X) for part, X in arrays.X.items()} == {
        "tr": 30, "va": 2, "te": 2, "1000G": 2, "GTEx": 2,
    }  # fmt: skip
    assert all(Y.dtype == np.float32 and np.isfinite(Y).all() for Y in arrays.Y.values())


@pytest.mark.usefixtures("quick_compilation")
def test_updates_alone_are_those_of_a_training() -> None:
    """What the cost of evaluation is measured against does all the work of the same epochs."""
    arrays = random_study(450, 4, 3, n_halves=2, n_watched=2)
    network = NetworkConfig(1, 5, 0.1)
    training = TrainingConfig(epochs=2, monitor_size=2)
    (devices, *_), _ = choose_devices(None, 2)
    updates = updates_alone(arrays, network, training, devices)
    trained: list[Any] = []
    train_group(
        arrays, [network], training, devices, lambda _rows, fetch: trained.append(fetch()[0].params)
    )
    for expected in trained:
        ours = unstack(updates().params, 3)[0]
        jax.tree.map(np.testing.assert_array_equal, ours, expected)
    assert not np.array_equal(trained[0]["output"]["kernel"], trained[1]["output"]["kernel"])


@pytest.mark.parametrize("shape", [(150, 260), (1, 129)])
def test_kernel_is_the_update_written_out(shape: tuple[int, int]) -> None:
    """Also where neither the tiles nor the batch (45 profiles) divide evenly."""
    rng = np.random.default_rng(0)
    weights, velocity = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    inputs = rng.normal(size=(45, shape[0])).astype(np.float32)
    back = rng.normal(size=(45, shape[1])).astype(np.float32)
    new, moved = fused_update.fused_update(
        weights, velocity, inputs, back, jnp.float32(0.01), momentum=0.5, interpret=True
    )
    expected = 0.5 * velocity - 0.01 * (inputs.T.astype(np.float64) @ back)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(new, weights + expected, rtol=0, atol=2e-6)


@pytest.mark.slow
def test_fused_update_is_the_plain_one_with_dropout() -> None:
    hidden_layers = 2
    rng = np.random.default_rng(1)
    model = MLP(hidden_layers, 9, 5)
    params: Any = initial_weights(2, 6, 5, hidden_layers, 9)
    params["output"]["kernel"] *= np.float32(3e3)
    X, Y = (rng.normal(size=(11, n)).astype(np.float32) for n in (6, 5))
    rate, include = jnp.float32(0.02), jnp.float32(0.6)
    zeros = jax.tree.map(np.zeros_like, params)
    ours = theirs = params
    velocity, speed = step.optimizer(hidden_layers, rate, 0.5).init(zeros), zeros
    for number in range(2):
        key = jax.random.key(number)
        ours, velocity = step.update(ours, velocity, model, rate, 0.5, X, Y, key, include)
        theirs, speed = fused_update.update(
            theirs, speed, model, rate, 0.5, X, Y, key, include, interpret=True
        )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-6), ours, theirs)
    assert (
        np.abs(np.asarray(theirs["hidden1"]["kernel"]) - params["hidden1"]["kernel"]).max() > 1e-3
    )


@pytest.mark.slow
def test_a_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine: Callable[..., Any] = fused_update.fused_update

    def twice_the_rate(*arguments: Any, **options: Any) -> Any:
        *arrays, rate = arguments
        return genuine(*arrays, 2 * rate, **options)

    monkeypatch.setattr(fused_update, "fused_update", twice_the_rate)
    assert disagreement(Shape(6, 1, 8, 5), "highest", interpret=True) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("main", "options"),
    [
        (training_cpu.main, ["--rounds", "2", "--peers", "eager", "--halves", "1"]),
        (side_by_side.main, ["--rounds", "1"]),
        (evaluation.main, ["--rounds", "1"]),
        (
            training_gpu.main,
            ["--rounds", "1", "--batches", "1", "--epochs", "1", "--precisions", "tf32",
             "--peers", "eager"],
        ),
    ],
)  # fmt: skip
def test_small_runs_give_a_report(
    main: Callable[..., int], options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with jax.numpy_dtype_promotion("standard"):
        assert main(["--small", *options]) == 0
    text = capsys.readouterr().out
    assert ("its updates alone" if main is evaluation.main else "peer / ours") in text
    # Timing refuses what is not positive and finite; here nothing else may be missing either.
    assert not re.search(r"\b(nan|inf)\b", text)
    if main is training_cpu.main:
        assert all(part in text for part in PARTS)
    if main is training_gpu.main:
        assert "left out" not in text
        assert "wrong" not in text


def test_pytorchs_process_needs_no_jax() -> None:
    """It may run in an environment with PyTorch and NumPy alone."""
    code = """
import sys
for name in ("jax", "flax", "torch"):
    sys.modules[name] = None
from benchmarks.peers.torch_times import main
sys.argv = ["x", "3", "1", "4", "2"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '{"missing": true}'
