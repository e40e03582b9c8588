"""Writing behind the caller's back: the next block is made while the last one goes to the disk."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
AHEAD = 2
"""Blocks that may wait, so that memory stays bounded when the disk is the slower."""


@contextmanager
def behind(write: Callable[[T], object], ahead: int = AHEAD) -> Iterator[Callable[[T], None]]:
    """Give a function that hands a block to `write`, which runs in a thread of its own.

    Blocks are written in the order they come, one at a time; when the context ends all of them are.
    After an error of `write` nothing more is written, and the next call or the end raises it.

    Parameters
    ----------
    write
        Must not need the caller's thread.
    ahead
        Blocks that may wait before the caller has to.
    """
    failed = False

    def write_unless_failed(block: T) -> None:
        nonlocal failed
        if not failed:
            try:
                write(block)
            except BaseException:
                failed = True
                raise

    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as pool:

        def put(block: T) -> None:
            while len(waiting) >= ahead:
                waiting.popleft().result()
            waiting.append(pool.submit(write_unless_failed, block))

        try:
            yield put
            while waiting:
                waiting.popleft().result()
        except BaseException:
            # What is under way is finished by the pool's end; what waits is not begun.
            failed = True
            raise
