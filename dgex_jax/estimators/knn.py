"""KNN-GE as a scikit-learn estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from dgex_jax.config import check_range
from dgex_jax.estimators.base import ExpressionRegressor, fit_scaler, whole
from dgex_jax.models.knn import KnnGe

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from sklearn.preprocessing import StandardScaler

    from dgex_jax.formats.expression import FloatArray


class KNNGE(ExpressionRegressor):
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
    n_features_in_, feature_names_in_, n_outputs_
        As in `ExpressionRegressor`.
    """

    k_: int
    neighbours_: NDArray[Any]
    x_scaler_: StandardScaler
    y_scaler_: StandardScaler

    def __init__(self, k: int = 5, *, standardize: bool = True) -> None:
        self.k = k
        self.standardize = standardize

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Find the nearest landmarks of every target.

        Parameters
        ----------
        X
            ``(n_profiles, n_landmarks)``.
        y
            ``(n_profiles,)`` or ``(n_profiles, n_targets)``.

        Raises
        ------
        ValueError
            Tables that don't fit together, are empty or not finite, or a bad `k`.
        """
        k = whole("k", self.k)
        check_range("k", k, 1)
        landmarks, targets = self._check_training(X, y)
        self.x_scaler_ = fit_scaler(landmarks, self.standardize)
        self.y_scaler_ = fit_scaler(targets, self.standardize)
        self._model = KnnGe(k).fit(
            self.x_scaler_.transform(landmarks), self.y_scaler_.transform(targets)
        )
        self.neighbours_ = self._model.neighbours_
        self.k_ = self.neighbours_.shape[1]
        return self._done()

    def _predict(self, landmarks: FloatArray) -> NDArray[Any]:
        prediction = self._model.predict(self.x_scaler_.transform(landmarks), self.k_)
        on_the_scale_of_y: NDArray[Any] = self.y_scaler_.inverse_transform(prediction)
        return on_the_scale_of_y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # It averages landmarks whatever they are worth, so no error can be promised.
        tags.regressor_tags.poor_score = True
        return tags
