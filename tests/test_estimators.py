"""The estimators: scikit-learn's rules, plain oracles, bits that repeat, and what they refuse."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jax
import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from dgex_jax import KNNGE, LR, LRL1, LRL2, DGEXRegressor
from dgex_jax.baselines.knn import KnnGe
from dgex_jax.baselines.linear import ridge_path
from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.errors import DgexError, DivergedError
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick_compilation")

N, N_LANDMARKS, N_TARGETS = 60, 7, 3
BASELINES = [KNNGE(2), LR(), LRL1(), LRL2()]


def tables(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Raw values far from mean 0 and deviation 1, different in each gene; landmark 4 is flat."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, N_LANDMARKS))
    weights = np.random.default_rng(99).normal(size=(N_LANDMARKS, N_TARGETS))
    Y = np.tanh(X @ weights) + rng.normal(0, 0.1, (n, N_TARGETS))
    X = 7.0 + X * np.arange(1, N_LANDMARKS + 1)
    X[:, 4] = 0.1
    return X, -3.0 + Y * np.array([0.1, 5.0, 1.0])


def new_network(**changed: Any) -> DGEXRegressor:
    settings = {"units": 8, "epochs": 40, "learning_rate": 0.03, "random_state": 1}
    return DGEXRegressor(**(settings | changed))


def scalers(X: np.ndarray, Y: np.ndarray) -> tuple[StandardScaler, StandardScaler]:
    return StandardScaler().fit(X), StandardScaler().fit(Y)


def forward(params: Any, X: np.ndarray) -> np.ndarray:
    """The network in plain NumPy, float64."""
    for layer in range(1, len(params)):
        weights = params[f"hidden{layer}"]
        X = np.tanh(X @ weights["kernel"].astype(float) + weights["bias"])
    return X @ params["output"]["kernel"].astype(float) + params["output"]["bias"]


# The paper's rates are for thousands of targets; the checks have one or two.
TO_CHECK = DGEXRegressor(units=8, dropout=0.0, epochs=30, learning_rate=0.1)


@pytest.mark.long
@parametrize_with_checks([KNNGE(), LR(), LRL1(), LRL2(), TO_CHECK])
def test_convention(estimator: Any, check: Any) -> None:
    """One of the checks is skipped unless SCIPY_ARRAY_API=1 stood there before SciPy's import."""
    check(estimator)


@pytest.mark.parametrize("k", [1, 3, 100])
def test_knn_ge_averages_the_nearest_standardised_landmarks(k: int) -> None:
    """All of them where there are fewer than k."""
    (X, Y), (new, _) = tables(), tables(seed=1)
    x, y = scalers(X, Y)
    distances = np.square(y.transform(Y)[:, :, None] - x.transform(X)[:, None, :]).sum(axis=0)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
    model = KNNGE(k).fit(X, Y)
    assert_array_equal(model.neighbours_, nearest)
    assert model.k_ == min(k, N_LANDMARKS)
    wanted = y.inverse_transform(x.transform(new)[:, nearest].mean(axis=2))
    assert_allclose(model.predict(new), wanted, rtol=1e-12)
    as_it_is = KNNGE(k, standardize=False).fit(X, Y).predict(X)
    assert_allclose(as_it_is, KnnGe(k).fit(X, Y).predict(X, model.k_), rtol=1e-14)


def test_least_squares_equal_scikit_learns() -> None:
    (X, Y), (new, _) = tables(), tables(seed=1)
    ours, theirs = LR().fit(X, Y), LinearRegression().fit(X, Y)
    assert_allclose(ours.predict(new), theirs.predict(new), rtol=1e-9)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-9)
    assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-9)
    assert ours.rank_ == theirs.rank_ == N_LANDMARKS - 1


