"""Work done on other threads while its results are used, one after the other in their order."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")

MOST_WORKERS = 4
"""Threads at most: each holds a result, and as many wait to be used."""


def in_order(make: Callable[[T], R], items: Iterable[T], workers: int | None = None) -> Iterator[R]:
    """Yield ``make(item)`` of every item in the order of `items`, made ahead on threads.

    What `make` does must release the interpreter (NumPy's sorting, copying and arithmetic do) and
    must not depend on the order of the calls; so results are those of ``map(make, items)``.

    Parameters
    ----------
    make
        Makes a result of an item.
    items
        Taken no further ahead than there are threads, and one.
    workers
        Threads; ``None``: as many as cores, at most `MOST_WORKERS`. One is enough to read ahead.

    Raises
    ------
    Exception
        Whatever `make` raised, when its turn comes.
    """
    workers = min(MOST_WORKERS, usable_cores()) if workers is None else workers
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


def usable_cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
