"""Open a prepared study for training."""

from __future__ import annotations

import zipfile
from pathlib import Path

from dgex_jax.data.prepared_base import Prepared
from dgex_jax.data.prepared_hdf5 import Hdf5Prepared
from dgex_jax.data.prepared_npz import NpzPrepared
from dgex_jax.errors import FormatError
from dgex_jax.formats.access import HDF5_MAGIC, read_head

__all__ = ["Prepared", "open_prepared"]


def open_prepared(path: Path | str) -> Prepared:
    """Open ``prepared.h5`` or an ``.npz`` of ten arrays, told apart by their first bytes.

    Raises
    ------
    FormatError
        No such file, neither of the two, damaged, or its arrays are missing or don't fit.
    """
    path = Path(path)
    if read_head(path) == HDF5_MAGIC:
        return Hdf5Prepared(path)
    if zipfile.is_zipfile(path):
        return NpzPrepared(path)
    raise FormatError(f"{path}: is neither a prepared study (HDF5) nor an .npz file")
