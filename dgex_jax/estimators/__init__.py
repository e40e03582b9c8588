"""The methods as scikit-learn estimators; here what they share: checks and standardised tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.io.expression import FloatArray

    Tables = tuple[FloatArray, FloatArray]
    """Landmarks ``(n_profiles, n_landmarks)`` and targets ``(n_profiles, n_targets)``."""

FLOATS = (np.float64, np.float32)
T = TypeVar("T", int, float)


class ExpressionRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """Infers target genes ``y`` from landmark genes ``X``.

    Tables are checked by scikit-learn's own rules, so data frames and lists will do, and what is
    wrong is a `ValueError` (`DgexError` is one). Targets may be one vector or a table; what is
    predicted has the same number of dimensions.

    Attributes
    ----------
    n_features_in_
        Number of landmark genes.
    feature_names_in_
        Their names, where X was a data frame with names of text.
    n_outputs_
        Number of target genes.
    """

    n_features_in_: int
    n_outputs_: int

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict all targets.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)``.

        Returns
        -------
        NDArray
            ``(n_profiles,)`` or ``(n_profiles, n_targets)`` as y was, on the scale of y; float64
            (a `DGEXRegressor` gives float32 for a float32 X).

        Raises
        ------
        ValueError
            Another number of landmarks, or values that are not finite; not fitted
            (`sklearn.exceptions.NotFittedError`).
        """
        check_is_fitted(self)
        landmarks: FloatArray = validate_data(self, X, reset=False, dtype=FLOATS)
        prediction = self._predict(landmarks)
        return prediction.reshape(len(prediction), *self._target_shape)

    @abstractmethod
    def _predict(self, landmarks: FloatArray) -> NDArray[Any]:
        """Predict ``(n_profiles, n_outputs_)`` from checked ``(n_profiles, n_landmarks)``."""

    def _check_training(self, X: ArrayLike, y: ArrayLike) -> Tables:
        """Return ``(n_profiles, n_landmarks)`` and ``(n_profiles, n_targets)``, in floats."""
        self._fitted = False
        landmarks, targets = validate_data(
            self,
            X,
            y,
            validate_separately=({"dtype": FLOATS}, {"dtype": FLOATS, "ensure_2d": False}),
        )
        check_consistent_length(landmarks, targets)
        self._target_shape = targets.shape[1:]
        self.n_outputs_ = targets.shape[1] if targets.ndim == 2 else 1
        return landmarks, targets.reshape(len(targets), self.n_outputs_)

    def _done(self) -> Self:
        """End of `fit`: only now can it predict, whatever a fit that failed has left behind."""
        self._fitted = True
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return getattr(self, "_fitted", False)


class ValidatedRegressor(ExpressionRegressor):
    """One that chooses by validation profiles: those given, or a share of the training profiles.

    Attributes
    ----------
    places_
        The rows of X that were learnt from: all but those set aside.
    """

    places_: NDArray[np.intp]

    validation_fraction: float | None

    def _settings(self, kind: type[Any], **more: Any) -> Any:
        """Make a configuration of the parameters, each checked to be of its default's type."""
        for one in fields(kind):
            if one.name not in more:
                value = getattr(self, one.name)
                if isinstance(one.default, bool):
                    if not isinstance(value, (bool, np.bool_)):
                        raise DgexError(f"{one.name} = {value!r}: must be True or False")
                    value = bool(value)
                elif isinstance(one.default, int):
                    value = number(one.name, value, int)
                elif isinstance(one.default, float) or (one.default is None and value is not None):
                    value = number(one.name, value, float)
                more[one.name] = value
        return kind(**more)

    def _split(
        self,
        tables: Tables,
        X_val: ArrayLike | None,
        y_val: ArrayLike | None,
        groups: NDArray[Any] | None = None,
        *,
        seed: int,
    ) -> tuple[Tables, Tables | None, NDArray[Any] | None]:
        """Return the profiles to learn from, those to choose by, and the groups of the former.

        Where profiles are set aside, `groups` ``(n_profiles,)`` are kept whole.
        """
        fraction, self.places_ = self.validation_fraction, np.arange(len(tables[0]))
        if X_val is None and y_val is None:
            if fraction is None:
                return tables, None, groups
            fraction = number("validation_fraction", fraction, float)
            if not 0.0 < fraction < 1.0:
                raise DgexError(f"validation_fraction = {fraction}: must be above 0 and below 1")
            split = ShuffleSplit if groups is None else GroupShuffleSplit
            splitter = split(1, test_size=fraction, random_state=seed)
            ((kept, held_out),) = splitter.split(tables[0], groups=groups)
            X, Y = tables
            self.places_ = kept
            left = None if groups is None else groups[kept]
            return (X[kept], Y[kept]), (X[held_out], Y[held_out]), left
        if X_val is None or y_val is None:
            raise DgexError("X_val, y_val: one is missing, they come together")
        landmarks = validate_data(self, X_val, reset=False, dtype=FLOATS)
        targets = check_array(y_val, dtype=FLOATS, ensure_2d=False, input_name="y_val")
        check_consistent_length(landmarks, targets)
        if targets.shape[1:] != self._target_shape:
            raise DgexError(
                f"y_val: must be of shape {(len(landmarks), *self._target_shape)} like y, "
                f"not {targets.shape}"
            )
        return tables, (landmarks, targets.reshape(len(targets), self.n_outputs_)), groups


def fit_scaler(values: FloatArray, standardize: bool) -> StandardScaler:
    """Learn means and deviations ``(n_genes,)``, or a scaler that leaves all as it is.

    Means and deviations (ddof 0) are taken in float64 and kept there. A constant gene becomes 0;
    the paper's + 1e-3 is left out, since it means something else on every scale.
    """
    return StandardScaler(with_mean=standardize, with_std=standardize).fit(values)


def number(name: str, value: Any, kind: type[T]) -> T:
    """Return a parameter as a plain int or float; raise `DgexError` for what is none."""
    wanted: Any = Integral if kind is int else Real
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise DgexError(f"{name} = {value!r}: must be a {'whole ' if kind is int else ''}number")
    return kind(value)


def scaled(name: str, scaler: StandardScaler, values: FloatArray) -> NDArray[np.float32]:
    """Return finite values scaled, as C-contiguous float32, in which networks compute."""
    wide = scaler.transform(values)
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(wide, dtype=np.float32)
    if narrow.dtype != wide.dtype and not np.isfinite(narrow).all():
        raise DgexError(
            f"{name}: has values beyond the range of float32, in which networks compute"
        )
    return narrow


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Return a whole number as the seed it is; draw one from anything else (scikit-learn's way)."""
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))
