"""Which networks a table needs, and training each of them once."""

from __future__ import annotations

import queue
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dgex_jax.compiled import keep_compiled
from dgex_jax.data.prepared import open_prepared
from dgex_jax.errors import Stopped
from dgex_jax.locks import locked
from dgex_jax.models.mlp import n_parameters
from dgex_jax.training.arrays import load_arrays
from dgex_jax.training.devices import choose_devices, cpu_devices, share_cpu
from dgex_jax.training.progressline import clock
from dgex_jax.training.record import DONE, is_done, read_json
from dgex_jax.training.run import Conduct, run_config, train_runs
from dgex_jax.training.runfolder import clear_leftovers
from dgex_jax.training.stopping import StopRequest, stop_on_signals
from reproduce.baselines import baseline_mark, fit_baselines
from reproduce.stages import has_raw_files, identity, is_prepared, prepared_study, real_files
from reproduce.view import GridView

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dgex_jax.config import NetworkConfig
    from dgex_jax.data.prepared import Prepared
    from dgex_jax.data.study import Study
    from dgex_jax.training.arrays import StudyArrays
    from dgex_jax.training.devices import Devices
    from reproduce.options import Options
    from reproduce.product import Needs
    from reproduce.workspace import Workspace

    NetworkGroup = tuple[NetworkConfig, ...]


SIMULATE, PREPARE = "simulate the raw files", "prepare the study"


def complete(space: Workspace, needs: Needs, options: Options) -> None:
    """Prepare the study, fit baselines and train networks: what is needed and not done already.

    Parameters
    ----------
    space
        The study.
    needs
        What is needed.
    options
        Where and with what networks are trained.

    Raises
    ------
    DgexError
        A file can't be read or written, or a network diverged (the networks before it are kept).
    Stopped
        On request, after a checkpoint.
    """
    if not needs.prepared:
        return
    if space.study.files is not None:
        # Before anything is made: files that are not there must leave no trace.
        identity(real_files(space))
    with locked(space.prepared, wait=options.wait):
        prepared_study(space)
    if not (needs.methods or needs.networks):
        return
    with open_prepared(space.prepared) as study:
        arrays = load_arrays(study, space.study.training.halves)
        with locked(space.baselines, wait=options.wait):
            fit_baselines(space, study, arrays, needs.methods)
        groups = needed_groups(space.study, needs.networks)
        missing = [group for group in groups if not trained(space, study, group)]
        if missing and options.launcher != "here":
            # Only here, since a cluster's engine is an optional extra.
            from reproduce.launch import launch  # noqa: PLC0415

            launch(space, missing, options)
        elif missing:
            train_here(space, study, arrays, groups, options)
        else:
            for group in groups:
                clear_leftovers(space.run(group[0]))


def missing_steps(space: Workspace, needs: Needs) -> list[str]:
    """List what `complete` would do, a line a step; nothing is made or changed.

    Raises
    ------
    DgexError
        A raw file can't be read.
    """
    if not needs.prepared:
        return []
    lines = []
    groups = needed_groups(space.study, needs.networks)
    methods = needs.methods
    if is_prepared(space):
        with open_prepared(space.prepared) as study:
            groups = [group for group in groups if not trained(space, study, group)]
            marks = read_json(space.baselines / DONE) or {}
            methods = tuple(
                one for one in methods if marks.get(one) != baseline_mark(space, study, one)
            )
    else:
        if space.study.simulation is not None and not has_raw_files(space):
            lines.append(SIMULATE)
        lines.append(PREPARE)
    lines += [f"fit {method}" for method in methods]
    return lines + [f"train {network.name}" for group in groups for network in group]


def needed_groups(study: Study, networks: Sequence[NetworkConfig]) -> list[NetworkGroup]:
    """List the groups of the grid that hold some of the networks, in the grid's order."""
    wanted = set(networks)
    return [group for group in study.grid.groups(study.grid.dropout) if wanted & set(group)]


def trained(space: Workspace, study: Prepared, group: NetworkGroup) -> bool:
    """Whether every network of a group is trained."""
    return all(
        is_done(space.run(network), run_config(study, network, space.study.training, group))
        for network in group
    )


def train_here(
    space: Workspace,
    study: Prepared,
    arrays: StudyArrays,
    groups: Sequence[NetworkGroup],
    options: Options,
) -> None:
    """Train, in this process, what is missing of the groups."""
    training = space.study.training
    keep_compiled()
    share_cpu(cpu_devices(options.gpus, training.halves))
    sets, note = choose_devices(options.gpus, training.halves, sum(map(len, groups)))
    if note:
        print(note, file=sys.stderr)
    n_landmarks, width = arrays.n_landmarks, max(arrays.half_sizes())
    costs = [
        (one, float(n_parameters(n_landmarks, width, one.hidden_layers, one.units)))
        for group in groups
        for one in group
    ]
    view = GridView(costs, training.epochs)
    n_trained = 0

    def train(group: NetworkGroup, devices: Devices, request: StopRequest) -> None:
        nonlocal n_trained
        if request.asked:
            names = ", ".join(network.name for network in group)
            raise Stopped(
                f"stopped before {names}; the same command goes on", request.signal_number or 0
            )
        conduct = Conduct(view.epoch, overwrite=True, wait=options.wait, request=request)
        folders = [space.run(network) for network in group]
        if train_runs(study, group, training, folders, devices, arrays=arrays, conduct=conduct):
            n_trained += len(group)
        else:
            for network in group:
                view.skip(network)

    start = time.perf_counter()
    try:
        with stop_on_signals() as request:
            share_out(groups, sets, request, train)
    finally:
        view.close()
    if n_trained:
        took, devices = clock(time.perf_counter() - start), [one for each in sets for one in each]
        print(
            f"{n_trained} networks trained in {took} on {len(devices)} {devices[0].platform} "
            f"device(s)",
            flush=True,
        )


def share_out(
    groups: Sequence[NetworkGroup],
    sets: Sequence[Devices],
    request: StopRequest,
    train: Callable[[NetworkGroup, Devices, StopRequest], None],
) -> None:
    """Train the groups, as many at a time as there are sets of devices.

    The first error stops the other sets after their epoch, with a checkpoint, and is raised.
    """
    if len(sets) == 1:
        for group in groups:
            train(group, sets[0], request)
        return
    # The longest first, so that no set is left with a long one at the end.
    work: queue.SimpleQueue[NetworkGroup] = queue.SimpleQueue()
    for group in sorted(groups, key=lambda one: one[0].hidden_layers * one[0].units, reverse=True):
        work.put(group)

    def worker(devices: Devices) -> None:
        while True:
            try:
                group = work.get_nowait()
            except queue.Empty:
                return
            try:
                train(group, devices, request)
            except BaseException:
                request.ask()
                raise

    with ThreadPoolExecutor(len(sets)) as pool:
        futures = [pool.submit(worker, devices) for devices in sets]
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda one: isinstance(one, Stopped)):
        raise error
