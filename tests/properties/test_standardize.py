"""Standardising gene by gene, (x - mean) / (sd + 1e-3) with ddof 0, against exact arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgex_jax.config import PrepareConfig
from dgex_jax.errors import PreparationError
from dgex_jax.io.expression import blocks as slices
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.writers import GctxWriter
from dgex_jax.prepare.normalize import OFFSET, mean_and_deviation, standardise
from dgex_jax.prepare.prepare import prepare
from dgex_jax.simulate.write import simulated_files
from tests.properties.inputs import SINGLE, examples, matrices, permutations

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOLDEN = Path(__file__).parents[1] / "golden" / "preprocess"


def fitted(values: NDArray[np.float64], block_size: int = 1000) -> tuple[Any, Any]:
    def blocks() -> Any:
        return (values[rows] for rows in slices(len(values), block_size))

    return mean_and_deviation(blocks, values.shape[1])


def root(value: Fraction) -> float:
    """Square root to float64's precision, of numbers far outside its range too."""
    if value == 0:
        return 0.0
    shift = 2 * ((value.numerator.bit_length() - value.denominator.bit_length() - 120) // 2)
    scaled = value / Fraction(2) ** shift
    return float(math.isqrt(int(scaled)) * Fraction(2) ** (shift // 2))


def exact(column: NDArray[np.float64]) -> tuple[Fraction, float]:
    """Mean and population standard deviation of one gene."""
    numbers = [Fraction(float(value)) for value in column]
    mean = sum(numbers, Fraction(0)) / len(numbers)
    return mean, root(sum(((x - mean) ** 2 for x in numbers), Fraction(0)) / len(numbers))


@examples(50)
@given(matrices(1e100, max_profiles=9, max_genes=6))
def test_mean_deviation_and_values_are_the_exact_ones(values: NDArray[np.float64]) -> None:
    """Up to a few roundings of the gene's largest value, whatever the sizes."""
    mean, deviation = fitted(values)
    scaled = standardise(values, mean, deviation)
    assert scaled.shape == values.shape
    assert scaled.dtype == np.float64
    assert np.isfinite(scaled).all()
    for column, m, sd, got in zip(values.T, mean, deviation, scaled.T, strict=True):
        exact_mean, exact_sd = exact(column)
        one_ulp = float(np.spacing(np.abs(column).max()))
        assert abs(Fraction(m) - exact_mean) <= Fraction(one_ulp)
        # The squares of denormals are 0.
        assert abs(sd - exact_sd) <= 1e-14 * exact_sd + 2 * one_ulp + 1e-160
        unit = Fraction(exact_sd + 1e-3)
        wanted = [float((Fraction(x) - exact_mean) / unit) for x in column.tolist()]
        room = 8 * one_ulp / (exact_sd + 1e-3)
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=room * (1 + np.abs(wanted).max()))


@examples(40)
@given(
    data=st.data(),
    values=matrices(1e100, max_profiles=12, max_genes=5),
    block_size=st.integers(1, 13),
)
def test_genes_are_independent_and_blocks_change_no_bit(
    data: Any, values: NDArray[np.float64], block_size: int
) -> None:
    together = np.array(fitted(values))
    np.testing.assert_array_equal(np.array(fitted(values, block_size)), together)
    genes = data.draw(permutations(values.shape[1]))
    for some in (genes, slice(1)):
        np.testing.assert_array_equal(np.array(fitted(values[:, some])), together[:, some])
        got = standardise(values[:, some], *together[:, some])
        np.testing.assert_array_equal(got, standardise(values, *together)[:, some])


@examples(40)
@given(
    values=matrices(1e6, max_profiles=8, max_genes=5),
    shift=st.integers(-1000, 1000),
    n_copies=st.integers(1, 5),
)
def test_shift_does_not_count_and_neither_do_copies(
    values: NDArray[np.float64], shift: int, n_copies: int
) -> None:
    """Of all profiles together: each gene has mean 0 and a deviation of sd / (sd + 1e-3)."""
    mean, deviation = fitted(values)
    scaled = standardise(values, mean, deviation)

    def assert_scaled(got: NDArray[np.float64]) -> None:
        np.testing.assert_allclose(got, scaled, rtol=1e-9, atol=64 * room)

    room = 1e-15 * (np.abs(values).max() + abs(shift) + 1) / OFFSET
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=room)
    np.testing.assert_allclose(scaled.std(axis=0), deviation / (deviation + OFFSET), atol=8 * room)
    assert_scaled(standardise(values + shift, *fitted(values + shift)))
    assert_scaled(standardise(values, *fitted(np.tile(values, (n_copies, 1)))))


@examples(40)
@given(value=st.floats(-1e6, 1e6), n_profiles=st.integers(1, 300))
def test_a_constant_gene_is_nought(value: float, n_profiles: int) -> None:
    """Not the rounding error of its mean blown up: 1e-3 is added to a deviation of next to 0."""
    values = np.full((n_profiles, 1), value)
    mean, deviation = fitted(values)
    assert abs(mean[0] - value) <= np.spacing(abs(value))
    assert np.abs(standardise(values, mean, deviation)).max() <= np.spacing(abs(value)) / OFFSET


@examples(20)
@given(matrices(float(SINGLE.max), max_profiles=6, max_genes=6, dtype=np.float32))
def test_any_float32_study_stays_finite_as_stored(values: NDArray[Any]) -> None:
    wide = values.astype(np.float64)
    stored = standardise(wide, *fitted(wide)).astype(np.float32)
    assert np.isfinite(stored).all()
    assert np.abs(stored).max() <= np.sqrt(len(values)) * 1.0001


@pytest.mark.parametrize("largest", [1e160, 1e307])
def test_values_whose_squares_overflow_are_refused_not_prepared(
    tmp_path: Path, largest: float
) -> None:
    """In one line and without a warning, rather than as a study full of NaN."""
    with Gctx(GOLDEN / "geo.gctx") as source:
        profiles, genes, values = source.profiles, source.genes, source.read()
    wide = values.astype(np.float64)
    with GctxWriter(tmp_path / "geo.gctx", profiles, genes, dtype=np.float64) as writer:
        writer.append(wide / wide.max() * largest)
    raw = replace(simulated_files(GOLDEN), geo=tmp_path / "geo.gctx")
    config = PrepareConfig(duplicates="none")
    names = {"name": "wide", "title": "Wide values", "simulated": True}
    with pytest.raises(PreparationError, match="GEO: 65 of 65 genes have no standard dev") as told:
        prepare(raw, tmp_path / "p.h5", config, **names)
    assert "\n" not in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == ["geo.gctx"]
