"""Which devices train, and what a stack of networks looks like on them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from dgex_jax.training.devices import choose_devices, cpu_devices, place, replicate, stack, unstack


def _machine(monkeypatch: pytest.MonkeyPatch, platform: str, count: int) -> list[Any]:
    present = [SimpleNamespace(platform=platform, id=i) for i in range(count)]
    monkeypatch.setattr(jax, "local_devices", lambda: present)
    return present


@pytest.mark.parametrize(
    ("present", "gpus", "halves", "networks", "sizes"),
    [
        (2, None, 2, 1, [2]),
        (2, 2, 2, 1, [2]),
        (1, None, 2, 5, [1]),
        (8, None, 2, 1, [2]),
        (8, None, 1, 1, [1]),
        (2, 1, 2, 9, [1]),
        (4, 4, 2, 9, [2, 2]),
        (8, 3, 2, 9, [2, 1]),
        (8, None, 2, 3, [2, 2, 2]),
        (4, None, 1, 9, [1, 1, 1, 1]),
    ],
)
def test_each_set_trains_a_network_a_half_on_each_device(
    monkeypatch: pytest.MonkeyPatch,
    present: int,
    gpus: int | None,
    halves: int,
    networks: int,
    sizes: list[int],
) -> None:
    """What was asked for, or nothing in particular, is had: no note."""
    machine = _machine(monkeypatch, "gpu", present)
    sets, note = choose_devices(gpus, halves, networks)
    assert [len(each) for each in sets] == sizes
    assert [device for each in sets for device in each] == machine[: sum(sizes)]
    assert note is None


@pytest.mark.parametrize(
    ("present", "gpus", "halves", "networks", "chosen", "cause"),
    [(1, 2, 2, 9, 1, "1 here"), (4, 4, 2, 1, 2, "1 network(s) of 2"), (4, 2, 1, 1, 1, "of 1")],
)
def test_fewer_gpus_than_asked_for_are_told(
    monkeypatch: pytest.MonkeyPatch,
    present: int,
    gpus: int,
    halves: int,
    networks: int,
    chosen: int,
    cause: str,
) -> None:
    machine = _machine(monkeypatch, "gpu", present)
    sets, note = choose_devices(gpus, halves, networks)
    assert sets == [tuple(machine[:chosen])]
    assert note is not None
    assert "\n" not in note
    assert note.startswith(f"{gpus} GPUs")
    assert cause in note
    assert note.endswith(f"training on {chosen}")


@pytest.mark.parametrize("gpus", [1, 2, 4])
def test_gpus_asked_for_where_there_are_none(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    """The CPU trains instead, and says so."""
    machine = _machine(monkeypatch, "cpu", 2)
    sets, note = choose_devices(gpus, 2)
    assert sets == [tuple(machine)]
    assert note == f"{gpus} GPU(s) asked for, none here: training on 2 CPU device(s)"


@pytest.mark.parametrize(
    ("gpus", "halves", "cores", "devices"),
    [(None, 2, 8, 2), (2, 2, 1, 2), (4, 2, 8, 4), (4, 2, 2, 2), (None, 1, 8, 1), (6, 1, 4, 4)],
)
def test_cpu_devices(
    monkeypatch: pytest.MonkeyPatch, gpus: int | None, halves: int, cores: int, devices: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert cpu_devices(gpus, halves) == devices


@pytest.mark.parametrize("n_devices", [1, 2])
def test_stack_and_back(n_devices: int) -> None:
    devices = jax.local_devices()[:n_devices]
    if len(devices) < n_devices:
        pytest.skip(f"needs {n_devices} devices")
    trees = [{"w": np.full((2, 3), i, np.float32), "n": np.int32(i)} for i in range(4)]
    stacked = stack(trees, n_devices, -1)
    assert stacked["w"].shape == (n_devices, 4 // n_devices, 2, 3)
    assert stacked["n"].shape == (n_devices, 4 // n_devices)
    placed = place(stacked, devices)
    assert {shard.device for shard in placed["w"].addressable_shards} == set(devices)
    for tree, back in zip(trees, unstack(placed, 2), strict=True):
        jax.tree.map(np.testing.assert_array_equal, back, tree)
        assert isinstance(back["w"], np.ndarray)
        assert back["w"].dtype == np.float32


def test_replicating_takes_no_memory() -> None:
    leaf = np.arange(6, dtype=np.float32).reshape(2, 3)
    repeated = replicate({"x": leaf}, 2)["x"]
    assert repeated.shape == (2, 2, 3)
    assert np.shares_memory(repeated, leaf)
    np.testing.assert_array_equal(repeated[1], leaf)
