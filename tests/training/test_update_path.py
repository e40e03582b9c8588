"""What makes training fast changes none of its numbers: the masks written out, the late moves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgex_jax.models.mlp import MLP, mask, random_bits
from dgex_jax.training import epoch
from dgex_jax.training.epoch import Network, initial_state
from dgex_jax.training.pylearn2 import initial_weights
from dgex_jax.training.start import mask_key

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """Training runs where float64 is allowed."""
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("shape", [(200, 96), (7, 33), (1, 1)])
@pytest.mark.parametrize("include", [1.0, 0.9, 0.75, 1 / 3, 1e-3, float(np.float32(1 - 2**-24))])
def test_masks_are_those_of_bernoulli(shape: tuple[int, int], include: float) -> None:
    for seed in (0, 5):
        key, share = jax.random.key(seed, impl="threefry2x32"), jnp.float32(include)
        drawn = np.asarray(jax.jit(mask, static_argnums=2)(key, share, shape))
        kept = np.asarray(jax.random.bernoulli(key, share, shape))
        assert drawn.dtype == np.float32
        np.testing.assert_array_equal(
            drawn, np.where(kept, np.float32(1) / np.float32(include), np.float32(0))
        )


def test_bits_are_those_of_jax_also_under_vmap() -> None:
    keys = jax.random.split(jax.random.key(3, impl="threefry2x32"), 4)
    ours = jax.vmap(lambda key: random_bits(jax.random.key_data(key), (5, 6)))(keys)
    theirs = jax.vmap(lambda key: jax.random.bits(key, (5, 6), "uint32"))(keys)
    np.testing.assert_array_equal(ours, theirs)


def test_other_generators_are_refused() -> None:
    with pytest.raises(TypeError, match="threefry key, not rbg"):
        mask(jax.random.key(0, impl="rbg"), jnp.float32(0.5), (2, 2))


def _arguments(n: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(n)
    params = initial_weights(1, 4, 3, 2, 6)
    params["output"]["kernel"] *= np.float32(3e3)
    network = Network(mask_key(1, 0), np.float32(0.75), np.int32(3))
    X, Y = (rng.normal(size=(n, size)).astype(np.float32) for size in (4, 3))
    order = rng.permutation(n).astype(np.int32)
    return initial_state(params, 2, 0.01), network, X, Y, order


def _train() -> Any:
    """A program of its own, compiled anew."""

    def train(state: Any, network: Any, X: Any, Y: Any, order: Any) -> Any:
        return epoch.train(state, network, MLP(2, 6, 3), 0.5, 20, X, Y, order)

    return jax.jit(train)


@pytest.mark.parametrize("n", [pytest.param(47, marks=pytest.mark.long), 7])
def test_moving_the_weights_late_changes_no_bit(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs, with a short last batch, and with nothing but one."""
    state, *rest = _arguments(n)
    late = _train()
    after_late = late(late(state, *rest), *rest)
    monkeypatch.setattr(epoch, "moved_at_once", lambda _before, after: after)
    monkeypatch.setattr(epoch, "moved_late", lambda params, *_: params)
    at_once = _train()
    after_at_once = at_once(at_once(state, *rest), *rest)
    for ours, theirs in zip(
        jax.tree.leaves(after_late), jax.tree.leaves(after_at_once), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    start = state.params["output"]["kernel"]
    assert np.abs(np.asarray(after_late.params["output"]["kernel"]) - start).max() > 1e-3


def test_no_condition_stands_in_a_gpus_update() -> None:
    """There each would wait for the host; on a CPU it saves the draws where nothing is dropped."""
    decided_late = {}
    for platform in ("cpu", "cuda"):
        lowered = _train().trace(*_arguments(40)).lower(lowering_platforms=(platform,))
        text = lowered.as_text()
        choices = list(re.finditer(r'stablehlo\.case"\((%\w+)\)', text))
        assert choices
        made_by = [text[text.rindex(f"{one[1]} = ", 0, one.start()) :][:60] for one in choices]
        # The others choose by constants: the platform's choice, made while compiling.
        decided_late[platform] = [one for one in made_by if "stablehlo.convert" in one]
    assert len(decided_late["cpu"]) == 2
    assert decided_late["cuda"] == []
