"""One value for all genes: the smallest error wins, first on ties, and edges are marked."""

from __future__ import annotations

import numpy as np
import pytest

from dgex_jax.errors import DgexError
from dgex_jax.models.tuning import choose


@pytest.mark.parametrize(
    ("errors", "value", "at_edge"),
    [
        ([3.0, 2.0, 1.0, 2.0], 3, False),
        ([1.0, 2.0, 2.0, 2.0], 1, True),
        ([3.0, 2.0, 2.0, 1.0], 4, True),
        ([3.0, 1.0, 1.0, 2.0], 2, False),
        ([2.0, 2.0, 2.0, 2.0], 1, True),
        ([3.0, 1.0, 2.0, 1.0], 2, False),
    ],
)
def test_smallest_error_wins(errors: list[float], value: int, at_edge: bool) -> None:
    assert choose(range(1, 5), np.array(errors)) == (value, at_edge)


def test_edges_are_the_extreme_values_in_whatever_order_they_stand() -> None:
    lambdas = [1e-3, 1e-1, 1e-5]
    assert choose(lambdas, [1.0, 2.0, 3.0]) == (1e-3, False)
    assert choose(lambdas, [2.0, 1.0, 3.0]) == (1e-1, True)
    assert choose(lambdas, [2.0, 2.0, 1.0]).at_edge


def test_a_single_value_is_an_edge() -> None:
    best, at_edge = choose([5], [0.1])
    assert (best, at_edge) == (5, True)


@pytest.mark.parametrize(
    ("values", "errors", "cause"),
    [
        ([], [], "no values"),
        ([1, 2, 1], [1.0, 2.0, 3.0], "a value twice: 1, 2, 1"),
        ([1, 2], [1.0], r"2 values need as many errors, not \(1,\)"),
        ([1, 2], [[1.0, 2.0]], r"as many errors, not \(1, 2\)"),
        ([1, 2], [1.0, float("nan")], "the error of 2 is nan"),
        ([1, 2], [float("inf"), 1.0], "the error of 1 is inf"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(
    values: list[int], errors: list[float], cause: str
) -> None:
    with pytest.raises(DgexError, match=cause):
        choose(values, errors)
