"""DGEXRegressor takes tables and parameters as a scikit-learn regressor, and refuses bad ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn import config_context
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from dgex_jax import DGEXRegressor
from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.errors import DgexError
from dgex_jax.estimators.settings import network_config, training_config
from tests.estimated import N_LANDMARKS, N, new_network, tables

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_one_target_may_be_a_vector_or_a_table() -> None:
    X, Y = tables()
    vector = new_network(epochs=2).fit(X, Y[:, 0])
    table = new_network(epochs=2).fit(X, Y[:, :1])
    assert vector.predict(X).shape == (N,)
    np.testing.assert_array_equal(vector.predict(X), table.predict(X)[:, 0])
    assert vector.n_outputs_ == table.n_outputs_ == 1


def test_data_frames_lists_and_names() -> None:
    X, Y = tables()
    names = [f"gene{number}" for number in range(N_LANDMARKS)]
    network = new_network(epochs=2).fit(pd.DataFrame(X, columns=names), pd.DataFrame(Y))
    assert list(network.feature_names_in_) == names
    wanted = network.predict(pd.DataFrame(X, columns=names))
    # A data frame lies otherwise in memory, so its means are summed in another order.
    np.testing.assert_allclose(
        new_network(epochs=2).fit(X.tolist(), Y.tolist()).predict(X.tolist()), wanted, rtol=1e-6
    )
    with pytest.raises(ValueError, match="feature names should match"):
        network.predict(pd.DataFrame(X, columns=names[::-1]))


def test_pipeline_grid_search_and_cross_validation() -> None:
    X, Y = tables()
    pipeline = make_pipeline(MaxAbsScaler(), new_network())
    search = GridSearchCV(
        pipeline, {"dgexregressor__learning_rate": np.array([1e-5, 0.03])}, cv=2
    ).fit(X, Y)
    assert search.best_params_ == {"dgexregressor__learning_rate": 0.03}
    assert search.best_estimator_[-1].n_features_in_ == N_LANDMARKS
    held_out = cross_val_predict(new_network(), X, Y, cv=2)
    wanted = new_network().fit(X[N // 2 :], Y[N // 2 :]).predict(X[: N // 2])
    np.testing.assert_array_equal(held_out[: N // 2], wanted)


def test_validation_profiles_go_through_a_pipeline() -> None:
    (X, Y), (X_val, y_val) = tables(), tables(seed=1)
    with config_context(enable_metadata_routing=True):
        network = new_network(standardize=False).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("network", network)], transform_input=["X_val"]
        ).fit(X, Y, X_val=X_val, y_val=y_val)
    scaler = StandardScaler().fit(X)
    by_hand = new_network(standardize=False).fit(
        scaler.transform(X), Y, scaler.transform(X_val), y_val
    )
    np.testing.assert_array_equal(
        pipeline[-1].errors_["MAE_va"].to_numpy(), by_hand.errors_["MAE_va"].to_numpy()
    )


def test_every_parameter_reaches_the_training() -> None:
    changed = DGEXRegressor(
        3,
        7,
        0.25,
        epochs=np.int64(9),
        batch_size=10,
        learning_rate=np.float32(0.5),
        momentum=0,
        monitor_size=12,
        halves=2,
        precision="tf32",
        pretrain="autoencoder",
        pretrain_epochs=13,
    )
    assert network_config(changed) == NetworkConfig(3, 7, 0.25)
    assert training_config(changed, 14) == TrainingConfig(
        9, 10, 0.5, 12, 0.0, 14, 2, "tf32", "autoencoder", 13
    )
    paper = TrainingConfig(halves=1)
    assert training_config(DGEXRegressor(), paper.seed) == paper


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"hidden_layers": 4}, "hidden_layers = 4: must be between 1 and 3"),
        ({"units": 8.0}, r"units = 8\.0: must be a whole number"),
        ({"epochs": "9"}, "epochs = '9': must be a whole number"),
        ({"dropout": None}, "dropout = None: must be a number"),
        ({"learning_rate": float("nan")}, "learning_rate = nan: must be between"),
        ({"precision": "half"}, "precision = 'half': must be one of"),
        ({"random_state": -1}, "seed = -1: must be between"),
        ({"random_state": "one"}, "cannot be used to seed"),
        ({"validation_fraction": 1.0}, "validation_fraction = 1.0: must be above 0 and below 1"),
        ({"validation_fraction": 0.999}, "the resulting train set will be empty"),
    ],
)
def test_bad_parameters_are_refused(settings: dict[str, Any], cause: str) -> None:
    network = new_network(**settings)
    with pytest.raises(ValueError, match=cause):
        network.fit(*tables(10))
    with pytest.raises(NotFittedError):
        network.predict(tables(10)[0])


def test_bad_tables_are_refused() -> None:
    X, Y = tables(10)
    with pytest.raises(DgexError, match="X_val, y_val: one is missing"):
        new_network().fit(X, Y, X_val=X)
    with pytest.raises(DgexError, match="validation profiles are given"):
        new_network(validation_fraction=0.5).fit(X, Y, X, Y)
    with pytest.raises(DgexError, match=r"y_val: must be of shape \(10, 3\) like y, not \(10, 2\)"):
        new_network().fit(X, Y, X, Y[:, :2])
    with pytest.raises(DgexError, match=r"y_val: must be of shape \(10,\) like y"):
        new_network().fit(X, Y[:, 0], X, Y)
    with pytest.raises(ValueError, match="expecting 6 features"):
        new_network().fit(X, Y, X[:, :5], Y)
    with pytest.raises(ValueError, match="y_val contains NaN"):
        new_network().fit(X, Y, X, np.full_like(Y, np.nan))
    with pytest.raises(DgexError, match="X: has values beyond the range of float32"):
        new_network(standardize=False).fit(X * 1e40, Y)
    with pytest.raises(TypeError, match="Sparse data was passed for y"):
        new_network().fit(X, scipy.sparse.csr_array(Y))
