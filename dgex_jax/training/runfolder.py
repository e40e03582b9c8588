"""The folder of a run: what belongs in it, and whether it may be written to."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dgex_jax.errors import DgexError
from dgex_jax.formats.atomic import make_folder
from dgex_jax.formats.temporary import is_temporary
from dgex_jax.locks import locked
from dgex_jax.training.checkpoint import Checkpoints
from dgex_jax.training.record import CONFIG, DONE, identity, job_hash, read_json

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINTS = "checkpoint"
RUN_FILES = (
    DONE,
    CONFIG,
    "log.tsv",
    "log_half1.tsv",
    "log_half2.tsv",
    "best_va.safetensors",
    "best_1000G.safetensors",
    "errors.tsv",
)


def refuse_folder(folder: Path, config: dict[str, Any], overwrite: bool) -> None:
    """Check that a run may go into `folder`; changes nothing.

    Raises
    ------
    DgexError
        The folder holds another run (unless `overwrite`), or files that are no run's.
    """
    if folder.is_file():
        raise DgexError(f"{folder}: is a file, not a run folder")
    old = read_json(folder / CONFIG)
    if old is not None and identity(old) != identity(config) and not overwrite:
        keys = {*identity(config), *identity(old)}
        changed = ", ".join(sorted(k for k in keys if old.get(k) != config.get(k)))
        raise DgexError(
            f"{folder}: holds another run (it differs in {changed}); choose another folder, or "
            "--overwrite to replace it (its config.json says which it is)"
        )
    try:
        found = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise DgexError(f"{folder}: can't be read: {error.strerror}") from error
    strangers = sorted(name for name in found - {*RUN_FILES, CHECKPOINTS} if not is_temporary(name))
    if old is None and strangers:
        raise DgexError(f"{folder}: is no run folder: it holds {strangers[0]}")


def clear_folder(folder: Path) -> None:
    """Make the run folder ready: keep nothing of an unfinished or replaced run.

    Raises
    ------
    DgexError
        It can't be made or written to.
    """
    try:
        make_folder(folder)
        for name in RUN_FILES:
            (folder / name).unlink(missing_ok=True)
        Checkpoints(folder / CHECKPOINTS, "").clear()
    except OSError as error:
        raise DgexError(f"{folder}: can't be written: {error.strerror}") from error


def clear_leftovers(folder: Path) -> None:
    """Remove the checkpoints that a kill at the very end of a run has left in its folder.

    Only of a run that is done. Nothing is said where that can't be, or another process is at it:
    they only take space.
    """
    if (folder / CHECKPOINTS).is_dir():
        with suppress(DgexError, OSError), locked(folder, wait=False):
            Checkpoints(folder / CHECKPOINTS, "").clear()


def group_hash(configs: list[dict[str, Any]]) -> str:
    """Hash the configurations of the runs of a group, with the versions that trained.

    Those alone continue a checkpoint: only then is a resumed run the straight one to the bit.
    """
    return job_hash({"runs": configs})
