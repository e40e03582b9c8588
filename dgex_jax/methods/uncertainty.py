"""How sure: calibrated intervals of inferred values, and how unlike training a profile is.

Intervals are split-conformal (Vovk et al. 2005; locally scaled as in Lei et al. 2018): of each
target the quantile of its absolute errors on validation profiles, each divided by a scale that
grows with the distance of the profile to training. Of exchangeable profiles at least the level is
covered in the mean. Profiles of a series that was not in training are not exchangeable with those
of training: where the study has groups, the intervals are widened by a factor learnt by leaving
whole groups of training out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.errors import DgexError
from dgex_jax.methods.means import means_of_similar
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from dgex_jax.methods import Fitted, Float32

    Doubles = NDArray[np.float64]

PROFILE_FIELDS = ("unlike_training", "reconstructed")
"""How unlike training a profile is: the share of training profiles that have a nearer neighbour;
and the share of its landmark variance that training's principal components explain."""

UNLIKE = 0.99
"""Share from which on a profile is warned of."""

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Shares of values that an interval may be asked to hold."""

ANCHORS = 2000
"""Training profiles kept to measure distances to."""

EXPLAINED, MOST_COMPONENTS = 0.9, 100
"""Of the training landmarks' variance, by at most so many principal components."""

CALIBRATED_ON = 4096
"""Validation profiles that intervals are calibrated on, at most."""

STEEPEST = 2.0
"""Power of the distance that an interval's width may grow with."""

LEFT_OUT_PROFILES, LEFT_OUT_TARGETS, DRAWS = 3000, 1000, 50
RIDGE, LINEAR = 0.3, 0.3
"""Of the kernel ridge regression whose errors on left-out groups are looked at."""


@dataclass(frozen=True)
class Calibration:
    """Half widths of intervals, learnt on one validation part.

    `widths` ``(n_levels, n_targets)`` float32, in standardised units, at distance `centre`; they
    grow with the `slope`-th power of a profile's distance, from `nearest` on, and are multiplied by
    `factors`, of each level one.
    """

    levels: tuple[float, ...]
    widths: Float32
    slope: float
    centre: float
    nearest: float
    factors: tuple[float, ...]
    n_profiles: int

    def half_widths(self, level: float, distances: Doubles) -> Float32:
        """Give ``(n_profiles, n_targets)`` for profiles at such distances; see `level_place`."""
        place = self.level_place(level)
        scale = self.factors[place] * self.scale(distances)
        half: Float32 = scale.astype(np.float32)[:, np.newaxis] * self.widths[place]
        return half

    def scale(self, distances: Doubles) -> Doubles:
        """Say how much wider the intervals of profiles at such distances are."""
        scaled: Doubles = (np.maximum(distances, self.nearest) / self.centre) ** self.slope
        return scaled

    def level_place(self, level: float) -> int:
        """Find a level; raises `DgexError` for one that was not calibrated."""
        for place, one in enumerate(self.levels):
            if math.isclose(one, level, abs_tol=1e-9):
                return place
        known = ", ".join(f"{one:g}" for one in self.levels)
        why = ""
        if any(math.isclose(one, level, abs_tol=1e-9) for one in LEVELS):
            why = f" ({self.n_profiles} validation profiles are too few for it)"
        raise DgexError(f"interval {level:g}: the model has intervals of {known} only{why}")


