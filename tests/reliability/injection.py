"""A disk that fails, or a process that ends, at any one of the calls that change files.

While a `Disk` is watched, every such call below one folder passes through it: opening a file to
write, each write, fsync, rename, mkdir, unlink and the like. Without a fault it counts them; with
one, it lets the call of that number fail. What libraries write by themselves doesn't pass:
safetensors' function counts as one write, and HDF5's own writes are not met at all (in a process
of their own, they meet a full disk in the tests of whole commands).
"""

from __future__ import annotations

import errno
import io
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from safetensors import SafetensorError
from safetensors import numpy as tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind = Literal["fails once", "stays full", "stops"]
KINDS: tuple[Kind, ...] = ("fails once", "stays full", "stops")

NO_PROCESS = 1 << 23
"""No process has this number: more than Linux gives."""

FREES = {"rename", "replace", "unlink", "remove", "rmdir"}
"""Calls that a full disk does not refuse."""

ByPath = Literal["rename", "replace", "mkdir", "unlink", "remove", "rmdir", "link", "symlink"]
BY_PATH = ("rename", "replace", "mkdir", "unlink", "remove", "rmdir", "link", "symlink")
BY_DESCRIPTOR = ("fsync", "fdatasync", "write", "pwrite", "ftruncate")


class Stop(BaseException):
    """The process ends here: whatever it still tries changes nothing."""


@dataclass
class Disk:
    """What stands between the code and the files below a folder.

    - `folder`: only what happens below it counts.
    - `fails_at`: number of the call that fails, from 0; ``None`` for none.
    - `kind`: ``fails once``: an input/output error at that call alone. ``stays full``: that call
      and all later ones that need space fail. ``stops``: nothing happens from that call on, of a
      write the first half does.
    - `calls`: what was called, in order.
    """

    folder: Path
    fails_at: int | None = None
    kind: Kind = "fails once"
    calls: list[str] = field(default_factory=list)

    def meet(self, call: str, half: Callable[[], object] = lambda: None) -> None:
        """Count a call, and fail if it is to; `half` does what half of it would have done."""
        number, at = len(self.calls), self.fails_at
        self.calls.append(call)
        if at is None or number < at:
            return
        if self.kind == "stops":
            if number == at:
                half()
            raise Stop(call)
        code = errno.EIO if self.kind == "fails once" else errno.ENOSPC
        if number == at or (self.kind == "stays full" and call not in FREES):
            raise OSError(code, os.strerror(code))

    def holds(self, path: Any) -> bool:
        """Whether a path is below the folder (an open file's number is taken for one)."""
        if isinstance(path, int):
            return True
        # Not resolved: a symbolic link is itself what is changed.
        return (Path.cwd() / os.fsdecode(path)).is_relative_to(self.folder)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Let all calls pass through here, made by a process that is gone afterwards."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "getpid", lambda: NO_PROCESS)
            for name in BY_PATH:
                patch.setattr(os, name, self._by_path(name, getattr(os, name)))
            for name in BY_DESCRIPTOR:
                patch.setattr(os, name, self._by_descriptor(name, getattr(os, name)))
            patch.setattr(os, "open", self._open_descriptor(os.open))
            opened = self._open(io.open)
            patch.setattr(io, "open", opened)
            patch.setattr("builtins.open", opened)
            patch.setattr(tensors, "save_file", self._save_file(tensors.save_file))
            yield

    def _by_path(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def met(path: Any, *arguments: Any, **options: Any) -> Any:
            # Relative to an open folder: `shutil.rmtree` at work.
            if options.get("dir_fd") is not None or self.holds(path):
                self.meet(name)
            return call(path, *arguments, **options)

        return met

    def _by_descriptor(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def met(descriptor: int, *arguments: Any) -> Any:
            def half() -> None:
                if name in {"write", "pwrite"}:
                    content, *place = arguments
                    call(descriptor, memoryview(content).cast("B")[: len(content) // 2], *place)

            self.meet(name, half)
            return call(descriptor, *arguments)

        return met

    def _open_descriptor(self, call: Callable[..., int]) -> Callable[..., int]:
        def met(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writes and self.holds(path):
                self.meet("open")
            return call(path, flags, *arguments, **options)

        return met

    def _open(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Open files to write over a `Raw` one, and others as ever."""

        def met(path: Any, mode: str = "r", buffering: int = -1, *text: Any, **options: Any) -> Any:
            if not set(mode) & set("wax+") or not self.holds(path):
                return call(path, mode, buffering, *text, **options)
            self.meet("open")
            raw = Raw(path, mode.replace("b", "").replace("t", ""))
            raw.disk = self
            if buffering == 0:
                return raw
            buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffer if "b" in mode else io.TextIOWrapper(buffer, *text, **options)

        return met

    def _save_file(self, call: Callable[..., None]) -> Callable[..., None]:
        def met(arrays: Any, path: Path, **options: Any) -> None:
            def half() -> None:
                call(arrays, path, **options)
                os.truncate(path, path.stat().st_size // 2)

            try:
                self.meet("save_file", half)
            except OSError as error:
                half()
                # As safetensors says it.
                raise SafetensorError(f"Error while serializing: I/O error: {error}") from None
            call(arrays, path, **options)

        return met


class Raw(io.FileIO):
    """A file of which each write passes through a `Disk`."""

    disk: Disk

    def write(self, content: Any, /) -> int:
        """Write, or half of it."""
        plain = memoryview(content).cast("B")
        parent = super()
        self.disk.meet("write", lambda: parent.write(plain[: len(plain) // 2]))
        return parent.write(plain)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut."""
        self.disk.meet("truncate")
        return super().truncate(size)


def contents(folder: Path) -> dict[str, bytes]:
    """Give the bytes of every file below a folder, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
