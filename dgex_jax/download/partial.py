"""An unfinished file and what is known of it: of which very file it is the beginning."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from time import monotonic
from typing import IO, TYPE_CHECKING, Self

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import move_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from dgex_jax.download.limits import Limits


@dataclass(frozen=True)
class Kept:
    """What is kept of a file.

    Attributes
    ----------
    url
        Where it is from.
    validator
        What the server calls this version of it (`If-Range` of HTTP); empty if nothing.
    total
        Its bytes; ``None`` if not known.
    n_bytes
        How many of them, from the first on, are on the disk.
    """

    url: str
    validator: str = ""
    total: int | None = None
    n_bytes: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.n_bytes == self.total


class Partial:
    """The file ``<name>.partial`` beside a file to come, and ``<name>.partial.json``.

    A context manager while it is written to; it closes with all that arrived on the disk.

    Parameters
    ----------
    final
        The file to come.
    limits
        How often the disk is waited for.

    Attributes
    ----------
    path
        The unfinished file.
    kept
        What is in it; ``None`` if that is nothing.
    """

    def __init__(self, final: Path, limits: Limits) -> None:
        self.path = final.with_name(f"{final.name}.partial")
        self._about = final.with_name(f"{final.name}.partial.json")
        self._limits = limits
        self._file: IO[bytes] | None = None
        self._last_sync = 0.0
        self._on_disk = 0
        self.kept = self._find()

    def begin(self, url: str, validator: str, total: int | None) -> Self:
        """Open an empty file over whatever is there."""
        self.discard()
        with self._errors():
            self._file = self.path.open("xb", buffering=0)
        return self._opened(Kept(url, validator, total))

    def go_on(self) -> Self:
        """Open the file at the end of what is kept."""
        if self.kept is None:
            raise AssertionError("nothing is kept")
        with self._errors():
            self._file = self.path.open("r+b", buffering=0)
            # What is behind may never have reached the disk as it was meant.
            self._file.truncate(self.kept.n_bytes)
            self._file.seek(self.kept.n_bytes)
        return self._opened(self.kept)

    def write(self, piece: bytes) -> None:
        """Add what arrived."""
        file, kept = self._file, self.kept
        if file is None or kept is None:
            raise AssertionError("not open")
        with self._errors():
            rest = memoryview(piece)
            while rest:
                rest = rest[file.write(rest) :]
        n_bytes = kept.n_bytes + len(piece)
        self.kept = Kept(kept.url, kept.validator, kept.total, n_bytes)
        due = monotonic() - self._last_sync > self._limits.sync_seconds
        if due or n_bytes - self._on_disk >= self._limits.sync_bytes:
            self._sync()

    def finish(self) -> None:
        """Note that all has arrived."""
        if self.kept is None:
            raise AssertionError("nothing is kept")
        kept = self.kept
        self.kept = Kept(kept.url, kept.validator, kept.n_bytes, kept.n_bytes)

    def discard(self) -> None:
        """Remove it all."""
        self.kept = None
        # What is known of it first: without that, nothing is gone on from.
        self._about.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._file is None:
            return
        try:
            # A full disk takes no more notes either: those of before then count.
            with suppress(*((DgexError,) if error is not None else ())):
                self._sync()
        finally:
            self._file.close()
            self._file = None

    def _opened(self, kept: Kept) -> Self:
        self.kept, self._on_disk, self._last_sync = kept, kept.n_bytes, monotonic()
        return self

    def _sync(self) -> None:
        if self._file is None or self.kept is None:
            return
        text = json.dumps(asdict(self.kept), sort_keys=True)
        new = self._about.with_name(f"{self._about.name}.new")
        with self._errors():
            os.fsync(self._file.fileno())
            new.write_text(text, encoding="utf-8")
            move_whole(new, self._about)
        self._on_disk, self._last_sync = self.kept.n_bytes, monotonic()

    def _find(self) -> Kept | None:
        try:
            found = json.loads(self._about.read_text(encoding="utf-8"))
            size = self.path.stat().st_size
        except (OSError, ValueError):
            return None
        match found:
            case {
                "url": str(url),
                "validator": str(validator),
                "total": (int() | None) as total,
                "n_bytes": int(n_bytes),
            } if 0 < n_bytes <= size and not self.path.is_symlink():
                return Kept(url, validator, total, n_bytes)
        return None

    def _errors(self) -> AbstractContextManager[None]:
        return _disk_errors(self.path)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DgexError(f"{path}: can't be written: {one_line(error)}") from error
