"""Work behind the caller's back: the next piece is made while the last one goes to the disk."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, ParamSpec, Self

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
AHEAD = 2
"""Pieces that may wait, so that memory stays bounded when the disk is the slower."""


class Behind(Generic[P]):
    """A function that runs in a thread of its own; a call hands it a piece and returns.

    Pieces are worked on in the order they come, one at a time. After an error no other piece is
    begun, and the next call, `settle` or the context's end raises it. As a context manager it has
    done all of them at the end; what waits when the caller fails is given up. Without a context
    `settle` and `close` it.

    Parameters
    ----------
    work
        Must not need the caller's thread.
    ahead
        Pieces that may wait or be under way before a call has to wait.
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
        """Wait until all pieces are done; raises what kept one from that."""
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
            # What is under way is finished by the pool's end; what waits is not begun.
            self._failed = True
            self.close()
