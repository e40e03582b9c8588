"""What all expression files share: views, ids, finiteness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import (
    Expression,
    FiniteCheck,
    View,
    comments_of,
    is_table,
    listed,
    notes_of,
    transposed,
)

PROFILES = tuple(f"p{i}" for i in range(7))


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_counts_and_first_place_do_not_depend_on_the_blocks(step: int) -> None:
    values = np.ones((7, 3), np.float32)
    FiniteCheck(Path("a"), ["g", "h", "i"]).raise_if_any()
    values[2, 1], values[2, 2], values[5, 0], values[6, 1] = np.inf, np.nan, -np.inf, np.nan
    check = FiniteCheck(Path("/data/some.gctx"), ["g", "h", "i"])
    for start in range(0, 7, step):
        check.add(values[start : start + step], PROFILES[start : start + step])
    with pytest.raises(
        FormatError,
        match=r"^/data/some\.gctx: 2 missing and 2 infinite values; the first is inf in profile "
        r"'p2', gene 'h'$",
    ):
        check.raise_if_any()


def test_views_of_views() -> None:
    notes = pd.DataFrame({"symbol": ["G", "H", "I"]}, index=["g", "h", "i"])
    values = np.arange(21.0).reshape(7, 3)
    file = Expression(
        Path("x"), values, PROFILES, ("g", "h", "i"), gene_metadata=notes, notes=("n",)
    )
    turned = transposed(file)
    some = View(turned, np.array([2, 0]), np.array([6, 1, 1]), ("a", "b", "c"))
    assert (some.profiles, some.genes, some.path) == (("i", "g"), ("a", "b", "c"), file.path)
    assert some.profile_metadata["symbol"].tolist() == ["I", "G"]
    np.testing.assert_array_equal(some.read(), values.T[[2, 0]][:, [6, 1, 1]])
    np.testing.assert_array_equal(some.read(slice(1, 2), np.array([2, 0])), [[3, 18]])
    assert (turned.turned, some.turned, transposed(some).turned) == (True, True, False)
    assert is_table(some)
    assert (notes_of(some), comments_of(some)) == (("n",), ())


def test_long_lists_are_cut() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abc"), most=2) == "a, b and 1 more"
