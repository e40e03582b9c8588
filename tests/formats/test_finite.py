"""Missing and infinite values are counted and the first is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dgex_jax.errors import FormatError
from dgex_jax.formats.finite import FiniteCheck, require_finite

PROFILES = [f"p{i}" for i in range(7)]
GENES = ["g", "h", "i"]
PATH = Path("/data/some.gctx")


def test_finite_values_pass() -> None:
    require_finite(np.ones((7, 3), np.float32), path=PATH, profiles=PROFILES, genes=GENES)


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_counts_and_first_place_do_not_depend_on_the_blocks(step: int) -> None:
    values = np.ones((7, 3))
    values[2, 1], values[2, 2], values[5, 0], values[6, 1] = np.inf, np.nan, -np.inf, np.nan
    check = FiniteCheck(PATH, GENES)
    for start in range(0, 7, step):
        check.add(values[start : start + step], PROFILES[start : start + step])
    with pytest.raises(
        FormatError,
        match=r"^/data/some\.gctx: 2 missing and 2 infinite values; the first is inf in profile "
        r"'p2', gene 'h'$",
    ):
        check.raise_if_any()


def test_one_missing_value_is_enough() -> None:
    values = np.zeros((7, 3), np.float32)
    values[6, 2] = np.nan
    with pytest.raises(
        FormatError, match=r"1 missing and 0 infinite.*nan in profile 'p6', gene 'i'"
    ):
        require_finite(values, path=PATH, profiles=PROFILES, genes=GENES)
