"""The network is the paper's: its size, its arithmetic, its precision and its dropout masks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgex_jax.models.mlp import MLP, mask, n_parameters
from dgex_jax.training.pylearn2 import initial_weights

LANDMARKS, HALF = 943, 4760

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


def _sizes(tree: Any) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _small(hidden_layers: int = 2, precision: str = "highest") -> tuple[MLP, Any, np.ndarray]:
    """A network away from its start (larger output weights), its weights, and profiles."""
    model = MLP(hidden_layers, 13, 7, precision)
    params = initial_weights(3, 5, 7, hidden_layers, 13)
    params["output"]["kernel"] *= np.float32(5e3)
    params["output"]["bias"] += np.arange(7, dtype=np.float32)
    return model, params, np.random.default_rng(0).normal(size=(11, 5)).astype(np.float32)


@pytest.mark.parametrize(("shape", "expected"), PAPER.items())
def test_parameters_of_the_papers_architectures(shape: tuple[int, int], expected: int) -> None:
    layers, units = shape
    assert n_parameters(LANDMARKS, HALF, layers, units) == expected
    model = MLP(layers, units, HALF)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, LANDMARKS)))
    assert _sizes(variables["params"]) == expected


def test_largest_network_has_the_papers_427_million_weights() -> None:
    assert round(2 * PAPER[3, 9000] / 1e6) == 427


@pytest.mark.parametrize("hidden_layers", [1, 2, 3])
def test_drawn_weights_are_the_modules_and_as_many_as_counted(hidden_layers: int) -> None:
    model, params, X = _small(hidden_layers)
    own = jax.eval_shape(model.init, jax.random.key(0), X)["params"]
    assert jax.tree.map(np.shape, own) == jax.tree.map(np.shape, params)
    assert n_parameters(5, 7, hidden_layers, 13) == _sizes(params)


@pytest.mark.parametrize("hidden_layers", [1, 2, 3])
def test_output_is_linear_in_tanh_units(hidden_layers: int) -> None:
    model, params, X = _small(hidden_layers)
    hidden = X.astype(np.float64)
    for layer in range(hidden_layers):
        weights = params[f"hidden{layer + 1}"]
        hidden = np.tanh(hidden @ weights["kernel"] + weights["bias"])
    expected = hidden @ params["output"]["kernel"] + params["output"]["bias"]
    inferred = jax.jit(model.apply)({"params": params}, X)
    assert inferred.dtype == jnp.float32
    np.testing.assert_allclose(inferred, expected, atol=2e-6)


def test_dropout_multiplies_each_hidden_layer_and_never_the_input() -> None:
    model, params, X = _small(2)
    key, include = jax.random.key(4), jnp.float32(0.6)
    hidden = X.astype(np.float64)
    for layer in range(2):
        weights = params[f"hidden{layer + 1}"]
        drawn = np.asarray(_draw(jax.random.fold_in(key, layer), include, (11, 13)))
        assert 0 < np.count_nonzero(drawn) < drawn.size
        hidden = np.tanh(hidden @ weights["kernel"] + weights["bias"]) * drawn
    expected = hidden @ params["output"]["kernel"] + params["output"]["bias"]
    inferred = jax.jit(model.apply)({"params": params}, X, key, include)
    np.testing.assert_allclose(inferred, expected, atol=2e-6)


def test_include_rate_one_is_the_network_without_masks() -> None:
    model, params, X = _small(1)
    variables = {"params": params}
    # Not compiled: XLA fuses the two programs differently, which moves last bits.
    masked = model.apply(variables, X, jax.random.key(1), jnp.float32(1))
    np.testing.assert_array_equal(masked, model.apply(variables, X))


def test_mask_key_without_include_rate_is_refused() -> None:
    model, params, X = _small()
    with pytest.raises(TypeError, match="include rate"):
        model.apply({"params": params}, X, jax.random.key(1))


@pytest.mark.parametrize("include", [0.9, 0.75, 0.5, 0.01])
def test_mask_keeps_its_share_and_scales_it_up(include: float) -> None:
    shape = (400, 500)
    drawn = np.asarray(_draw(jax.random.key(7), jnp.float32(include), shape))
    assert drawn.dtype == np.float32
    assert drawn.shape == shape
    assert set(np.unique(drawn)) == {np.float32(0), np.float32(1) / np.float32(include)}
    kept = drawn > 0
    # Four standard deviations of a binomial share: of all, of a profile, of a unit.
    for axis, n in ((None, 200_000), (1, 500), (0, 400)):
        worst = np.abs(kept.mean(axis=axis) - include).max()
        assert worst < (4 if axis is None else 6) * np.sqrt(include * (1 - include) / n)
    # The scale keeps the expected activation.
    assert drawn.mean() == pytest.approx(1, abs=4 * np.sqrt((1 / include - 1) / drawn.size))


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


def test_tf32_changes_no_shape_and_stays_finite() -> None:
    model, params, X = _small(2, "tf32")
    rounded = jax.jit(model.apply)({"params": params}, X)
    exact = jax.jit(MLP(2, 13, 7).apply)({"params": params}, X)
    assert (rounded.shape, rounded.dtype) == (exact.shape, exact.dtype)
    # A factor of a TF32 product has 10 bits of fraction; on a CPU nothing is rounded.
    np.testing.assert_allclose(rounded, exact, atol=2e-2)


def test_unknown_precision_is_no_silent_default() -> None:
    _, params, X = _small()
    with pytest.raises(KeyError, match="half"):
        MLP(2, 13, 7, "half").apply({"params": params}, X)
