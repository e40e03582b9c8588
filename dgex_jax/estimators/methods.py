"""Methods beyond the paper's as scikit-learn estimators."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import fields
from functools import partial
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from dgex_jax.config import NetworkConfig, describe
from dgex_jax.errors import DgexError
from dgex_jax.estimators import FLOATS, ValidatedRegressor, draw_seed, fit_scaler, number, scaled
from dgex_jax.estimators.baselines import LR, LRL1, LRL2
from dgex_jax.estimators.network import DGEXRegressor
from dgex_jax.io.progress import Progress
from dgex_jax.methods import Tables
from dgex_jax.methods.kernel_ridge import KernelRidgeConfig, fit_kernel_ridge
from dgex_jax.methods.learned_kernel import LearnedKernelConfig, fit_learned_kernel
from dgex_jax.methods.linear import Linear
from dgex_jax.methods.members import fit_member, members_for
from dgex_jax.methods.network import network
from dgex_jax.methods.residual import ResidualConfig, fit_residual
from dgex_jax.methods.sample_lasso import SampleLassoConfig, SampleLassoModel, fit_sample_lasso
from dgex_jax.methods.stack import fit_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray
    from sklearn.preprocessing import StandardScaler

    from dgex_jax.estimators import ExpressionRegressor
    from dgex_jax.io.expression import FloatArray
    from dgex_jax.methods import Fitted
    from dgex_jax.methods.kernels import KernelModel
    from dgex_jax.methods.stack import Member, StackModel

HELD_OUT = 0.1
"""Share of the profiles set aside where no validation profiles are given."""


COMMON = """standardize
    Standardise every gene of X and y by its mean and deviation over the training profiles, and put
    predictions back on the scale of y. Without it X and y are taken as they are; kernels and
    SampleLasso have no intercept.
validation_fraction
    Share of the profiles set aside to choose by where no validation profiles are given to `fit`;
    of `groups` whole ones.
random_state
    A whole number is the seed of all that is drawn; ``None`` and `numpy.random.RandomState` draw
    one.
verbose
    Show on standard error how far it has come."""
T = TypeVar("T")


def documented_by(*configs: type[Any]) -> Callable[[type[T]], type[T]]:
    """Decorate an estimator: fill in what its settings mean, and what all methods share.

    The seed of a dataclass of settings is the estimator's `random_state`.
    """

    def fill(kind: type[T]) -> type[T]:
        names = [one.name for config in configs for one in fields(config) if one.name != "seed"]
        told = "\n".join(describe(config, *names) for config in configs)
        text = cleandoc(kind.__doc__ or "")
        kind.__doc__ = text.replace("<settings>", told).replace("<common>", COMMON)
        return kind

    return fill


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


@documented_by(SampleLassoConfig)
class SampleLasso(MethodRegressor):
    """SampleLASSO (Mancuso et al. 2020): a profile as a sparse combination of training profiles.

    Each profile is regressed on the training profiles over the landmarks, with an L1 penalty, and
    the same weights are applied to their targets: nothing is trained, and `explain` says which
    profiles a prediction draws on. It is solved exactly, when it predicts.

    Parameters
    ----------
    <settings>
    <common>

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
        verbose: bool = False,
    ) -> None:
        self.lambdas = lambdas
        self.nearest = nearest
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

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
        fitted = fit_sample_lasso(tables, config, Progress(self.verbose), profiles=ids)
        self.lambda_ = fitted.settings["lambda"]
        return fitted


@documented_by(ResidualConfig)
class ResidualMLP(MethodRegressor):
    """Ridge, and beside it hidden layers of GELU units that learn what ridge leaves over.

    Training by AdamW begins at ridge, whose lambda validation chooses, since the output weights of
    the hidden layers begin at zero. The prediction is the mean of several members, which train as
    one batched program, on several devices if these divide them; each is taken at its epoch of
    least validation error.

    Parameters
    ----------
    <settings>
    <common>
    """

    def __init__(
        self,
        hidden_layers: int = ResidualConfig.hidden_layers,
        units: int = ResidualConfig.units,
        input_dropout: float = ResidualConfig.input_dropout,
        dropout: float = ResidualConfig.dropout,
        *,
        epochs: int = ResidualConfig.epochs,
        learning_rate: float = ResidualConfig.learning_rate,
        weight_decay: float = ResidualConfig.weight_decay,
        batch_size: int = ResidualConfig.batch_size,
        members: int = ResidualConfig.members,
        search: bool = ResidualConfig.search,
        standardize: bool = True,
        validation_fraction: float | None = HELD_OUT,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layers = hidden_layers
        self.units = units
        self.input_dropout = input_dropout
        self.dropout = dropout
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.members = members
        self.search = search
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, tables: Tables) -> Fitted:
        config = self._settings(ResidualConfig, seed=self.seed_)
        return fit_residual(tables, config, Progress(self.verbose))


