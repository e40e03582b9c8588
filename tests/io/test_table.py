"""Parsing many cells at once equals `float` cell by cell, to the bit."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from dgex_jax.io.table import parse_cells


def truth(word: str) -> float | None:
    if "_" not in word:
        try:
            return float(word)
        except ValueError:
            pass
    return math.nan if word.strip().lower() in {"", "na", "nan"} else None


def same(found: float, wanted: float) -> bool:
    if math.isnan(wanted) or wanted == -666:
        return math.isnan(found)
    return found == wanted and math.copysign(1, found) == math.copysign(1, wanted)


def made_up_word(rng: random.Random) -> str:
    kind = rng.randrange(5)
    if kind == 0:
        letters = "0123456789" * 3 + "..-+eE naNif_x"
        return "".join(rng.choice(letters) for _ in range(rng.randint(0, 20)))
    if kind == 1:
        digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 20)))
        cut = rng.randint(0, len(digits))
        return rng.choice(["", "-"]) + digits[:cut] + "." + digits[cut:]
    if kind == 2:
        return repr(rng.gauss(0, 10.0 ** rng.randint(-8, 8)))
    return f"{rng.lognormvariate(0, 3):.{rng.randint(1, 17)}g}"


def check(words: list[str]) -> None:
    values, refused = parse_cells("\t".join(words).encode())
    wanted = [truth(word) for word in words]
    assert refused == [place for place, value in enumerate(wanted) if value is None]
    for word, value, should in zip(words, values, wanted, strict=True):
        assert same(value, math.nan if should is None else should), (word, value, should)


@pytest.mark.parametrize("seed", range(8))
def test_equals_float_on_made_up_cells(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        check([made_up_word(rng) for _ in range(rng.randint(1, 12))])


@pytest.mark.parametrize(
    "word",
    [
        *("0", "-0", "-0.0", "5.", ".5", "-.5", "+1", "0.1", "1e-5", "1e400", "8.5e22"),
        *("99999999", "999999999", "123456789012345", "1234567890123456", "9007199254740993"),
        *("0.000000000000001", "00000000000000000001.5", "2.2250738585072014e-308"),
        *("-inf", "Infinity", " 1.5 ", "1.5\r"),
        *("x", "1.2.3", "1-2", "--1", ".", "-", "1_0", "1 2", "0x1", "n/a", "\uff11"),
    ],
)
def test_equals_float_on_hard_cells(word: str) -> None:
    # Full-width digits are none in bytes.
    assert truth(word) is not None or parse_cells(word.encode())[1] == [0]
    if word.isascii():
        for words in ([word], ["7", word], [word, "7"], ["1", word, "3"]):
            check(words)


def test_missing_values() -> None:
    values, refused = parse_cells(b"NA\tNaN\tnan\t\t-666\t-666.0\tna\t-6.66e2\t666")
    assert not refused
    np.testing.assert_array_equal(np.isnan(values), [True] * 8 + [False])
