"""Methods beyond the paper's: the tables one is fitted on, and what a fitted one is.

All of them work on standardised values, float32: landmarks ``(n_profiles, n_landmarks)`` in,
targets ``(n_profiles, n_targets)`` out. Settings are chosen on the validation profiles alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Tables:
    """Standardised profiles to learn from and to choose by, float32.

    `X` ``(n_profiles, n_landmarks)`` and `Y` ``(n_profiles, n_targets)`` are training, `X_val` and
    `Y_val` validation; `groups` ``(n_profiles,)`` says which series a training profile is of,
    ``None`` where the study has none.
    """

    X: Float32
    Y: Float32
    X_val: Float32
    Y_val: Float32
    groups: NDArray[Any] | None = None

    @cached_property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of training profiles, landmarks and targets."""
        return (*self.X.shape, self.Y.shape[1])


class Fitted(ABC):
    """A fitted method: its settings (JSON values) and its tensors, all that a model folder holds.

    `kind` names the class in a model folder. Two of the same settings and tensors infer the same
    bits, however many profiles are asked for at a time, if the first is the first of a batch.

    A class is made of `settings` and `tensors` (float32, finite; names of letters, digits, ``_``
    and ``/``); it raises `KeyError`, `TypeError` or `ValueError` (`DgexError` is one) if something
    is missing or does not fit. `title` is what people call it, as in a table.
    """

    kind: ClassVar[str]

    n_landmarks: int
    n_targets: int

    def __init__(self, settings: Mapping[str, Any], tensors: Mapping[str, Float32]) -> None:
        self.settings, self.tensors = dict(settings), dict(tensors)

    @property
    def title(self) -> str:
        """What people call it, as in a table."""
        return self.kind

    def facts(self) -> dict[str, str]:
        """Say what was chosen, for people: a name of at most eleven letters → a text of a line."""
        return {}

    def heaviest(self, k: int) -> tuple[NDArray[np.intp], Float32]:
        """Give the places of the `k` landmarks that weigh most, and their weights (mean 1).

        Of a method that weighs all the same, or none, nothing.
        """
        del k
        return np.zeros(0, np.intp), np.zeros(0, np.float32)

    @abstractmethod
    def infer(self, X: Float32) -> Float32:
        """Infer ``(BATCH, n_targets)`` of ``(BATCH, n_landmarks)``; a row may be all zeros."""

    def __call__(self, X: Float32) -> Iterator[Float32]:
        """Infer the targets of ``(n_profiles, n_landmarks)``, batch by batch, in order.

        Yields ``(n, n_targets)`` float32, n <= `BATCH`. The first row of X is the first of a batch;
        the last batch is filled up with zeros, so the bits of a profile depend on its place alone.
        """
        for start in range(0, len(X), BATCH):
            rows = X[start : start + BATCH]
            batch = np.zeros((BATCH, X.shape[1]), np.float32)
            batch[: len(rows)] = rows
            yield np.asarray(self.infer(batch))[: len(rows)]

    def predict(self, X: Float32) -> Float32:
        """Infer ``(n_profiles, n_targets)`` of ``(n_profiles, n_landmarks)``."""
        inferred = np.empty((len(X), self.n_targets), np.float32)
        start = 0
        for block in self(X):
            inferred[start : start + len(block)] = block
            start += len(block)
        return inferred


def mean_error(fitted: Fitted, X: Float32, Y: Float32) -> float:
    """Mean absolute error over all profiles and targets, in standardised units."""
    total, start = 0.0, 0
    for block in fitted(X):
        total += float(np.abs(block - Y[start : start + len(block)]).sum(dtype=np.float64))
        start += len(block)
    return total / Y.size
