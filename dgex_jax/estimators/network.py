"""The D-GEX network as a scikit-learn estimator."""

from __future__ import annotations

from dataclasses import fields
from inspect import cleandoc
from itertools import pairwise, starmap
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from dgex_jax.config import NetworkConfig, TrainingConfig, describe
from dgex_jax.errors import DgexError
from dgex_jax.estimators import ValidatedRegressor, draw_seed, fit_scaler, scaled
from dgex_jax.parts import ARRAYS_ALONE
from dgex_jax.train.arrays import StudyArrays
from dgex_jax.train.devices import choose_devices
from dgex_jax.train.network import Forward
from dgex_jax.train.train import train_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray
    from sklearn.preprocessing import StandardScaler

    from dgex_jax.config import Precision, Pretrain
    from dgex_jax.estimators import Tables
    from dgex_jax.io.expression import FloatArray
    from dgex_jax.train.run import EpochRecord


class DGEXRegressor(ValidatedRegressor):
    """The D-GEX network: hidden layers of tanh units shared by all target genes (section 2.3).

    Trained as in the paper, on the GPU if there is one. The defaults are the paper's but for the
    size, 3 hidden layers of 9,000 units at most, and for `halves`: here all targets are in one
    network, which the paper split, in the order of y, for want of memory.

    The loss is summed over targets: the paper's learning rates (``None``) suit thousands of them.
    With fewer take a larger one, by validation (3e-3 for the 1,000 targets of the demo study, 1e-2
    to 1e-1 for a handful).

    Parameters
    ----------
    <settings>
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
        dropout: float = NetworkConfig.dropout,
        *,
        epochs: int = TrainingConfig.epochs,
        batch_size: int = TrainingConfig.batch_size,
        learning_rate: float | None = TrainingConfig.learning_rate,
        momentum: float = TrainingConfig.momentum,
        monitor_size: int = TrainingConfig.monitor_size,
        halves: int = 1,
        precision: Precision = TrainingConfig.precision,
        pretrain: Pretrain = TrainingConfig.pretrain,
        pretrain_epochs: int = TrainingConfig.pretrain_epochs,
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
        network = self._settings(NetworkConfig)
        training = self._settings(TrainingConfig, seed=draw_seed(self.random_state))
        tables = self._check_training(X, y)
        self.seed_ = training.seed
        if self.validation_fraction is not None and (X_val is not None or y_val is not None):
            raise DgexError(
                f"validation_fraction = {self.validation_fraction}: validation profiles are given "
                "(X_val, y_val), so none are set aside"
            )
        known, held_out, _ = self._split(tables, X_val, y_val, seed=self.seed_)
        self.x_scaler_ = fit_scaler(known[0], self.standardize)
        self.y_scaler_ = fit_scaler(known[1], self.standardize)
        study = self._study(known, held_out, training.halves)
        rows: list[dict[str, float]] = []

        def on_epoch(records: Sequence[EpochRecord], _fetch: Callable[[], Any]) -> None:
            (record,) = records
            rows.append(
                _history_row(record, study.logged, study.half_sizes(), held_out is not None)
            )
            if self.verbose:
                cells = [f"{name} {value:.4g}" for name, value in rows[-1].items()][:-1]
                shown = "  ".join([*cells, f"{record.seconds:.2f} s"])
                print(f"epoch {record.epoch + 1}/{training.epochs}  {shown}", flush=True)

        ((devices, *_), _) = choose_devices(None, training.halves)
        try:
            (trained,) = train_group(study, [network], training, devices, on_epoch)
        finally:
            # Also of a training that diverged or was stopped.
            self.errors_ = pd.DataFrame(rows).rename_axis("epoch")
        self._precision = training.precision
        best = held_out is not None
        epochs = [half.best_epoch["va"] if best else training.epochs - 1 for half in trained.halves]
        self.best_epoch_ = epochs[0] if len(epochs) == 1 else tuple(epochs)
        # Copies, since a view of a device's memory would hold on to it.
        self.params_ = tuple(
            {
                layer: {kind: np.array(value) for kind, value in of_layer.items()}
                for layer, of_layer in (half.best["va"] if best else half.final).items()
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

    def _inferred(self, X: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
        """Give profiles and their targets on the scale of y, in X's type, some at a time."""
        start = 0
        for inferred in Forward(self.params_, self._precision)(scaled("X", self.x_scaler_, X)):
            rows = slice(start, start := start + len(inferred))
            yield rows, self.y_scaler_.inverse_transform(inferred.astype(X.dtype))

    def _measure(self, X: FloatArray, Y: FloatArray) -> NDArray[np.float64]:
        """MAE of each target ``(n_targets,)`` in the units of y."""
        total = np.zeros(Y.shape[1])
        for rows, inferred in self._inferred(X):
            total += np.abs(np.subtract(inferred, Y[rows], dtype=np.float64)).sum(axis=0)
        return total / len(X)

    def _study(self, known: Tables, held_out: Tables | None, n_halves: int) -> StudyArrays:
        """Make the study that training takes, in the units of training.

        Training looks at a validation part after each epoch. Without validation profiles the first
        training profile stands there, and what is measured on it says nothing.
        """
        n_targets = known[1].shape[1]
        if n_halves > n_targets:
            raise DgexError(f"halves = {n_halves}: {n_targets} target makes no 2 halves; take 1")
        watched = held_out or (known[0][:1], known[1][:1])
        parts = {"tr": known, "va": watched}
        middle = n_targets // 2
        cuts = (0, middle, n_targets) if n_halves == 2 else (0, n_targets)
        return StudyArrays(
            X={part: scaled("X", self.x_scaler_, X) for part, (X, _) in parts.items()},
            Y={part: scaled("y", self.y_scaler_, Y) for part, (_, Y) in parts.items()},
            halves=tuple(starmap(slice, pairwise(cuts))),
            parts=ARRAYS_ALONE,
        )


_TRAINING = tuple(one.name for one in fields(TrainingConfig) if one.name != "seed")
DGEXRegressor.__doc__ = cleandoc(DGEXRegressor.__doc__ or "").replace(
    "<settings>", f"{describe(NetworkConfig)}\n{describe(TrainingConfig, *_TRAINING)}"
)


def _history_row(
    record: EpochRecord, logged: Sequence[str], half_sizes: Sequence[int], validated: bool
) -> dict[str, float]:
    """Return one epoch's errors over all targets, learning rates and time, named as in a log."""
    weights = np.asarray(half_sizes) / sum(half_sizes)
    errors = dict(zip(logged, (weights @ record.errors).tolist(), strict=True))
    row = {f"MAE_{part}": errors[part] for part in (("tr", "va") if validated else ("tr",))}
    rates = record.learning_rates.tolist()
    for half, rate in enumerate(rates, start=1):
        row["learning_rate" if len(rates) == 1 else f"learning_rate_half{half}"] = rate
    return row | {"seconds": record.seconds}
