"""Locks of the processes that write one store together."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.locks import locked, name_holder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class PartLocks:
    """The lock of an output, and of the part of it that this process writes.

    A part's lock is taken, given back and tried by others only while the output's lock is held:
    so whoever looks finds true which parts are at work, and lock files can be removed.

    Parameters
    ----------
    place
        The output; the lock files are hidden beside it.
    part
        Part i (from 1) of n.
    report
        Gets a line when another process has to be waited for.
    """

    def __init__(self, place: Path, part: tuple[int, int], report: Callable[[str], None]) -> None:
        self._place, self._part, self._report = place, part, report
        self._held = ExitStack()

    @contextmanager
    def output(self) -> Iterator[None]:
        """Hold the lock of the output, for moments: to begin, to look, to finish."""
        with locked(self._place.with_name(f"{self._place.name}.partial"), report=self._report):
            yield

    def take(self) -> None:
        """Take the part's lock, for as long as the process is at work.

        Raises
        ------
        DgexError
            Another process writes this part, or a part of another number of parts (two could
            then write the same shard).
        """
        i, n = self._part
        for (_, other_n), holder in self._others():
            if other_n != n:
                raise DgexError(f"{self._place}: a part of {other_n} is in use by {holder}")
        with ExitStack() as stack:
            name = f"{self._place.name}.part-{i}-of-{n}"
            stack.enter_context(locked(self._place.with_name(name), wait=False))
            stack.callback(self._place.with_name(f".{name}.lock").unlink, missing_ok=True)
            self._held = stack.pop_all()

    def give_back(self) -> None:
        """Free the part's lock, if it is held, and remove its file."""
        self._held.close()

    def others_at_work(self) -> list[str]:
        """Name the processes that hold the locks of other parts."""
        return [f"part {i} of {n}, {holder}" for (i, n), holder in self._others()]

    def _others(self) -> list[tuple[tuple[int, int], str]]:
        named = re.compile(rf"\.{re.escape(self._place.name)}\.part-(\d+)-of-(\d+)\.lock")
        found = []
        for file in sorted(self._place.parent.iterdir()):
            match = named.fullmatch(file.name)
            part = (int(match[1]), int(match[2])) if match else self._part
            if part == self._part:
                continue
            holder = file.with_name(f"{file.name}.json")
            try:
                with FileLock(file).acquire(timeout=0):
                    pass
                for left in (file, holder):
                    left.unlink(missing_ok=True)
            except Timeout:
                found.append((part, name_holder(holder)))
            except OSError as error:
                raise DgexError(f"{file}: can't be locked: {one_line(error)}") from error
        return found
