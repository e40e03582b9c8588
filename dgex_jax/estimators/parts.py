"""A user's tables as the study that training takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.model_selection import ShuffleSplit

from dgex_jax.errors import DgexError
from dgex_jax.estimators.base import number
from dgex_jax.training.arrays import StudyArrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray


class Tables(NamedTuple):
    """Landmarks ``(n_profiles, n_landmarks)`` and targets ``(n_profiles, n_targets)``."""

    X: NDArray[np.float32]
    Y: NDArray[np.float32]


def study_of(training: Tables, validation: Tables | None, n_halves: int) -> StudyArrays:
    """Make the study of a training table and, where there is one, a validation table.

    Training looks at a validation part after each epoch. Without validation profiles the first
    training profile stands there, and what is measured on it, best epoch included, says nothing.

    Raises
    ------
    DgexError
        Two halves are wanted of a single target.
    """
    n_targets = training.Y.shape[1]
    if n_halves > n_targets:
        raise DgexError(f"halves = {n_halves}: {n_targets} target makes no 2 halves; take 1")
    watched = validation or Tables(training.X[:1], training.Y[:1])
    middle = n_targets // 2
    return StudyArrays(
        X={"tr": training.X, "va": watched.X},
        Y={"tr": training.Y, "va": watched.Y},
        halves=(
            (slice(0, middle), slice(middle, n_targets))
            if n_halves == 2
            else (slice(0, n_targets),)
        ),
    )


def as_float32(name: str, values: FloatArray) -> NDArray[np.float32]:
    """Return finite values as C-contiguous float32, in which networks compute.

    Raises
    ------
    DgexError
        Values beyond the range of float32.
    """
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(values, dtype=np.float32)
    if narrow.dtype != values.dtype and not np.isfinite(narrow).all():
        raise DgexError(
            f"{name}: has values beyond the range of float32, in which networks compute"
        )
    return narrow


def set_aside(
    X: FloatArray, Y: FloatArray, fraction: float, seed: int
) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
    """Set a random share of the profiles aside; returns (the others, those set aside).

    Raises
    ------
    DgexError
        A `fraction` that is no share between 0 and 1.
    ValueError
        Too few profiles for it, from scikit-learn.
    """
    fraction = number("validation_fraction", fraction)
    if not 0.0 < fraction < 1.0:
        raise DgexError(f"validation_fraction = {fraction}: must be above 0 and below 1")
    splitter = ShuffleSplit(1, test_size=fraction, random_state=seed)
    ((kept, held_out),) = splitter.split(X)
    return (X[kept], Y[kept]), (X[held_out], Y[held_out])
