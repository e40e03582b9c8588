"""Parsing many cells at once equals `float` cell by cell, to the bit."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from dgex_jax.formats.decimals import parse_cells


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
        return "".join(
            rng.choice("0123456789" * 3 + "..-+eE naNif_x") for _ in range(rng.randint(0, 20))
        )
    if kind == 1:
        digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 20)))
        cut = rng.randint(0, len(digits))
        return rng.choice(["", "-"]) + digits[:cut] + "." + digits[cut:]
    if kind == 2:
        return repr(rng.gauss(0, 10.0 ** rng.randint(-8, 8)))
    return f"{rng.lognormvariate(0, 3):.{rng.randint(1, 17)}g}"


@pytest.mark.parametrize("seed", range(8))
def test_equals_float_on_made_up_cells(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        words = [made_up_word(rng) for _ in range(rng.randint(1, 12))]
        values, refused = parse_cells("\t".join(words).encode())
        assert len(values) == len(words)
        wanted = [truth(word) for word in words]
        assert refused == [place for place, value in enumerate(wanted) if value is None]
        for word, value, should in zip(words, values, wanted, strict=True):
            assert should is None or same(value, should), (word, value, should)


@pytest.mark.parametrize(
    "word",
    [
        *("0", "-0", "-0.0", "5.", ".5", "-.5", "+1", "0.1", "1e-5", "1e400", "8.5e22"),
        *("99999999", "999999999", "123456789012345", "1234567890123456", "9007199254740993"),
        *("0.000000000000001", "00000000000000000001.5", "2.2250738585072014e-308"),
        *("-inf", "Infinity", " 1.5 ", "1.5\r"),
    ],
)
def test_equals_float_on_hard_cells(word: str) -> None:
    for text, place in ((word, 0), (f"7\t{word}", 1), (f"{word}\t7", 0)):
        values, refused = parse_cells(text.encode())
        assert not refused
        assert same(values[place], float(word))


def test_missing_values() -> None:
    values, refused = parse_cells(b"NA\tNaN\tnan\t\t-666\t-666.0\tna\t-6.66e2\t666")
    assert not refused
    np.testing.assert_array_equal(np.isnan(values), [True] * 8 + [False])


@pytest.mark.parametrize("word", ["x", "1.2.3", "1-2", "--1", ".", "-", "1_0", "1 2", "0x1", "n/a"])
def test_what_is_no_number_is_refused(word: str) -> None:
    values, refused = parse_cells(f"1\t{word}\t3".encode())
    assert refused == [1]
    assert values[0] == 1
    assert values[2] == 3
