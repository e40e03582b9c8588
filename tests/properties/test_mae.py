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

from dgex_jax import scores as module
from dgex_jax.errors import DgexError
from dgex_jax.scores import RunningScores, mae_per_gene, overall
from dgex_jax.train.arrays import BATCH
from dgex_jax.train.epoch import absolute_errors
from dgex_jax.train.network import MLP, Forward
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
    dtypes = draw(st.tuples(*[st.sampled_from(DTYPES)] * 2))
    return cast(prediction, dtypes[0]), cast(truth, dtypes[1])


def cast(values: NDArray[np.float64], dtype: Any) -> NDArray[Any]:
    """Into what `dtype` can hold; of integers, what float64 holds exactly."""
    kind = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    most = float(kind.max) if np.dtype(dtype).kind == "f" else 2.0**52
    return np.clip(values, max(-most, kind.min), min(most, kind.max)).astype(dtype)


@examples(60)
@given(pair=pairs(), block_values=st.sampled_from([1, 5, 2**22]))
def test_mae_is_numpys_in_float64_and_nearly_exact(pair: Any, block_values: int) -> None:
    prediction, truth = pair
    before = prediction.copy(), truth.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_VALUES", block_values)
        got = mae_per_gene(prediction, truth)
    assert (got.dtype, got.shape) == (np.float64, (truth.shape[1],))
    wide = prediction.astype(np.float64), truth.astype(np.float64)
    numpy = np.abs(wide[0] - wide[1]).mean(axis=0)
    np.testing.assert_allclose(got, numpy, rtol=1e-15 * len(truth), atol=TINY)
    for value, p, t in zip(got, wide[0].T.tolist(), wide[1].T.tolist(), strict=True):
        exact = sum(abs(Fraction(a) - Fraction(b)) for a, b in zip(p, t, strict=True)) / len(t)
        room = exact * Fraction(2.0**-52) * (len(t) + 1) + Fraction(TINY)
        assert abs(Fraction(value) - exact) <= room
    np.testing.assert_array_equal(prediction, before[0])
    np.testing.assert_array_equal(truth, before[1])


@examples(40)
@given(pair=pairs(), data=st.data())
def test_mae_is_a_distance_and_knows_no_order(pair: Any, data: Any) -> None:
    prediction, truth = pair
    close = {"rtol": 1e-15 * len(truth), "atol": TINY}
    mae = mae_per_gene(prediction, truth)
    assert (mae >= 0).all()
    np.testing.assert_array_equal(mae_per_gene(truth, prediction), mae)
    np.testing.assert_array_equal(mae_per_gene(truth, truth), 0)
    farthest = np.abs(prediction.astype(float) - truth.astype(float)).max(axis=0)
    # A share of a denormal may round to 0.
    assert (mae[farthest > 1e-300] > 0).all()
    assert (mae <= farthest * (1 + close["rtol"]) + TINY).all()
    genes = data.draw(permutations(truth.shape[1]))
    np.testing.assert_array_equal(mae_per_gene(prediction[:, genes], truth[:, genes]), mae[genes])
    profiles = data.draw(permutations(len(truth)))
    reordered = mae_per_gene(prediction[profiles], truth[profiles])
    np.testing.assert_allclose(reordered, mae, **close)
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
    running = RunningScores(truth.shape[1])
    for start, stop in pairwise([0, *sorted(cuts)]):
        running.add(prediction[start:stop], truth[start:stop])
    scores, mae = running.scores(), mae_per_gene(prediction, truth)
    assert scores.n_profiles == len(truth)
    np.testing.assert_allclose(scores.mae, mae, rtol=1e-15 * len(truth), atol=TINY)
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
    for measure in (mae_per_gene, RunningScores(spoilt[0].shape[1]).add):
        with pytest.raises(DgexError, match=place):
            measure(*spoilt)


LANDMARKS, UNITS, SIZES = 5, 7, (3, 4)


@cache
def network() -> tuple[list[Any], Forward]:
    """Two halves of a network, of one shape so that all cases share a program."""
    rng = np.random.default_rng(3)

    def layer(*shape: int) -> dict[str, NDArray[np.float32]]:
        kernel, bias = rng.normal(size=shape), rng.normal(size=shape[1])
        return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}

    halves = [{"hidden1": layer(LANDMARKS, UNITS), "output": layer(UNITS, n)} for n in SIZES]
    return halves, Forward(halves)


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

    def cut(edges: list[int]) -> NDArray[np.float32]:
        return np.concatenate([inferred(X[start:end]) for start, end in pairwise([0, *edges])])

    together = inferred(X)
    cuts = sorted(data.draw(st.sets(st.integers(1, n), max_size=4)) | {n})
    np.testing.assert_allclose(cut(cuts), together, rtol=0, atol=1e-5)
    aligned = sorted({edge - edge % BATCH for edge in cuts} - {0} | {n})
    np.testing.assert_array_equal(cut(aligned), together)
    np.testing.assert_array_equal(inferred(X[: cuts[0]]), together[: cuts[0]])
    oracle = []
    for half in network()[0]:
        first, last = half["hidden1"], half["output"]
        hidden = np.tanh(X.astype(np.float64) @ first["kernel"] + first["bias"])
        oracle.append(hidden @ last["kernel"] + last["bias"])
    wanted = np.abs(np.concatenate(oracle, axis=1) - Y).mean(axis=0)
    np.testing.assert_allclose(mae_per_gene(together, Y), wanted, rtol=0, atol=1e-5)


@cache
def errors_and_inferred() -> Any:
    model = MLP(1, UNITS, SIZES[0])

    def both(params: Any, X: jax.Array, Y: jax.Array) -> Any:
        return absolute_errors(params, model, X, Y), model.apply({"params": params}, X)

    return jax.jit(both)


@examples(10)
@given(seed=st.integers(0, 2**20))
def test_errors_of_training_are_float64_differences_of_float32_inferences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(9, LANDMARKS)).astype(np.float32)
    Y = (rng.normal(size=(9, SIZES[0])) * 10.0 ** rng.integers(-30, 30)).astype(np.float32)
    with jax.enable_x64(True):
        found, predicted = map(np.asarray, errors_and_inferred()(network()[0][0], X, Y))
    assert (predicted.dtype, found.dtype) == (np.float32, np.float64)
    wanted = np.abs(predicted.astype(np.float64) - Y.astype(np.float64))
    np.testing.assert_array_equal(found, wanted)
