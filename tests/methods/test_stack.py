"""Stacks: weights against an optimiser, never worse than the best member, saved and read again."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

from dgex_jax import KNNGE, LR, LRL1, LRL2, DGEXRegressor, SampleLasso, Stack
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.methods import Tables, mean_error
from dgex_jax.methods.kinds import load_fitted
from dgex_jax.methods.linear import Linear, fit_ridge
from dgex_jax.methods.stack import StackModel, convex_weights, fit_stack, stack
from dgex_jax.train.arrays import BATCH

pytestmark = pytest.mark.usefixtures("quick_compilation")


def made_up(n: int, seed: int, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(7).normal(size=(6, 4))
    X = rng.normal(size=(n, 6)).astype(np.float32)
    Y = np.tanh(X @ weights) + noise * rng.normal(size=(n, 4))
    return X, Y.astype(np.float32)


def tables(n: int = 60, n_val: int = 40) -> Tables:
    return Tables(*made_up(n, 1), *made_up(n_val, 2))


def linear(seed: int, scale: float = 1.0) -> Linear:
    rng = np.random.default_rng(seed)
    tensors = {
        "coef": (scale * rng.normal(size=(6, 4))).astype(np.float32),
        "intercept": rng.normal(size=4).astype(np.float32),
    }
    return Linear({"method": f"drawn {seed}", "lambda": 0.0}, tensors)


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_the_convex_minimum_of_the_squared_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(50, 7))
    members = [
        (truth + rng.normal(0, spread, truth.shape)).astype(np.float32)
        for spread in (0.5, 0.51, 0.52, 3.0)
    ]
    residuals = [one - truth.astype(np.float32) for one in members]
    found = np.array(convex_weights(residuals))
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    # Another's optimiser, on the members that are in.
    kept = [one for one, weight in zip(residuals, found, strict=True) if weight > 0]
    best = scipy.optimize.minimize(
        lambda w: np.square(np.tensordot(w, kept, 1)).mean(),
        np.full(len(kept), 1 / len(kept)),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        bounds=[(0, 1)] * len(kept),
        tol=1e-12,
    )
    assert_allclose(found[found > 0], best.x, atol=1e-4)
    errors = [np.abs(one).mean() for one in residuals]
    assert np.abs(np.tensordot(found, residuals, 1)).mean() <= min(errors) * 1.0005


def test_a_weak_member_is_left_out_whatever_it_would_give() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(200, 5))
    good, weak = (shared + spread * rng.normal(size=(200, 5)) for spread in (0.5, 0.8))
    # It would pull the common error down by itself.
    residuals = [one.astype(np.float32) for one in (good, -weak)]
    assert convex_weights(residuals) == [1.0, 0.0]


def test_members_that_say_the_same_are_one() -> None:
    residual = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    assert convex_weights([residual, residual.copy(), 2 * residual]) == [1.0, 0.0, 0.0]
    right = np.zeros_like(residual)
    assert convex_weights([right, residual, right]) == [1.0, 0.0, 0.0]


def test_a_stack_is_the_weighted_mean_and_is_read_again() -> None:
    members, X = [linear(1), linear(2), linear(3)], made_up(2 * BATCH + 9, 3)[0]
    made = stack(members, [0.25, 0.0, 0.75])
    assert len(made.members) == 2
    oracle = 0.25 * members[0].predict(X) + 0.75 * members[2].predict(X)
    assert_allclose(made.predict(X), oracle, rtol=1e-5, atol=1e-6)
    again = load_fitted("stack", made.settings, made.tensors)
    assert_array_equal(again.predict(X), made.predict(X))
    assert_array_equal(made.predict(X)[BATCH:], made.predict(X[BATCH:]))
    assert made.title == "0.75 drawn 3 + 0.25 drawn 1"
    assert len(made.facts()) == 2


def test_never_worse_on_validation_than_its_best_member_and_time_ends_it() -> None:
    given, told = tables(), []
    members = {"ridge": fit_ridge, "bad": lambda _: linear(4, 3.0), "zero": lambda _: linear(5, 0)}
    fitted, reached, left = fit_stack(given, members, told.append)
    assert [one.name for one in told] == ["ridge", "bad", "zero"]
    assert left == []
    assert sum(one.weight for one in reached) == pytest.approx(1)
    error = mean_error(fitted, given.X_val, given.Y_val)
    assert error <= min(one.error for one in reached) * 1.0006
    _, first, left = fit_stack(given, members, seconds=0.0)
    assert ([one.name for one in first], left) == (["ridge"], ["bad", "zero"])


DAMAGED = {
    "weights": ({"members": [{"kind": "linear", "weight": 0.5, "settings": {}}]}, "must be above"),
    "no members": ({"members": []}, "must be above 0 and sum to 1"),
    "kind": ({"members": [{"kind": "magic", "weight": 1.0, "settings": {}}]}, "'magic' is no meth"),
    "tensors": ({"members": [{"kind": "linear", "weight": 1, "settings": {}}]}, "coef' is missing"),
    "nothing": ({}, "'members' is missing"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_settings_that_do_not_fit(name: str) -> None:
    settings, cause = DAMAGED[name]
    with pytest.raises(FormatError, match=cause.replace("(", r"\(")):
        load_fitted("stack", settings, {})


# --- the estimator


def members() -> list[tuple[str, object]]:
    network = DGEXRegressor(units=6, epochs=3, learning_rate=0.03, random_state=1)
    return [
        ("lasso", LRL1(lam=0.01)),
        ("ridge", LRL2()),
        ("network", network),
        ("samples", SampleLasso(lambdas=(0.01, 0.1))),
        ("plain", LR()),
    ]


@pytest.mark.long
@parametrize_with_checks([Stack([("ridge", LRL2()), ("lr", LR())], random_state=0)])
def test_scikit_learns_rules(estimator, check) -> None:
    check(estimator)


def test_every_estimator_of_the_package_can_be_a_member() -> None:
    X, Y = made_up(80, 1)
    X_new, Y_new = made_up(60, 9)
    X, X_new = 5 + 3 * X, 5 + 3 * X_new
    made = Stack(members(), random_state=3).fit(X, Y)
    assert list(made.members_.index) == [name for name, _ in members()]
    assert made.members_["weight"].sum() == pytest.approx(1)
    error = np.abs(made.predict(X_new) - Y_new).mean()
    # Alone, on the same profiles, at the scale of y.
    alone = Stack([("ridge", LRL2())], random_state=3).fit(X, Y)
    assert alone.method_.weights == [1.0]
    assert error < 1.1 * np.abs(alone.predict(X_new) - Y_new).mean()
    assert_allclose(
        alone.members_.loc["ridge", "error"] * alone.y_scaler_.scale_.mean(),
        alone.mae_per_target_.mean(),
        rtol=0.05,
    )


@pytest.mark.parametrize(
    ("estimators", "cause"),
    [
        ([("a", LR()), ("a", LRL2())], "same name"),
        ([("a", KNNGE())], "can't be a member"),
        ([], "0 members"),
    ],
)
def test_members_that_can_not_be(estimators, cause) -> None:
    with pytest.raises(DgexError, match=cause):
        Stack(estimators).fit(*made_up(40, 1))


def test_a_stack_model_is_what_a_folder_holds() -> None:
    made = Stack(members()[:2], random_state=0).fit(*made_up(50, 1)).method_
    assert isinstance(made, StackModel)
    assert all(values.dtype == np.float32 for values in made.tensors.values())
