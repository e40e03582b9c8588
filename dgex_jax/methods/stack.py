"""A convex combination of fitted methods, one weight each for all genes, by validation error."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dgex_jax.errors import DgexError
from dgex_jax.methods import Fitted, Float32
from dgex_jax.methods.kinds import load_fitted
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from dgex_jax.methods import Tables

MOST_PROFILES = 2048
"""Validation profiles that weights are found on, so that all members' errors fit in memory."""

TIE = 5e-4
"""Share of the error that a smaller stack may be worse by and still be taken."""

WEAK = 0.05
"""Members whose validation error is larger than the best one's by more than this share are left
out. What little they give on one validation set of another platform is lost on the next."""

MOST_MEMBERS = 10
"""Every subset of the members is tried."""


@dataclass(frozen=True)
class Member:
    """What one member reached: its validation error, its share of the stack, how long it took."""

    name: str
    error: float
    weight: float
    seconds: float
    title: str = ""


class StackModel(Fitted):
    """Members with weights above 0 that sum to 1; the tensors of member k are under ``k/``."""

    kind: ClassVar[str] = "stack"

    def __init__(self, settings: Mapping[str, Any], tensors: Mapping[str, Float32]) -> None:
        super().__init__(settings, tensors)
        told = settings["members"]
        self.weights = [float(one["weight"]) for one in told]
        if not told or min(self.weights) <= 0 or abs(sum(self.weights) - 1) > 1e-6:
            raise DgexError(f"weights {self.weights}: must be above 0 and sum to 1")
        self.members = [
            load_fitted(
                one["kind"],
                one["settings"],
                {
                    name.removeprefix(f"{place}/"): values
                    for name, values in tensors.items()
                    if name.startswith(f"{place}/")
                },
            )
            for place, one in enumerate(told)
        ]
        sizes = {(one.n_landmarks, one.n_targets) for one in self.members}
        if len(sizes) != 1:
            raise DgexError("members have different numbers of landmarks or targets")
        ((self.n_landmarks, self.n_targets),) = sizes

    @property
    def title(self) -> str:
        """Name the members, heaviest first."""
        return " + ".join(f"{weight:.2f} {one.title}" for weight, one in self._by_weight())

    def facts(self) -> dict[str, str]:
        """Say each member's weight, and what it says of itself."""
        facts = {}
        for number, (weight, one) in enumerate(self._by_weight(), start=1):
            own = "; ".join(f"{name} {text}" for name, text in one.facts().items())
            facts[f"member {number}"] = f"{weight:.2f} x {one.title}{f' ({own})' if own else ''}"
        return facts

    def heaviest(self, k: int) -> tuple[NDArray[np.intp], Float32]:
        """Give those of the heaviest member that has weights; see `Fitted.heaviest`."""
        found = (one.heaviest(k) for _, one in self._by_weight())
        return next((one for one in found if len(one[0])), super().heaviest(k))

    def _by_weight(self) -> list[tuple[float, Fitted]]:
        pairs = zip(self.weights, self.members, strict=True)
        return sorted(pairs, key=lambda pair: -pair[0])

    def __call__(self, X: Float32) -> Iterator[Float32]:
        """Infer batch by batch, each member its own way."""
        for blocks in zip(*(member(X) for member in self.members), strict=True):
            yield self._sum(blocks)

    def infer(self, X: Float32) -> Float32:
        """Infer a batch."""
        return self._sum([member.infer(X) for member in self.members])

    def _sum(self, blocks: Sequence[Float32]) -> Float32:
        total = np.zeros_like(blocks[0])
        for weight, block in zip(self.weights, blocks, strict=True):
            total += np.float32(weight) * block
        return total


