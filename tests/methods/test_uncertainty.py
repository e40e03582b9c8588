"""Intervals cover what they promise on data with known noise; distances and shares by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dgex_jax.errors import DgexError
from dgex_jax.methods.linear import Linear
from dgex_jax.methods.uncertainty import (
    LEVELS,
    Uncertainty,
    _left_out,
    learn_uncertainty,
)

N_LANDMARKS, N_TARGETS = 8, 40
WEIGHTS = np.random.default_rng(7).normal(size=(N_LANDMARKS, N_TARGETS)).astype(np.float32)


def truth() -> Linear:
    tensors = {"coef": WEIGHTS, "intercept": np.zeros(N_TARGETS, np.float32)}
    return Linear({"method": "truth", "lambda": 0.0}, tensors)


def profiles(n: int, seed: int, *, spread: float = 1.0, shift: float = 0.0) -> tuple:
    """Profiles whose targets have noise of another size in each gene, growing with `shift`."""
    rng = np.random.default_rng(seed)
    X = (shift + rng.normal(size=(n, N_LANDMARKS))).astype(np.float32)
    sizes = spread * np.linspace(0.2, 2, N_TARGETS)
    # Skewed, so that no normal theory would do.
    noise = sizes * (rng.exponential(size=(n, N_TARGETS)) - 0.7)
    return X, (X @ WEIGHTS + noise).astype(np.float32)


def coverage(known: Uncertainty, part: str, X, Y, level: float) -> np.ndarray:
    half = known.calibrated[part].half_widths(level, known.distances(X))
    return (np.abs(truth().predict(X) - Y) <= half).mean(axis=0)


@pytest.mark.parametrize("level", LEVELS)
def test_known_noise_is_covered_in_every_gene(level: float) -> None:
    X = profiles(500, 1)[0]
    known = learn_uncertainty(truth(), X, {"va": profiles(2000, 2)})
    found = coverage(known, "va", *profiles(4000, 3), level)
    assert found.mean() == pytest.approx(level, abs=0.01)
    assert np.abs(found - level).max() < 0.05


def test_the_promise_holds_in_the_mean_for_few_profiles() -> None:
    """Over many calibrations on 30 profiles: at least the level, at most 1/31 more."""
    X, test = profiles(100, 1)[0], profiles(400, 3)
    found = []
    for seed in range(60):
        known = learn_uncertainty(truth(), X, {"va": profiles(30, 100 + seed)})
        assert known.calibrated["va"].levels == (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
        found.append(coverage(known, "va", *test, 0.9).mean())
    assert 0.895 < np.mean(found) < 0.945
    with pytest.raises(DgexError, match=r"interval 0.99: the model has .* only \(30 validation"):
        known.calibrated["va"].half_widths(0.99, np.ones(1))
    with pytest.raises(DgexError, match=r"intervals of 0\.5, .*, 0\.95 only$"):
        known.calibrated["va"].half_widths(0.33, np.ones(1))


def test_intervals_grow_with_the_distance_where_errors_do() -> None:
    X = profiles(300, 1)[0]
    near, far = profiles(400, 2), profiles(400, 3, spread=4.0, shift=3.0)
    mixed = tuple(np.concatenate(pair) for pair in zip(near, far, strict=True))
    known = learn_uncertainty(truth(), X, {"va": mixed})
    assert known.calibrated["va"].slope > 0.5
    found = [
        coverage(known, "va", *profiles(1000, 5), 0.9).mean(),
        coverage(known, "va", *profiles(1000, 6, spread=4.0, shift=3.0), 0.9).mean(),
    ]
    assert min(found) > 0.82
    flat = learn_uncertainty(truth(), X, {"va": near}).calibrated["va"]
    assert flat.slope < 0.5


def test_series_widen_the_intervals_by_what_left_out_series_show() -> None:
    """Each series has a shift of its own, which no validation profile of another series shows."""
    rng = np.random.default_rng(0)

    def series(n_series: int, n: int, seed: int):
        shifts = np.random.default_rng(seed).normal(size=(n_series, N_TARGETS))
        X, Y = profiles(n_series * n, seed, spread=0.3)
        groups = np.repeat(np.arange(n_series), n)
        return X, (Y + 2 * shifts[groups]).astype(np.float32), groups

    covered, narrow = [], []
    X, Y, groups = series(20, 15, 1)
    for seed in range(12):
        X_val, Y_val, _ = series(2, 20, 200 + seed)
        for found, of in ((covered, groups), (narrow, None)):
            known = learn_uncertainty(
                truth(), X, {"va": (X_val, Y_val)}, Y=Y, groups=of, validation_groups=2
            )
            found.append(coverage(known, "va", *series(10, 10, 300 + seed)[:2], 0.9).mean())
    factors = (
        learn_uncertainty(
            truth(), X, {"va": (X_val, Y_val)}, Y=Y, groups=groups, validation_groups=2
        )
        .calibrated["va"]
        .factors
    )
    assert min(factors) >= 1
    assert factors[4] > 1.3
    assert np.mean(narrow) < 0.8 < np.mean(covered)
    # One series for all says nothing of others.
    alone = learn_uncertainty(
        truth(), X, {"va": (X_val, Y_val)}, Y=Y, groups=np.zeros(len(X)), validation_groups=1
    )
    assert set(alone.calibrated["va"].factors) == {1.0}
    # By brute force: a group left out of the same regression.
    left = _left_out(X, Y, groups, rng)
    one = groups == 3
    gram = X.astype(float) @ X.T
    squares = np.diag(gram)[:, None] + np.diag(gram) - 2 * gram
    kernel = np.exp(-squares / np.median(squares)) + 0.3 * gram / np.diag(gram).mean()
    dual = np.linalg.solve(kernel[~one][:, ~one] + 0.3 * np.eye((~one).sum()), Y[~one])
    errors = np.abs(kernel[one][:, ~one] @ dual - Y[one])
    distances = np.sqrt(squares[one][:, ~one].min(axis=1) / N_LANDMARKS)
    ours = left.scores[one]
    ratio = (errors / ours).mean(axis=1)
    assert_allclose(errors, ours * ratio[:, None], rtol=1e-3, atol=1e-5)
    if left.slope:
        assert np.corrcoef(ratio, distances**left.slope)[0, 1] > 0.999


def test_without_profiles_the_promise_holds_as_well() -> None:
    X, validation = profiles(500, 1)[0], profiles(2000, 2)
    known = learn_uncertainty(truth(), X, {"va": validation}, weights_only=True)
    assert len(known.anchors) <= len(X) / 10
    assert np.abs(known.anchors[:, None] - X).max(axis=2).min() > 1e-2
    found = coverage(known, "va", *profiles(4000, 3), 0.9)
    assert found.mean() == pytest.approx(0.9, abs=0.01)
    # New profiles like those of training are as unlike it as those are.
    assert known.unlike(known.distances(profiles(4000, 3)[0])).mean() == pytest.approx(
        0.5, abs=0.05
    )


def test_distances_and_shares_by_hand() -> None:
    X, new = profiles(150, 1)[0], profiles(300, 2)[0]
    known = learn_uncertainty(truth(), X, {})
    oracle = np.sqrt(np.square(new[:, None] - X).mean(axis=2)).min(axis=1)
    assert_allclose(known.distances(new), oracle, rtol=1e-4)
    own = np.sqrt(np.square(X[:, None] - X).mean(axis=2))
    np.fill_diagonal(own, np.inf)
    own = own.min(axis=1)
    assert_allclose(known.own, np.percentile(own, np.arange(101)), rtol=1e-4)
    far = known.distances(new + 50)
    assert set(known.unlike(far)) == {1.0}
    assert known.unlike(known.distances(X[:1])) == 0.0
    assert known.unlike(own).mean() == pytest.approx(0.5, abs=0.02)
    # A profile along the components is explained, one across them is not.
    assert_allclose(known.components @ known.components.T, np.eye(len(known.components)), atol=1e-5)
    low = np.zeros((4, N_LANDMARKS), np.float32)
    low[0], low[1] = 3 * known.components[0], -known.components[0]
    across = np.linalg.svd(known.components)[2][-1]
    low[2] = across
    shares = known.reconstructed(low)
    assert_allclose(shares[:2], 1, atol=1e-5)
    assert shares[2] < 1e-5 or len(known.components) == N_LANDMARKS
    assert shares[3] == 1.0


def test_it_is_read_again_and_refuses_what_does_not_fit() -> None:
    known = learn_uncertainty(truth(), profiles(60, 1)[0], {"va": profiles(50, 2)})
    settings = json.loads(json.dumps(known.settings()))
    again = Uncertainty.load(settings, known.tensors())
    assert again.settings() == known.settings()
    for name, values in known.tensors().items():
        assert values.dtype == np.float32
        assert_array_equal(again.tensors()[name], values)
    for change in (
        {"own": known.own[1:]},
        {"components": known.components[:, 1:]},
        {"more": known.own},
        {"calibrated/va/widths": known.calibrated["va"].widths[1:]},
    ):
        with pytest.raises(DgexError, match="don't fit"):
            Uncertainty.load(settings, {**known.tensors(), **change})
    with pytest.raises(DgexError, match="uncertainty: KeyError"):
        Uncertainty.load({"other": settings["va"]}, known.tensors())


def test_a_single_training_profile_is_no_obstacle() -> None:
    known = learn_uncertainty(truth(), profiles(1, 1)[0], {"va": profiles(20, 2)})
    assert np.isfinite(known.distances(profiles(3, 4)[0])).all()
    assert known.unlike(known.distances(profiles(3, 4)[0])).tolist() == [1.0, 1.0, 1.0]
