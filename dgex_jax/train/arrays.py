"""The arrays one training needs, in host memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dgex_jax.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dgex_jax.parts import Parts
    from dgex_jax.prepare.prepared import Prepared

Float32 = NDArray[np.float32]
Rows = slice | NDArray[np.int32]

BATCH = 256
"""Profiles inferred at a time: enough for a GPU, few enough for a single profile. Fixed, because
another shape may add products up in another order; so the bits of a profile depend on its place
among the profiles given, never on how many there are."""


@dataclass(frozen=True)
class StudyArrays:
    """A prepared study in memory: values of its parts, float32.

    `X` ``(n_profiles, n_landmarks)``, `Y` ``(n_profiles, n_targets)``; `halves` are the columns of
    Y that each network of its own infers. Arrays of an estimator need not have all of `parts`.
    """

    X: Mapping[str, Float32]
    Y: Mapping[str, Float32]
    halves: tuple[slice, ...]
    parts: Parts

    @property
    def logged(self) -> list[str]:
        """The parts that are there, in the order of `Parts.logged`."""
        return [part for part in self.parts.logged if part in self.X]

    @property
    def choosers(self) -> list[str]:
        """The validation parts that are there."""
        return [part for part in self.parts.choosers if part in self.X]

    @property
    def n_landmarks(self) -> int:
        """Number of landmark genes."""
        return int(self.X["tr"].shape[1])

    def half_sizes(self) -> list[int]:
        """Count the target genes of each half."""
        n_targets = self.Y["tr"].shape[1]
        return [len(range(*half.indices(n_targets))) for half in self.halves]

    def half(self, part: str, index: int, width: int, rows: Rows = slice(None)) -> Float32:
        """Targets of one half, with columns of zeros up to `width`: ``(n_rows, width)``."""
        Y = self.Y[part][rows, self.halves[index]]
        padded = np.zeros((Y.shape[0], width), np.float32)
        padded[:, : Y.shape[1]] = Y
        return padded


def load_arrays(study: Prepared, n_halves: int) -> StudyArrays:
    """Read a prepared study into memory; `StudyError` for two halves of a single target."""
    if n_halves > study.n_targets:
        raise StudyError(f"{study.path}: {study.n_targets} target makes no 2 halves; take 1")
    return StudyArrays(
        X={part: study.X(part) for part in study.parts},
        Y={part: study.Y(part) for part in study.parts},
        halves=halves_of(study, n_halves),
        parts=study.parts,
    )


def halves_of(study: Prepared, n_halves: int) -> tuple[slice, ...]:
    """Give the columns of Y that each network infers."""
    return study.halves if n_halves == 2 else (slice(0, study.n_targets),)