@documented_by()
class Stack(MethodRegressor):
    """A convex combination of methods, one weight each for all targets, by validation error.

    Every member is fitted on the training profiles; weights, above 0 with sum 1, are those of the
    least squared validation error, of the subset of members with the least absolute one. With
    validation profiles of another platform the weights are for that platform.

    Parameters
    ----------
    estimators
        ``[(name, estimator), …]`` of this package, 1 to 10, as in scikit-learn's stacking;
        ``None`` takes what ``dgex fit`` does: below 2,000 training profiles ridge, KNN-GE, kernel
        ridge, SampleLasso and a learned kernel, above ridge, KNN-GE, both kernels and residual
        networks. Members
        learn from what this one has standardised, on the validation profiles that it has set aside.
    <common>

    Attributes
    ----------
    members_
        A `pandas.DataFrame` with a row a member: ``error`` on the validation profiles, in the units
        that members learn in, ``weight`` and ``seconds``.
    method_
        A `dgex_jax.methods.stack.StackModel`.
    """

    method_: StackModel
    members_: pd.DataFrame

    def __init__(
        self,
        estimators: Sequence[tuple[str, ExpressionRegressor]] | None = None,
        *,
        standardize: bool = True,
        validation_fraction: float | None = HELD_OUT,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.estimators = estimators
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, tables: Tables) -> StackModel:
        members: dict[str, Callable[[Tables], Fitted]]
        if self.estimators is None:
            progress = Progress(self.verbose)
            members = {
                name: partial(fit_member, name, seed=self.seed_, progress=progress)
                for name in members_for(len(tables.X))
            }
        else:
            members = {name: partial(_fit_member, one) for name, one in self.estimators}
            if len(members) != len(self.estimators):
                raise DgexError("estimators: two have the same name")

        def told(one: Member) -> None:
            if self.verbose:
                print(f"{one.name}: {one.error:.4f}, {one.seconds:.1f} s", flush=True)

        fitted, reached, _ = fit_stack(tables, members, told)
        self.members_ = pd.DataFrame(
            [(one.error, one.weight, one.seconds) for one in reached],
            index=pd.Index([one.name for one in reached], name="member"),
            columns=["error", "weight", "seconds"],
        )
        return fitted


def _fit_member(estimator: ExpressionRegressor, tables: Tables) -> Fitted:
    """Fit a copy of an estimator on tables that are standardised already."""
    if not isinstance(estimator, (MethodRegressor, DGEXRegressor, LR, LRL1, LRL2)):
        raise DgexError(f"{estimator!r} can't be a member of a stack")
    one = clone(estimator)
    if "standardize" in one.get_params():
        one.set_params(standardize=False)
    if isinstance(one, MethodRegressor):
        one.fit(tables.X, tables.Y, tables.X_val, tables.Y_val, groups=tables.groups)
        return one.method_
    if isinstance(one, DGEXRegressor):
        one.set_params(validation_fraction=None)
        one.fit(tables.X, tables.Y, tables.X_val, tables.Y_val)
        config = NetworkConfig(one.hidden_layers, one.units, one.dropout)
        return network(config, one.params_)
    one.fit(tables.X, tables.Y)
    tensors = {
        "coef": np.ascontiguousarray(one.coef_.T, dtype=np.float32),
        "intercept": np.asarray(one.intercept_, np.float32),
    }
    return Linear({"method": type(one).__name__, "lambda": getattr(one, "lam", 0.0)}, tensors)


@documented_by(KernelRidgeConfig)
class KernelRidge(MethodRegressor):
    """Kernel ridge regression with the sum of an RBF and a linear kernel, all targets at once.

    Profiles much like the new one weigh most (RBF), beside a trend over all (linear). Its kernel
    and lambda are chosen by the validation error. Memory grows with the square of the number of
    profiles and time with its cube, up to `exact_limit`; beyond it is an approximation.

    Parameters
    ----------
    <settings>
    <common>

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


@documented_by(LearnedKernelConfig)
class LearnedKernel(MethodRegressor):
    """Kernel ridge regression with a kernel learnt by gradient, a weight for each landmark.

    A sum of linear, RBF, Laplacian and cosine kernels; its amplitudes, lengths and landmark weights
    are learnt on the error of training profiles (or, with `groups`, whole groups) left out, then
    adjusted by the validation error. Needs JAX.

    Parameters
    ----------
    <settings>
    <common>

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
