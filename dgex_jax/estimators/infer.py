"""Target genes of a table of profiles, with the rows they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dgex_jax.models.arrays import blocks
from dgex_jax.models.forward import BATCH as PROFILES_AT_A_TIME
from dgex_jax.models.forward import Forward

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PROFILES_AT_A_TIME", "inferred_blocks"]


def inferred_blocks(
    halves: Sequence[Mapping[str, Any]], X: NDArray[np.float32], precision: str
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Infer the targets of all halves, some profiles at a time.

    Parameters
    ----------
    halves, precision
        As in `dgex_jax.models.forward.Forward`.
    X
        ``(n_profiles, n_landmarks)`` in the units of training.

    Yields
    ------
    tuple
        The profiles, and their targets ``(n_block, n_targets)``, halves side by side.
    """
    yield from zip(blocks(len(X), PROFILES_AT_A_TIME), Forward(halves, precision)(X), strict=True)
