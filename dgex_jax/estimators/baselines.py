"""The paper's LR, LR-L1, LR-L2 and KNN-GE as scikit-learn estimators; they need no JAX."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from dgex_jax.baselines.knn import KnnGe
from dgex_jax.baselines.lasso import MAX_ITERATIONS, lasso_path
from dgex_jax.baselines.linear import LeastSquares, predict_linear, ridge_path
from dgex_jax.config import check_range
from dgex_jax.estimators import ExpressionRegressor, fit_scaler, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray
    from sklearn.preprocessing import StandardScaler

    from dgex_jax.baselines.linear import LinearFit
    from dgex_jax.estimators import Tables
    from dgex_jax.io.expression import FloatArray


class _Baseline(ExpressionRegressor):
    """What the methods without a network share."""

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
            Tables that don't fit together, are empty or not finite; a bad parameter; for `LRL1`,
            `tol` not reached in `max_iter` steps.
        """
        self._fit(*self._check_training(X, y))
        return self._done()

    @abstractmethod
    def _fit(self, landmarks: FloatArray, targets: FloatArray) -> None:
        """Learn from checked tables."""


class KNNGE(_Baseline):
    """Gene-based nearest neighbours (paper section 2.5).

    A target gene is the mean of the k landmark genes nearest to it (Euclidean distance over the
    training profiles, ties by landmark order), taken from the profile to predict. Nothing is
    weighted: it serves as a yardstick.

    Parameters
    ----------
    k
        Landmarks to average; all of them if there are fewer. Tune it (`GridSearchCV`); the paper
        tuned one k for all genes.
    standardize
        Standardise every gene by its mean and deviation over the training profiles, and put
        predictions back on the scale of y. Without it X and y are taken as they are, which needs
        genes of one scale.

    Attributes
    ----------
    k_
        Landmarks averaged.
    neighbours_
        ``(n_outputs_, k_)`` landmarks of each target, nearest first.
    x_scaler_, y_scaler_
        The `sklearn.preprocessing.StandardScaler` of X and of y.
    """

    k_: int
    neighbours_: NDArray[Any]
    x_scaler_: StandardScaler
    y_scaler_: StandardScaler

    def __init__(self, k: int = 5, *, standardize: bool = True) -> None:
        self.k = k
        self.standardize = standardize

    def _fit(self, landmarks: FloatArray, targets: FloatArray) -> None:
        k = number("k", self.k, int)
        check_range("k", k, 1)
        self.x_scaler_ = fit_scaler(landmarks, self.standardize)
        self.y_scaler_ = fit_scaler(targets, self.standardize)
        scaled = self.x_scaler_.transform(landmarks), self.y_scaler_.transform(targets)
        self._model = KnnGe(k).fit(*scaled)
        self.neighbours_ = self._model.neighbours_
        self.k_ = self.neighbours_.shape[1]

    def _predict(self, landmarks: FloatArray) -> NDArray[Any]:
        prediction = self._model.predict(self.x_scaler_.transform(landmarks), self.k_)
        on_the_scale_of_y: NDArray[Any] = self.y_scaler_.inverse_transform(prediction)
        return on_the_scale_of_y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # It averages landmarks whatever they are worth, so no error can be promised.
        tags.regressor_tags.poor_score = True
        return tags


class _Linear(_Baseline):
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

    def _keep_scaled(
        self,
        tables: Tables,
        standardize: bool,
        solve: Callable[[FloatArray, FloatArray], Iterator[LinearFit]],
    ) -> LinearFit:
        """Solve on standardised values; coefficients are kept for values as they come."""
        scalers = [fit_scaler(table, standardize) for table in tables]
        X, Y = (scaler.transform(table) for scaler, table in zip(scalers, tables, strict=True))
        fit = next(solve(X, Y))
        coef, intercept = fit.coef, fit.intercept
        if standardize:
            x, y = scalers
            coef = coef * y.scale_[:, np.newaxis] / x.scale_
            intercept = y.mean_ + y.scale_ * intercept - coef @ x.mean_
        self._keep(coef, intercept)
        return fit


class LR(_Linear):
    """Ordinary least squares of every target gene on all landmark genes (paper section 2.4).

    With as many landmarks as profiles or more it is the minimum-norm solution. Equal to
    `sklearn.linear_model.LinearRegression` in float64, and at thousands of targets quicker:
    `dgex_jax.baselines.linear.LeastSquares` factorises X once. It has no parameters, since
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
    """

    rank_: int
    singular_: NDArray[np.float64]

    def _fit(self, landmarks: FloatArray, targets: FloatArray) -> None:
        model = LeastSquares().fit(landmarks, targets)
        self._keep(model.coef_, model.intercept_)
        self.rank_, self.singular_ = model.rank_, model.singular_


class LRL1(_Linear):
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

    def _fit(self, landmarks: FloatArray, targets: FloatArray) -> None:
        lam, tolerance = number("lam", self.lam, float), number("tol", self.tol, float)
        steps = number("max_iter", self.max_iter, int)
        fit = self._keep_scaled(
            (landmarks, targets),
            self.standardize,
            lambda X, Y: lasso_path(X, Y, [lam], tolerance=tolerance, max_iterations=steps),
        )
        if fit.gap is None:
            raise AssertionError("the lasso reports its gap")
        self.gap_, self.n_iter_ = fit.gap, fit.iterations


class LRL2(_Linear):
    """Least squares with an L2 penalty, the paper's LR-L2 (section 2.4).

    Minimises ``(1/2n)|y - Xw - b|^2 + (lam/2)|w|^2`` for each target, the intercept b
    unpenalised: ``alpha`` of `sklearn.linear_model.Ridge` is `lam` times the number of profiles.

    Parameters
    ----------
    lam, standardize
        As in `LRL1`.

    Attributes
    ----------
    coef_, intercept_
        As in `LR`.
    """

    def __init__(self, lam: float = 0.01, *, standardize: bool = True) -> None:
        self.lam = lam
        self.standardize = standardize

    def _fit(self, landmarks: FloatArray, targets: FloatArray) -> None:
        lam = number("lam", self.lam, float)
        self._keep_scaled(
            (landmarks, targets), self.standardize, lambda X, Y: ridge_path(X, Y, [lam])
        )
