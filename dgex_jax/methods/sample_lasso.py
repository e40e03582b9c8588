"""SampleLASSO (Mancuso et al. 2020): a profile as a sparse combination of training profiles.

Each profile is regressed on the training profiles over the landmarks, with an L1 penalty, and the
same weights are applied to their targets. Nothing is trained; the weights say which profiles a
prediction draws on.

Solved by an active set that takes in several profiles at a time and searches along each move for
the best of the points where a weight changes its sign (Lee, Battle, Raina and Ng 2007): exact to
rounding, in about ten rounds. On real arrays (423 training profiles) five times as quick as the
alternating directions of `dgex_jax.baselines.lasso` or coordinate descent on the Gram matrix, and
ten times as quick as a batched FISTA in JAX, at coefficients of equal precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from scipy.linalg import lapack
from scipy.sparse import csr_array
from threadpoolctl import ThreadpoolController

from dgex_jax.config import Settings, check_range, documented, setting
from dgex_jax.errors import DgexError
from dgex_jax.io.expression import blocks
from dgex_jax.io.progress import Progress
from dgex_jax.methods import Fitted, Float32
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from dgex_jax.io.progress import Tick
    from dgex_jax.methods import Tables

    Doubles = NDArray[np.float64]
    Indices = NDArray[np.intp]
    Weights = tuple[Indices, Doubles]
    """Places of training profiles and their weights, none of which is 0."""

ENTRY = 8
"""Profiles that enter at a time, or half as many as there are: quickest, by measurement."""
SLACK = 1e-9
"""By how much, of the largest inner product, one may exceed the penalty at the optimum."""
RIDGE = 1e-10
"""Squared penalty, of the largest square, so that profiles may be equal or more than landmarks.

