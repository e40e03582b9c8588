"""Which networks a table needs, and training each of them once."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from dgex_jax.config import NetworkConfig
from dgex_jax.data.prepared import open_prepared
from dgex_jax.errors import DivergedError
from dgex_jax.training.arrays import load_arrays
from dgex_jax.training.devices import choose_devices, share_cpu
from dgex_jax.training.run import clock, train_run
from reproduce.baselines import fit_baselines
from reproduce.stages import prepared_study

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reproduce.workspace import Workspace

SECONDS_BETWEEN_LINES = 10.0


def networks(space: Workspace, dropouts: Sequence[float]) -> list[NetworkConfig]:
    """List the networks of the study at some dropout rates.

    One architecture's rates stand together: they share one compiled program.
    """
    return [
        NetworkConfig(layers, units, dropout)
        for layers, units in space.study.grid.shapes()
        for dropout in dropouts
    ]


def complete(space: Workspace, dropouts: Sequence[float], gpus: int | None) -> None:
    """Prepare the study, fit the baselines and train the networks: what is not done already.

    Raises
    ------
    DgexError
        A file can't be read or written, or a network diverged (the networks before it are kept).
    """
    training = space.study.training
    with open_prepared(prepared_study(space)) as study:
        arrays = load_arrays(study, training.halves)
        fit_baselines(space, study, arrays)
        share_cpu(training.halves)
        devices, note = choose_devices(gpus, training.halves)
        if note:
            print(note, file=sys.stderr)
        wanted = networks(space, dropouts)
        start = time.perf_counter()
        trained = 0
        for number, network in enumerate(wanted, start=1):
            label = f"[{number}/{len(wanted)}] {network.name}"
            try:
                trained += train_run(
                    study,
                    network,
                    training,
                    space.run(network.hidden_layers, network.units, network.dropout),
                    devices,
                    arrays=arrays,
                    report=now_and_then(label, training.epochs),
                    overwrite=True,
                )
            except DivergedError as error:
                raise DivergedError(f"{network.name}: {error}") from error
        if trained:
            took = clock(time.perf_counter() - start)
            print(
                f"{trained} networks trained in {took} on {len(devices)} {devices[0].platform} "
                f"device(s)",
                flush=True,
            )


def now_and_then(label: str, epochs: int) -> Callable[[str], None]:
    """Return a reporter: on a terminal one living line, elsewhere a line at most every 10 s.

    The first and the last epoch are always shown.
    """
    last, seen = 0.0, 0

    def report(line: str) -> None:
        nonlocal last, seen
        seen += 1
        is_last = seen == epochs
        if sys.stdout.isatty():
            print(f"\r{label}  {line}\033[K", end="\n" if is_last else "", flush=True)
        elif is_last or time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{label}  {line}", flush=True)

    return report
