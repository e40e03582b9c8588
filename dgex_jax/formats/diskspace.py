"""Whether a disk has room for what is about to be written."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from pathlib import Path


def require_space(path: Path, needed: int) -> None:
    """Raise `DgexError` if the disk of a file that is to be written has too little space.

    Parameters
    ----------
    path
        The file; its folder is there.
    needed
        Bytes still to be written.
    """
    try:
        usage = shutil.disk_usage(path.parent)
    except OSError:
        # Whatever is wrong with the folder, the attempt to write there says it better.
        return
    # Some network drives don't tell and say 0.
    if usage.total and needed > usage.free:
        raise DgexError(
            f"{path}: can't be written: needs {needed:,} bytes, the disk has {usage.free:,} free"
        )
