"""One value of k or lambda for all genes, chosen on a validation set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

V = TypeVar("V", int, float)


class Choice(NamedTuple, Generic[V]):
    """The value chosen from a grid, and whether it is the grid's smallest or largest.

    At an edge the true optimum may lie outside the grid, so tables mark it.
    """

    value: V
    at_edge: bool


def choose(values: Sequence[V], errors: ArrayLike) -> Choice[V]:
    """Take the value with the smallest error; of equal errors the first.

    Parameters
    ----------
    values
        The grid, each value once, in any order.
    errors
        ``(n_values,)``, the overall error of each on GEO-va (for GEO columns) or on 1000G-va (for
        RNA-seq columns); never on a test set (paper sections 2.4 and 2.5).

    Returns
    -------
    Choice
        ``(value, at_edge)``. Both ends count as edges, for k also 1 and "all landmarks".

    Raises
    ------
    DgexError
        An empty grid, a value given twice, a number of errors other than that of the values, or
        an error that is not finite.
    """
    measured = np.asarray(errors, dtype=np.float64)
    if len(values) == 0:
        raise DgexError("tuning: the grid has no values to choose from")
    if len(set(values)) != len(values):
        raise DgexError(f"tuning: the grid has a value twice: {', '.join(map(str, values))}")
    if measured.shape != (len(values),):
        raise DgexError(f"tuning: {len(values)} values need as many errors, not {measured.shape}")
    if not np.isfinite(measured).all():
        first = int(np.flatnonzero(~np.isfinite(measured))[0])
        raise DgexError(
            f"tuning: the error of {values[first]} is {measured[first]}, so nothing can be chosen"
        )
    best = values[int(np.argmin(measured))]
    return Choice(best, best in {min(values), max(values)})
