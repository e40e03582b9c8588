"""An HDF5 file from a stranger speaks for itself alone, and of columns that memory can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py

from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMN_BYTES = 1 << 30
"""The ids, or a field, of one axis: millions of them at hundreds of characters."""


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
    for one in _all_below(element):
        stored = isinstance(one, h5py.Dataset) and (one.is_virtual or one.external)
        if stored or one.file.filename != file.filename:
            raise FormatError(f"{path}: {one.name} lies in another file")


def require_column_sizes(path: Path, element: Any) -> None:
    """Raise `FormatError` if a dataset, or one below a group, declares more than a column has.

    A few damaged bytes can declare any size, and whoever reads all of it takes that memory.
    """
    for one in _all_below(element):
        if isinstance(one, h5py.Dataset) and one.nbytes > COLUMN_BYTES:
            raise FormatError(
                f"{path}: {one.name} declares {one.nbytes} bytes, more than ids or annotation "
                f"can have ({COLUMN_BYTES})"
            )


def _all_below(element: Any) -> Iterator[Any]:
    waiting, seen = [element], set()
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, h5py.Group) and one not in seen:
            seen.add(one)
            waiting += one.values()
