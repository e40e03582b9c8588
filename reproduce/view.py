"""What a person sees while the grid trains."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

from tqdm import tqdm

from dgex_jax.training.progressline import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dgex_jax.config import NetworkConfig

SECONDS_BETWEEN_LINES = 10.0


class GridView:
    """Shows networks in training: living lines on a terminal, plain ones now and then elsewhere.

    On a terminal: a bar for the whole grid with the time left, below it a line for each network in
    training, above it the last line of each one that is done. Elsewhere a line for the first and
    the last epoch of a network, and at most every 10 seconds between them.

    Parameters
    ----------
    costs
        Every network to train and what one of its epochs costs, in any unit (it weighs the time
        left).
    epochs
        Of every network.
    stream
        Where to.
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