Where weights are determined at all it changes them by some 1e-9.
"""
HELD = 8192
"""Training profiles whose inner products are all held, at most: 0.5 GB."""
MAX_ROUNDS = 10_000
CHOSEN_ON = 500
"""Validation profiles that lambda is chosen on, at most: a prediction costs as much as each."""


@documented
@dataclass(frozen=True)
class SampleLassoConfig(Settings):
    """How profiles are regressed on training profiles."""

    lambdas: tuple[float, ...] = setting(
        (0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2),
        "penalties to choose from by validation, growing",
        ": (1/2L)|x - Σ wᵢxᵢ|² + λ|w|₁ over L landmarks",
        low=1e-9,
        high=1e9,
    )
    nearest: int = setting(
        2000,
        "training profiles that a profile is regressed on: those nearest to it by their landmarks",
        ", all of them if there are no more",
        low=1,
    )


class SampleLassoModel(Fitted):
    """The training profiles and a penalty.

    Minimises ``(1/2L)|x - A w|² + lambda |w|_1`` of a profile x ``(L,)``, A ``(L, n)`` being the
    landmarks of the `nearest` training profiles; `sklearn.linear_model.Lasso` without intercept.
    Neither is a profile centred over its landmarks nor are training profiles scaled to one norm:
    on real arrays (`tests/human_mini.toml`, GEO-va) the first costs 0.5 % (0.4044 for 0.4024), the
    second gains 0.1 % (0.4019), and a penalty relative to each profile's largest costs 0.1 %.
    Mancuso et al. fit an intercept to profiles that are not standardised by gene.

    Tensors: ``landmarks`` ``(n, n_landmarks)`` and ``targets`` ``(n, n_targets)``. Settings:
    ``lambda``, ``nearest`` and, where known, ``profiles`` and ``series``: ids and series of the
    training profiles, lists of n texts.
    """

    kind: ClassVar[str] = "sample_lasso"

    def __init__(self, settings: Mapping[str, Any], tensors: Mapping[str, Float32]) -> None:
        super().__init__(settings, tensors)
        self._landmarks, self._targets = tensors["landmarks"], tensors["targets"]
        shapes = self._landmarks.shape, self._targets.shape
        if [len(shape) for shape in shapes] != [2, 2] or shapes[0][0] != shapes[1][0]:
            raise DgexError(f"landmarks {shapes[0]} and targets {shapes[1]} don't fit together")
        if self._landmarks.size == 0:
            raise DgexError(f"landmarks {shapes[0]}: empty")
        self._lambda, self._nearest = float(settings["lambda"]), int(settings["nearest"])
        check_range("lambda", self._lambda, np.finfo(float).tiny, np.finfo(float).max)
        check_range("nearest", self._nearest, 1)
        for name in ("profiles", "series"):
            if name in settings and len(settings[name]) != shapes[0][0]:
                raise DgexError(f"{name}: {len(settings[name])} for {shapes[0][0]} profiles")
        self.n_landmarks, self.n_targets = int(shapes[0][1]), int(shapes[1][1])

    @property
    def title(self) -> str:
        """As ``dgex fit --method`` calls it."""
        return "sample-lasso"

    def infer(self, X: Float32) -> Float32:
        """Infer a batch."""
        return self._apply(one for (one,) in self._paths(X, [self._lambda]))

    def weights(self, X: Float32) -> csr_array:
        """Weights of ``(n_profiles, n_landmarks)``, sparse ``(n_profiles, n)`` float64."""
        return self._sparse(one for (one,) in self._paths(X, [self._lambda]))

    def explain(self, profile: Float32) -> pd.DataFrame:
        """Tell which training profiles a prediction draws on.

        Parameters
        ----------
        profile
            ``(n_landmarks,)``, standardised.

        Returns
        -------
        pandas.DataFrame
            A row for each training profile with a weight, the largest (of either sign) first:
            ``place`` (its row in training), ``profile`` and ``series`` where known, ``weight``, and
            ``share`` of the sum of absolute weights. No row for a profile of zeros.

        Raises
        ------
        DgexError
            Not one profile of as many landmarks.
        """
        if np.shape(profile) != (self.n_landmarks,):
            raise DgexError(
                f"explain: takes one profile of {self.n_landmarks} landmarks, "
                f"not an array of shape {np.shape(profile)}"
            )
        ((places, weights),) = next(self._paths(np.atleast_2d(profile), [self._lambda]))
        order = np.argsort(-np.abs(weights), kind="stable")
        places, weights = places[order], weights[order]
        columns: dict[str, Any] = {"place": places}
        for column, name in (("profile", "profiles"), ("series", "series")):
            if name in self.settings:
                columns[column] = [self.settings[name][place] for place in places]
        share = np.abs(weights) / np.abs(weights).sum()
        return pd.DataFrame(columns | {"weight": weights, "share": share})

    def errors(
        self, X: Float32, Y: Float32, lambdas: Sequence[float], tick: Tick = lambda _n: None
    ) -> Doubles:
        """Mean absolute error by each of the lambdas, ``(n_lambdas,)``; quickest if they fall."""
        total = np.zeros(len(lambdas))
        for rows in blocks(len(X), BATCH):
            for number, weights in enumerate(zip(*self._paths(X[rows], lambdas), strict=True)):
                error = np.abs(self._apply(weights) - Y[rows])
                total[number] += error.sum(dtype=np.float64)
            tick(len(X[rows]))
        mean: Doubles = total / Y.size
        return mean

    def _sparse(self, weights: Iterable[Weights]) -> csr_array:
        """Lay weights out, a row for each profile."""
        places, values = zip(*weights, strict=True)
        ends = np.cumsum([0, *map(len, places)])
        shape = len(places), len(self._landmarks)
        return csr_array((np.concatenate(values), np.concatenate(places), ends), shape)

    def _apply(self, weights: Iterable[Weights]) -> Float32:
        """Apply weights to the targets, each profile's in the order of training."""
        inferred: Float32 = self._sparse(weights).astype(np.float32) @ self._targets
        return inferred

    def _paths(self, X: Float32, lambdas: Sequence[float]) -> Iterator[list[Weights]]:
        """Give the weights by each of the lambdas, for one profile after the other."""
        n, held = len(self._landmarks), self._held
        landmarks: NDArray[Any] = self._landmarks if held is None else held[0]
        ridge = RIDGE * float(self._squares.max())
        for x, products in zip(X, X.astype(landmarks.dtype) @ landmarks.T, strict=True):
            near = np.arange(n)
            if n > self._nearest:
                distances = self._squares - 2 * products
                near = np.sort(np.argpartition(distances, self._nearest)[: self._nearest])
            if held is None:
                some = landmarks[near].astype(np.float64)
                own, rows_of = some @ x.astype(np.float64), partial(_made, some)
            else:
                own, rows_of = products[near], partial(_taken, held[1], near)
            # Threads cost more than they give on such small systems: ten times on busy cores.
            with _threads().limit(limits=1, user_api="blas"):
                path = _path(own, rows_of, [one * self.n_landmarks for one in lambdas], ridge)
            yield [(near[places], weights) for places, weights in path]

    @cached_property
    def _held(self) -> tuple[Doubles, Doubles] | None:
        """Landmarks of few training profiles, and all their inner products, in float64."""
        if len(self._landmarks) > HELD:
            return None
        landmarks = self._landmarks.astype(np.float64)
        return landmarks, landmarks @ landmarks.T

    @cached_property
    def _squares(self) -> Doubles:
        """Squared norms ``(n,)`` of the training profiles."""
        squares: Doubles = np.einsum("pl,pl->p", *[self._landmarks] * 2, dtype=np.float64)
        return squares


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _taken(gram: Doubles, near: Indices, places: Indices) -> Doubles:
    """Inner products of some of the near profiles with all near ones, of those with all."""
    rows = gram[near[places]]
    return rows if len(near) == len(gram) else rows[:, near]


