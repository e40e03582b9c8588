"""Which devices train, and what a stack of networks looks like on them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from dgex_jax.training.devices import choose_devices, place, replicate, stack, unstack


def _machine(monkeypatch: pytest.MonkeyPatch, platform: str, count: int) -> list[Any]:
    present = [SimpleNamespace(platform=platform, id=i) for i in range(count)]
    monkeypatch.setattr(jax, "local_devices", lambda: present)
    return present


@pytest.mark.parametrize(
    ("present", "gpus", "networks", "chosen"),
    [
        (2, None, 2, 2),
        (2, 2, 2, 2),
        (1, None, 2, 1),
        (8, None, 2, 2),
        (8, None, 1, 1),
        (2, 1, 2, 1),
        (2, None, 3, 1),
        (4, None, 6, 3),
    ],
)
def test_devices_share_the_networks_evenly(
    monkeypatch: pytest.MonkeyPatch, present: int, gpus: int | None, networks: int, chosen: int
) -> None:
    """What was asked for, or nothing in particular, is had: no note."""
    machine = _machine(monkeypatch, "gpu", present)
    devices, note = choose_devices(gpus, networks)
    assert devices == tuple(machine[:chosen])
    assert note is None


@pytest.mark.parametrize(
    ("present", "gpus", "networks", "chosen", "cause"),
    [(1, 2, 2, 1, "1 here"), (4, 4, 2, 2, "2 network(s)"), (4, 2, 1, 1, "1 network(s)")],
)
def test_fewer_gpus_than_asked_for_are_told(
    monkeypatch: pytest.MonkeyPatch,
    present: int,
    gpus: int,
    networks: int,
    chosen: int,
    cause: str,
) -> None:
    machine = _machine(monkeypatch, "gpu", present)
    devices, note = choose_devices(gpus, networks)
    assert devices == tuple(machine[:chosen])
    assert note is not None
    assert "\n" not in note
    assert note.startswith(f"{gpus} GPUs")
    assert cause in note


@pytest.mark.parametrize("gpus", [1, 2])
def test_gpus_asked_for_where_there_are_none(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    """The CPU trains instead, and says so."""
    machine = _machine(monkeypatch, "cpu", 2)
    devices, note = choose_devices(gpus, 2)
    assert devices == tuple(machine)
    assert note is not None
    assert str(gpus) in note
    assert "CPU" in note


@pytest.mark.parametrize("n_devices", [1, 2])
def test_stack_and_back(n_devices: int) -> None:
    devices = jax.local_devices()[:n_devices]
    if len(devices) < n_devices:
        pytest.skip(f"needs {n_devices} devices")
    trees = [{"w": np.full((2, 3), i, np.float32), "n": np.int32(i)} for i in range(4)]
    stacked = stack(trees, n_devices)
    assert stacked["w"].shape == (n_devices, 4 // n_devices, 2, 3)
    assert stacked["n"].shape == (n_devices, 4 // n_devices)
    placed = place(stacked, devices)
    assert {shard.device for shard in placed["w"].addressable_shards} == set(devices)
    for tree, back in zip(trees, unstack(placed), strict=True):
        jax.tree.map(np.testing.assert_array_equal, back, tree)
        assert isinstance(back["w"], np.ndarray)
        assert back["w"].dtype == np.float32


def test_replicating_takes_no_memory() -> None:
    leaf = np.arange(6, dtype=np.float32).reshape(2, 3)
    repeated = replicate({"x": leaf}, 2)["x"]
    assert repeated.shape == (2, 2, 3)
    assert np.shares_memory(repeated, leaf)
    np.testing.assert_array_equal(repeated[1], leaf)
