"""The folder of a model: complete under its name, or not there at all."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import sync
from dgex_jax.formats.temporary import temporary_path

if TYPE_CHECKING:
    from collections.abc import Iterator

DESCRIPTION, WEIGHTS, GENES, REFERENCE = MODEL_FILES = (
    "model.json",
    "weights.safetensors",
    "genes.tsv",
    "reference.safetensors",
)


def refuse_place(final: Path, overwrite: bool) -> None:
    """Check that a model may go to `final`; changes nothing.

    Raises
    ------
    DgexError
        It is a file, a folder with anything but a model, or (unless `overwrite`) a model.
    """
    try:
        if final.exists() and not final.is_dir():
            raise DgexError(f"{final}: is a file, not a model folder")
        found = {path.name for path in final.iterdir()} if final.exists() else set()
    except OSError as error:
        raise DgexError(f"{final}: can't be read: {one_line(error)}") from error
    strangers = sorted(found - set(MODEL_FILES))
    if strangers:
        raise DgexError(f"{final}: is no model folder: it holds {strangers[0]}")
    if found and DESCRIPTION not in found:
        raise DgexError(f"{final}: is no model folder: it holds {min(found)} but no {DESCRIPTION}")
    if found and not overwrite:
        raise DgexError(
            f"{final}: holds a model; choose another folder, or --overwrite to replace it"
        )


@contextmanager
def model_folder(final: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give an empty folder beside `final`; move it to `final` when the block succeeds.

    Parameters
    ----------
    final
        Where the model shall be. A symbolic link keeps pointing at the folder it names.
    overwrite
        Replace a model that is there. Only files of a model are ever removed.

    Yields
    ------
    Path
        The folder to fill.

    Raises
    ------
    DgexError
        See `refuse_place`, or the disk refuses the folder. Whatever the block raises passes
        through; in every case the temporary folder is removed and an older model is left as it
        was.
    """
    place = Path(final).resolve()
    aside = place.with_name(f".{place.name[-40:]}.replaced")
    try:
        _settle(place, aside)
    except OSError as error:
        raise DgexError(f"{final}: can't be written: {one_line(error)}") from error
    refuse_place(final, overwrite)
    try:
        temporary = temporary_path(place)
        temporary.mkdir()
    except OSError as error:
        raise DgexError(f"{final}: can't be written: {one_line(error)}") from error
    try:
        yield temporary
        refuse_place(final, overwrite)
        try:
            strangers = sorted({path.name for path in temporary.iterdir()} - set(MODEL_FILES))
            if strangers:
                raise DgexError(f"{final}: can't be written: {strangers[0]} can't be removed")
            for path in (*temporary.iterdir(), temporary):
                sync(path, os.O_RDONLY)
            _swap(temporary, place, aside)
        except OSError as error:
            raise DgexError(f"{final}: can't be written: {one_line(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _settle(place: Path, aside: Path) -> None:
    """Finish what a process that was killed while it replaced a model left undone."""
    if aside.exists() and place.exists():
        shutil.rmtree(aside)
    elif aside.exists():
        aside.rename(place)


def _swap(new: Path, place: Path, aside: Path) -> None:
    """Put `new` at `place`; an older model there goes only once the new one is in place."""
    if not place.exists():
        new.rename(place)
        sync(place.parent, os.O_RDONLY)
        return
    # No portable call exchanges two folders. After a crash between these two the next export puts
    # the older model back first.
    place.rename(aside)
    try:
        new.rename(place)
    except BaseException:
        aside.rename(place)
        raise
    sync(place.parent, os.O_RDONLY)
    shutil.rmtree(aside, ignore_errors=True)
