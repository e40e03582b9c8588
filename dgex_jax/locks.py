"""One process at a time works on an output; who comes second waits, and learns for whom."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS_BETWEEN_LOOKS = 1.0


def say(line: str) -> None:
    """Show a line on standard error at once."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def locked(
    output: Path,
    *,
    wait: bool = True,
    keep_waiting: Callable[[], bool] = lambda: True,
    report: Callable[[str], None] = say,
) -> Iterator[None]:
    """Hold the lock of an output (a file or folder) while the block runs.

    The lock is the operating system's on the file ``.<name>.lock`` beside the output, so it is
    free the moment its process ends, however that ends. The file itself stays. Its neighbour
    ``.<name>.lock.json`` says who holds it.

    Parameters
    ----------
    output
        What is to be written; its folder is made if missing.
    wait
        Whether to wait for another process.
    keep_waiting
        Asked every second while waiting.
    report
        Gets one line that names the holder, when there is one to wait for.

    Raises
    ------
    DgexError
        Another process holds the lock and `wait` or `keep_waiting` is false (the holder is named),
        or the lock file can't be made.
    """
    path = output.parent / f".{output.name}.lock"
    holder = path.with_name(f"{path.name}.json")
    lock = FileLock(path, poll_interval=0.2)
    try:
        make_folder(path.parent)
        waiting = False
        while not lock.is_locked:
            try:
                lock.acquire(timeout=SECONDS_BETWEEN_LOOKS if waiting else 0)
            except Timeout:
                if not wait or not keep_waiting():
                    raise DgexError(f"{output}: in use by {name_holder(holder)}") from None
                if not waiting:
                    report(f"{output}: waiting for {name_holder(holder)}")
                waiting = True
    except OSError as error:
        raise DgexError(f"{output}: can't be locked: {one_line(error)}") from error
    try:
        try:
            write_holder(holder)
        except OSError as error:
            raise DgexError(f"{output}: can't be locked: {one_line(error)}") from error
        yield
    finally:
        try:
            # Who holds a lock is asked only while it is held.
            with suppress(OSError):
                holder.unlink(missing_ok=True)
        finally:
            lock.release()


def write_holder(path: Path) -> None:
    """Write down who this process is."""
    content = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(sys.argv),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    # Only ever read by people, through `name_holder`, which bears half a file.
    path.write_text(json.dumps(content), encoding="utf-8")


def name_holder(path: Path) -> str:
    """Say who holds a lock, as far as it is known."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return (
            f"process {content['process']} on {content['host']}, since {content['since']} "
            f"({content['command']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
