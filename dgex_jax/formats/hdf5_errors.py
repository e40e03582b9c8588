"""What goes wrong in an HDF5 file, said in one line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.access import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
        raise FormatError(f"{path}: damaged or truncated HDF5 file: {one_line(error)}") from error
