"""Methods beyond the paper's as scikit-learn estimators."""

from __future__ import annotations

from abc import abstractmethod
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from dgex_jax.config import describe
from dgex_jax.errors import DgexError
from dgex_jax.estimators import FLOATS, ValidatedRegressor, draw_seed, fit_scaler, number, scaled
from dgex_jax.methods import Tables
from dgex_jax.methods.sample_lasso import SampleLassoConfig, SampleLassoModel, fit_sample_lasso

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from sklearn.preprocessing import StandardScaler

    from dgex_jax.io.expression import FloatArray
    from dgex_jax.methods import Fitted

HELD_OUT = 0.1
"""Share of the profiles set aside where no validation profiles are given."""


class MethodRegressor(ValidatedRegressor):
    """What the methods beyond the paper's share: standardised tables, validation, one `Fitted`.

    Attributes
    ----------
    method_
        What was fitted, on standardised values: all that a model folder would hold.
    mae_per_target_
        ``(n_outputs_,)`` float64: mean absolute error of each target in the units of y, on the
        validation profiles.
    x_scaler_, y_scaler_
        The `sklearn.preprocessing.StandardScaler` of X and of y.
    seed_
        The seed used.
    """

    method_: Fitted
    mae_per_target_: NDArray[np.float64]
    x_scaler_: StandardScaler
    y_scaler_: StandardScaler
    seed_: int

    standardize: bool
    random_state: int | np.random.RandomState | None

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit all targets, and choose settings by validation profiles.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)``.
        y
            ``(n_profiles,)`` or ``(n_profiles, n_targets)``.
        X_val, y_val
            Tables of the same genes in other profiles, to choose by; without them
            `validation_fraction` of the profiles are held out.
        groups
            ``(n_profiles,)``: the series of each profile. Whole series are held out, and methods
            that leave profiles out leave out whole series.

        Raises
        ------
        ValueError
            Tables that don't fit together, are empty or not finite; a bad parameter.
        """
        self.seed_ = draw_seed(self.random_state)
        tables = self._check_training(X, y)
        series = None
        if groups is not None:
            series = check_array(groups, ensure_2d=False, dtype=None, input_name="groups")
            check_consistent_length(tables[0], series)
        known, held_out, series = self._split(tables, X_val, y_val, series, seed=self.seed_)
        if held_out is None:
            raise DgexError("validation_fraction = None: give validation profiles (X_val, y_val)")
        self.x_scaler_ = fit_scaler(known[0], self.standardize)
        self.y_scaler_ = fit_scaler(known[1], self.standardize)
        (X, Y), (X_val, Y_val) = (
            (scaled("X", self.x_scaler_, landmarks), scaled("y", self.y_scaler_, targets))
            for landmarks, targets in (known, held_out)
        )
        self.method_ = self._fit(Tables(X, Y, X_val, Y_val, series))
        self.mae_per_target_ = np.abs(
            self._predict(held_out[0]) - np.asarray(held_out[1], np.float64)
        ).mean(axis=0)
        return self._done()

    @abstractmethod
    def _fit(self, tables: Tables) -> Fitted:
        """Learn from standardised tables, by the estimator's parameters."""

    def _predict(self, landmarks: FloatArray) -> NDArray[Any]:
        inferred = self.method_.predict(scaled("X", self.x_scaler_, landmarks))
        on_the_scale_of_y: NDArray[Any] = self.y_scaler_.inverse_transform(
            inferred.astype(np.float64)
        )
        return on_the_scale_of_y


class SampleLasso(MethodRegressor):
    """SampleLASSO (Mancuso et al. 2020): a profile as a sparse combination of training profiles.

    Each profile is regressed on the training profiles over the landmarks, with an L1 penalty, and
    the same weights are applied to their targets: nothing is trained, and `explain` says which
    profiles a prediction draws on. It is solved exactly, when it predicts.

    Parameters
    ----------
    <settings>
    standardize
        Standardise every gene by its mean and deviation over the training profiles, and put
        predictions back on the scale of y. Without it X and y are taken as they are.
    validation_fraction
        Share of the profiles set aside, at random, to choose lambda by where no validation profiles
        are given.
    random_state
        Of the profiles set aside.

    Attributes
    ----------
    lambda_
        The penalty chosen.
    method_
        A `dgex_jax.methods.sample_lasso.SampleLassoModel`.
    """

    method_: SampleLassoModel
    lambda_: float

    def __init__(
        self,
        lambdas: tuple[float, ...] | float = SampleLassoConfig.lambdas,
        nearest: int = SampleLassoConfig.nearest,
        *,
        standardize: bool = True,
        validation_fraction: float | None = HELD_OUT,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.lambdas = lambdas
        self.nearest = nearest
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def explain(self, profile: ArrayLike | pd.Series | pd.DataFrame) -> pd.DataFrame:
        """Tell which training profiles a prediction draws on.

        Parameters
        ----------
        profile
            ``(n_landmarks,)``, or a table of one profile.

        Returns
        -------
        pandas.DataFrame
            A row for each training profile with a weight, the largest (of either sign) first:
            ``place`` (its row in X), ``profile`` (its name in X's index, if X was a data frame),
            ``series`` (where `groups` were given), ``weight``, and ``share`` of the sum of absolute
            weights.

        Raises
        ------
        ValueError
            Not one profile of the landmarks; not fitted (`sklearn.exceptions.NotFittedError`).
        """
        check_is_fitted(self)
        if isinstance(profile, pd.Series):
            profile = profile.to_frame().T
        elif np.ndim(profile) == 1:
            profile = np.reshape(profile, (1, -1))
        landmarks = validate_data(self, profile, reset=False, dtype=FLOATS)
        if len(landmarks) > 1:
            raise DgexError(f"explain: takes one profile, not {len(landmarks)}")
        told = self.method_.explain(scaled("profile", self.x_scaler_, landmarks)[0])
        return told.assign(place=self.places_[told["place"]])

    def _check_training(self, X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        self._ids = X.index.astype(str) if isinstance(X, pd.DataFrame) else None
        return super()._check_training(X, y)

    def _fit(self, tables: Tables) -> SampleLassoModel:
        lambdas = [number("lambdas", one, float) for one in np.atleast_1d(self.lambdas).tolist()]
        config = self._settings(SampleLassoConfig, lambdas=tuple(lambdas))
        ids = None if self._ids is None else self._ids[self.places_].tolist()
        fitted = fit_sample_lasso(tables, config, profiles=ids)
        self.lambda_ = fitted.settings["lambda"]
        return fitted


SampleLasso.__doc__ = cleandoc(SampleLasso.__doc__ or "").replace(
    "<settings>", describe(SampleLassoConfig)
)