@dataclass(frozen=True)
class Uncertainty:
    """What a model knows of its own limits.

    `anchors` ``(n_anchors, n_landmarks)`` are training profiles, standardised, or means of similar
    ones (`means`); `components` ``(n_components, n_landmarks)`` orthonormal; `own` ``(101,)`` the
    percentiles of the distance from a training profile to the nearest anchor that it is not (not
    part) of; `calibrated` validation part → intervals.
    """

    anchors: Float32
    components: Float32
    own: Float32
    calibrated: Mapping[str, Calibration]

    def distances(self, X: Float32) -> Doubles:
        """Root mean square difference, over landmarks, of profiles to the nearest anchor."""
        found = [np.zeros(0)]
        for start in range(0, len(X), BATCH):
            rows = X[start : start + BATCH]
            # float32, as large files have many profiles: a distance is right to 1e-3 at least.
            apart = self._squares - 2 * (rows @ self.anchors.T)
            squares = apart.min(axis=1).astype(np.float64)
            squares += np.square(rows, dtype=np.float64).sum(axis=1)
            found.append(np.sqrt(np.maximum(squares, 0) / X.shape[1]))
        return np.concatenate(found)

    @cached_property
    def _squares(self) -> Float32:
        """Squared norms ``(n_anchors,)``."""
        squares: Float32 = np.square(self.anchors, dtype=np.float64).sum(axis=1).astype(np.float32)
        return squares

    def unlike(self, distances: Doubles) -> Doubles:
        """Say which share of the training profiles has a nearer neighbour, 0 to 1."""
        shares: Doubles = np.interp(distances, self.own, np.linspace(0, 1, len(self.own)))
        return shares

    def reconstructed(self, X: Float32) -> Doubles:
        """Give the share of each profile's landmark variance that `components` explain."""
        whole = np.square(X, dtype=np.float64).sum(axis=1)
        part = np.square(X @ self.components.T, dtype=np.float64).sum(axis=1)
        return np.where(whole > 0, np.minimum(part / np.where(whole > 0, whole, 1), 1), 1.0)

    # In a model folder

    def tensors(self) -> dict[str, Float32]:
        """Give all of it as float32 arrays by name."""
        arrays = {"anchors": self.anchors, "components": self.components, "own": self.own}
        for part, one in self.calibrated.items():
            arrays[f"calibrated/{part}/widths"] = one.widths
        return arrays

    def settings(self) -> dict[str, Any]:
        """Give the rest as JSON values."""
        return {
            part: {
                "levels": list(one.levels),
                "factors": list(one.factors),
                "slope": one.slope,
                "centre": one.centre,
                "nearest": one.nearest,
                "n_profiles": one.n_profiles,
            }
            for part, one in self.calibrated.items()
        }

    @classmethod
    def load(cls, settings: Mapping[str, Any], tensors: Mapping[str, Float32]) -> Uncertainty:
        """Undo `settings` and `tensors`; raises `DgexError` if they don't fit."""
        try:
            calibrated = {
                part: Calibration(
                    levels=tuple(one["levels"]),
                    factors=tuple(one["factors"]),
                    widths=tensors[f"calibrated/{part}/widths"],
                    **{name: one[name] for name in ("slope", "centre", "nearest", "n_profiles")},
                )
                for part, one in settings.items()
            }
            made = cls(tensors["anchors"], tensors["components"], tensors["own"], calibrated)
        except (KeyError, TypeError) as error:
            raise DgexError(f"uncertainty: {error!r}") from error
        n_landmarks = made.anchors.shape[-1]
        fit = made.anchors.ndim == made.components.ndim == 2 and made.own.shape == (101,)
        fit &= made.components.shape[-1] == n_landmarks and set(tensors) == set(made.tensors())
        for one in calibrated.values():
            fit &= one.widths.ndim == 2 and len(one.levels) == len(one.widths) == len(one.factors)
        if not fit:
            raise DgexError("uncertainty: its tensors don't fit each other")
        return made


def _own_distances(anchors: Float32) -> Doubles:
    """Distance of each anchor to the nearest other one, root mean square over landmarks."""
    wide = anchors.astype(np.float64)
    norms = np.square(wide).sum(axis=1)
    squares = norms[:, np.newaxis] + norms - 2 * wide @ wide.T
    np.fill_diagonal(squares, np.inf)
    least: Doubles = np.sqrt(np.maximum(squares.min(axis=1), 0) / anchors.shape[1])
    return least


def learn_uncertainty(
    method: Fitted,
    X: Float32,
    validation: Mapping[str, tuple[Float32, Float32]],
    *,
    Y: Float32 | None = None,
    groups: NDArray[Any] | None = None,
    validation_groups: int = 0,
    weights_only: bool = False,
    seed: int = 1,
) -> Uncertainty:
    """Learn how sure a fitted method is.

    Parameters
    ----------
    X, Y
        Training landmarks ``(n_profiles, n_landmarks)`` and, only where there are `groups`,
        targets; standardised.
    validation
        Part → X and Y of the profiles that intervals are calibrated on.
    groups
        ``(n_profiles,)``: which training profiles are of one series.
    validation_groups
        How many series the compendium's validation part has.
    weights_only
        Keep no training profile: distances are those to means of similar ones.
    seed
        Of the profiles, targets and groups drawn.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(X))[:ANCHORS])
    some = anchors = np.ascontiguousarray(X[rows])
    # Of a single training profile there is no other.
    own = _own_distances(anchors) if len(anchors) > 1 else np.zeros(1)
    if weights_only:
        means = means_of_similar(X)
        anchors, own = means.values.astype(np.float32), means.distances(X)
    known = Uncertainty(
        anchors,
        _components(some),
        np.percentile(own, np.arange(101)).astype(np.float32),
        {},
    )
    learnt = None
    if groups is not None and Y is not None and len(np.unique(groups)) > 2:
        learnt = _left_out(X, Y, groups, rng)
    calibrated = {}
    for part, (X_val, Y_val) in validation.items():
        chosen = np.sort(rng.permutation(len(X_val))[:CALIBRATED_ON])
        X_part, Y_part = np.ascontiguousarray(X_val[chosen]), Y_val[chosen]
        distances = known.distances(X_part)
        absolute = np.abs(method.predict(X_part) - Y_part)
        slope = _slope(distances, absolute) if learnt is None else learnt.slope
        made = _calibrate(distances, absolute, slope)
        if learnt is not None:
            factors = learnt.factors(made.levels, max(1, validation_groups), rng)
            made = replace(made, factors=factors)
        calibrated[part] = made
    return replace(known, calibrated=calibrated)


def _components(anchors: Float32) -> Float32:
    """Principal directions, about 0, that explain `EXPLAINED` of the anchors' landmarks."""
    gram = anchors.T.astype(np.float64) @ anchors
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1], vectors[:, ::-1]
    shares = np.cumsum(np.maximum(values, 0)) / max(values.sum(), np.finfo(float).tiny)
    n = min(int(np.searchsorted(shares, EXPLAINED)) + 1, MOST_COMPONENTS, len(values))
    return np.ascontiguousarray(vectors[:, :n].T, dtype=np.float32)


