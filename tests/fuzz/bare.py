"""Walk an HDF5 file by h5py alone: a fault that happens here too is the library's own."""

from __future__ import annotations

import sys
from typing import Any

import h5py

FOREIGN = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError)
FOREIGN = (*FOREIGN, TypeError, ValueError)


def walk(item: Any, depth: int = 0) -> None:
    """Read all attributes and all that is not huge."""
    try:
        for name in item.attrs:
            item.attrs[name]
    except FOREIGN:
        pass
    try:
        if isinstance(item, h5py.Dataset):
            if item.nbytes < 1 << 26:
                item[...]
        elif depth < 6:
            for child in item.values():
                walk(child, depth + 1)
    except FOREIGN:
        pass


def main() -> None:
    """Walk the file named on the command line, whatever it says."""
    try:
        file = h5py.File(sys.argv[1], "r")
    except FOREIGN:
        return
    walk(file)


if __name__ == "__main__":
    main()
