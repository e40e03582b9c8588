"""Both recorded runs of the original without dropout, repeated from the seed alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dgex_jax.config import LOGGED, NetworkConfig, TrainingConfig
from dgex_jax.models.mlp import MLP
from dgex_jax.training.pylearn2 import DECAY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.training.arrays import StudyArrays

RUNS = {
    "one_layer": (
        NetworkConfig(1, 48, 0.0),
        TrainingConfig(epochs=60, learning_rate=1.2e-2, monitor_size=300, halves=1),
    ),
    "two_layers": (
        NetworkConfig(2, 32, 0.0),
        TrainingConfig(epochs=40, learning_rate=3e-3, monitor_size=300, halves=1),
    ),
}
DECAYS = {"one_layer": 16, "two_layers": 3}
BEST = {"one_layer": (49, 54), "two_layers": (39, 39)}


@pytest.fixture(scope="module", params=RUNS)
def repeated(
    request: pytest.FixtureRequest, study_a: StudyArrays, train: Callable[..., Any]
) -> tuple[str, Any]:
    """A recorded run's name and its repetition (weights, orders: see test_pylearn2)."""
    return request.param, train(study_a, *RUNS[request.param])


def _recorded(golden: Path, name: str) -> dict[str, NDArray[Any]]:
    with np.load(golden / f"run_a_{name}.npz") as run:
        return dict(run)


def test_every_error_of_every_epoch(
    golden: Path, repeated: tuple[str, Any], tolerance: float
) -> None:
    name, training = repeated
    log = _recorded(golden, name)["log"]
    assert LOGGED == ("va", "te", "1000G", "GTEx", "tr")
    assert training.errors.shape == (len(log), 1, 5)
    np.testing.assert_allclose(training.errors[:, 0], log[:, :5], rtol=0, atol=tolerance)


def test_every_learning_rate_to_the_bit(golden: Path, repeated: tuple[str, Any]) -> None:
    name, training = repeated
    rates = training.rates[:, 0]
    assert rates.dtype == np.float32
    # The log holds the original's float32 rates in float64, so nothing is rounded here.
    np.testing.assert_array_equal(rates.astype(np.float64), _recorded(golden, name)["log"][:, 5])
    assert np.count_nonzero(np.diff(rates)) == DECAYS[name]


def test_best_epochs_are_the_recorded_ones(golden: Path, repeated: tuple[str, Any]) -> None:
    name, training = repeated
    log = _recorded(golden, name)["log"]
    (half,) = training.halves
    assert (half.best_va_epoch, half.best_1000G_epoch) == BEST[name]
    assert BEST[name] == (int(log[:, 0].argmin()), int(log[:, 2].argmin()))


def test_kept_weights_repeat_the_errors_of_their_epoch(
    golden: Path, repeated: tuple[str, Any], study_a: StudyArrays, tolerance: float
) -> None:
    name, training = repeated
    log = _recorded(golden, name)["log"]
    (half,) = training.halves
    network = RUNS[name][0]
    model = MLP(network.hidden_layers, network.units, 40)
    for params, epoch in (
        (half.best_va, half.best_va_epoch),
        (half.best_1000G, half.best_1000G_epoch),
        (half.final, len(log) - 1),
    ):
        for column, part in enumerate(LOGGED[:4]):
            inferred = np.asarray(model.apply({"params": params}, study_a.X[part]))
            errors = np.abs(inferred.astype(np.float64) - study_a.Y[part]).mean(axis=0)
            assert errors.mean() == pytest.approx(log[epoch, column], rel=0, abs=tolerance)
            if params is not half.final and (params is half.best_va) == (column < 2):
                # A target's MAE comes from the best epoch of its column.
                ours = training.gene_errors[part]
                assert ours.dtype == np.float64
                np.testing.assert_allclose(ours, errors, rtol=0, atol=tolerance)


def test_final_weights_are_the_recorded_ones(golden: Path, repeated: tuple[str, Any]) -> None:
    name, training = repeated
    recorded = _recorded(golden, name)
    for layer, weights in enumerate(training.halves[0].final.values()):
        for kind, letter in (("kernel", "W"), ("bias", "b")):
            assert weights[kind].dtype == np.float32
            np.testing.assert_allclose(
                weights[kind], recorded[f"final_{letter}{layer}"], rtol=0, atol=3e-6
            )


def test_recorded_rates_tell_the_previous_epoch_from_the_best(golden: Path) -> None:
    """So the runs above would show a rule that compares with the best error so far."""
    log = _recorded(golden, "one_layer")["log"]
    errors = np.concatenate([[10.0], log[:, 4]])
    previous = errors[1:] > errors[:-1]
    best = errors[1:] > np.minimum.accumulate(errors)[:-1]
    decayed = np.diff(log[:, 5]) < 0
    np.testing.assert_array_equal(decayed, previous[:-1])
    assert not np.array_equal(decayed, best[:-1])


def test_recorded_rates_tell_a_float64_product_from_a_float32_one(golden: Path) -> None:
    for name in RUNS:
        rates = _recorded(golden, name)["log"][:, 5]
        distinct = rates[np.concatenate([[True], np.diff(rates) < 0])].astype(np.float32)
        exact = (distinct[:-1].astype(np.float64) * DECAY).astype(np.float32)
        np.testing.assert_array_equal(distinct[1:], exact)
    rates = np.unique(_recorded(golden, "one_layer")["log"][:, 5])[::-1].astype(np.float32)
    assert (rates[1:] != rates[:-1] * np.float32(DECAY)).any()
