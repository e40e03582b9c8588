"""The network is the paper's: size, arithmetic, precision, masks; and one forward pass for all."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgex_jax.train import network
from dgex_jax.train.arrays import BATCH
from dgex_jax.train.network import (
    MASK_GENERATOR,
    MLP,
    Forward,
    mask,
    mask_key,
    n_parameters,
    random_bits,
)
from dgex_jax.train.pylearn2 import initial_weights

LANDMARKS, HALF = 943, 4760
N, UNITS = 5, 13

_draw = jax.jit(mask, static_argnums=2)

# Sums by hand: 944·u + (layers - 1)·(u + 1)·u + (u + 1)·4760.
PAPER = {
    (1, 3000): 17_116_760,
    (1, 6000): 34_228_760,
    (1, 9000): 51_340_760,
    (2, 3000): 26_119_760,
    (2, 6000): 70_234_760,
    (2, 9000): 132_349_760,
    (3, 3000): 35_122_760,
    (3, 6000): 106_240_760,
    (3, 9000): 213_358_760,
}


def half(layers: int = 2, n_targets: int = 7) -> Any:
    """Weights away from their start (larger ones of the output)."""
    params = initial_weights(3, N, n_targets, layers, UNITS)
    params["output"]["kernel"] *= np.float32(5e3)
    params["output"]["bias"] += np.arange(n_targets, dtype=np.float32)
    return params


def profiles(n: int = 11) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, N)).astype(np.float32)


def oracle(params: Any, X: np.ndarray, masks: Any = (1, 1, 1)) -> np.ndarray:
    """The network in plain NumPy, float64."""
    hidden = X.astype(np.float64)
    for name, kept in zip([name for name in params if name != "output"], masks, strict=False):
        hidden = np.tanh(hidden @ params[name]["kernel"] + params[name]["bias"]) * kept
    return hidden @ params["output"]["kernel"] + params["output"]["bias"]


@pytest.mark.parametrize(("shape", "expected"), PAPER.items())
def test_parameters_of_the_papers_architectures(shape, expected) -> None:
    assert n_parameters(LANDMARKS, HALF, *shape) == expected
    model = MLP(*shape, HALF)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, LANDMARKS)))
    leaves = jax.tree.leaves(variables["params"])
    assert sum(int(np.prod(leaf.shape)) for leaf in leaves) == expected


def test_largest_network_has_the_papers_427_million_weights() -> None:
    assert round(2 * PAPER[3, 9000] / 1e6) == 427


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_drawn_weights_are_the_modules_and_its_output_is_linear_in_tanh_units(layers) -> None:
    model, params, X = MLP(layers, UNITS, 7), half(layers), profiles()
    own = jax.eval_shape(model.init, jax.random.key(0), X)["params"]
    assert jax.tree.map(np.shape, own) == jax.tree.map(np.shape, params)
    inferred = jax.jit(model.apply)({"params": params}, X)
    assert inferred.dtype == jnp.float32
    np.testing.assert_allclose(inferred, oracle(params, X), atol=2e-6)


def test_dropout_multiplies_each_hidden_layer_and_never_the_input() -> None:
    params, X, key, include = half(), profiles(), jax.random.key(4), jnp.float32(0.6)
    masks = [
        np.asarray(_draw(jax.random.fold_in(key, layer), include, (11, UNITS))) for layer in (0, 1)
    ]
    assert all(0 < np.count_nonzero(drawn) < drawn.size for drawn in masks)
    inferred = jax.jit(MLP(2, UNITS, 7).apply)({"params": params}, X, key, include)
    np.testing.assert_allclose(inferred, oracle(params, X, masks), atol=2e-6)


def test_include_rate_one_is_the_network_without_masks() -> None:
    model, X, variables = MLP(1, UNITS, 7), profiles(), {"params": half(1)}
    # Not compiled: XLA fuses the two programs differently, which moves last bits.
    masked = model.apply(variables, X, jax.random.key(1), jnp.float32(1))
    np.testing.assert_array_equal(masked, model.apply(variables, X))


def test_what_is_refused() -> None:
    with pytest.raises(TypeError, match="include rate"):
        MLP(2, UNITS, 7).apply({"params": half()}, profiles(), jax.random.key(1))
    with pytest.raises(KeyError, match="half"):
        MLP(2, UNITS, 7, "half").apply({"params": half()}, profiles())
    with pytest.raises(TypeError, match="threefry key, not rbg"):
        mask(jax.random.key(0, impl="rbg"), jnp.float32(0.5), (2, 2))


def test_tf32_changes_no_shape_and_stays_finite() -> None:
    rounded, exact = (
        jax.jit(MLP(2, UNITS, 7, precision).apply)({"params": half()}, profiles())
        for precision in ("tf32", "highest")
    )
    assert (rounded.shape, rounded.dtype) == (exact.shape, exact.dtype)
    # A factor of a TF32 product has 10 bits of fraction; on a CPU nothing is rounded.
    np.testing.assert_allclose(rounded, exact, atol=2e-2)


@pytest.mark.parametrize("shape", [(200, 96), (7, 33), (1, 1)])
@pytest.mark.parametrize("include", [1.0, 0.9, 0.75, 1 / 3, 1e-3, float(np.float32(1 - 2**-24))])
def test_masks_are_those_of_bernoulli(shape, include) -> None:
    with jax.enable_x64(True):
        for seed in (0, 5):
            key, share = jax.random.key(seed, impl=MASK_GENERATOR), jnp.float32(include)
            drawn = np.asarray(_draw(key, share, shape))
            kept = np.asarray(jax.random.bernoulli(key, share, shape))
            assert drawn.dtype == np.float32
            scale = np.float32(1) / np.float32(include)
            np.testing.assert_array_equal(drawn, np.where(kept, scale, np.float32(0)))


def test_bits_are_those_of_jax_also_under_vmap() -> None:
    keys = jax.random.split(jax.random.key(3, impl=MASK_GENERATOR), 4)
    ours = jax.vmap(lambda key: random_bits(jax.random.key_data(key), (5, 6)))(keys)
    theirs = jax.vmap(lambda key: jax.random.bits(key, (5, 6), "uint32"))(keys)
    np.testing.assert_array_equal(ours, theirs)


def test_masks_are_the_same_under_every_transformation() -> None:
    keys = jax.random.split(jax.random.key(5), 3)
    rates = jnp.asarray([0.75, 0.75, 1.0], jnp.float32)

    def one(key: jax.Array, include: jax.Array) -> jax.Array:
        return mask(key, include, (9, 17))

    def mapped(keys: jax.Array, rates: jax.Array) -> Any:
        return jax.lax.map(lambda each: one(*each), (keys, rates))

    jitted = jax.jit(one)
    alone = np.stack([jitted(*each) for each in zip(keys, rates, strict=True)])
    assert not np.array_equal(alone[0], alone[1])
    assert (alone[2] == 1).all()
    np.testing.assert_array_equal(one(keys[0], rates[0]), alone[0])
    np.testing.assert_array_equal(jax.jit(jax.vmap(one))(keys, rates), alone)
    np.testing.assert_array_equal(jax.jit(mapped)(keys, rates), alone)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(jitted(keys[1], rates[1]), alone[1])


def test_each_run_and_half_has_masks_of_its_own() -> None:
    """Their keys are JAX's, with and without 64-bit types."""
    keys = set()
    for seed in (0, 1, 2, 6, 2**31, 2**32 - 1):
        for index in (0, 1):
            expected = jax.random.fold_in(jax.random.key(seed, impl=MASK_GENERATOR), index)
            for x64 in (False, True):
                with jax.enable_x64(x64):
                    ours = mask_key(seed, index)
                assert ours.dtype == np.uint32
                np.testing.assert_array_equal(ours, jax.random.key_data(expected))
            keys.add(ours.tobytes())
    assert len(keys) == 12


