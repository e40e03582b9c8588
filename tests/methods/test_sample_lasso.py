"""SampleLASSO equals scikit-learn's lasso, profile by profile, and says what it draws on."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import lasso_path
from sklearn.utils.estimator_checks import parametrize_with_checks

from dgex_jax import SampleLasso
from dgex_jax.errors import DgexError
from dgex_jax.methods import Tables
from dgex_jax.methods import sample_lasso as module
from dgex_jax.methods.sample_lasso import SampleLassoConfig, SampleLassoModel, fit_sample_lasso
from dgex_jax.train.arrays import BATCH

LAMBDAS = [0.3, 0.05, 0.01, 1e-3]
N, N_TARGETS = 50, 6


def made_up(n: int, n_landmarks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks and targets of profiles that a few programmes drive, all of one table, float32."""
    rng = np.random.default_rng(seed)
    programmes = np.random.default_rng(99).normal(size=(5, n_landmarks + N_TARGETS))
    values = rng.normal(size=(n, 5)) @ programmes + rng.normal(size=(n, n_landmarks + N_TARGETS))
    return tuple(np.split(values.astype(np.float32), [n_landmarks], axis=1))  # type: ignore[return-value]


def new_model(n: int = N, n_landmarks: int = 30, **settings: Any) -> SampleLassoModel:
    X, Y = made_up(n, n_landmarks)
    return SampleLassoModel(
        {"lambda": 0.05, "nearest": 2000} | settings, {"landmarks": X, "targets": Y}
    )


def theirs(X: np.ndarray, profiles: np.ndarray, lambdas: list[float]) -> np.ndarray:
    """scikit-learn's weights ``(n_lambdas, n_profiles, n)``; the lambdas fall."""
    profiles_as_columns, more = X.T.astype(float), {"tol": 1e-13, "max_iter": 1_000_000}
    paths = [
        lasso_path(profiles_as_columns, x.astype(float), alphas=lambdas, **more)[1]
        for x in profiles
    ]
    return np.moveaxis(np.array(paths), 2, 0)


@pytest.mark.parametrize(("n", "n_landmarks"), [(50, 30), (20, 60), (300, 12), (3, 40), (1, 5)])
def test_weights_equal_scikit_learns(n: int, n_landmarks: int) -> None:
    model, new = new_model(n, n_landmarks), made_up(8, n_landmarks, seed=1)[0]
    wanted = theirs(model.tensors["landmarks"], new, LAMBDAS)
    for lambda_, weights in zip(LAMBDAS, wanted, strict=True):
        one = SampleLassoModel(model.settings | {"lambda": lambda_}, model.tensors)
        ours = one.weights(new)
        assert_allclose(ours.toarray(), weights, rtol=0, atol=1e-6)
        assert (ours.data != 0).all()
        assert_allclose(one.predict(new), weights @ one.tensors["targets"], rtol=0, atol=1e-5)
    # Each lambda by itself above, all of them along one path here.
    truth = made_up(8, n_landmarks, seed=1)[1]
    errors = np.abs(wanted @ model.tensors["targets"] - truth).mean(axis=(1, 2))
    assert_allclose(model.errors(new, truth, LAMBDAS), errors, atol=1e-6)


