"""What of an unfinished file can be trusted: its job, the file around the values, the values."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dgex_jax.formats.partialjournal import read_journal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

READ_BYTES = 1 << 23


@dataclass(frozen=True)
class Found:
    """What an interrupted writer left.

    Attributes
    ----------
    journaled
        Profiles that the journal says are there.
    done
        Those of them, from the first on, that are.
    offset
        Where the values begin in the file, bytes.
    end
        Where the journal's line of the last of them ends, bytes.
    cause
        Why not all of them can be used; empty if they can.
    sha256
        Of the file up to the end of those profiles, to go on with.
    """

    journaled: int
    done: int = 0
    offset: int = 0
    end: int = 0
    cause: str = ""
    sha256: Any = field(default_factory=hashlib.sha256)


def find(path: Path, journal: Path, header: Mapping[str, Any], row_bytes: int) -> Found | None:
    """Look what an unfinished file has; its values are read for their checksums.

    Parameters
    ----------
    path, journal
        The file and its journal.
    header
        What the journal of this very job begins with (other keys than these are of the file).
    row_bytes
        Of a profile.

    Returns
    -------
    Found or None
        ``None`` if nothing was there, or nothing that was worth a word.
    """
    entries = read_journal(journal)
    if entries is None or not entries.runs or not path.is_file():
        return None
    journaled = entries.runs[-1].stop
    if not entries.header:
        return Found(journaled, cause="its journal is damaged or of another version")
    other = differences(entries.header, json.loads(json.dumps(header)))
    if other:
        return Found(journaled, cause=f"not the same {', '.join(other)}")
    offset, n_bytes = entries.header.get("offset"), header["layout"]["shape"][0] * row_bytes
    with path.open("rb") as file:
        descriptor = file.fileno()
        if not isinstance(offset, int) or entries.header.get("head_sha256") != head_sha256(
            descriptor, offset, n_bytes
        ):
            return Found(journaled, cause="it is damaged, or another file than its journal's")
        done, end, sound = 0, 0, hashlib.sha256()
        hash_range(sound, descriptor, 0, offset)
        for run in entries.runs:
            digest = sound.copy()
            first, last = (offset + profile * row_bytes for profile in (run.start, run.stop))
            hash_range(digest, descriptor, first, last)
            if digest.hexdigest() != run.sha256:
                cause = "values before that are damaged"
                return Found(journaled, done, offset, end, cause, sound)
            done, end, sound = run.stop, run.end, digest
    return Found(journaled, done, offset, end, sha256=sound)


def head_sha256(descriptor: int, offset: int, n_bytes: int) -> str:
    """Checksum of a file but for `n_bytes` of values from `offset` on."""
    digest = hashlib.sha256()
    size = os.fstat(descriptor).st_size
    for start, stop in ((0, offset), (offset + n_bytes, size)):
        hash_range(digest, descriptor, start, stop)
    return digest.hexdigest()


def hash_range(digest: Any, descriptor: int, start: int, stop: int) -> None:
    """Add the bytes of a file from `start` to `stop`; fewer where the file ends before."""
    while start < stop and (piece := os.pread(descriptor, min(READ_BYTES, stop - start), start)):
        digest.update(piece)
        start += len(piece)


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name what differs between two journals' jobs or layouts, with its parts where it has some."""
    before, now = (
        {**header.get("job", {}), "layout": header.get("layout")} for header in (found, wanted)
    )
    return [
        _difference(name, before.get(name), now.get(name))
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _difference(name: str, before: Any, now: Any) -> str:
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return name
    parts = [part for part in sorted({*before, *now}) if before.get(part) != now.get(part)]
    return f"{name} ({', '.join(parts)})"
