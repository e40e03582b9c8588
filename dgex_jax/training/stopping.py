"""Stopping on request: SIGINT and SIGTERM let the epoch end and its checkpoint be written."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether someone asked to stop; shared by everything that trains in a process."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._asked = threading.Event()

    @property
    def asked(self) -> bool:
        """Whether to stop after this epoch."""
        return self._asked.is_set()

    def ask(self, signal_number: int | None = None) -> None:
        """Ask to stop after this epoch."""
        self.signal_number = self.signal_number or signal_number
        self._asked.set()


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM of the block into a request; a second one stops at once.

    Outside the main thread signals are none of our business: the request is then never asked by
    one.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if request.asked:
            raise KeyboardInterrupt
        request.ask(number)
        print(
            "\nstopping: this epoch is finished and saved first (again to stop at once)",
            file=sys.stderr,
            flush=True,
        )

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
