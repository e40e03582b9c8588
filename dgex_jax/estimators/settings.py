"""Parameters of the estimator as the configurations that training takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import check_random_state

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.estimators.base import number, whole

if TYPE_CHECKING:
    from dgex_jax.estimators.network import DGEXRegressor


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Return a whole number as the seed it is; draw one from anything else (scikit-learn's way)."""
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def network_config(estimator: DGEXRegressor) -> NetworkConfig:
    """Return the architecture.

    Raises
    ------
    DgexError
        A parameter of the wrong type or out of range.
    """
    return NetworkConfig(
        hidden_layers=whole("hidden_layers", estimator.hidden_layers),
        units=whole("units", estimator.units),
        dropout=number("dropout", estimator.dropout),
    )


def training_config(estimator: DGEXRegressor, seed: int) -> TrainingConfig:
    """Return how it is trained.

    Raises
    ------
    DgexError
        A parameter of the wrong type or out of range.
    """
    rate = estimator.learning_rate
    return TrainingConfig(
        epochs=whole("epochs", estimator.epochs),
        batch_size=whole("batch_size", estimator.batch_size),
        learning_rate=None if rate is None else number("learning_rate", rate),
        monitor_size=whole("monitor_size", estimator.monitor_size),
        momentum=number("momentum", estimator.momentum),
        seed=seed,
        halves=whole("halves", estimator.halves),
        precision=estimator.precision,
        pretrain=estimator.pretrain,
        pretrain_epochs=whole("pretrain_epochs", estimator.pretrain_epochs),
    )