def _slope(distances: Doubles, absolute: Float32) -> float:
    """Power of the distance that errors grow with, by least squares of the logarithms."""
    x, y = np.log(np.maximum(distances, 1e-6)), np.log(np.maximum(absolute.mean(axis=1), 1e-9))
    x = x - x.mean()
    spread = float(x @ x)
    return float(np.clip(x @ y / spread, 0.0, STEEPEST)) if spread > 1e-9 else 0.0


def _calibrate(distances: Doubles, absolute: Float32, slope: float) -> Calibration:
    n = len(absolute)
    levels = tuple(level for level in LEVELS if math.ceil((n + 1) * level) <= n)
    centre = float(max(np.median(distances), 1e-6))
    made = Calibration(
        levels=levels,
        widths=np.zeros((len(levels), absolute.shape[1]), np.float32),
        slope=slope,
        centre=centre,
        nearest=float(min(max(distances.min(), 1e-6), centre)),
        factors=(1.0,) * len(levels),
        n_profiles=n,
    )
    scores = absolute / made.scale(distances).astype(np.float32)[:, np.newaxis]
    scores.sort(axis=0)
    for place, level in enumerate(levels):
        made.widths[place] = scores[math.ceil((n + 1) * level) - 1]
    return made


@dataclass(frozen=True)
class _LeftOut:
    """Errors of training profiles whose whole group was left out, divided by their scale."""

    scores: Float32  # (n_profiles, n_targets)
    groups: NDArray[Any]
    slope: float

    def factors(
        self, levels: tuple[float, ...], n_calibrated: int, rng: np.random.Generator
    ) -> tuple[float, ...]:
        """Say by how much widths calibrated on so many groups are too small for other groups.

        Groups are drawn as a validation part would be; the factor is that at which, in the mean
        over draws, the level is covered in the groups not drawn.
        """
        names = np.unique(self.groups)
        n_calibrated = min(n_calibrated, len(names) - 1)
        ratios: dict[float, list[Float32]] = {level: [] for level in levels}
        for _ in range(DRAWS):
            drawn = np.isin(self.groups, rng.permutation(names)[:n_calibrated])
            scores, others = np.sort(self.scores[drawn], axis=0), self.scores[~drawn]
            others = others[rng.permutation(len(others))[:200]]
            n = len(scores)
            for level in levels:
                place = min(math.ceil((n + 1) * level), n) - 1
                width = np.maximum(scores[place], 1e-9)
                ratios[level].append((others / width).ravel()[::7])
        return tuple(
            max(1.0, float(np.quantile(np.concatenate(ratios[level]), level))) for level in levels
        )


def _left_out(X: Float32, Y: Float32, groups: NDArray[Any], rng: np.random.Generator) -> _LeftOut:
    """Leave each group out of a kernel ridge regression, in closed form."""
    rows = _whole_groups(groups, rng)
    columns = np.sort(rng.permutation(Y.shape[1])[:LEFT_OUT_TARGETS])
    X, Y, groups = X[rows].astype(np.float64), Y[np.ix_(rows, columns)], groups[rows]
    gram = X @ X.T
    norms = np.diagonal(gram)
    squares = np.maximum(norms[:, np.newaxis] + norms - 2 * gram, 0)
    middle = max(float(np.median(squares)), 1e-9)
    kernel = np.exp(-squares / middle) + LINEAR * gram / max(float(norms.mean()), 1e-9)
    inverse = np.linalg.inv(kernel + RIDGE * np.eye(len(X)))
    dual = inverse @ Y
    errors, distances = np.empty(Y.shape, np.float32), np.empty(len(X))
    for one in _groups_of(groups):
        errors[one] = np.abs(np.linalg.solve(inverse[np.ix_(one, one)], dual[one]))
        apart = squares[np.ix_(one, np.setdiff1d(np.arange(len(X)), one))]
        distances[one] = np.sqrt(apart.min(axis=1) / X.shape[1])
    slope = _slope(distances, errors)
    scale = np.maximum(distances / np.median(distances), 1e-3) ** slope
    return _LeftOut((errors / scale[:, np.newaxis]).astype(np.float32), groups, slope)


def _whole_groups(groups: NDArray[Any], rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw whole groups until there are about `LEFT_OUT_PROFILES` profiles."""
    chosen: list[NDArray[np.intp]] = []
    for name in rng.permutation(np.unique(groups)):
        members = np.flatnonzero(groups == name)
        if chosen and sum(map(len, chosen)) + len(members) > LEFT_OUT_PROFILES:
            continue
        chosen.append(members)
    return np.sort(np.concatenate(chosen))


def _groups_of(groups: NDArray[Any]) -> Iterator[NDArray[np.intp]]:
    for name in np.unique(groups):
        yield np.flatnonzero(groups == name)