def _made(landmarks: Doubles, places: Indices) -> Doubles:
    """Inner products of some of the near profiles with all near ones, of their landmarks."""
    made: Doubles = landmarks[places] @ landmarks.T
    return made


def _path(
    products: Doubles,
    rows_of: Callable[[Indices], Doubles],
    penalties: Sequence[float],
    ridge: float,
) -> list[Weights]:
    """Solve for one profile by each penalty, starting where the one before ended.

    `products` ``(m,)`` are its inner products with training profiles, `rows_of` gives those of
    some of them with all m; a penalty is lambda times the number of landmarks.
    """
    slack = SLACK * float(np.abs(products).max())
    active, rows = np.empty(0, np.intp), np.empty((0, len(products)))
    weights, path = np.empty(0), []
    for penalty in penalties:
        signs = np.sign(weights)
        for _ in range(MAX_ROUNDS):
            gram = rows[:, active] + ridge * np.eye(len(active))
            stay, weights, signs = _descend(gram, products[active], penalty, weights, signs)
            if len(stay) < len(active):
                active, rows = active[stay], rows[stay]
            left = products - weights @ rows
            excess = np.abs(left) - penalty
            excess[active] = 0.0
            n_new = min(int(np.count_nonzero(excess > slack)), max(ENTRY, len(active) // 2))
            if n_new == 0:
                break
            new = np.argpartition(excess, -n_new)[-n_new:]
            active, rows = np.concatenate([active, new]), np.concatenate([rows, rows_of(new)])
            weights = np.concatenate([weights, np.zeros(n_new)])
            signs = np.concatenate([signs, np.sign(left[new])])
        else:
            raise DgexError(f"lasso: a profile is not solved in {MAX_ROUNDS} rounds")
        order = np.argsort(active)
        path.append((active[order], weights[order]))
    return path


def _descend(
    gram: Doubles, products: Doubles, penalty: float, weights: Doubles, signs: Doubles
) -> tuple[Indices, Doubles, Doubles]:
    """Go down to the optimum among active profiles; gives which of them stay, weights and signs.

    Signs are those of the weights; of weights of 0 those that lead down.
    """
    active = np.arange(len(weights))
    while active.size:
        goal = lapack.dposv(gram, products - penalty * signs, lower=1)[1]
        stay = (weights != 0) | (goal * signs > 0)
        # One that would enter against its sign is left out; never all of them.
        if stay.all():
            across = np.flatnonzero(goal * signs < 0)
            if not across.size:
                return active, goal, signs
            steps = np.append(weights[across] / (weights[across] - goal[across]), 1.0)
            points = weights + steps[:, np.newaxis] * (goal - weights)
            points[np.arange(len(across)), across] = 0.0
            smooth = ((points @ gram / 2 - products) * points).sum(axis=1)
            weights = points[np.argmin(smooth + penalty * np.abs(points).sum(axis=1))]
            stay, signs = weights != 0, np.sign(weights)
        active, weights, signs = active[stay], weights[stay], signs[stay]
        gram, products = gram[np.ix_(stay, stay)], products[stay]
    return active, weights, signs


def fit_sample_lasso(
    tables: Tables,
    config: SampleLassoConfig | None = None,
    progress: Progress | None = None,
    *,
    profiles: Sequence[str] | None = None,
) -> SampleLassoModel:
    """Keep the training profiles and choose lambda by the validation error.

    Of equal errors the largest lambda is kept. Of more than `CHOSEN_ON` validation profiles every
    second, third, … is taken. `profiles` are the ids of the training profiles, which `explain`
    gives; their series are `tables.groups`.

    Raises
    ------
    DgexError
        Other than one id for each profile.
    """
    config = config or SampleLassoConfig()
    settings: dict[str, Any] = {"lambda": config.lambdas[-1], "nearest": config.nearest}
    for name, known in (("profiles", profiles), ("series", tables.groups)):
        if known is not None:
            settings[name] = [str(one) for one in known]
    tensors = {"landmarks": tables.X, "targets": tables.Y}
    model = SampleLassoModel(settings, tensors)
    some = slice(None, None, -(-len(tables.X_val) // CHOSEN_ON))
    X, Y, lambdas = tables.X_val[some], tables.Y_val[some], config.lambdas[::-1]
    with (progress or Progress()).step("sample-lasso", len(X)) as tick:
        errors = model.errors(X, Y, lambdas, tick)
    best = lambdas[int(np.argmin(errors))]
    return SampleLassoModel(settings | {"lambda": best}, tensors)
