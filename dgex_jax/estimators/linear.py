"""Linear regression as scikit-learn estimators: the paper's LR, LR-L1 and LR-L2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from dgex_jax.estimators.base import (
    ExpressionRegressor,
    fit_scaler,
    means_and_scales,
    number,
    whole,
)
from dgex_jax.models.lasso import MAX_ITERATIONS, lasso_path
from dgex_jax.models.linear import LeastSquares, predict_linear
from dgex_jax.models.ridge import ridge_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.formats.expression import FloatArray
    from dgex_jax.models.penalised import LinearFit


class Linear(ExpressionRegressor):
    """What the linear models share: coefficients, and predictions from them."""

    coef_: NDArray[np.float64]
    intercept_: NDArray[np.float64] | float

    def _predict(self, landmarks: FloatArray) -> NDArray[Any]:
        return predict_linear(landmarks, np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_))

    def _keep(self, coef: NDArray[np.float64], intercept: NDArray[np.float64]) -> None:
        """Keep ``(n_targets, n_landmarks)`` coefficients in the shapes scikit-learn gives them."""
        vector = self._target_shape == ()
        self.coef_ = coef[0] if vector else coef
        self.intercept_ = float(intercept[0]) if vector else intercept

    def _fit_scaled(
        self,
        X: ArrayLike,
        y: ArrayLike,
        standardize: bool,
        solve: Callable[[FloatArray, FloatArray], LinearFit],
    ) -> LinearFit:
        """Solve on standardised values; coefficients are kept for values as they come."""
        landmarks, targets = self._check_training(X, y)
        x_scaler, y_scaler = fit_scaler(landmarks, standardize), fit_scaler(targets, standardize)
        fit = solve(x_scaler.transform(landmarks), y_scaler.transform(targets))
        x_mean, x_scale = means_and_scales(x_scaler, landmarks.shape[1])
        y_mean, y_scale = means_and_scales(y_scaler, targets.shape[1])
        coef = fit.coef * y_scale[:, np.newaxis] / x_scale
        self._keep(coef, y_mean + y_scale * fit.intercept - coef @ x_mean)
        return fit


class LR(Linear):
    """Ordinary least squares of every target gene on all landmark genes (paper section 2.4).

    With as many landmarks as profiles or more it is the minimum-norm solution. Equal to
    `sklearn.linear_model.LinearRegression` in float64, and at thousands of targets quicker:
    `dgex_jax.models.linear.LeastSquares` factorises X once. It has no parameters, since
    standardisation changes nothing.

    Attributes
    ----------
    coef_, intercept_
        ``(n_outputs_, n_features_in_)`` and ``(n_outputs_,)`` float64; for a single vector y
        ``(n_features_in_,)`` and a float.
    rank_
        Numerical rank of the centred X.
    singular_
        Its ``(min(n_profiles, n_landmarks),)`` singular values.
    n_features_in_, feature_names_in_, n_outputs_
        As in `ExpressionRegressor`.
    """

    rank_: int
    singular_: NDArray[np.float64]

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit all targets.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)``.
        y
            ``(n_profiles,)`` or ``(n_profiles, n_targets)``.

        Raises
        ------
        ValueError
            Tables that don't fit together, are empty or not finite.
        """
        model = LeastSquares().fit(*self._check_training(X, y))
        self._keep(model.coef_, model.intercept_)
        self.rank_, self.singular_ = model.rank_, model.singular_
        return self._done()


class LRL1(Linear):
    """Least squares with an L1 penalty, the paper's LR-L1 (section 2.4).

    Minimises ``(1/2n)|y - Xw - b|^2 + lam |w|_1`` for each target, the intercept b unpenalised:
    `lam` is the ``alpha`` of `sklearn.linear_model.Lasso`.

    Parameters
    ----------
    lam
        Weight of the penalty, above 0 and the same for all targets. Tune it (`GridSearchCV`).
    standardize
        Standardise X and y by the training profiles before the penalty is weighed, as in the
        paper; coefficients come back on the scales of X and y.
    tol
        Largest duality gap of a target, as a share of ``|y|^2 / n`` (y centred).
    max_iter
        Steps the solver may take; an error if they don't suffice.

    Attributes
    ----------
    coef_, intercept_
        As in `LR`.
    gap_
        ``(n_outputs_,)`` relative duality gap reached for each target.
    n_iter_
        Steps taken until the last target was done.
    n_features_in_, feature_names_in_, n_outputs_
        As in `ExpressionRegressor`.
    """

    gap_: NDArray[np.float64]
    n_iter_: int

    def __init__(
        self,
        lam: float = 0.01,
        *,
        standardize: bool = True,
        tol: float = 1e-4,
        max_iter: int = MAX_ITERATIONS,
    ) -> None:
        self.lam = lam
        self.standardize = standardize
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit all targets.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)``.
        y
            ``(n_profiles,)`` or ``(n_profiles, n_targets)``.

        Raises
        ------
        ValueError
            Tables that don't fit together, are empty or not finite; a bad parameter; `tol` not
            reached in `max_iter` steps.
        """
        lam, tolerance = number("lam", self.lam), number("tol", self.tol)
        steps = whole("max_iter", self.max_iter)

        def solve(landmarks: FloatArray, targets: FloatArray) -> LinearFit:
            path = lasso_path(landmarks, targets, [lam], tolerance=tolerance, max_iterations=steps)
            return next(path)

        fit = self._fit_scaled(X, y, self.standardize, solve)
        if fit.gap is None:
            raise AssertionError("the lasso reports its gap")
        self.gap_, self.n_iter_ = fit.gap, fit.iterations
        return self._done()


class LRL2(Linear):
    """Least squares with an L2 penalty, the paper's LR-L2 (section 2.4).

    Minimises ``(1/2n)|y - Xw - b|^2 + (lam/2)|w|^2`` for each target, the intercept b
    unpenalised: ``alpha`` of `sklearn.linear_model.Ridge` is `lam` times the number of profiles.

    Parameters
    ----------
    lam
        Weight of the penalty, above 0 and the same for all targets. Tune it (`GridSearchCV`).
    standardize
        Standardise X and y by the training profiles before the penalty is weighed, as in the
        paper; coefficients come back on the scales of X and y.

    Attributes
    ----------
    coef_, intercept_
        As in `LR`.
    n_features_in_, feature_names_in_, n_outputs_
        As in `ExpressionRegressor`.
    """

    def __init__(self, lam: float = 0.01, *, standardize: bool = True) -> None:
        self.lam = lam
        self.standardize = standardize

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit all targets.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)``.
        y
            ``(n_profiles,)`` or ``(n_profiles, n_targets)``.

        Raises
        ------
        ValueError
            Tables that don't fit together, are empty or not finite, or a bad `lam`.
        """
        lam = number("lam", self.lam)

        def solve(landmarks: FloatArray, targets: FloatArray) -> LinearFit:
            return next(ridge_path(landmarks, targets, [lam]))

        self._fit_scaled(X, y, self.standardize, solve)
        return self._done()
