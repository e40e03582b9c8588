"""Walk an HDF5 file by h5py alone: a fault that happens here too is the library's own."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import h5py

FOREIGN = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError)
FOREIGN = (*FOREIGN, TypeError, ValueError)


def walk(item: Any, depth: int = 0) -> None:
    """Read all attributes and all that is not huge."""
    with suppress(*FOREIGN):
        for name in item.attrs:
            item.attrs[name]
    with suppress(*FOREIGN):
        if isinstance(item, h5py.Dataset):
            if item.nbytes < 1 << 26:
                item[...]
        elif depth < 6:
            "nothing" in item  # noqa: B015  (a damaged index may send the look-up in circles)
            for child in item.values():
                walk(child, depth + 1)


if __name__ == "__main__":
    with suppress(*FOREIGN):
        walk(h5py.File(sys.argv[1], "r"))