def fit_stack(
    tables: Tables,
    members: Mapping[str, Callable[[Tables], Fitted]],
    on_member: Callable[[Member], object] = lambda _: None,
    *,
    seconds: float | None = None,
) -> tuple[StackModel, list[Member], list[str]]:
    """Fit every member on the training profiles, and weigh them by their validation errors.

    `on_member` is told of each as it is done (weight 0: not known yet). Once `seconds` are over no
    further one is begun: those left out come back by name. Raises `DgexError` for no member or more
    than `MOST_MEMBERS`.
    """
    if not 1 <= len(members) <= MOST_MEMBERS:
        raise DgexError(f"{len(members)} members: a stack has 1 to {MOST_MEMBERS}")
    rows = np.unique(
        np.linspace(0, len(tables.X_val) - 1, min(MOST_PROFILES, len(tables.X_val))).astype(int)
    )
    X, Y = tables.X_val[rows], tables.Y_val[rows]
    fitted: list[Fitted] = []
    residuals: list[Float32] = []
    told: list[Member] = []
    began, left_out = time.perf_counter(), []
    for name, fit in members.items():
        start = time.perf_counter()
        if fitted and seconds is not None and start - began > seconds:
            left_out.append(name)
            continue
        one = fit(tables)
        residuals.append(one.predict(X) - Y)
        fitted.append(one)
        took = time.perf_counter() - start
        told.append(Member(name, mean_absolute(residuals[-1]), 0.0, took, one.title))
        on_member(told[-1])
    weights = convex_weights(residuals)
    model = stack(fitted, weights)
    weighed = [replace(one, weight=weight) for one, weight in zip(told, weights, strict=True)]
    return model, weighed, left_out


def stack(members: Sequence[Fitted], weights: Sequence[float]) -> StackModel:
    """Combine members; those of weight 0 are left out."""
    kept = [(one, weight) for one, weight in zip(members, weights, strict=True) if weight > 0]
    settings = {
        "members": [
            {"kind": one.kind, "weight": weight, "settings": one.settings} for one, weight in kept
        ]
    }
    tensors = {
        f"{place}/{name}": values
        for place, (one, _) in enumerate(kept)
        for name, values in one.tensors.items()
    }
    return StackModel(settings, tensors)


def convex_weights(residuals: Sequence[Float32]) -> list[float]:
    """Weigh members by their errors (inferred - measured) ``(n_profiles, n_targets)`` each.

    Of every subset the weights, above 0 with sum 1, are those of the least squared error, in closed
    form; of the subsets that with the least absolute error is taken, or the smallest that is
    within `TIE` of it (of those the best). Members that are `WEAK` alone are not in question.
    """
    errors = [mean_absolute(one) for one in residuals]
    strong = [place for place, one in enumerate(errors) if one <= min(errors) * (1 + WEAK)]
    found = np.zeros(len(residuals))
    found[strong] = _weights_of([residuals[place] for place in strong])
    return [float(one) for one in found]


def _weights_of(residuals: Sequence[Float32]) -> NDArray[np.float64]:
    """Weigh members that are all in question."""
    n = len(residuals)
    gram = np.array([[_product(one, other) for other in residuals] for one in residuals])
    scale = float(np.trace(gram)) / n
    # Members that infer the same make it singular, and those that are always right zero.
    gram = (gram / scale if scale > 0 else gram) + 1e-9 * np.eye(n)
    tried: list[tuple[int, float, tuple[int, ...], NDArray[np.float64]]] = []
    for size in range(1, n + 1):
        for chosen in combinations(range(n), size):
            weights = np.linalg.solve(gram[np.ix_(chosen, chosen)], np.ones(size))
            weights /= weights.sum()
            if weights.min() <= 0:
                # The best of this subset leaves one out: it is among the smaller ones.
                continue
            tried.append((size, _mixed_error(residuals, chosen, weights), chosen, weights))
    least = min(error for _, error, _, _ in tried)
    near = [one for one in tried if one[1] <= least * (1 + TIE)]
    _, _, chosen, weights = min(near, key=lambda one: one[:3])
    found = np.zeros(n)
    found[list(chosen)] = weights
    return found


def mean_absolute(residuals: Float32) -> float:
    """Mean absolute value, summed in float64."""
    return float(np.abs(residuals).mean(dtype=np.float64))


def _mixed_error(
    residuals: Sequence[Float32], chosen: Sequence[int], weights: NDArray[np.float64]
) -> float:
    total = 0.0
    for start in range(0, len(residuals[0]), BATCH):
        rows = slice(start, start + BATCH)
        mixed = np.zeros_like(residuals[0][rows])
        for place, weight in zip(chosen, weights.tolist(), strict=True):
            mixed += np.float32(weight) * residuals[place][rows]
        total += float(np.abs(mixed).sum(dtype=np.float64))
    return total / residuals[0].size


def _product(one: Float32, other: Float32) -> float:
    """Sum of products over all profiles and targets."""
    return sum(
        float(np.vdot(one[start : start + BATCH], other[start : start + BATCH]))
        for start in range(0, len(one), BATCH)
    )
