"""Halves over devices: one program, pmapped, each device looping over its own networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgex_jax.training.epoch import Data, Network, State, run_epoch

if TYPE_CHECKING:
    from dgex_jax.models.mlp import MLP

Errors = tuple[jax.Array, jax.Array]
EpochProgram = Callable[[State, Network, Data, jax.Array], tuple[State, Errors]]


def share_cpu(n_devices: int) -> None:
    """Split the CPU into devices, so that networks train side by side on its cores too.

    Takes effect before JAX is first used; changes nothing where a GPU does the work.
    """
    # In a process that has used JAX already (a notebook, a second command) the devices are fixed
    # and JAX refuses. The networks then take turns on those there are, with the same results.
    with suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", n_devices)  # type: ignore[no-untyped-call]


def choose_devices(gpus: int | None, n_networks: int) -> tuple[tuple[jax.Device, ...], str | None]:
    """Choose the devices for a stack of networks.

    Parameters
    ----------
    gpus
        GPUs asked for; ``None`` takes what is there.
    n_networks
        Networks trained side by side; a device holds the same number of them as the next one.

    Returns
    -------
    tuple
        The devices, and a line for the user if they are not what was asked for.
    """
    present = jax.local_devices()
    is_gpu = present[0].platform != "cpu"
    asked = gpus if is_gpu and gpus is not None else len(present)
    usable = min(asked, len(present), n_networks)
    while n_networks % usable:
        usable -= 1
    note = None
    if gpus is not None and not is_gpu:
        note = f"{gpus} GPU(s) asked for, none here: training on the CPU"
    elif gpus is not None and gpus > usable:
        cause = (
            f"{len(present)} here" if gpus > len(present) else f"{n_networks} network(s) at a time"
        )
        note = f"{gpus} GPUs asked for, {cause}: training on {usable}"
    return tuple(present[:usable]), note


def stack(trees: Sequence[Any], n_devices: int) -> Any:
    """Stack equal trees into leaves ``(n_devices, len(trees) / n_devices, …)`` on the host."""

    def join(*leaves: Any) -> np.ndarray[Any, Any]:
        joined = np.stack([np.asarray(leaf) for leaf in leaves])
        return joined.reshape(n_devices, -1, *joined.shape[1:])

    return jax.tree.map(join, *trees)


def unstack(tree: Any) -> list[Any]:
    """Undo `stack` for a tree that may live on devices; leaves become NumPy arrays."""
    host = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), jax.device_get(tree))
    n_networks = jax.tree.leaves(host)[0].shape[0]
    return [jax.tree.map(lambda leaf, i=i: leaf[i], host) for i in range(n_networks)]


def replicate(tree: Any, n_devices: int) -> Any:
    """Repeat each leaf for every device: ``(n_devices, …)``, on the host and without a copy."""

    def repeat(leaf: Any) -> np.ndarray[Any, Any]:
        return np.broadcast_to(leaf, (n_devices, *np.shape(leaf)))

    return jax.tree.map(repeat, tree)


def place(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Move leaves ``(n_devices, …)`` to the devices, slice i to device i."""
    return _mover(tuple(devices))(tree)


@lru_cache(maxsize=32)
def _mover(devices: tuple[jax.Device, ...]) -> Callable[[Any], Any]:
    # Kept, because a new pmap would be compiled again for each epoch's order (30 ms).
    mover: Callable[[Any], Any] = jax.pmap(lambda tree: tree, devices=devices)
    return mover


@lru_cache(maxsize=32)
def epoch_program(
    model: MLP,
    momentum: float,
    batch_size: int,
    part_sizes: tuple[int, ...],
    devices: tuple[jax.Device, ...],
) -> EpochProgram:
    """Return the program of an epoch of a stack of networks; compiled once an architecture.

    The program takes the stacked state (donated), the stacked networks, the data (X
    ``(n_devices, n_profiles, n_landmarks)``, Y ``(n_devices, n_networks / n_devices, n_profiles,
    n_targets)``) and the batch order ``(n_devices, n_train)``. A device goes through its networks
    one after the other inside the program, which gives each the very bits it gets alone.
    """
    one = partial(
        run_epoch,
        model=model,
        momentum=momentum,
        batch_size=batch_size,
        part_sizes=part_sizes,
    )

    def all_networks(
        states: State, networks: Network, data: Data, order: jax.Array
    ) -> tuple[State, Errors]:
        def body(
            item: tuple[State, Network, jax.Array, jax.Array],
        ) -> tuple[State, Errors]:
            state, network, Y, watched_Y = item
            return one(state, network, Data(data.X, Y, data.watched_X, watched_Y), order)

        new: tuple[State, Errors] = jax.lax.map(body, (states, networks, data.Y, data.watched_Y))
        return new

    program: EpochProgram = jax.pmap(all_networks, devices=devices, donate_argnums=(0,))
    return program
