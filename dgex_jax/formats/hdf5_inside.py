"""An HDF5 file from a stranger speaks for itself, never for another file on this disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py

from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path


def require_inside(path: Path, file: Any, element: Any) -> None:
    """Raise `FormatError` if an element, or one below it, takes its values from another file.

    HDF5 has three ways: external links, external storage and virtual datasets. By any of them a
    file could bring what lies elsewhere on the reader's disk into what is made of it.

    Parameters
    ----------
    path, file
        The file, by name and opened.
    element
        A dataset, or a group with all below it (links in circles included).
    """
    waiting, seen = [element], set()
    while waiting:
        one = waiting.pop()
        stored = isinstance(one, h5py.Dataset) and (one.is_virtual or one.external)
        if stored or one.file.filename != file.filename:
            raise FormatError(f"{path}: {one.name} lies in another file")
        if isinstance(one, h5py.Group) and one not in seen:
            seen.add(one)
            waiting += one.values()
