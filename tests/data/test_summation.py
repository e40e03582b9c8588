from __future__ import annotations

import math

import numpy as np
import pytest

from dgex_jax.data.summation import RowSum, mean_and_deviation


def test_mean_is_right_where_plain_addition_loses_digits() -> None:
    rows = np.array([[1e16, 3.0], [1.0, 0.1], [-1e16, 0.1], [1.0, 0.1]])
    total = RowSum(2)
    total.add(rows)
    exact = [math.fsum(column) / 4 for column in rows.T]
    assert exact[0] == 0.5
    np.testing.assert_array_equal(total.mean(), exact)
    assert rows.mean(axis=0)[0] != exact[0]


def test_mean_and_deviation_agree_with_numpy() -> None:
    rows = np.random.default_rng(0).gamma(2.0, 3.0, (999, 20))
    mean, deviation = mean_and_deviation(lambda: [rows[:400], rows[400:]], 20)
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(deviation, rows.std(axis=0), rtol=1e-13)


@pytest.mark.parametrize("block", [1, 7, 64, 500])
def test_blocks_never_change_a_bit(block: int) -> None:
    rows = np.random.default_rng(1).normal(5.0, 3.0, (500, 11)) * 10.0 ** np.arange(-5, 6)
    whole = mean_and_deviation(lambda: [rows], 11)
    parts = mean_and_deviation(
        lambda: (rows[start : start + block] for start in range(0, 500, block)), 11
    )
    np.testing.assert_array_equal(np.array(parts), np.array(whole))


def test_a_constant_column_has_no_deviation_to_speak_of() -> None:
    mean, deviation = mean_and_deviation(lambda: [np.full((977, 1), 0.1)], 1)
    assert mean[0] == pytest.approx(0.1, abs=1e-16)
    assert deviation[0] < 1e-16