@pytest.mark.parametrize("lam", [0.3, 0.01])
def test_lasso_equals_scikit_learns_on_standardised_values(lam: float) -> None:
    (X, Y), (new, _) = tables(), tables(seed=1)
    x, y = scalers(X, Y)
    scaled = x.transform(X), y.transform(Y)
    theirs = Lasso(lam, tol=1e-12, max_iter=100_000).fit(*scaled)
    model = LRL1(lam, tol=1e-12).fit(X, Y)
    wanted = y.inverse_transform(theirs.predict(x.transform(new)))
    assert_allclose(model.predict(new), wanted, rtol=0, atol=1e-4)
    assert model.gap_.shape == (N_TARGETS,)
    assert model.gap_.max() <= 1e-12
    assert 1 <= LRL1(lam).fit(X, Y).n_iter_ < model.n_iter_
    as_it_is = LRL1(lam, standardize=False, tol=1e-12).fit(*scaled)
    assert_allclose(as_it_is.coef_, theirs.coef_, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lam", [10.0, 0.01])
def test_ridge_equals_scikit_learns_on_standardised_values(lam: float) -> None:
    (X, Y), (new, _) = tables(), tables(seed=1)
    x, y = scalers(X, Y)
    theirs = Ridge(N * lam, solver="svd").fit(x.transform(X), y.transform(Y))
    wanted = y.inverse_transform(theirs.predict(x.transform(new)))
    assert_allclose(LRL2(lam).fit(X, Y).predict(new), wanted, rtol=1e-9)
    (plain,) = ridge_path(X, Y, [lam])
    as_it_is = LRL2(lam, standardize=False).fit(X, Y)
    assert_array_equal(as_it_is.coef_, plain.coef)
    assert_allclose(as_it_is.predict(new), plain.predict(new), rtol=1e-12)


@pytest.mark.parametrize("model", [*BASELINES, new_network(epochs=2)], ids=str)
def test_one_target_may_be_a_vector_and_models_can_be_pickled(model: Any) -> None:
    X, Y = tables()
    table = model.fit(X, Y[:, :1]).predict(X)
    assert table.shape == (N, 1)
    vector = model.fit(X, Y[:, 0]).predict(X)
    assert_array_equal(vector, table[:, 0])
    assert model.n_outputs_ == 1
    if hasattr(model, "coef_"):
        assert model.coef_.shape == (N_LANDMARKS,)
        assert isinstance(model.intercept_, float)
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301
    assert_array_equal(copy.predict(X), vector)


@pytest.mark.parametrize(
    ("model", "name", "values", "best"),
    [
        (KNNGE(), "k", np.array([1, 7]), 1),
        (LRL1(), "lam", np.array([0.01, 5.0]), 0.01),
        (LRL2(), "lam", [1e-3, 1e3], 1e-3),
        (new_network(), "learning_rate", np.array([1e-5, 0.03]), 0.03),
    ],
    ids=str,
)
def test_grid_search_in_a_pipeline(model: Any, name: str, values: Any, best: float) -> None:
    X, _ = tables()
    # Each target is a landmark with noise, so the nearest one beats the mean of all.
    Y = X[:, :N_TARGETS] + np.random.default_rng(2).normal(0, 0.3, (N, N_TARGETS))
    key = f"{type(model).__name__.lower()}__{name}"
    search = GridSearchCV(make_pipeline(MaxAbsScaler(), model), {key: values}, cv=2).fit(X, Y)
    assert search.best_params_ == {key: best}
    chosen = clone(search.best_estimator_)
    held_out = cross_val_predict(chosen, X, Y, cv=2)
    wanted = chosen.fit(X[N // 2 :], Y[N // 2 :]).predict(X[: N // 2])
    assert_array_equal(held_out[: N // 2], wanted)


def test_validation_profiles_go_through_a_pipeline() -> None:
    (X, Y), (X_val, y_val) = tables(), tables(seed=1)
    with config_context(enable_metadata_routing=True):
        network = new_network(standardize=False).set_fit_request(X_val=True, y_val=True)
        steps = [("scale", StandardScaler()), ("network", network)]
        pipeline = Pipeline(steps, transform_input=["X_val"]).fit(X, Y, X_val=X_val, y_val=y_val)
    scaler = StandardScaler().fit(X)
    scaled = scaler.transform(X), Y, scaler.transform(X_val), y_val
    by_hand = new_network(standardize=False).fit(*scaled)
    assert_array_equal(pipeline[-1].errors_["MAE_va"], by_hand.errors_["MAE_va"])


def test_data_frames_lists_and_names() -> None:
    X, Y = tables()
    frame = pd.DataFrame(X, columns=[f"gene{number}" for number in range(N_LANDMARKS)])
    network = new_network(epochs=2).fit(frame, pd.DataFrame(Y))
    assert list(network.feature_names_in_) == list(frame)
    lists = new_network(epochs=2).fit(X.tolist(), Y.tolist()).predict(X.tolist())
    # A data frame lies otherwise in memory, so its means are summed in another order.
    assert_allclose(lists, network.predict(frame), rtol=1e-6)
    with pytest.raises(ValueError, match="feature names should match"):
        network.predict(frame[frame.columns[::-1]])


def test_repeats_a_recorded_run_of_the_original(golden: Path) -> None:
    with np.load(golden / "run_a_one_layer.npz") as run:
        log = run["log"]
    settings = {"epochs": 60, "learning_rate": 1.2e-2, "monitor_size": 300, "random_state": 1}
    network = DGEXRegressor(1, 48, 0.0, standardize=False, **settings)
    with open_prepared(golden / "study_a.npz") as study:
        network.fit(study.X("tr"), study.Y("tr"), study.X("va"), study.Y("va"))
        X, Y = study.X("te"), study.Y("te")
    tolerance = 1e-7 if jax.local_devices()[0].platform == "cpu" else 1e-6
    assert_allclose(network.errors_["MAE_va"], log[:, 0], rtol=0, atol=tolerance)
    assert_allclose(network.errors_["MAE_tr"], log[:, 4], rtol=0, atol=tolerance)
    assert_array_equal(network.errors_["learning_rate"], log[:, 5])
    assert network.best_epoch_ == int(log[:, 0].argmin()) == 49
    assert network.mae_per_target_.mean() == pytest.approx(log[49, 0], abs=tolerance)
    prediction = network.predict(X)
    assert prediction.dtype == np.float32
    assert np.abs(prediction.astype(float) - Y).mean() == pytest.approx(log[49, 1], abs=tolerance)


def test_without_validation_the_last_epoch_is_kept() -> None:
    X, Y = tables()
    network = new_network().fit(X, Y)
    assert network.best_epoch_ == 39
    assert list(network.errors_.columns) == ["MAE_tr", "learning_rate", "seconds"]
    assert network.errors_.index.name == "epoch"
    assert len(network.errors_) == 40
    x, y = scalers(X, Y)
    wanted = y.inverse_transform(forward(network.params_[0], x.transform(X)))
    assert_allclose(network.predict(X), wanted, rtol=0, atol=1e-5)
    errors = np.abs(network.predict(X) - Y).mean(axis=0)
    assert_allclose(network.mae_per_target_, errors, rtol=1e-12)
    # All profiles are monitored, so the log's last line is about these weights.
    last = network.errors_["MAE_tr"].iloc[-1]
    assert (errors / y.scale_).mean() == pytest.approx(last, abs=1e-6)
    assert network.score(X, Y) > 0.5


def test_standardises_by_the_training_profiles() -> None:
    (X, Y), (X_val, y_val) = tables(), tables(seed=1)
    x, y = scalers(X, Y)
    inside = new_network().fit(X, Y, X_val, y_val)
    scaled = x.transform(X), y.transform(Y), x.transform(X_val), y.transform(y_val)
    outside = new_network(standardize=False).fit(*scaled)
    assert_array_equal(inside.predict(X_val), y.inverse_transform(outside.predict(scaled[2])))
    columns = ["MAE_tr", "MAE_va", "learning_rate"]
    assert_array_equal(inside.errors_[columns], outside.errors_[columns])
    assert_allclose(inside.mae_per_target_, outside.mae_per_target_ * y.scale_)


def test_keeps_the_epoch_that_is_best_on_validation_profiles() -> None:
    (X, Y), (X_val, y_val) = tables(), tables(seed=1)
    # Targets of other profiles: what is learnt makes them worse, so an early epoch is best.
    network = new_network().fit(X, Y, X_val, y_val[::-1])
    assert network.best_epoch_ == int(network.errors_["MAE_va"].argmin()) < 39
    error = np.abs(network.predict(X_val) - y_val[::-1]).mean(axis=0) / scalers(X, Y)[1].scale_
    assert error.mean() == pytest.approx(network.errors_["MAE_va"].min(), abs=1e-6)


def test_sets_a_fraction_aside_by_the_seed() -> None:
    X, Y = tables(80)
    first, again, other = (
        new_network(validation_fraction=0.25, random_state=seed).fit(X, Y) for seed in (1, 1, 2)
    )
    assert first.best_epoch_ == int(first.errors_["MAE_va"].argmin())
    # Means over 60 of the 80 profiles.
    assert first.x_scaler_.n_samples_seen_ == 60
    assert_array_equal(first.predict(X), again.predict(X))
    assert not np.array_equal(first.x_scaler_.mean_, other.x_scaler_.mean_)


def test_same_seed_same_bits_and_nothing_of_jax_is_kept(tmp_path: Path) -> None:
    X, Y = tables()
    network = new_network().fit(X, Y)
    wanted = network.predict(X)
    assert_array_equal(clone(network).fit(X, Y).predict(X), wanted)
    assert not np.array_equal(new_network(random_state=2).fit(X, Y).predict(X), wanted)
    assert not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(vars(network)))
    assert all(leaf.flags.owndata for leaf in jax.tree.leaves(network.params_))
    joblib.dump(network, tmp_path / "network.joblib")
    assert_array_equal(joblib.load(tmp_path / "network.joblib").predict(X), wanted)
    drawn = new_network(random_state=np.random.RandomState(5), epochs=2).fit(X, Y)
    again = new_network(random_state=drawn.seed_, epochs=2).fit(X, Y)
    assert_array_equal(drawn.predict(X), again.predict(X))
    assert len({new_network(random_state=None, epochs=2).fit(X, Y).seed_ for _ in range(3)}) == 3


def test_a_profile_is_inferred_alike_in_any_company() -> None:
    network = new_network(epochs=2).fit(*tables())
    X, _ = tables(2 * BATCH + 3, seed=2)
    together = network.predict(X)
    for rows in (slice(0, 1), slice(5, 300), slice(len(X) - 1, None)):
        assert_array_equal(network.predict(X[rows]), together[rows])


def test_two_halves_are_networks_of_their_own() -> None:
    (X, Y), (X_val, y_val) = tables(), tables(seed=1)
    both = new_network(halves=2).fit(X, Y, X_val, y_val)
    assert [params["output"]["bias"].shape for params in both.params_] == [(1,), (2,)]
    assert isinstance(both.best_epoch_, tuple)
    rates = ["learning_rate_half1", "learning_rate_half2"]
    assert list(both.errors_.columns) == ["MAE_tr", "MAE_va", *rates, "seconds"]
    x, y = scalers(X, Y)
    wanted = np.hstack([forward(params, x.transform(X_val)) for params in both.params_])
    assert_allclose(both.predict(X_val), y.inverse_transform(wanted), rtol=0, atol=1e-5)


def test_a_training_that_diverges_leaves_its_record_and_nothing_to_predict_with() -> None:
    X, Y = tables()
    network = new_network().fit(X, Y).set_params(learning_rate=60.0)
    with pytest.raises(DivergedError, match="no longer finite after epoch"):
        network.fit(X, Y)
    assert 0 < len(network.errors_) < 40
    assert np.isfinite(network.errors_["MAE_tr"]).all()
    with pytest.raises(NotFittedError):
        network.predict(X)


def test_a_line_an_epoch_if_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    new_network(epochs=2).fit(*tables())
    assert capsys.readouterr().out == ""
    new_network(epochs=2, verbose=True).fit(*tables())
    line = r"epoch {}/2  MAE_tr 0\.\d+  learning_rate 0\.03  \d+\.\d\d s"
    for number, text in enumerate(capsys.readouterr().out.splitlines(), start=1):
        assert re.fullmatch(line.format(number), text)


def test_every_parameter_reaches_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def train(_study: Any, networks: Any, training: Any, *_more: Any) -> None:
        seen.extend([*networks, training])
        raise KeyboardInterrupt

    monkeypatch.setattr("dgex_jax.estimators.network.train_group", train)
    numbers = {"epochs": np.int64(9), "learning_rate": np.float32(0.5), "momentum": 0}
    numbers |= {"batch_size": 10, "monitor_size": 12, "halves": 2, "pretrain_epochs": 13}
    texts = {"precision": "tf32", "pretrain": "autoencoder"}
    changed = DGEXRegressor(3, 7, 0.25, random_state=14, **numbers, **texts)
    for network in (changed, DGEXRegressor(random_state=1)):
        with pytest.raises(KeyboardInterrupt):
            network.fit(*tables())
    assert seen == [
        NetworkConfig(3, 7, 0.25),
        TrainingConfig(9, 10, 0.5, 12, 0.0, 14, 2, "tf32", "autoencoder", 13),
        NetworkConfig(1, 512, 0.1),
        TrainingConfig(halves=1),
    ]


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (KNNGE(0), "k = 0: must be at least 1"),
        (KNNGE(1.5), r"k = 1\.5: must be a whole number"),
        (KNNGE(True), "k = True: must be a whole number"),
        (LRL1(0), r"lambda = 0\.0: must be above 0"),
        (LRL1("a"), "lam = 'a': must be a number"),
        (LRL1(tol=2.0), r"tolerance = 2\.0: must be between"),
        (LRL1(1e-3, tol=1e-12, max_iter=1), "targets not solved in 1 iterations"),
        (LRL2(-1), r"lambda = -1\.0: must be above 0"),
        (new_network(hidden_layers=4), "hidden_layers = 4: must be between 1 and 3"),
        (new_network(units=8.0), r"units = 8\.0: must be a whole number"),
        (new_network(epochs="9"), "epochs = '9': must be a whole number"),
        (new_network(dropout=None), "dropout = None: must be a number"),
        (new_network(learning_rate=float("nan")), "learning_rate = nan: must be between"),
        (new_network(precision="half"), "precision = 'half': must be one of"),
        (new_network(random_state=-1), "seed = -1: must be between"),
        (new_network(random_state="one"), "cannot be used to seed"),
        (new_network(validation_fraction=1.0), "validation_fraction = 1.0: must be above 0"),
        (new_network(validation_fraction=0.999), "the resulting train set will be empty"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(model: Any, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        model.fit(*tables(10))
    with pytest.raises(NotFittedError):
        model.predict(tables(10)[0])


def test_bad_tables_are_refused() -> None:
    X, Y = tables(10)
    for error, cause, settings, given in (
        (DgexError, "X_val, y_val: one is missing", {}, (X, Y, X)),
        (DgexError, "validation profiles are given", {"validation_fraction": 0.5}, (X, Y, X, Y)),
        (DgexError, r"y_val: must be of shape \(10, 3\) like y, not", {}, (X, Y, X, Y[:, :2])),
        (DgexError, r"y_val: must be of shape \(10,\) like y", {}, (X, Y[:, 0], X, Y)),
        (DgexError, "1 target makes no 2 halves", {"halves": 2}, (X, Y[:, 0])),
        (ValueError, "expecting 7 features", {}, (X, Y, X[:, :5], Y)),
        (ValueError, "y_val contains NaN", {}, (X, Y, X, np.full_like(Y, np.nan))),
        (DgexError, "X: has values beyond the range", {"standardize": False}, (X * 1e40, Y)),
        (TypeError, "Sparse data was passed for y", {}, (X, scipy.sparse.csr_array(Y))),
    ):
        with pytest.raises(error, match=cause):
            new_network(**settings).fit(*given)


def test_parameters_are_documented_as_the_settings() -> None:
    text = DGEXRegressor.__doc__ or ""
    parameters = text.split("\nParameters\n")[1].split("\nAttributes\n")[0]
    assert set(re.findall(r"^(\w+)$", parameters, re.MULTILINE)) == set(TO_CHECK.get_params())


def test_the_package_is_light_and_the_baselines_need_no_jax() -> None:
    script = """
import sys
import dgex_jax
assert not {"jax", "sklearn", "numpy", "pandas", "matplotlib"} & sys.modules.keys()
others = {name for name, home in dgex_jax._HOMES.items() if "estimators" in home}
for name in {*dgex_jax.__all__} - others | {"KNNGE", "LR", "LRL1", "LRL2"}:
    assert getattr(dgex_jax, name).__name__ == name
assert "sklearn" in sys.modules
assert "jax" not in sys.modules
assert {"KNNGE", "DGEXRegressor", "__version__"} <= set(dir(dgex_jax))
try:
    dgex_jax.Nothing
except AttributeError as error:
    assert "'dgex_jax' has no attribute 'Nothing'" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
