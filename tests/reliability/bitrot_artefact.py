"""What bits are flipped in, and how what was read of it is told from something else."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Read = tuple[str, list[str]]
Region = tuple[str, int, int]


def by_path(line: str, file: str) -> bool:
    """Whether a line names a file, or the one it is the manifest of."""
    return file in line or f"{Path(file).with_suffix('')}." in line


def every_file(folder: Path) -> list[str]:
    """All files with content."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size
    )


@dataclasses.dataclass(frozen=True)
class Artefact:
    """Something the product writes and reads back.

    Attributes
    ----------
    name
        As in the table, and the folder it lies in.
    make
        Fills an empty folder.
    read
        Reads all of it as the product does: a digest of what came of that, and what the user was
        told.
    files
        Relative paths in the folder that bits are flipped in.
    places
        Further regions (file, first byte, end) that flips must go to.
    names
        Whether a line tells the user which file it is about.
    foreign
        Read by others' software, whose errors are not ours to word.
    changes
        Whether reading changes the folder.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Read]
    files: Callable[[Path], list[str]] = every_file
    places: Callable[[Path], list[Region]] = lambda _folder: []
    names: Callable[[str, str], bool] = by_path
    foreign: bool = False
    changes: bool = False


def fingerprint(*values: Any) -> str:
    """Digest of values to the last bit, names, types and shapes included."""
    digest = hashlib.sha256()
    _feed(digest, values)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype.str}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, dict):
        digest.update(f"{len(value)} keys".encode())
        for key in value:
            _feed(digest, key)
            _feed(digest, value[key])
    elif isinstance(value, list | tuple | np.ndarray):
        digest.update(f"{len(value)} values".encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(f"{type(value).__name__} {value!r};".encode())
