"""Names of files and folders in the making, which tell whose they are: what a kill left is removed.

A name holds the machine (as it was booted, and the process namespace of a container) and the
process. Whoever makes another temporary for the same output first removes those of processes of
this machine that are gone; those of other machines stay, since nobody here knows about them.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = re.compile(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.tmp\.(.+)", re.DOTALL)
LONGEST = 40
"""Characters of the output's name that are kept: its end, which holds the suffixes that some
writers choose a format by; all of it could break the limit of 255 bytes."""


def temporary_path(place: Path) -> Path:
    """Give a new hidden path beside `place`, of this process, with the same suffixes.

    Whatever processes that are gone left of the same output is removed. Raises `OSError` if the
    folder can't be read.
    """
    remove_orphans(place)
    token = secrets.token_hex(4)
    return place.with_name(f".{_machine()}-{os.getpid()}-{token}.tmp.{place.name[-LONGEST:]}")


@contextmanager
def temporary_folder(place: Path) -> Iterator[Path]:
    """Make a hidden folder beside `place` for what only this process needs; removed at the end.

    Raises `OSError` if it can't be made.
    """
    folder = temporary_path(place)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_temporary(name: str) -> bool:
    """Whether a file or folder of that name is one in the making."""
    return NAME.fullmatch(name) is not None


def remove_orphans(place: Path) -> None:
    """Remove temporaries of the output `place` whose processes are gone."""
    machine = _machine()
    for path in place.parent.iterdir():
        named = NAME.fullmatch(path.name)
        if (
            named is not None
            and named[3] == place.name[-LONGEST:]
            and named[1] == machine
            and not _runs(int(named[2]))
        ):
            remove_temporary(path)


def remove_temporary(path: Path) -> None:
    """Remove a file or a folder; what can't go now goes the next time.

    Another process may do the same at this moment.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _machine() -> str:
    """Eight digits for this machine since its start, and for what sees the same processes."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with suppress(OSError):
        facts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        # Somebody else's, or no number that a process has: better left alone.
        return True
    return True