@pytest.mark.parametrize("held", [N, N - 1])
def test_is_solved_on_the_nearest_profiles(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether all inner products are held, or those of the nearest are made as they are needed."""
    monkeypatch.setattr(module, "HELD", held)
    model, new = new_model(nearest=20), made_up(9, 30, seed=1)[0]
    X = model.tensors["landmarks"]
    ours = model.weights(new).toarray()
    for x, weights in zip(new.astype(float), ours, strict=True):
        near = np.sort(np.argsort(np.square(X - x).sum(axis=1))[:20])
        assert_allclose(weights[near], theirs(X[near], x[None], [0.05])[0, 0], rtol=0, atol=1e-6)
        assert np.count_nonzero(weights) == np.count_nonzero(weights[near]) > 0
    everything = new_model(nearest=N).weights(new).toarray()
    assert np.abs(ours - everything).max() > 1e-3


@pytest.mark.parametrize(("nearest", "held"), [(20, N), (20, 1), (N, N), (N, 1)])
def test_a_profile_is_inferred_alike_in_any_company(
    nearest: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD", held)
    model = new_model(nearest=nearest)
    X = made_up(BATCH + 3, 30, seed=1)[0]
    X[5] = 0
    together = model.predict(X)
    assert_array_equal(together[5], 0)
    assert model.weights(X[5:6]).nnz == 0
    assert_array_equal(model.predict(X[:7]), together[:7])
    assert_array_equal(model.predict(X[BATCH:]), together[BATCH:])
    company = np.where(np.arange(len(X)) % 2 == 0, X.T, 3 * X[::-1].T).T
    assert_array_equal(model.predict(company)[::2], together[::2])
    for place in (0, 17, BATCH + 2):
        alone = model.predict(X[place : place + 1])[0]
        assert_allclose(alone, together[place], rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_landmarks", [1, 3, 30])
def test_equal_and_dependent_profiles_are_no_trouble(n_landmarks: int) -> None:
    """Weights are not unique then, the optimum is."""
    X, Y = made_up(40, n_landmarks)
    X = np.concatenate([X, X[:20], 2 * X[:10], np.zeros_like(X[:2])])
    Y = np.concatenate([Y, Y[:20], Y[:10], Y[:2]])
    new, lambda_ = np.concatenate([made_up(6, n_landmarks, seed=1)[0], X[:3]]), 0.01
    settings = {"lambda": lambda_, "nearest": 100}
    ours = SampleLassoModel(settings, {"landmarks": X, "targets": Y}).weights(new).toarray()

    def objective(weights: np.ndarray) -> np.ndarray:
        left = np.square(new - weights @ X.astype(float)).sum(axis=1)
        return left / (2 * n_landmarks) + lambda_ * np.abs(weights).sum(axis=1)

    assert_allclose(objective(ours), objective(theirs(X, new, [lambda_])[0]), rtol=0, atol=1e-8)


def tables(**more: Any) -> Tables:
    return Tables(*made_up(N, 30), *made_up(12, 30, seed=2), **more)


def test_lambda_is_chosen_by_validation() -> None:
    study, config = tables(), SampleLassoConfig(lambdas=(1e-3, 0.05, 0.3, 1.0))
    weights = theirs(study.X, study.X_val, list(config.lambdas[::-1]))
    errors = np.abs(weights @ study.Y - study.Y_val).mean(axis=(1, 2))
    best = config.lambdas[::-1][errors.argmin()]
    assert best not in config.lambdas[::3]
    assert fit_sample_lasso(study, config).settings == {"lambda": best, "nearest": 2000}
    nothing = Tables(study.X, study.Y, 0 * study.X_val, study.Y_val)
    assert fit_sample_lasso(nothing, config).settings["lambda"] == 1.0


def test_of_many_validation_profiles_some_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHOSEN_ON", 5)
    study = tables()
    third = Tables(study.X, study.Y, study.X_val[::3], study.Y_val[::3])
    assert fit_sample_lasso(study).settings == fit_sample_lasso(third).settings
    X_val = study.X_val.copy()
    X_val[1::3], X_val[2::3] = 1e30, np.nan
    odd = Tables(study.X, study.Y, X_val, study.Y_val)
    assert fit_sample_lasso(odd).settings == fit_sample_lasso(third).settings


def test_explains_by_ids_and_series_and_comes_back_from_its_parts() -> None:
    ids, series = [f"GSM{one}" for one in range(N)], np.arange(N) // 10
    model = fit_sample_lasso(tables(groups=series), profiles=ids)
    settings = json.loads(json.dumps(model.settings))
    again = SampleLassoModel(settings, {name: one.copy() for name, one in model.tensors.items()})
    new = made_up(3, 30, seed=1)[0]
    assert_array_equal(again.predict(new), model.predict(new))
    told = again.explain(new[2])
    assert list(told) == ["place", "profile", "series", "weight", "share"]
    assert list(told["profile"]) == [ids[place] for place in told["place"]]
    assert list(told["series"]) == [str(series[place]) for place in told["place"]]
    weights = model.weights(new).toarray()[2]
    assert len(told) == np.count_nonzero(weights) > 3
    assert_allclose(told["weight"], weights[told["place"]], rtol=0, atol=1e-12)
    assert_allclose(told["share"], told["weight"].abs() / np.abs(weights).sum(), atol=1e-12)
    assert told["share"].is_monotonic_decreasing
    assert told["share"].sum() == pytest.approx(1)
    plain = new_model().explain(np.zeros(30, np.float32))
    assert list(plain) == ["place", "weight", "share"]
    assert plain.empty


@pytest.mark.parametrize(
    ("settings", "n_targets", "cause"),
    [
        ({"lambda": 0.0}, N, "lambda = 0.0: must be"),
        ({"nearest": 0}, N, "nearest = 0: must be"),
        ({"series": ["a"]}, N, "series: 1 for 50 profiles"),
        ({"profiles": []}, N, "profiles: 0 for 50 profiles"),
        ({}, N - 1, "don't fit together"),
        ({}, 0, "don't fit together"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    settings: dict[str, Any], n_targets: int, cause: str
) -> None:
    X, Y = made_up(N, 30)
    with pytest.raises(DgexError, match=cause):
        SampleLassoModel(
            {"lambda": 0.1, "nearest": 9} | settings, {"landmarks": X, "targets": Y[:n_targets]}
        )


def test_what_can_not_be_solved_or_explained_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = {"landmarks": np.ones((3, 0), np.float32), "targets": np.ones((3, 1), np.float32)}
    with pytest.raises(DgexError, match=re.escape("landmarks (3, 0): empty")):
        SampleLassoModel({"lambda": 0.1, "nearest": 9}, empty)
    model, new = new_model(), made_up(1, 30, seed=1)[0]
    with pytest.raises(DgexError, match="one profile of 30 landmarks, not an array of shape"):
        model.explain(new)
    monkeypatch.setattr(module, "MAX_ROUNDS", 1)
    with pytest.raises(DgexError, match="a profile is not solved in 1 rounds"):
        model.predict(new)


@pytest.mark.long
@parametrize_with_checks([SampleLasso((0.001, 0.1), random_state=1)])
def test_convention(estimator: Any, check: Any) -> None:
    """One of the checks is skipped unless SCIPY_ARRAY_API=1 stood there before SciPy's import."""
    check(estimator)


@pytest.mark.parametrize("given", [True, False], ids=["validation given", "set aside"])
def test_the_estimator_explains_by_the_rows_it_was_given(given: bool) -> None:
    X, Y = made_up(N, 30)
    ids, series = [f"GSM{one}" for one in range(N)], np.array(["a", "b", "c", "d", "e"])[::-1]
    frame = pd.DataFrame(X, ids, [f"gene{one}" for one in range(30)])
    more = dict(zip(("X_val", "y_val"), made_up(9, 30, seed=2), strict=True)) if given else {}
    if given:
        more["X_val"] = pd.DataFrame(more["X_val"], columns=frame.columns)
    groups = series.repeat(10)
    model = SampleLasso(random_state=1, validation_fraction=0.2).fit(
        frame, 5 + 3 * Y, **more, groups=groups
    )
    assert len(model.places_) == (50 if given else 40)
    assert model.lambda_ in SampleLassoConfig.lambdas
    new = pd.DataFrame(made_up(3, 30, seed=3)[0], ["x", "y", "z"], frame.columns)
    told = model.explain(new.loc["y"])
    assert set(told["place"]) <= set(model.places_)
    assert list(told["profile"]) == [ids[place] for place in told["place"]]
    assert list(told["series"]) == list(groups[told["place"]])
    drawn = model.y_scaler_.transform(5 + 3 * Y)[told["place"]]
    wanted = model.y_scaler_.inverse_transform((told["weight"].to_numpy() @ drawn)[None])
    assert_allclose(model.predict(new)[1:2], wanted, rtol=1e-5)
    pd.testing.assert_frame_equal(model.explain(new.iloc[1:2]), told)
    with pytest.raises(DgexError, match="takes one profile, not 3"):
        model.explain(new)
    with pytest.raises(ValueError, match="feature names should match"):
        model.explain(new.loc["y"].iloc[::-1])
    plain = SampleLasso(0.05, random_state=1).fit(X, Y)
    assert plain.lambda_ == 0.05
    assert list(plain.explain(new.to_numpy()[0])) == ["place", "weight", "share"]


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"lambdas": (0.1, "a")}, "lambdas = '0.1': must be a number"),
        ({"lambdas": None}, "lambdas = None: must be a number"),
        ({"lambdas": ()}, r"lambdas = \[\]: must grow"),
        ({"lambdas": (0.2, 0.1)}, r"lambdas = \[0.2, 0.1\]: must grow"),
        ({"lambdas": 0.0}, "lambdas = 0.0: must be between"),
        ({"nearest": 0}, "nearest = 0: must be at least 1"),
        ({"nearest": 2.5}, "nearest = 2.5: must be a whole number"),
        ({"validation_fraction": None}, "validation_fraction = None: give validation profiles"),
        ({"random_state": "one"}, "cannot be used to seed"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(settings: dict[str, Any], cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        SampleLasso(**({"random_state": 1} | settings)).fit(*made_up(N, 30))
