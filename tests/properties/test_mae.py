"""Mean absolute errors: those of plain NumPy in float64, however the profiles come."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dgex_jax.analysis.errors as module
from dgex_jax.analysis.errors import mae_per_gene, overall
from dgex_jax.analysis.scores import RunningScores
from dgex_jax.errors import DgexError
from dgex_jax.models.forward import BATCH, Forward
from dgex_jax.models.mlp import MLP
from dgex_jax.training.epoch import absolute_errors
from tests.properties.inputs import SINGLE, examples, matrices, permutations

if TYPE_CHECKING:
    from numpy.typing import NDArray

TINY = 5e-324
"""One rounding of a denormal."""
DTYPES = [np.float64, np.float32, np.float16, np.int64, np.int8]


@st.composite
def pairs(draw: st.DrawFn, largest: float = float(SINGLE.max)) -> tuple[Any, Any]:
    """Draw a prediction and a truth of one shape, each of a dtype of its own."""
    truth = draw(matrices(largest))
    other = draw(matrices(largest, max_profiles=1, max_genes=1))[0, 0]
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    prediction = np.where(rng.random(truth.shape) < 0.5, truth, rng.permuted(truth, axis=0))
    prediction[rng.random(truth.shape) < 0.2] = other
    return tuple(
        np.clip(values, *limits(dtype)).astype(dtype)
        for values, dtype in zip(
            (prediction, truth), draw(st.tuples(*[st.sampled_from(DTYPES)] * 2)), strict=True
        )
    )


def limits(dtype: Any) -> tuple[float, float]:
    """Range that can be cast to `dtype`; of integers what float64 holds exactly."""
    if np.dtype(dtype).kind == "f":
        return -float(np.finfo(dtype).max), float(np.finfo(dtype).max)
    return max(-(2.0**52), np.iinfo(dtype).min), min(2.0**52, np.iinfo(dtype).max)


def exact(prediction: NDArray[Any], truth: NDArray[Any]) -> list[Fraction]:
    """MAE of every gene without any rounding."""
    wide = [[list(map(Fraction, row)) for row in values.astype(float).tolist()]
            for values in (prediction, truth)]  # fmt: skip
    return [
        sum((abs(p[gene] - t[gene]) for p, t in zip(*wide, strict=True)), Fraction(0)) / len(truth)
        for gene in range(truth.shape[1])
    ]


@examples(60)
@given(pair=pairs(), block_values=st.sampled_from([1, 5, 2**22]))
def test_mae_is_numpys_in_float64_and_nearly_exact(pair: Any, block_values: int) -> None:
    prediction, truth = pair
    before = prediction.copy(), truth.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_VALUES", block_values)
        got = mae_per_gene(prediction, truth)
    numpy = np.abs(prediction.astype(np.float64) - truth.astype(np.float64)).mean(axis=0)
    assert (got.dtype, got.shape) == (np.float64, (truth.shape[1],))
    np.testing.assert_allclose(got, numpy, rtol=1e-15 * len(truth), atol=TINY)
    for value, wanted in zip(got, exact(prediction, truth), strict=True):
        assert abs(Fraction(value) - wanted) <= wanted * Fraction(2.0**-52) * (
            len(truth) + 1
        ) + Fraction(TINY)
    np.testing.assert_array_equal(prediction, before[0])
    np.testing.assert_array_equal(truth, before[1])


@examples(40)
@given(pair=pairs(), data=st.data())
def test_mae_is_a_distance_and_knows_no_order(pair: Any, data: Any) -> None:
    prediction, truth = pair
    mae = mae_per_gene(prediction, truth)
    assert (mae >= 0).all()
    np.testing.assert_array_equal(mae_per_gene(truth, prediction), mae)
    np.testing.assert_array_equal(mae_per_gene(truth, truth), 0)
    farthest = np.abs(prediction.astype(float) - truth.astype(float)).max(axis=0)
    # A share of a denormal may round to 0.
    assert (mae[farthest > 1e-300] > 0).all()
    assert (mae <= farthest * (1 + 1e-15 * len(truth)) + TINY).all()
    genes = data.draw(permutations(truth.shape[1]))
    np.testing.assert_array_equal(mae_per_gene(prediction[:, genes], truth[:, genes]), mae[genes])
    profiles = data.draw(permutations(len(truth)))
    np.testing.assert_allclose(
        mae_per_gene(prediction[profiles], truth[profiles]), mae, rtol=1e-15 * len(truth), atol=TINY
    )
    chosen = data.draw(st.lists(st.booleans(), min_size=len(mae), max_size=len(mae)).map(np.array))
    if chosen.any():
        found = overall(mae, chosen)
        assert found.mean == pytest.approx(np.mean(mae[chosen]), rel=1e-14, abs=TINY)
        assert found.sd == pytest.approx(np.std(mae[chosen]), rel=1e-12, abs=TINY)


@examples(40)
@given(pair=pairs(1e9), data=st.data())
def test_scores_do_not_depend_on_how_profiles_are_cut(pair: Any, data: Any) -> None:
    """Nor the MAE of an evaluation, whose profiles come in blocks."""
    prediction, truth = (values.astype(np.float64) for values in pair)
    cuts = data.draw(st.sets(st.integers(1, len(truth)))) | {len(truth)}
    running, start = RunningScores(truth.shape[1]), 0
    for stop in sorted(cuts):
        running.add(prediction[start:stop], truth[start:stop])
        start = stop
    scores = running.scores()
    assert scores.n_profiles == len(truth)
    np.testing.assert_allclose(
        scores.mae, mae_per_gene(prediction, truth), rtol=1e-15 * len(truth), atol=TINY
    )
    np.testing.assert_array_equal(scores.constant, (truth == truth[0]).all(axis=0))
    np.testing.assert_array_equal(scores.flat, (prediction == prediction[0]).all(axis=0))


@examples(30)
@given(
    pair=pairs(),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    in_truth=st.booleans(),
    data=st.data(),
)
def test_a_value_that_is_not_finite_is_never_averaged(
    pair: Any, bad: float, in_truth: bool, data: Any
) -> None:
    spoilt = [values.astype(np.float32) for values in pair]
    row, gene = (data.draw(st.integers(0, size - 1)) for size in spoilt[0].shape)
    spoilt[in_truth][row, gene] = bad
    name = ("prediction", "truth")[in_truth]
    place = f"{name}: 1 of {spoilt[0].size} values are not finite, the first {bad} at profile {row}"
    with pytest.raises(DgexError, match=place):
        mae_per_gene(*spoilt)
    with pytest.raises(DgexError, match=place):
        RunningScores(spoilt[0].shape[1]).add(*spoilt)


LANDMARKS, UNITS, SIZES = 5, 7, (3, 4)


@cache
def network() -> tuple[list[Any], Forward]:
    """Two halves of a network, of one shape so that all cases share a program."""
    rng = np.random.default_rng(3)
    halves = [
        {
            "hidden1": {
                "kernel": rng.normal(size=(LANDMARKS, UNITS)),
                "bias": rng.normal(size=UNITS),
            },
            "output": {"kernel": rng.normal(size=(UNITS, size)), "bias": rng.normal(size=size)},
        }
        for size in SIZES
    ]
    single = jax.tree.map(lambda leaf: leaf.astype(np.float32), halves)
    return single, Forward(single)


def inferred(X: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate(list(network()[1](X)))


@examples(15)
@given(seed=st.integers(0, 2**20), data=st.data())
def test_inference_and_its_error_are_the_same_in_any_batches(seed: int, data: Any) -> None:
    """To the bit where batches begin at the same profiles, else up to float32's rounding."""
    rng = np.random.default_rng(seed)
    n = data.draw(st.integers(1, 3 * BATCH))
    X = (rng.normal(size=(n, LANDMARKS)) * 3).astype(np.float32)
    Y = rng.normal(size=(n, sum(SIZES))).astype(np.float32)
    whole = inferred(X)
    cuts = sorted(data.draw(st.sets(st.integers(1, n), max_size=4)) | {n})
    parts = [X[start:stop] for start, stop in pairwise([0, *cuts])]
    np.testing.assert_allclose(np.concatenate([*map(inferred, parts)]), whole, rtol=0, atol=1e-5)
    edges = sorted({cut - cut % BATCH for cut in cuts} - {0} | {n})
    aligned = [X[start:stop] for start, stop in pairwise([0, *edges])]
    np.testing.assert_array_equal(np.concatenate([*map(inferred, aligned)]), whole)
    np.testing.assert_array_equal(inferred(X[: cuts[0]]), whole[: cuts[0]])
    halves, _ = network()
    oracle = np.concatenate(
        [
            np.tanh(X.astype(np.float64) @ half["hidden1"]["kernel"] + half["hidden1"]["bias"])
            @ half["output"]["kernel"]
            + half["output"]["bias"]
            for half in halves
        ],
        axis=1,
    )
    np.testing.assert_allclose(
        mae_per_gene(whole, Y), np.abs(oracle - Y).mean(axis=0), rtol=0, atol=1e-5
    )


@cache
def errors_and_inferred() -> Any:
    model = MLP(1, UNITS, SIZES[0])
    return jax.jit(
        lambda params, X, Y: (
            absolute_errors(params, model, X, Y),
            model.apply({"params": params}, X),
        )
    )


@examples(10)
@given(seed=st.integers(0, 2**20))
def test_errors_of_training_are_float64_differences_of_float32_inferences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(9, LANDMARKS)).astype(np.float32)
    Y = (rng.normal(size=(9, SIZES[0])) * 10.0 ** rng.integers(-30, 30)).astype(np.float32)
    with jax.enable_x64(True):
        found, predicted = map(np.asarray, errors_and_inferred()(network()[0][0], X, Y))
    assert (predicted.dtype, found.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(
        found, np.abs(predicted.astype(np.float64) - Y.astype(np.float64))
    )
