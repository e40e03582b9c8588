"""Everything a product needs, made once: prepared study, baselines, trained networks."""

from __future__ import annotations

import queue
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TextIO

from tqdm import tqdm

from dgex_jax.compiled import keep_compiled
from dgex_jax.errors import Stopped
from dgex_jax.io.files import locked
from dgex_jax.io.manifest import read_json
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.rawfiles import paths_of
from dgex_jax.train.arrays import load_arrays
from dgex_jax.train.devices import choose_devices, cpu_devices, share_cpu
from dgex_jax.train.network import n_parameters
from dgex_jax.train.record import DONE, is_done
from dgex_jax.train.run import StopRequest, clear_leftovers, clock, run_config, stop_on_signals
from dgex_jax.train.train import Conduct, train_runs
from reproduce.baselines import LINCS, baseline_mark, fit_baselines, weights_file
from reproduce.launch import launch
from reproduce.stages import has_raw_files, identity, is_prepared, prepared_study

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dgex_jax.config import NetworkConfig
    from dgex_jax.prepare.prepared import Prepared
    from dgex_jax.prepare.study import Study
    from dgex_jax.train.arrays import StudyArrays
    from dgex_jax.train.devices import Devices
    from reproduce.workspace import Needs, Options, Workspace

    NetworkGroup = tuple[NetworkConfig, ...]

SECONDS_BETWEEN_LINES = 10.0
SIMULATE, PREPARE = "simulate the raw files", "prepare the study"


def complete(space: Workspace, needs: Needs, options: Options) -> None:
    """Prepare the study, fit baselines and train networks: what is needed and not done already.

    Raises `DgexError`: a file can't be read or written, or a network diverged (the networks before
    it are kept); `Stopped`: on request, after a checkpoint.
    """
    if not needs.prepared:
        return
    _refuse_missing(space.study, needs)
    with locked(space.prepared, wait=options.wait):
        prepared_study(space)
    if not (needs.methods or needs.networks):
        return
    with open_prepared(space.prepared) as study:
        arrays = load_arrays(study, space.study.training.halves)
        with locked(space.baselines, wait=options.wait):
            fit_baselines(space, study, arrays, needs.methods)
        groups = _needed_groups(space.study, needs.networks)
        missing = [group for group in groups if not _trained(space, study, group)]
        if missing and options.launcher != "here":
            launch(space, missing, options, train_here)
        elif missing:
            train_here(space, study, arrays, groups, options)
        else:
            for group in groups:
                clear_leftovers(space.run(group[0]))


def missing_steps(space: Workspace, needs: Needs) -> list[str]:
    """List what `complete` would do, a line a step; nothing is made or changed.

    Raises `DgexError`: a raw file can't be read.
    """
    if not needs.prepared:
        return []
    _refuse_missing(space.study, needs)
    lines = []
    groups = _needed_groups(space.study, needs.networks)
    methods = needs.methods
    if is_prepared(space):
        with open_prepared(space.prepared) as study:
            groups = [group for group in groups if not _trained(space, study, group)]
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


def _refuse_missing(study: Study, needs: Needs) -> None:
    """Raise `DgexError` for a file that is not there before anything is made: no trace is left."""
    if study.files is not None:
        identity(paths_of(study.files).values())
    if LINCS in needs.methods:
        identity([weights_file(study)])


def _needed_groups(study: Study, networks: Sequence[NetworkConfig]) -> list[NetworkGroup]:
    """List the groups of the grid that hold some of the networks, in the grid's order."""
    wanted = set(networks)
    return [group for group in study.grid.groups(study.grid.dropout) if wanted & set(group)]


def _trained(space: Workspace, study: Prepared, group: NetworkGroup) -> bool:
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
                f"stopped before {names}; the same command resumes", request.signal_number or 0
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


class GridView:
    """Shows networks in training: living lines on a terminal, plain ones now and then elsewhere.

    On a terminal: a bar for the whole grid with the time left, below it a line for each network in
    training, above it the last line of each one that is done. Elsewhere a line for the first and
    the last epoch of a network, and at most every 10 seconds between them.

    `costs` are every network to train and what one of its epochs costs, in any unit: it weighs the
    time left.
    """

    def __init__(
        self,
        costs: Sequence[tuple[NetworkConfig, float]],
        epochs: int,
        stream: TextIO | None = None,
    ) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._cost = {network.name: cost for network, cost in costs}
        self._number = {network.name: n for n, (network, _) in enumerate(costs, start=1)}
        self._epochs = epochs
        self._done: dict[str, int] = {}
        self._last_line: dict[str, float] = {}
        self._resumed = 0.0
        self._start: float | None = None
        self._lock = threading.Lock()
        self._rows: dict[str, tqdm[None]] = {}
        self._grid: tqdm[None] | None = None
        if self._stream.isatty():
            self._grid = tqdm(
                total=round(self._total()),
                file=self._stream,
                bar_format="{desc}|{bar}| {percentage:3.0f}%",
                leave=False,
            )

    def skip(self, network: NetworkConfig) -> None:
        """Count a network that was trained before."""
        with self._lock:
            self._done[network.name] = self._epochs
            self._resumed += self._cost[network.name] * self._epochs

    def epoch(self, network: NetworkConfig, done: int, line: str) -> None:
        """Show one epoch; `done` of its epochs are done now."""
        with self._lock:
            name = network.name
            if name not in self._done:
                self._resumed += self._cost[name] * (done - 1)
            if self._start is None:
                # The first epoch waited for a compilation: it says nothing about the rest.
                self._start = time.monotonic()
                self._resumed += self._cost[name]
            self._done[name] = done
            if self._grid is None:
                self._print(name, line)
            else:
                self._draw(self._grid, name, line)

    def close(self) -> None:
        """Take the living lines away."""
        for row in self._rows.values():
            row.close()
        if self._grid is not None:
            self._grid.close()

    def left(self) -> float:
        """Estimate the seconds left; NaN while nothing is known."""
        worked = self._worked() - self._resumed
        if self._start is None or worked <= 0:
            return float("nan")
        return (time.monotonic() - self._start) / worked * (self._total() - self._worked())

    def _total(self) -> float:
        return sum(self._cost.values()) * self._epochs

    def _worked(self) -> float:
        return sum(self._cost[name] * done for name, done in self._done.items())

    def _label(self, name: str) -> str:
        return f"[{self._number[name]}/{len(self._number)}, {clock(self.left())} left] {name}"

    def _print(self, name: str, line: str) -> None:
        now = time.monotonic()
        last = self._done[name] == self._epochs
        if last or now - self._last_line.get(name, -1e9) >= SECONDS_BETWEEN_LINES:
            self._last_line[name] = now
            print(f"{self._label(name)}  {line}", file=self._stream, flush=True)

    def _draw(self, grid: tqdm[None], name: str, line: str) -> None:
        finished = sum(done == self._epochs for done in self._done.values())
        grid.n = round(self._worked())
        grid.set_description_str(
            f"{finished}/{len(self._number)} networks, {clock(self.left())} left"
        )
        if self._done[name] == self._epochs:
            row = self._rows.pop(name, None)
            if row is not None:
                row.close()
            tqdm.write(f"{name}  {line}", file=self._stream)
            return
        if name not in self._rows:
            self._rows[name] = tqdm(file=self._stream, bar_format="{desc}", leave=False)
        self._rows[name].set_description_str(f"{name}  {line}")
