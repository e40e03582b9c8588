"""Seeded shuffles, the sizes of train, validation and test, and the two halves of the targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgex_jax.data.streams import random_stream
from dgex_jax.errors import PreparationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SplitSizes:
    """Number of profiles of GEO-tr, GEO-va and GEO-te."""

    train: int
    validation: int
    test: int

    @property
    def slices(self) -> dict[str, slice]:
        """Rows of each part once the profiles stand in shuffled order."""
        middle = self.train + self.validation
        return {
            "train": slice(0, self.train),
            "validation": slice(self.train, middle),
            "test": slice(middle, middle + self.test),
        }


def split_sizes(n_profiles: int) -> SplitSizes:
    """Sizes of the parts of `n_profiles` kept GEO profiles (paper section 2.1).

    Train has floor(0.8 N), validation floor((N - train) / 2), test the rest; for the paper's
    111,009 profiles 88,807, 11,101 and 11,101. Computed in integers: no rounding to argue about.

    Raises
    ------
    PreparationError
        A part would be empty.
    """
    train = 4 * n_profiles // 5
    validation = (n_profiles - train) // 2
    sizes = SplitSizes(train, validation, n_profiles - train - validation)
    if min(sizes.train, sizes.validation, sizes.test) < 1:
        raise PreparationError(
            f"{n_profiles} GEO profiles are left: too few to split into train, validation and test"
        )
    return sizes


def half_slices(n_targets: int) -> tuple[slice, slice]:
    """Columns of the two halves of the shuffled targets; the first has floor(T / 2) of them."""
    return slice(0, n_targets // 2), slice(n_targets // 2, n_targets)


def shuffled(seed: int, name: str, n: int) -> NDArray[np.intp]:
    """Return a permutation of 0 ... n - 1 drawn from the named stream (see `streams.STREAMS`)."""
    return random_stream(seed, name).permutation(n)