def all_of(halves: list[Any], X: np.ndarray) -> np.ndarray:
    return np.concatenate(list(Forward(halves)(X)))


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("sizes", [(7,), (4, 6)])
def test_halves_side_by_side_as_in_plain_numpy(layers, sizes) -> None:
    halves, X = [half(layers, size) for size in sizes], profiles()
    found = all_of(halves, X)
    assert (found.dtype, found.shape) == (np.float32, (11, sum(sizes)))
    expected = np.concatenate([oracle(one, X) for one in halves], axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("n", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 37])
def test_batches_come_in_order_and_are_full_but_the_last(n) -> None:
    batches = list(Forward([half()])(profiles(n)))
    assert [len(one) for one in batches] == [BATCH] * (n // BATCH) + [n % BATCH] * bool(n % BATCH)
    if n:
        np.testing.assert_allclose(np.concatenate(batches), oracle(half(), profiles(n)), atol=2e-5)


def test_bits_of_a_profile_do_not_depend_on_how_many_come_with_it() -> None:
    halves, X = [half(2, 4), half(2, 6)], profiles(2 * BATCH + 37)
    together = all_of(halves, X)
    for start in (0, BATCH, 2 * BATCH):
        for stop in (start + 1, start + 30, start + BATCH, len(X)):
            cut = slice(start, min(stop, len(X)))
            assert all_of(halves, X[cut]).tobytes() == together[cut].tobytes()


def test_bits_are_those_of_the_compiled_network_on_a_full_batch() -> None:
    halves, X = [half(2, 4), half(2, 6)], profiles(BATCH)

    @jax.jit
    def infer(params: Any, X: jax.Array) -> jax.Array:
        outputs = [
            jnp.asarray(MLP(2, UNITS, size).apply({"params": one}, X))
            for size, one in zip((4, 6), params, strict=True)
        ]
        return jnp.concatenate(outputs, axis=1)

    assert all_of(halves, X).tobytes() == np.asarray(infer(halves, X)).tobytes()


def test_networks_of_one_architecture_share_one_program() -> None:
    before = network._infer._cache_size()
    for scale in (1, 2):
        halves = [jax.tree.map(lambda leaf, scale=scale: leaf * np.float32(scale), half(1, 9))]
        for n in (1, 5, BATCH + 1):
            all_of(halves, profiles(n))
    assert network._infer._cache_size() == before + 1


@pytest.mark.parametrize(("precision", "wanted"), [("highest", "HIGHEST"), ("tf32", "HIGH")])
def test_precision_reaches_every_product(precision, wanted) -> None:
    forward = Forward([half(), half()], precision)
    X = jnp.zeros((BATCH, N), jnp.float32)
    text = network._infer.lower(forward._modules, forward._halves, X).as_text()
    assert text.count("dot_general") == text.count(f"precision = [{wanted}, {wanted}]") == 6
