"""A large matrix under ``<output>.partial``: an interrupted file goes on where it stopped.

The file around the matrix is laid out and closed first, with the matrix in one piece of known
place. Values then go there by plain writes, outside HDF5, so that no kill ever harms more than the
values under way. The journal ``<output>.partial.json`` says which profiles the disk has, and what
they were made by: only the same job goes on, and only behind values whose checksums are right.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import final_place, move_whole, sync
from dgex_jax.formats.behind import Behind
from dgex_jax.formats.diskspace import require_space
from dgex_jax.formats.partialcheck import find, hash_range, head_sha256
from dgex_jax.formats.partialjournal import (
    add_run,
    cut_journal,
    read_journal,
    start_journal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dgex_jax.formats.expression import FloatArray
    from dgex_jax.formats.partialcheck import Found

RUN_BYTES = 1 << 26
"""Of a run; a kill loses two at most: one on its way to the disk, one that is being written."""


@dataclass(frozen=True)
class Resume:
    """What makes a file that was interrupted go on.

    Attributes
    ----------
    job
        All that decides the file's bytes, as JSON values under names a user understands: a file of
        another job begins anew.
    unit
        Profiles; runs begin at multiples of it.
    report
        Gets one line when a file goes on, or begins anew although profiles were there.
    """

    job: Mapping[str, Any]
    unit: int
    report: Callable[[str], None]


class PartialMatrix:
    """The matrix of an unfinished file.

    A context manager; when its block ends without an error the file is moved to its final name. On
    any error (a kill included) what is journaled stays, if that is anything at all.

    Parameters
    ----------
    final
        Where the file shall be.
    shape, dtype
        Profiles and genes, and how their values lie in the file.
    resume
        Of which job, and whom to tell.
    lay_out
        Writes a whole file, but for the values of its matrix, to a path; gives the place of the
        first of them in bytes. They must lie in one piece, a profile after the other.

    Attributes
    ----------
    done
        Profiles that are journaled.
    sha256
        Checksum of the whole file (hexadecimal), once it is moved to its final name.

    Raises
    ------
    DgexError
        No place, no space. An `OSError` passes through.
    """

    def __init__(
        self,
        final: Path,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        resume: Resume,
        lay_out: Callable[[Path], int],
    ) -> None:
        self._final, self._place = final, final_place(final)
        self._path = self._place.with_name(f"{self._place.name}.partial")
        self._journal = self._path.with_name(f"{self._path.name}.json")
        self._shape, self._dtype = shape, dtype
        self._resume, self._lay_out = resume, lay_out
        self._row_bytes = shape[1] * dtype.itemsize
        self._bytes = shape[0] * self._row_bytes
        self._run_profiles = -(-RUN_BYTES // (self._row_bytes * resume.unit)) * resume.unit
        layout = {"shape": list(shape), "dtype": dtype.str, "unit": resume.unit}
        self._header = {"job": resume.job, "layout": layout}
        self._offset = self._descriptor = 0
        self._sha256: Any = hashlib.sha256()
        self._hash = Behind(self._hash_part, ahead=1)
        self._record = Behind(self._journal_run, ahead=1)
        self.done = self._run_start = 0
        self.sha256: str | None = None

    def __enter__(self) -> Self:
        found = find(self._path, self._journal, self._header, self._row_bytes)
        if found is not None:
            self._tell(found)
        if found is not None and found.done:
            self._go_on(found)
        else:
            self._begin()
        self._descriptor = os.open(self._path, os.O_RDWR)
        if not self.done:
            hash_range(self._sha256, self._descriptor, 0, self._offset)
        self._run_start = self.done
        return self

    def write(self, start: int, values: FloatArray) -> None:
        """Write the next profiles ``(n, n_genes)``, of the dtype of the file, from `start` on."""
        while len(values):
            run_stop = self._run_start + self._run_profiles
            part, values = values[: run_stop - start], values[run_stop - start :]
            content = np.ascontiguousarray(part).data.cast("B")
            # While the disk takes them: reading the file again would cost as much as writing it.
            self._hash(content)
            _write_at(self._descriptor, content, self._offset + start * self._row_bytes)
            self._hash.settle()
            start += len(part)
            if start == run_stop:
                # The next run is written meanwhile: the disk never waits for it.
                self._record(self._run_start, start, self._sha256.hexdigest())
                self._run_start = start

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._hash.close()
        try:
            with nullcontext() if error is None else suppress(OSError):
                self._record.settle()
            if error is None:
                size = os.fstat(self._descriptor).st_size
                hash_range(self._sha256, self._descriptor, self._offset + self._bytes, size)
                move_whole(self._path, self._place)
        except OSError as failure:
            self._keep(DgexError(f"{self._final}: can't be written: {one_line(failure)}"))
            raise
        finally:
            self._record.close()
            os.close(self._descriptor)
        if error is not None:
            self._keep(error)
            return
        self._journal.unlink(missing_ok=True)
        self.sha256 = self._sha256.hexdigest()

    def _hash_part(self, content: memoryview) -> None:
        # Looked up anew: a file that goes on brings its own.
        self._sha256.update(content)

    def _journal_run(self, start: int, stop: int, sha256: str) -> None:
        os.fsync(self._descriptor)
        add_run(self._journal, start, stop, sha256)
        self.done = stop

    def _tell(self, found: Found) -> None:
        before, n = f"{found.journaled:,}", f"{self._shape[0]:,}"
        if not found.done:
            line = f"begins anew, not at profile {before}: {found.cause}"
        else:
            line = f"goes on at profile {found.done:,} of {n}"
            line += f", not {before}: {found.cause}" if found.cause else ""
        self._resume.report(f"{self._final}: {line}")

    def _go_on(self, found: Found) -> None:
        self.done, self._offset, self._sha256 = found.done, found.offset, found.sha256
        # Also half a line, which the next one would be joined to.
        cut_journal(self._journal, found.end)
        try:
            status = self._path.stat()
            require_space(self._final, status.st_size - 512 * status.st_blocks)
        except DgexError as error:
            self._keep(error)

    def _begin(self) -> None:
        """Lay out a new file, over whatever is there."""
        self._clear()
        require_space(self._final, self._bytes)
        try:
            self._offset = self._lay_out(self._path)
            sync(self._path, os.O_RDWR)
            with self._path.open("rb") as file:
                checksum = head_sha256(file.fileno(), self._offset, self._bytes)
            about = {"offset": self._offset, "head_sha256": checksum}
            start_journal(self._journal, self._header | about)
            sync(self._path.parent, os.O_RDONLY)
        except BaseException:
            self._clear()
            raise

    def _clear(self) -> None:
        # The journal first: without one, nothing is taken for work that was done.
        self._journal.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _keep(self, error: BaseException) -> None:
        """Keep what is worth it, and say so: in the text of an error of ours."""
        # As it is on the disk: an interrupt may have come between a run's line and our own count.
        entries = read_journal(self._journal)
        if entries is None or not entries.runs or not self._path.exists():
            self._clear()
            return
        kept = (
            f"{entries.runs[-1].stop:,} of {self._shape[0]:,} profiles are kept in "
            f"{self._path.name}, the same command goes on there"
        )
        if isinstance(error, DgexError):
            raise type(error)(f"{error}; {kept}") from error
        self._resume.report(f"{self._final}: {kept}")


def _write_at(descriptor: int, content: memoryview, place: int) -> None:
    while content:
        n = os.pwrite(descriptor, content, place)
        content, place = content[n:], place + n
