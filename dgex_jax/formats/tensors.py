"""Safetensors files out."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import save_file

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.temporary import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np


def fill_tensors(
    temporary: Path,
    tensors: Mapping[str, np.ndarray[Any, Any]],
    path: Path,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors to `temporary`, which is to become `path`.

    safetensors first makes a file of its own beside the one it is given, under a name that doesn't
    tell whose it is, and for its owner alone: a kill would leave it there for ever. So that happens
    in a folder of this process, and the file gets the permissions that `temporary` has.

    Raises
    ------
    DgexError
        The disk refuses it (where safetensors says so; an `OSError` passes through).
    """
    with temporary_folder(temporary.with_name(f"{path.name}.tensors")) as folder:
        written = folder / "tensors"
        try:
            save_file(dict(tensors), written, metadata=dict(metadata) if metadata else None)
        except SafetensorError as error:
            raise DgexError(f"{path}: can't be written: {one_line(error)}") from error
        shutil.copymode(temporary, written)
        written.replace(temporary)
