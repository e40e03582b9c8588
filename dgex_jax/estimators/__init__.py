"""The methods as scikit-learn estimators; here what they share: checks and standardised tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

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
