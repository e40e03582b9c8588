"""Compiled programs are kept between commands, in the user's cache."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from dgex_jax.io.files import user_cache
from dgex_jax.io.manifest import job_hash, processor

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {
    # What compiles faster is not worth a file.
    "jax_persistent_cache_min_compile_time_secs": 0.02,
    # Programs that were not used for longest go first.
    "jax_compilation_cache_max_size": 1 << 30,
}


def keep_compiled() -> None:
    """Let JAX keep what it compiles, for the commands; a library leaves that to its user.

    In ``$XDG_CACHE_HOME/dgex-jax`` (by default ``~/.cache/dgex-jax``), apart for each kind of
    processor: a home folder may be shared by machines, and a program made for one need not run on
    another. Does nothing where JAX was told already (``JAX_COMPILATION_CACHE_DIR``;
    ``JAX_ENABLE_COMPILATION_CACHE=false`` keeps nothing), or where there is no folder that can be
    written to. A disk that is full there costs a compilation at the next start, and no word.
    """
    import jax  # noqa: PLC0415  (as late as the command allows)

    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    folder = cache_folder()
    if folder is None:
        return
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(folder, os.W_OK | os.X_OK):
            _remove_halves(folder)
            for name, value in {"jax_compilation_cache_dir": str(folder), **SETTINGS}.items():
                if name.upper() not in os.environ:
                    jax.config.update(name, value)  # type: ignore[no-untyped-call]
            message = "Error (reading|writing) persistent compilation cache entry"
            warnings.filterwarnings("ignore", message)


def _remove_halves(folder: Path) -> None:
    """Remove programs that a full disk or a kill cut short.

    JAX would try each of them at every start, complain, and never replace it; and it could not
    count it when the folder has grown too large. It writes the time of the last use, in a file
    beside the program, after the program.
    """
    with suppress(Timeout), FileLock(folder / ".lockfile").acquire(timeout=0):
        for program in folder.glob("*-cache"):
            if not program.with_name(f"{program.name.removesuffix('-cache')}-atime").exists():
                program.unlink()


def cache_folder() -> Path | None:
    """Name the folder of the programs for this kind of processor; ``None`` for who has no home."""
    base = user_cache()
    return None if base is None else base / "compiled" / job_hash(processor())[:16]
