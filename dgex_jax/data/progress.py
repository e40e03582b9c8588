"""How far a long step has come: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterator

Tick = Callable[[int], object]
"""Called with the number of profiles (or other units) just done."""

Listener = Callable[[str, int, int], object]
"""Called with the step's name, the units done so far and the units in all."""

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Where the steps of one preparation report to.

    Parameters
    ----------
    show
        ``False``: silent. ``True``: on standard error, a bar with rate and time left where that is
        a terminal, else a plain line at most every 10 seconds. A callable: gets (step, done, all).
    """

    def __init__(self, show: bool | Listener = False) -> None:
        self._show = show
        self._last_line = time.monotonic()

    @contextmanager
    def step(self, name: str, total: int, unit: str = "profiles") -> Iterator[Tick]:
        """Report a step over `total` units; the block calls what it is given as it goes."""
        if self._show is True and sys.stderr.isatty():
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
