"""DGEXRegressor trains as the original does, to the same bits each time."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from dgex_jax import DGEXRegressor
from dgex_jax.data.prepared import open_prepared
from dgex_jax.errors import DgexError, DivergedError
from dgex_jax.estimators.infer import PROFILES_AT_A_TIME
from tests.estimated import new_network, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dgex_jax.data.prepared import Prepared

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def study(golden: Path) -> Iterator[Prepared]:
    with open_prepared(golden / "study_a.npz") as study:
        yield study


def _forward(params: Any, X: NDArray) -> NDArray:
    hidden = X
    for layer in range(1, len(params)):
        weights = params[f"hidden{layer}"]
        hidden = np.tanh(hidden @ weights["kernel"].astype(float) + weights["bias"])
    return hidden @ params["output"]["kernel"].astype(float) + params["output"]["bias"]


def test_repeats_a_recorded_run_of_the_original(golden: Path, study: Prepared) -> None:
    with np.load(golden / "run_a_one_layer.npz") as run:
        log = run["log"]
    network = DGEXRegressor(
        1,
        48,
        0.0,
        epochs=60,
        learning_rate=1.2e-2,
        monitor_size=300,
        standardize=False,
        random_state=1,
    ).fit(study.X("tr"), study.Y("tr"), study.X("va"), study.Y("va"))
    tolerance = 1e-7 if jax.local_devices()[0].platform == "cpu" else 1e-6
    np.testing.assert_allclose(network.errors_["MAE_va"], log[:, 0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(network.errors_["MAE_tr"], log[:, 4], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(network.errors_["learning_rate"], log[:, 5])
    assert network.best_epoch_ == int(log[:, 0].argmin()) == 49
    assert network.mae_per_target_.mean() == pytest.approx(log[49, 0], abs=tolerance)
    prediction = network.predict(study.X("te"))
    assert prediction.dtype == np.float32
    error = np.abs(prediction.astype(float) - study.Y("te")).mean()
    assert error == pytest.approx(log[49, 1], abs=tolerance)


def test_without_validation_the_last_epoch_is_kept() -> None:
    X, Y = tables()
    network = new_network().fit(X, Y)
    assert network.best_epoch_ == 39
    assert list(network.errors_.columns) == ["MAE_tr", "learning_rate", "seconds"]
    assert network.errors_.index.name == "epoch"
    assert len(network.errors_) == 40
    x, y = StandardScaler().fit(X), StandardScaler().fit(Y)
    wanted = y.inverse_transform(_forward(network.params_[0], x.transform(X)))
    np.testing.assert_allclose(network.predict(X), wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        network.mae_per_target_, np.abs(network.predict(X) - Y).mean(axis=0), rtol=1e-12
    )
    # All profiles are monitored, so the log's last line is about these weights.
    scaled = (network.mae_per_target_ / y.scale_).mean()
    assert scaled == pytest.approx(network.errors_["MAE_tr"].iloc[-1], abs=1e-6)
    assert network.score(X, Y) > 0.5


def test_standardises_by_the_training_profiles() -> None:
    (X, Y), (X_val, y_val) = tables(), tables(seed=1)
    x, y = StandardScaler().fit(X), StandardScaler().fit(Y)
    inside = new_network().fit(X, Y, X_val, y_val)
    outside = new_network(standardize=False).fit(
        x.transform(X), y.transform(Y), x.transform(X_val), y.transform(y_val)
    )
    np.testing.assert_array_equal(
        inside.predict(X_val), y.inverse_transform(outside.predict(x.transform(X_val)))
    )
    columns = ["MAE_tr", "MAE_va", "learning_rate"]
    np.testing.assert_array_equal(inside.errors_[columns], outside.errors_[columns])
    np.testing.assert_allclose(inside.mae_per_target_, outside.mae_per_target_ * y.scale_)


def test_keeps_the_epoch_that_is_best_on_validation_profiles() -> None:
    (X, Y), (X_val, y_val) = tables(), tables(seed=1)
    # Targets of other profiles: what is learnt makes them worse, so an early epoch is best.
    network = new_network().fit(X, Y, X_val, y_val[::-1])
    best = int(network.errors_["MAE_va"].argmin())
    assert network.best_epoch_ == best < 39
    y = StandardScaler().fit(Y)
    error = np.abs(network.predict(X_val) - y_val[::-1]).mean(axis=0) / y.scale_
    assert error.mean() == pytest.approx(network.errors_["MAE_va"].min(), abs=1e-6)


def test_sets_a_fraction_aside_by_the_seed() -> None:
    X, Y = tables(80)
    first, again, other = (
        new_network(validation_fraction=0.25, random_state=seed).fit(X, Y) for seed in (1, 1, 2)
    )
    assert first.best_epoch_ == int(first.errors_["MAE_va"].argmin())
    # Means over 60 of the 80 profiles.
    assert first.x_scaler_.n_samples_seen_ == 60
    np.testing.assert_array_equal(first.predict(X), again.predict(X))
    assert not np.array_equal(first.x_scaler_.mean_, other.x_scaler_.mean_)


def test_same_seed_same_bits_and_nothing_of_jax_is_kept(tmp_path: Path) -> None:
    X, Y = tables()
    network = new_network().fit(X, Y)
    wanted = network.predict(X)
    np.testing.assert_array_equal(clone(network).fit(X, Y).predict(X), wanted)
    assert not np.array_equal(new_network(random_state=2).fit(X, Y).predict(X), wanted)
    leaves = jax.tree.leaves(vars(network))
    assert not any(isinstance(leaf, jax.Array) for leaf in leaves)
    assert all(leaf.flags.owndata for leaf in jax.tree.leaves(network.params_))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(network)).predict(X), wanted)  # noqa: S301
    joblib.dump(network, tmp_path / "network.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "network.joblib").predict(X), wanted)


def test_seeds_that_are_drawn_are_kept() -> None:
    X, Y = tables()
    drawn = new_network(random_state=np.random.RandomState(5), epochs=2).fit(X, Y)
    again = new_network(random_state=drawn.seed_, epochs=2).fit(X, Y)
    np.testing.assert_array_equal(drawn.predict(X), again.predict(X))
    seeds = {new_network(random_state=None, epochs=2).fit(X, Y).seed_ for _ in range(3)}
    assert len(seeds) == 3


def test_a_profile_is_inferred_alike_in_any_company() -> None:
    network = new_network(epochs=2).fit(*tables())
    X, _ = tables(2 * PROFILES_AT_A_TIME + 3, seed=2)
    together = network.predict(X)
    for rows in (slice(0, 1), slice(5, 300), slice(len(X) - 1, None)):
        np.testing.assert_array_equal(network.predict(X[rows]), together[rows])


def test_two_halves_are_networks_of_their_own() -> None:
    (X, Y), (X_val, y_val) = tables(), tables(seed=1)
    both = new_network(halves=2).fit(X, Y, X_val, y_val)
    assert [params["output"]["bias"].shape for params in both.params_] == [(1,), (2,)]
    assert isinstance(both.best_epoch_, tuple)
    assert list(both.errors_.columns) == [
        "MAE_tr",
        "MAE_va",
        "learning_rate_half1",
        "learning_rate_half2",
        "seconds",
    ]
    x, y = StandardScaler().fit(X), StandardScaler().fit(Y)
    wanted = np.hstack([_forward(params, x.transform(X_val)) for params in both.params_])
    prediction = both.predict(X_val)
    np.testing.assert_allclose(prediction, y.inverse_transform(wanted), rtol=0, atol=1e-5)
    with pytest.raises(DgexError, match="1 target makes no 2 halves"):
        new_network(halves=2).fit(X, Y[:, 0])


def test_a_training_that_diverges_leaves_its_record_and_nothing_to_predict_with() -> None:
    X, Y = tables()
    network = new_network().fit(X, Y)
    network.set_params(learning_rate=60.0)
    with pytest.raises(DivergedError, match="no longer finite after epoch"):
        network.fit(X, Y)
    assert 0 < len(network.errors_) < 40
    assert np.isfinite(network.errors_["MAE_tr"]).all()
    with pytest.raises(NotFittedError):
        network.predict(X)


def test_a_line_an_epoch_if_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = tables()
    new_network(epochs=2).fit(X, Y)
    assert capsys.readouterr().out == ""
    new_network(epochs=2, verbose=True).fit(X, Y)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch 1/2  MAE_tr 0.")
    assert second.startswith("epoch 2/2  MAE_tr 0.")


def test_the_package_is_light_and_the_baselines_need_no_jax() -> None:
    script = """
import sys
import dgex_jax
assert not {"jax", "sklearn", "numpy", "pandas"} & sys.modules.keys()
for name in set(dgex_jax.__all__) - {"DGEXRegressor"}:
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


def test_the_example_runs_and_the_network_learns(
    golden: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "results" / "demo").mkdir(parents=True)
    (tmp_path / "results" / "demo" / "prepared.h5").symlink_to(golden / "study_a.npz")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    example, _of_anndata = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    # As it stands but for the size, on the recorded study.
    exec(example.replace("(2, 512, epochs=60,", "(2, 32, epochs=20,"), scope)  # noqa: S102
    assert (scope["network"].units, scope["network"].epochs) == (32, 20)
    first, second = capsys.readouterr().out.splitlines()
    nothing = np.abs(scope["Y"]["te"]).mean()
    assert first.startswith("DGEXRegressor: 0.")
    assert float(first.split()[1]) < 0.7 * nothing
    linear = LinearRegression().fit(scope["X"]["tr"], scope["Y"]["tr"])
    error = np.abs(linear.predict(scope["X"]["te"]) - scope["Y"]["te"]).mean()
    assert second == f"LR: {error:.4f}"
