"""Numbers that break careless code, and how many of them a property meets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrices = st.SearchStrategy[NDArray[np.float64]]

SINGLE = np.finfo(np.float32)
SPECIAL = [
    0.0, -0.0, 1.0, -1.0, 0.1, 2.0, 5e-324, -5e-324, 2.2e-308, float(SINGLE.smallest_subnormal),
    float(SINGLE.tiny), float(SINGLE.max), -float(SINGLE.max), 1e15, 1.0 + 2.0**-52, 1.0 + 2.0**-23,
]  # fmt: skip
"""Both zeros, denormals of both widths, the extremes of float32, and neighbours of 1."""


def examples(count: int, *, shrink: bool = True) -> settings:
    """Let a property meet `count` inputs, the same at every run.

    ``DGEX_PROPERTY_TIMES=100`` makes them a hundred times as many. Where the inputs are seeds of
    trainings, smaller ones tell no more, and looking for them (`shrink`) would take minutes.
    """
    simplify = (Phase.shrink,) if shrink else ()
    return settings(
        max_examples=count * int(os.environ.get("DGEX_PROPERTY_TIMES", "1")),
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate, *simplify),
        suppress_health_check=[HealthCheck.too_slow],
    )


def numbers(largest: float) -> st.SearchStrategy[float]:
    """Draw finite float64: often special ones, often one of few, else anything up to `largest`."""
    special = [value for value in SPECIAL if abs(value) <= largest]
    return (
        st.sampled_from(special)
        | st.integers(-3, 3).map(float)
        | st.floats(-largest, largest, allow_nan=False)
    )


def matrices(
    largest: float = float(SINGLE.max),
    max_profiles: int = 7,
    max_genes: int = 12,
    dtype: Any = np.float64,
) -> Matrices:
    """Draw ``(n_profiles, n_genes)`` from one profile of one gene on."""
    shapes = st.tuples(st.integers(1, max_profiles), st.integers(1, max_genes))
    elements = numbers(largest)
    if dtype != np.float64:
        elements = elements.map(lambda value: float(np.asarray(value, dtype)))
    return shapes.flatmap(lambda shape: arrays(dtype, shape, elements=elements))


def permutations(length: int) -> st.SearchStrategy[NDArray[np.intp]]:
    """Draw an order of 0 ... length - 1."""
    return st.permutations(range(length)).map(lambda order: np.array(order, dtype=np.intp))
