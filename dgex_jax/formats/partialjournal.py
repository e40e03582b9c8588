"""The journal beside an unfinished file: what it is of, and which of its profiles are there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "dgex partial"
FORMAT_VERSION = 2


@dataclass(frozen=True)
class Run:
    """Profiles that are in the file.

    Attributes
    ----------
    start, stop
        Which.
    sha256
        Of the file's bytes from its beginning to the end of these profiles, hexadecimal.
    end
        Where the journal's line of this run ends, bytes.
    """

    start: int
    stop: int
    sha256: str
    end: int


@dataclass(frozen=True)
class Entries:
    """What a journal says.

    Attributes
    ----------
    header
        Its first line; empty if that is damaged or of another version.
    runs
        One after the other from profile 0 on; lines from the first damaged one on don't count.
    end
        Where the first line ends, bytes.
    """

    header: Mapping[str, Any]
    runs: tuple[Run, ...]
    end: int


def read_journal(path: Path) -> Entries | None:
    """Read a journal as far as it is sound; ``None`` if there is none."""
    try:
        first, *lines = path.read_bytes().splitlines(keepends=True) or [b""]
    except FileNotFoundError:
        return None
    header = _json(first)
    if (header.get("format"), header.get("format_version")) != (FORMAT, FORMAT_VERSION):
        header = {}
    runs: list[Run] = []
    done, end = 0, len(first)
    for line in lines:
        entry, end = _json(line), end + len(line)
        match entry:
            case {"profiles": [int(start), int(stop)], "sha256": str(sha256)} if (
                start == done < stop
            ):
                runs.append(Run(start, stop, sha256, end))
                done = stop
            case _:
                break
    return Entries(header, tuple(runs), len(first))


def start_journal(path: Path, header: Mapping[str, Any]) -> None:
    """Write a journal without runs, over an older one; it is on the disk on return."""
    path.unlink(missing_ok=True)
    _append(path, {"format": FORMAT, "format_version": FORMAT_VERSION, **header})


def add_run(path: Path, start: int, stop: int, sha256: str) -> None:
    """Add a run to a journal; it is on the disk on return."""
    _append(path, {"profiles": [start, stop], "sha256": sha256})


def cut_journal(path: Path, end: int) -> None:
    """Drop what a journal says behind `end` bytes."""
    with path.open("r+b") as file:
        file.truncate(end)
        os.fsync(file.fileno())


def _append(path: Path, entry: Mapping[str, Any]) -> None:
    with path.open("ab") as file:
        file.write(json.dumps(entry, sort_keys=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _json(line: bytes) -> dict[str, Any]:
    """Give the object of a line; empty if it is none, or the line was cut off."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
