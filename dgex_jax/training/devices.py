"""Networks over devices: one pmapped program, each device looping over its own halves."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dgex_jax.training.epoch import (
    Data,
    Network,
    PartSizes,
    State,
    best_gene_errors,
    run_epoch,
)

if TYPE_CHECKING:
    from dgex_jax.models.mlp import MLP

Devices = tuple[jax.Device, ...]
Errors = tuple[jax.Array, jax.Array]
EpochProgram = Callable[[State, Network, Data, jax.Array], tuple[State, Errors]]
GeneErrorsProgram = Callable[[State, Network, Data], dict[str, jax.Array]]

AXIS = "device"
"""Shared by `place` and the programs: under another name JAX would compile a program once for the
placed arrays and again for its own results."""


def share_cpu(n_devices: int) -> None:
    """Split the CPU into devices, so that networks train side by side on its cores too.

    Takes effect before JAX is first used, and unless JAX_NUM_CPU_DEVICES says a number; changes
    nothing where a GPU does the work.
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

    Parameters
    ----------
    gpus
        GPUs asked for; ``None`` takes what is there.
    n_halves
        Halves of a network: the largest useful set.
    n_networks
        Networks that may train side by side: the largest useful number of sets.

    Returns
    -------
    tuple
        The sets (an odd device makes a set of its own, which trains both halves in one program),
        and a line for the user if they are not what was asked for.
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
    host = jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[n_leading:]), jax.device_get(tree)
    )
    n_networks = jax.tree.leaves(host)[0].shape[0]
    return [jax.tree.map(lambda leaf, i=i: leaf[i], host) for i in range(n_networks)]


def replicate(tree: Any, n_devices: int) -> Any:
    """Repeat each leaf for every device: ``(n_devices, …)``, on the host and without a copy."""

    def repeat(leaf: Any) -> np.ndarray[Any, Any]:
        return np.broadcast_to(leaf, (n_devices, *np.shape(leaf)))

    return jax.tree.map(repeat, tree)


def place(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Move leaves ``(n_devices, …)`` to the devices, slice i to device i."""
    mesh = Mesh(np.array(devices), (AXIS,))
    split = NamedSharding(mesh, PartitionSpec(AXIS))  # type: ignore[no-untyped-call]
    return jax.device_put(tree, split)


@lru_cache(maxsize=32)
def epoch_program(
    model: MLP,
    momentum: float,
    batch_size: int,
    part_sizes: PartSizes,
    devices: Devices,
) -> EpochProgram:
    """Return the program of an epoch; compiled once an architecture.

    It takes the state (donated) and what tells the networks apart, with leaves ``(n_devices,
    n_halves / n_devices, n_side_by_side, …)``, the data (X ``(n_devices, n_profiles,
    n_landmarks)``, Y ``(n_devices, n_halves / n_devices, n_profiles, n_targets)``) and the batch
    order ``(n_devices, n_train)``.
    """
    one = partial(
        run_epoch, model=model, momentum=momentum, batch_size=batch_size, part_sizes=part_sizes
    )
    program: EpochProgram = jax.pmap(
        over_networks(one), axis_name=AXIS, devices=devices, donate_argnums=(0,)
    )
    return program


@lru_cache(maxsize=32)
def gene_errors_program(model: MLP, part_sizes: PartSizes, devices: Devices) -> GeneErrorsProgram:
    """Return the program of `epoch.best_gene_errors`, on the arguments of `epoch_program`."""
    one = partial(best_gene_errors, model=model, part_sizes=part_sizes)
    program: GeneErrorsProgram = jax.pmap(over_networks(one), axis_name=AXIS, devices=devices)
    return program


def over_networks(one: Callable[..., Any]) -> Callable[..., Any]:
    """Apply ``one(state, network, data, *shared)`` to all networks of a device.

    Halves have data of their own and take turns, which gives each the very bits it gets alone.
    Networks side by side share the data of their half and run as one batched program.
    """

    def all_networks(states: State, networks: Network, data: Data, *shared: jax.Array) -> Any:
        def half(item: tuple[State, Network, jax.Array, jax.Array]) -> Any:
            states, networks, Y, watched_Y = item
            own = Data(data.X, Y, data.watched_X, watched_Y)

            def network(state: State, network: Network) -> Any:
                return one(state, network, own, *shared)

            if networks.include.shape[0] > 1:
                return jax.vmap(network)(states, networks)
            # A batch of one would be another program, with other rounding, than no batch.
            alone = jax.tree.map(lambda leaf: leaf[0], (states, networks))
            return jax.tree.map(lambda leaf: leaf[None], network(*alone))

        return jax.lax.map(half, (states, networks, data.Y, data.watched_Y))

    return all_networks
