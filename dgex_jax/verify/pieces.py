"""What one record says: which files were written, with which bytes, and of what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

State = Literal["whole", "altered", "missing", "stale", "unknown"]


@dataclass(frozen=True)
class Source:
    """A file that others were made of.

    Attributes
    ----------
    name
        Of the file, with as much of its folders as the record tells.
    sha256
        As it was then (hexadecimal).
    place
        Where it lies, if the record tells; else it is looked for by name.
    """

    name: str
    sha256: str
    place: Path | None = None


@dataclass(frozen=True)
class Piece:
    """One record and what it tells of.

    Attributes
    ----------
    record
        The file (of a zarr store, its folder).
    files
        Place → checksum when it was written (hexadecimal).
    sources
        What these files were made of.
    faults
        Place → state and cause, where the record's own reader has compared it already.
    """

    record: Path
    files: Mapping[Path, str] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    faults: Mapping[Path, tuple[State, str]] = field(default_factory=dict)


@dataclass(frozen=True, order=True)
class Finding:
    """What became of one file.

    Attributes
    ----------
    place
        Relative to what was verified.
    state
        ``whole``, ``altered`` (its bytes are not those recorded), ``missing``, ``stale`` (whole,
        but what it was made of is another by now), ``unknown`` (nothing is recorded of it).
    cause
        Why it is not whole; empty if it is.
    """

    place: str
    state: State
    cause: str = ""
