"""The recorded runs of the original: repeated from the seed, with dropout in the mean."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.parts import PAPER
from dgex_jax.train.network import MLP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


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
DROPOUT = NetworkConfig(2, 32, 0.25)
SEEDS = (1, 2, 3, 4, 5, 6)
"""The recorded runs' weight seeds. The masks' seeds follow from them; no others may be chosen."""


@pytest.fixture(scope="module", params=RUNS)
def repeated(request, study_a, train) -> tuple[str, Any]:
    """A recorded run's name and its repetition (weights, orders: see test_pylearn2)."""
    return request.param, train(study_a, *RUNS[request.param])


def _recorded(golden: Path, name: str) -> dict[str, NDArray[Any]]:
    with np.load(golden / f"run_a_{name}.npz") as run:
        return dict(run)


def test_every_error_of_every_epoch(golden, repeated, tolerance) -> None:
    name, training = repeated
    log = _recorded(golden, name)["log"]
    assert PAPER.logged == ("va", "te", "1000G", "GTEx", "tr")
    assert training.errors.shape == (len(log), 1, 5)
    np.testing.assert_allclose(training.errors[:, 0], log[:, :5], rtol=0, atol=tolerance)


def test_every_learning_rate_to_the_bit(golden, repeated) -> None:
    name, training = repeated
    rates = training.rates[:, 0]
    assert rates.dtype == np.float32
    # The log holds the original's float32 rates in float64, so nothing is rounded here.
    np.testing.assert_array_equal(rates.astype(np.float64), _recorded(golden, name)["log"][:, 5])
    assert np.count_nonzero(np.diff(rates)) == DECAYS[name]


def test_best_epochs_are_the_recorded_ones(golden, repeated) -> None:
    name, training = repeated
    log = _recorded(golden, name)["log"]
    (half,) = training.halves
    assert half.best_epoch == dict(zip(("va", "1000G"), BEST[name], strict=True))
    assert BEST[name] == (int(log[:, 0].argmin()), int(log[:, 2].argmin()))


def test_kept_weights_repeat_the_errors_of_their_epoch(
    golden, repeated, study_a, tolerance
) -> None:
    name, training = repeated
    log = _recorded(golden, name)["log"]
    (half,) = training.halves
    network = RUNS[name][0]
    model = MLP(network.hidden_layers, network.units, 40)
    for params, epoch in (
        (half.best["va"], half.best_epoch["va"]),
        (half.best["1000G"], half.best_epoch["1000G"]),
        (half.final, len(log) - 1),
    ):
        for column, part in enumerate(PAPER.evaluated):
            inferred = np.asarray(model.apply({"params": params}, study_a.X[part]))
            errors = np.abs(inferred.astype(np.float64) - study_a.Y[part]).mean(axis=0)
            assert errors.mean() == pytest.approx(log[epoch, column], rel=0, abs=tolerance)
            if params is not half.final and (params is half.best["va"]) == (column < 2):
                # A target's MAE comes from the best epoch of its column.
                ours = training.gene_errors[part]
                assert ours.dtype == np.float64
                np.testing.assert_allclose(ours, errors, rtol=0, atol=tolerance)


def test_final_weights_are_the_recorded_ones(golden, repeated) -> None:
    name, training = repeated
    recorded = _recorded(golden, name)
    for layer, weights in enumerate(training.halves[0].final.values()):
        for kind, letter in (("kernel", "W"), ("bias", "b")):
            assert weights[kind].dtype == np.float32
            np.testing.assert_allclose(
                weights[kind], recorded[f"final_{letter}{layer}"], rtol=0, atol=3e-6
            )


@pytest.fixture
def dropout_means(golden) -> dict[str, Any]:
    """Means and sample standard deviations over the six recorded runs with dropout."""
    values: dict[str, Any] = json.loads((golden / "run_a_dropout.json").read_text())
    assert values["seeds"] == len(SEEDS)
    assert (values["hidden_layers"], values["units"]) == (2, 32)
    assert values["include_rate"] == 1 - DROPOUT.dropout
    return values


@pytest.fixture
def outside(study_a, train, dropout_means) -> Callable[[float], list[str]]:
    """Name the means (of ten) more than two standard errors of the difference apart."""

    def compare(dropout: float) -> list[str]:
        training = replace(RUNS["two_layers"][1], epochs=60)
        runs = [
            train(study_a, replace(DROPOUT, dropout=dropout), replace(training, seed=seed))
            for seed in SEEDS
        ]
        all_errors = np.stack([run.errors[:, 0] for run in runs])
        found = []
        for kind, (column, part) in product(("best", "final"), enumerate(PAPER.logged)):
            errors = (all_errors.min(axis=1) if kind == "best" else all_errors[:, -1])[:, column]
            theirs = (dropout_means[f"{kind}_{what}"][f"MAE_{part}"] for what in ("mean", "sd"))
            mean, deviation = theirs
            error = np.sqrt((errors.var(ddof=1) + deviation**2) / len(SEEDS))
            if not abs(errors.mean() - mean) <= 2 * error:
                found.append(f"{kind} {part}")
        return found

    return compare


def test_best_means_the_smallest_error_of_each_column(dropout_means) -> None:
    """Not the row of the best GEO-va epoch.

    The best GEO-va error differs from the final one, so in some run its epoch isn't the last; the
    row of that epoch would give a best monitored error above the final one, which falls to the
    end. Yet these two are equal in all recorded digits, and so are their deviations.
    """
    assert dropout_means["best_mean"]["MAE_va"] < dropout_means["final_mean"]["MAE_va"]
    for what in ("mean", "sd"):
        best, final = (dropout_means[f"{kind}_{what}"]["MAE_tr"] for kind in ("best", "final"))
        assert best == final


def test_all_ten_means_are_the_recorded_ones(outside) -> None:
    assert outside(0.25) == []


def test_criterion_turns_red_for_another_include_rate(outside) -> None:
    assert outside(0.30) != []
