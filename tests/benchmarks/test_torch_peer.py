"""PyTorch's training is the same as ours, so that comparing their times is fair."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.peers.torch_mlp import load_torch, torch_training
from dgex_jax.train.epoch import optimizer, update
from dgex_jax.train.network import MLP
from dgex_jax.train.pylearn2 import initial_weights

LANDMARKS, UNITS, TARGETS, PROFILES, BATCH = 7, 9, 5, 23, 10

_update = jax.jit(update, static_argnums=(2, 4))


def _torch() -> Any:
    torch = load_torch()
    if torch is None:
        pytest.skip("needs PyTorch")
    return torch


def _start(hidden_layers: int) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(hidden_layers)
    params = initial_weights(3, LANDMARKS, TARGETS, hidden_layers, UNITS)
    params["output"]["kernel"] *= np.float32(3e3)
    X = rng.normal(size=(PROFILES, LANDMARKS)).astype(np.float32)
    Y = rng.normal(size=(PROFILES, TARGETS)).astype(np.float32)
    return params, X, Y, rng.permutation(PROFILES).astype(np.int32)


@pytest.mark.parametrize("hidden_layers", [1, 2, 3])
def test_steps_without_dropout_are_ours(hidden_layers: int) -> None:
    """One epoch (its short batch included), and one more after the rate has changed."""
    torch = _torch()
    params, X, Y, order = _start(hidden_layers)
    peer = torch_training(torch, params, X, Y, learning_rate=0.02, dropout=0.0, batch_size=BATCH)
    velocity = optimizer(hidden_layers, jnp.float32(0), 0.0).init(
        jax.tree.map(np.zeros_like, params)
    )
    model, ours = MLP(hidden_layers, UNITS, TARGETS), params
    for rate in (0.02, 0.005):
        peer.set_learning_rate(rate)
        peer.epoch(order)
        for start in range(0, PROFILES, BATCH):
            rows = order[start : start + BATCH]
            ours, velocity = _update(
                ours, velocity, model, jnp.float32(rate), 0.5, X[rows], Y[rows],
                jax.random.key(0), jnp.float32(1),
            )  # fmt: skip
        theirs = peer.params()
        assert list(theirs) == list(ours)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=3e-6), ours, theirs)
    moved = np.abs(np.asarray(ours["output"]["kernel"]) - params["output"]["kernel"]).max()
    assert moved > 1e-2


def test_dropout_of_the_peer_scales_the_survivors() -> None:
    """The mean loss over masks is that of an include rate of 0.75 with 4/3 of the survivors."""
    torch = _torch()
    torch.manual_seed(1)
    params, X, Y, _ = _start(1)
    peer = torch_training(torch, params, X, Y, learning_rate=0.02, dropout=0.25)
    with torch.no_grad():
        losses = np.array([float(peer.loss(peer.X, peer.Y)) for _ in range(3000)])
    hidden = np.tanh(X @ params["hidden1"]["kernel"])
    plain = np.square(hidden @ params["output"]["kernel"] - Y).sum() / PROFILES
    variance = np.square(hidden) @ np.square(params["output"]["kernel"]) * (0.25 / 0.75)
    expected = plain + variance.sum() / PROFILES
    error = losses.std() / np.sqrt(len(losses))
    assert abs(losses.mean() - expected) < 4 * error
    assert expected - plain > 20 * error
