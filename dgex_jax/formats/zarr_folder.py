"""The folders around a zarr store in the making: begun and finished in one step each."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from typing import TYPE_CHECKING, Any

from dgex_jax.errors import DgexError
from dgex_jax.formats.atomic import atomic_path, sync
from dgex_jax.formats.zarr_check import damaged_metadata
from dgex_jax.formats.zarr_job import checksum, first_difference
from dgex_jax.formats.zarr_skeleton import OURS, ROOT, read_root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

JOB = "job.json"
# What `atomic_path` calls a shard that is being written.
TEMPORARY = re.compile(r"\.[0-9a-f-]+\.tmp\.c\.(\d+)\.0")


class StoreFolders:
    """A store's folder, that of its unfinished state, and those about to vanish.

    All but `write` is called by who holds the lock of the output. An `OSError` passes through.

    Parameters
    ----------
    path
        Where the store shall be. A symbolic link keeps pointing at the folder it names.

    Attributes
    ----------
    path
        As given; named in errors.
    place
        The folder of the finished store.
    partial
        The folder beside it where the store grows; it appears with all its metadata.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = path.resolve()
        self.partial = self.place.with_name(f"{self.place.name}.partial")
        self._replaced = self.place.with_name(f".{self.place.name}.replaced")

    def check(self) -> None:
        """Refuse places where no store can be, and folders that are not ours.

        Raises
        ------
        DgexError
            Something else than a zarr store of ours is at `path`, or its folder is missing.
        """
        if not self.place.parent.is_dir():
            raise DgexError(f"{self.path}: can't be written: not in a folder that is there")
        for folder in (self.place, self.partial):
            if folder.exists() and read_root(folder) is None:
                name = self.path if folder == self.place else folder
                raise DgexError(f"{name}: is in the way: not a zarr store written by dgex")

    def finished_job(self) -> str | None:
        """Checksum of the job whose store is in place; None if there is none."""
        return _job_of(self.place)

    def settle(self) -> None:
        """Clear up after processes that were killed while they moved folders."""
        if self._replaced.exists():
            if self.place.exists():
                self._remove(self._replaced)
            else:
                self._replaced.rename(self.place)
        known = re.compile(rf"\.{re.escape(self.place.name)}\.[0-9a-f]{{12}}\.tmp")
        for folder in self.place.parent.iterdir():
            if known.fullmatch(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def difference(self, identity: Mapping[str, Any]) -> str | None:
        """Name the key in which the unfinished store's job is not `identity`; None if in none."""
        if _job_of(self.partial) == checksum(identity):
            return None
        try:
            stored = json.loads((self.partial / JOB).read_bytes())
        except (OSError, ValueError):
            stored = None
        return first_difference(stored, identity) or "job"

    def damaged_metadata(self) -> str | None:
        """Name a damaged file of the partial store but for its values; None if there is none.

        Raises
        ------
        FormatError
            One of them is missing or can't be read.
        """
        root = read_root(self.partial)
        return ROOT if root is None else damaged_metadata(self.partial, root)

    def create(self, files: Mapping[str, bytes], identity: Mapping[str, Any]) -> None:
        """Make the partial folder with the files of a store; whole or not at all."""
        new = self._hidden()
        named = {**files, JOB: json.dumps(identity, indent=1).encode()}
        try:
            for name in named:
                (new / name).parent.mkdir(parents=True, exist_ok=True)
            for name, data in named.items():
                (new / name).write_bytes(data)
                sync(new / name, os.O_RDWR)
            for folder in [new, *(inner for inner in new.rglob("*") if inner.is_dir())]:
                sync(folder, os.O_RDONLY)
            new.rename(self.partial)
            sync(self.place.parent, os.O_RDONLY)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def write(self, name: str, data: memoryview) -> None:
        """Write a file of the partial store: complete under its name, and on the disk."""
        with atomic_path(self.partial / name) as temporary:
            temporary.write_bytes(data)

    def is_there(self, name: str) -> bool:
        """Whether the partial store has a file."""
        try:
            return (self.partial / name).stat().st_size > 0
        except FileNotFoundError:
            return False

    def remove_temporaries(self, of_shard: Callable[[int], bool]) -> None:
        """Remove what killed processes left of shards."""
        for file in (self.partial / "X").iterdir():
            named = TEMPORARY.fullmatch(file.name)
            if named and of_shard(int(named[1])):
                file.unlink(missing_ok=True)

    def discard_partial(self) -> None:
        """Remove the partial store."""
        self._remove(self.partial)

    def put_in_place(self) -> None:
        """Move the partial store onto `path`; an older store goes once the new one is there."""
        self.check()
        # The root attribute still says which job this is, should the rest not come to pass.
        (self.partial / JOB).unlink(missing_ok=True)
        for folder in (self.partial / "X", self.partial):
            sync(folder, os.O_RDONLY)
        if self.place.exists():
            self.place.rename(self._replaced)
        try:
            self.partial.rename(self.place)
        except OSError:
            if self._replaced.exists():
                self._replaced.rename(self.place)
            raise
        sync(self.place.parent, os.O_RDONLY)
        if self._replaced.exists():
            self._remove(self._replaced)

    def _hidden(self) -> Path:
        return self.place.with_name(f".{self.place.name}.{secrets.token_hex(6)}.tmp")

    def _remove(self, folder: Path) -> None:
        # Half a store under a known name would not be known as ours.
        hidden = self._hidden()
        folder.rename(hidden)
        # What can't go yet (a reader on a network file system holds it) goes the next time.
        shutil.rmtree(hidden, ignore_errors=True)


def _job_of(store: Path) -> str | None:
    root = read_root(store)
    return None if root is None else root["attributes"][OURS]["job"]
