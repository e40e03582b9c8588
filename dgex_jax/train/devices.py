"""The devices networks train on, and arrays on their way there and back."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Devices = tuple[jax.Device, ...]

AXIS = "device"
"""Shared by `place` and the programs: under another name JAX would compile a program once for the
placed arrays and again for its own results."""


def share_cpu(n_devices: int) -> None:
    """Split the CPU into devices, so that networks train side by side on its cores too.

    Takes effect before JAX is first used, and unless JAX_NUM_CPU_DEVICES says a number.
    """
    if jax.config.jax_num_cpu_devices > 0:  # type: ignore[attr-defined]
        return
    # In a process that has used JAX already (a notebook, a second command) the devices are fixed
    # and JAX refuses. The networks then take turns on those there are, with the same results.
    with suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", n_devices)  # type: ignore[no-untyped-call]


def cpu_devices(gpus: int | None, n_halves: int) -> int:
    """Count devices for `share_cpu`: one a half, or, cores permitting, one a GPU asked for."""
    return max(n_halves, min(gpus or 0, os.cpu_count() or 1))


def choose_devices(
    gpus: int | None, n_halves: int, n_networks: int = 1
) -> tuple[list[Devices], str | None]:
    """Choose sets of devices; each set trains one network at a time, a half on each device.

    `gpus` are asked for (``None`` takes what is there). A set has at most `n_halves` devices, and
    there are at most as many sets as `n_networks` that may train side by side; an odd device makes
    a set of its own. Also returns a line for the user if they are not what was asked for.
    """
    present = jax.local_devices()
    is_gpu = present[0].platform != "cpu"
    # A CPU has as many devices as `share_cpu` made of its cores.
    asked = gpus if is_gpu and gpus is not None else len(present)
    usable = min(asked, len(present), n_halves * n_networks)
    sets = [
        tuple(present[first : min(first + n_halves, usable)])
        for first in range(0, usable, n_halves)
    ]
    note = None
    if gpus is not None and not is_gpu:
        note = f"{gpus} GPU(s) asked for, none here: training on {usable} CPU device(s)"
    elif gpus is not None and gpus > usable:
        work = f"{n_networks} network(s) of {n_halves} half/halves to train"
        cause = f"{len(present)} here" if gpus > len(present) else work
        note = f"{gpus} GPUs asked for, {cause}: training on {usable}"
    return sets, note


def stack(trees: Sequence[Any], *leading: int) -> Any:
    """Stack equal trees into leaves ``(*leading, …)`` on the host; one of `leading` may be -1."""

    def join(*leaves: Any) -> np.ndarray[Any, Any]:
        joined = np.stack([np.asarray(leaf) for leaf in leaves])
        return joined.reshape(*leading, *joined.shape[1:])

    return jax.tree.map(join, *trees)


def unstack(tree: Any, n_leading: int) -> list[Any]:
    """Undo `stack` for a tree that may live on devices; leaves become NumPy arrays."""
    leaves, structure = jax.tree.flatten(jax.device_get(tree))
    flat = [leaf.reshape(-1, *leaf.shape[n_leading:]) for leaf in leaves]
    return [jax.tree.unflatten(structure, one) for one in zip(*flat, strict=True)]


def replicate(tree: Any, n_devices: int) -> Any:
    """Repeat each leaf for every device: ``(n_devices, …)``, on the host and without a copy."""
    return jax.tree.map(lambda leaf: np.broadcast_to(leaf, (n_devices, *np.shape(leaf))), tree)


def place(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Move leaves ``(n_devices, …)`` to the devices, slice i to device i."""
    return jax.device_put(tree, _by_device(devices))


def place_each(
    make: Callable[[int], np.ndarray[Any, Any]], n_arrays: int, devices: Sequence[jax.Device]
) -> jax.Array:
    """Place what `make` gives of 0, 1, … as ``(n_devices, n_arrays / n_devices, …)``.

    A device's share is made when its turn comes: of large ones the host holds no second copy.
    """
    shape = (len(devices), -1)
    blocks = [
        jax.device_put(np.stack([make(one) for one in own])[None], device)
        for own, device in zip(np.arange(n_arrays).reshape(shape), devices, strict=True)
    ]
    whole = (len(devices), *blocks[0].shape[1:])
    return jax.make_array_from_single_device_arrays(whole, _by_device(devices), blocks)


def _by_device(devices: Sequence[jax.Device]) -> NamedSharding:
    return NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS))  # type: ignore[no-untyped-call]
