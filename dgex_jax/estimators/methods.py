"""Methods beyond the paper's as scikit-learn estimators."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import fields
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length

from dgex_jax.config import describe
from dgex_jax.errors import DgexError
from dgex_jax.estimators import ValidatedRegressor, draw_seed, fit_scaler, number, scaled
from dgex_jax.io.progress import Progress
from dgex_jax.methods import Tables
from dgex_jax.methods.kernel_ridge import KernelRidgeConfig, fit_kernel_ridge
from dgex_jax.methods.learned_kernel import LearnedKernelConfig, fit_learned_kernel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from sklearn.preprocessing import StandardScaler

    from dgex_jax.io.expression import FloatArray
    from dgex_jax.methods import Fitted
    from dgex_jax.methods.kernels import KernelModel

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


class KernelRidge(MethodRegressor):
    """Kernel ridge regression with the sum of an RBF and a linear kernel, all targets at once.

    Profiles much like the new one weigh most (RBF), beside a trend over all (linear). Its kernel
    and lambda are chosen by the validation error. Memory grows with the square of the number of
    profiles and time with its cube, up to `exact_limit`; beyond it is an approximation.

    Parameters
    ----------
    <settings>
    standardize
        Standardise every gene of X and y by its mean and deviation over the training profiles, and
        put predictions back on the scale of y. Without it X and y are taken as they are; there is
        no intercept.
    validation_fraction
        Share of the profiles set aside, at random, to choose by where no validation profiles are
        given.
    random_state
        Of the profiles set aside, and of those drawn where there are many.
    verbose
        Show progress on standard error.

    Attributes
    ----------
    method_
        A `dgex_jax.methods.kernels.KernelModel`; its ``settings`` hold what was chosen.
    """

    method_: KernelModel

    def __init__(
        self,
        scales: tuple[float, ...] | float = KernelRidgeConfig.scales,
        linear: tuple[float, ...] | float = KernelRidgeConfig.linear,
        lambdas: tuple[float, ...] | float = KernelRidgeConfig.lambdas,
        *,
        exact_limit: int = KernelRidgeConfig.exact_limit,
        centres: int = KernelRidgeConfig.centres,
        memory_gb: float = KernelRidgeConfig.memory_gb,
        standardize: bool = True,
        validation_fraction: float | None = HELD_OUT,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.scales = scales
        self.linear = linear
        self.lambdas = lambdas
        self.exact_limit = exact_limit
        self.centres = centres
        self.memory_gb = memory_gb
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, tables: Tables) -> KernelModel:
        grids = {
            name: tuple(number(name, one, float) for one in np.atleast_1d(values).tolist())
            for name, values in self.get_params().items()
            if name in {"scales", "linear", "lambdas"}
        }
        config = self._settings(KernelRidgeConfig, seed=self.seed_, **grids)
        return fit_kernel_ridge(tables, config, Progress(self.verbose))


class LearnedKernel(MethodRegressor):
    """Kernel ridge regression with a kernel learnt by gradient, a weight for each landmark.

    A sum of linear, RBF, Laplacian and cosine kernels; its amplitudes, lengths and landmark weights
    are learnt on the error of training profiles (or, with `groups`, whole groups) left out, then
    adjusted by the validation error. Needs JAX.

    Parameters
    ----------
    <settings>
    standardize
        Standardise every gene of X and y by its mean and deviation over the training profiles, and
        put predictions back on the scale of y. Without it X and y are taken as they are; there is
        no intercept.
    validation_fraction
        Share of the profiles set aside, at random, to choose by where no validation profiles are
        given.
    random_state
        Of the profiles set aside, and of those drawn where there are many.
    verbose
        Show progress on standard error.

    Attributes
    ----------
    weights_
        ``(n_features_in_,)`` float32: how much each landmark weighs in the distance of two
        profiles; their mean is 1, and all are if validation says so.
    method_
        A `dgex_jax.methods.kernels.KernelModel`; its ``settings`` hold what was chosen.
    """

    method_: KernelModel
    weights_: NDArray[np.float32]

    def __init__(
        self,
        steps: int = LearnedKernelConfig.steps,
        rate: float = LearnedKernelConfig.rate,
        *,
        whole_limit: int = LearnedKernelConfig.whole_limit,
        batch_size: int = LearnedKernelConfig.batch_size,
        exact_limit: int = LearnedKernelConfig.exact_limit,
        centres: int = LearnedKernelConfig.centres,
        memory_gb: float = LearnedKernelConfig.memory_gb,
        standardize: bool = True,
        validation_fraction: float | None = HELD_OUT,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.steps = steps
        self.rate = rate
        self.whole_limit = whole_limit
        self.batch_size = batch_size
        self.exact_limit = exact_limit
        self.centres = centres
        self.memory_gb = memory_gb
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, tables: Tables) -> KernelModel:
        config = self._settings(LearnedKernelConfig, seed=self.seed_)
        fitted = fit_learned_kernel(tables, config, Progress(self.verbose))
        self.weights_ = fitted.tensors["weights"]
        return fitted


for _kind, _settings in ((KernelRidge, KernelRidgeConfig), (LearnedKernel, LearnedKernelConfig)):
    _names = (one.name for one in fields(_settings) if one.name != "seed")
    _kind.__doc__ = cleandoc(_kind.__doc__ or "").replace(
        "<settings>", describe(_settings, *_names)
    )
