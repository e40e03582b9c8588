"""The D-GEX network as a scikit-learn estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from dgex_jax.config import PRETRAIN_EPOCHS
from dgex_jax.errors import DgexError
from dgex_jax.estimators.base import ExpressionRegressor, fit_scaler
from dgex_jax.estimators.history import history_line, history_row, history_table
from dgex_jax.estimators.infer import inferred_blocks
from dgex_jax.estimators.parts import Tables, as_float32, set_aside, study_of
from dgex_jax.estimators.settings import draw_seed, network_config, training_config
from dgex_jax.training.devices import choose_devices
from dgex_jax.training.loop import train_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray
    from sklearn.preprocessing import StandardScaler

    from dgex_jax.config import Precision, Pretrain
    from dgex_jax.formats.expression import FloatArray
    from dgex_jax.training.loop import EpochRecord


class DGEXRegressor(ExpressionRegressor):
    """The D-GEX network: hidden layers of tanh units shared by all target genes (section 2.3).

    Trained as in the paper, on the GPU if there is one. The defaults are the paper's but for the
    size: its largest network has 3 hidden layers of 9,000 units.

    Parameters
    ----------
    hidden_layers
        Number of hidden layers, 1 to 3.
    units
        Hidden units of each.
    dropout
        Dropout rate of the hidden units.
    epochs
        Passes over the training profiles.
    batch_size
        Profiles per update.
    learning_rate
        Initial learning rate; ``None`` is the paper's, 5e-4 for one hidden layer and 3e-4 for
        more. The loss is summed over targets: these rates suit thousands of them. With fewer take
        a larger one, by validation (3e-3 for the 1,000 targets of the demo study, 1e-2 to 1e-1 for
        a handful).
    momentum
        Share of the velocity kept from update to update.
    monitor_size
        Training profiles whose error steers the learning rate.
    halves
        1: all targets in one network; 2: each half of them, in the order of y, in a network of
        its own, which the paper did for want of memory.
    precision
        ``highest`` (float32) or ``tf32`` (quicker and rounder, on GPUs that have it).
    pretrain
        ``none`` (the paper) or ``autoencoder``: hidden layers start from a stacked denoising
        autoencoder of the landmarks.
    pretrain_epochs
        Passes over the training profiles for the autoencoder of each hidden layer.
    standardize
        Standardise every gene of X and y by its mean and deviation over the training profiles, and
        put predictions back on the scale of y; so any values will do that are not skewed (take
        logarithms of counts). Without it X and y are taken as they are.
    validation_fraction
        Share of the profiles set aside, at random, to choose the best epoch by; ``None``: the
        validation profiles given to `fit`, or if there are none the last epoch.
    random_state
        A whole number gives the weights and dropout masks of that seed in ``dgex train``, the
        same in every fit; ``None`` and `numpy.random.RandomState` draw a seed. Batch orders are
        the original's, whatever the seed.
    verbose
        Print a line after each epoch.

    Attributes
    ----------
    params_
        One mapping a half, ``{"hidden1": {"kernel", "bias"}, …, "output": …}``, float32 arrays:
        the weights of the best epoch, or of the last without validation profiles.
    best_epoch_
        The epoch they are of, counted from 0; a tuple with one epoch a half if `halves` is 2.
    errors_
        A `pandas.DataFrame` with a row an epoch: ``MAE_tr`` on the monitored training profiles
        and, with validation profiles, ``MAE_va`` (means over all targets, in the units of
        training: standardised ones if `standardize`), ``learning_rate`` (a column for each of two
        halves), ``seconds``.
    mae_per_target_
        ``(n_outputs_,)`` float64: mean absolute error of each target in the units of y, on the
        validation profiles; without them on the training profiles, and so too small.
    x_scaler_, y_scaler_
        The `sklearn.preprocessing.StandardScaler` of X and of y.
    seed_
        The seed used.
    n_features_in_, feature_names_in_, n_outputs_
        As in `ExpressionRegressor`.
    """

    params_: tuple[Mapping[str, Mapping[str, NDArray[np.float32]]], ...]
    best_epoch_: int | tuple[int, ...]
    errors_: pd.DataFrame
    mae_per_target_: NDArray[np.float64]
    x_scaler_: StandardScaler
    y_scaler_: StandardScaler
    seed_: int

    def __init__(
        self,
        hidden_layers: int = 1,
        units: int = 512,
        dropout: float = 0.1,
        *,
        epochs: int = 200,
        batch_size: int = 200,
        learning_rate: float | None = None,
        momentum: float = 0.5,
        monitor_size: int = 5000,
        halves: int = 1,
        precision: Precision = "highest",
        pretrain: Pretrain = "none",
        pretrain_epochs: int = PRETRAIN_EPOCHS,
        standardize: bool = True,
        validation_fraction: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layers = hidden_layers
        self.units = units
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.monitor_size = monitor_size
        self.halves = halves
        self.precision = precision
        self.pretrain = pretrain
        self.pretrain_epochs = pretrain_epochs
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)``.
        y
            ``(n_profiles,)`` or ``(n_profiles, n_targets)``.
        X_val, y_val
            Tables of the same genes in other profiles, to choose the best epoch by. In a
            `Pipeline` they must have gone through its steps (its ``transform_input``).

        Raises
        ------
        ValueError
            Tables that don't fit together, are empty or not finite; a bad parameter; a training
            that diverged (`dgex_jax.errors.DivergedError`).
        """
        network = network_config(self)
        training = training_config(self, draw_seed(self.random_state))
        tables = self._check_training(X, y)
        self.seed_ = training.seed
        known, held_out = self._split(*tables, X_val, y_val)
        self.x_scaler_ = fit_scaler(known[0], self.standardize)
        self.y_scaler_ = fit_scaler(known[1], self.standardize)
        study = study_of(
            self._in_training_units(*known),
            None if held_out is None else self._in_training_units(*held_out),
            training.halves,
        )
        rows: list[dict[str, float]] = []

        def on_epoch(records: Sequence[EpochRecord], _fetch: Callable[[], Any]) -> None:
            (record,) = records
            row = history_row(record, study.half_sizes(), validated=held_out is not None)
            rows.append(row)
            if self.verbose:
                print(history_line(row, record.epoch, training.epochs), flush=True)

        ((devices, *_), _) = choose_devices(None, training.halves)
        try:
            (trained,) = train_group(study, [network], training, devices, on_epoch)
        finally:
            # Also of a training that diverged or was stopped.
            self.errors_ = history_table(rows)
        self._precision = training.precision
        best = held_out is not None
        epochs = [half.best_va_epoch if best else training.epochs - 1 for half in trained.halves]
        self.best_epoch_ = epochs[0] if len(epochs) == 1 else tuple(epochs)
        # Copies, since a view of a device's memory would hold on to it.
        self.params_ = tuple(
            {
                layer: {kind: np.array(value) for kind, value in of_layer.items()}
                for layer, of_layer in (half.best_va if best else half.final).items()
            }
            for half in trained.halves
        )
        self.mae_per_target_ = self._measure(*(held_out or known))
        return self._done()

    def _predict(self, landmarks: FloatArray) -> NDArray[Any]:
        prediction = np.empty((len(landmarks), self.n_outputs_), landmarks.dtype)
        for rows, inferred in self._inferred(landmarks):
            prediction[rows] = inferred
        return prediction

    def _split(
        self,
        X: FloatArray,
        Y: FloatArray,
        X_val: ArrayLike | None,
        y_val: ArrayLike | None,
    ) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray] | None]:
        """Return the profiles to learn from, and those to choose the epoch by."""
        if X_val is None and y_val is None:
            if self.validation_fraction is None:
                return (X, Y), None
            return set_aside(X, Y, self.validation_fraction, self.seed_)
        if X_val is None or y_val is None:
            raise DgexError("X_val, y_val: one is missing, they come together")
        if self.validation_fraction is not None:
            raise DgexError(
                f"validation_fraction = {self.validation_fraction}: validation profiles are given "
                "(X_val, y_val), so none are set aside"
            )
        return (X, Y), self._check_more(X_val, y_val, "_val")

    def _in_training_units(self, X: FloatArray, Y: FloatArray) -> Tables:
        return Tables(
            as_float32("X", self.x_scaler_.transform(X)),
            as_float32("y", self.y_scaler_.transform(Y)),
        )

    def _inferred(self, X: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
        """Give profiles and their targets on the scale of y, in X's type, some at a time."""
        landmarks = as_float32("X", self.x_scaler_.transform(X))
        for rows, inferred in inferred_blocks(self.params_, landmarks, self._precision):
            yield rows, self.y_scaler_.inverse_transform(inferred.astype(X.dtype))

    def _measure(self, X: FloatArray, Y: FloatArray) -> NDArray[np.float64]:
        """MAE of each target ``(n_targets,)`` in the units of y."""
        total = np.zeros(Y.shape[1])
        for rows, inferred in self._inferred(X):
            total += np.abs(np.subtract(inferred, Y[rows], dtype=np.float64)).sum(axis=0)
        return total / len(X)
