"""What goes wrong in an HDF5 file, said in one line."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.access import HDF5_CAUSE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


ABSENT = re.compile(r"(?:object|attribute:) ('[^']+')")
"""What HDF5 looked for and did not find."""


@contextmanager
def hdf5_errors(path: Path) -> Iterator[None]:
    """Turn what h5py raises on a damaged file into a `FormatError` that names the file."""
    try:
        yield
    except DgexError:
        raise
    except MemoryError as error:
        raise FormatError(f"{path}: needs more memory than there is") from error
    except (OSError, LookupError, ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        # What the system said is a cause; the library's own words are of addresses and calls.
        said = HDF5_CAUSE.findall(str(error)) or [getattr(error, "strerror", None)]
        absent = ABSENT.search(str(error))
        cause = f": {said[-1]}" if said[-1] else f": it has no {absent[1]}" if absent else ""
        raise FormatError(f"{path}: damaged or truncated HDF5 file{cause}") from error
