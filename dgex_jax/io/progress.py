"""How far long work has come, and work on other threads: read ahead, written behind."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, ParamSpec, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

Tick = Callable[[int], object]
"""Called with the number of profiles (or other units) just done."""
Listener = Callable[[str, int, int], object]
"""Called with the step's name, the units done so far and the units in all."""

SECONDS_BETWEEN_LINES = 10.0
MOST_WORKERS = 4
"""Threads at most: each holds a result, and as many wait to be used."""
AHEAD = 2
"""Pieces that may wait to be written, so that memory is bounded when the disk is the slower."""


class Progress:
    """Where the steps of one piece of work report to.

    `show` is ``False``: silent; ``True``: on standard error, a bar with rate and time left where
    that is a terminal, else a plain line at most every 10 seconds; or a `Listener`.
    """

    def __init__(self, show: bool | Listener = False) -> None:
        self._show = show
        self._last_line = time.monotonic()

    @contextmanager
    def step(self, name: str, total: int, unit: str = "profiles") -> Iterator[Tick]:
        """Report a step over `total` units; the block calls the `Tick` it is given."""
        if self._show is True and sys.stderr.isatty():
            from tqdm import tqdm  # noqa: PLC0415 (most runs show no bar)

            with tqdm(total=total, desc=name, unit=f" {unit}", file=sys.stderr) as bar:
                yield bar.update
            return
        done, start = 0, time.monotonic()

        def tick(n: int) -> None:
            nonlocal done
            done += n
            if callable(self._show):
                self._show(name, done, total)
            elif self._show:
                self._line(name, done, total, unit, start)

        yield tick

    def _line(self, name: str, done: int, total: int, unit: str, start: float) -> None:
        now = time.monotonic()
        if now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        rate = done / max(now - start, 1e-9)
        left = (total - done) / max(rate, 1e-9)
        speed = f"{rate:,.0f} a second, " if rate >= 1 else ""
        text = f"{name}: {done:,} of {total:,} {unit}, {speed}{left:,.0f} s left"
        print(text, file=sys.stderr, flush=True)


def in_order(make: Callable[[T], R], items: Iterable[T], workers: int | None = None) -> Iterator[R]:
    """Yield ``make(item)`` of every item in the order of `items`, made ahead on threads.

    What `make` does must release the interpreter (NumPy's sorting, copying and arithmetic do) and
    must not depend on the order of the calls, so results are those of ``map(make, items)``. Items
    are taken no further ahead than there are `workers` (default: as many as cores, at most
    `MOST_WORKERS`; one is enough to read ahead), and one. What `make` raises comes in its turn.
    """
    if workers is None:
        linux = hasattr(os, "sched_getaffinity")
        cores = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
        workers = min(MOST_WORKERS, cores)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Behind(Generic[P]):
    """A function that runs on a thread of its own; a call hands it a piece and returns.

    Pieces are worked on in their order, one at a time, and a call waits while `ahead` of them are
    not done. After an error no other piece is started, and the next call, `settle` or the end of
    the context raises it. At the end of a context all pieces are done; if the caller failed, those
    that wait are given up. Without a context, `settle` and `close` it.
    """

    def __init__(self, work: Callable[P, object], ahead: int = AHEAD) -> None:
        self._work, self._ahead = work, ahead
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()
        self._failed = False

    def __call__(self, *piece: P.args, **named: P.kwargs) -> None:
        """Hand over a piece, as soon as fewer than `ahead` wait."""
        while len(self._waiting) >= self._ahead:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._unless_failed, *piece, **named))

    def settle(self) -> None:
        """Wait until all pieces are done; raises what a piece raised."""
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> None:
        """Finish what was handed over and end the thread; nothing is raised."""
        self._pool.shutdown()

    def _unless_failed(self, *piece: P.args, **named: P.kwargs) -> None:
        if not self._failed:
            try:
                self._work(*piece, **named)
            except BaseException:
                self._failed = True
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self.settle()
        finally:
            # What is under way is finished by the pool's end; what waits is not started.
            self._failed = True
            self.close()


def machine_memory() -> int:
    """Count the bytes this process may use by the machine, its container and its own limit."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # control groups 2 and 1
        try:
            text = Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    own, _ = resource.getrlimit(resource.RLIMIT_AS)
    if own != resource.RLIM_INFINITY:
        limits.append(own)
    return min(limits)
