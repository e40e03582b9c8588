"""Matrices that grow in ``<output>.partial``: an interrupted file resumes where it stopped.

The file around its matrices is laid out and closed first, each matrix in one piece of known place.
Values then go there by plain writes, outside HDF5, so that no kill ever harms more than the
values under way. The journal ``<output>.partial.json`` says of which job the file is and which
profiles are on the disk, with the checksum of the file up to each run of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from dgex_jax.errors import DgexError
from dgex_jax.io.files import final_place, hash_range, move_whole, one_line, require_space, sync
from dgex_jax.io.manifest import read_record, write_record
from dgex_jax.io.progress import Behind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dgex_jax.io.expression import FloatArray

RUN_BYTES = 1 << 26
"""Of a run; a kill loses two at most: one on its way to the disk, one that is being written."""

FORMAT = {"format": "dgex partial", "format_version": 4}


@dataclass(frozen=True)
class Resume:
    """What lets an interrupted file resume.

    `job` is all that decides the file's bytes, as JSON values under names a user understands: an
    unfinished file of another job is written from its first profile. Runs begin at multiples of
    `unit` profiles. `report` gets one line when a file resumes, or restarts although profiles were
    there.
    """

    job: Mapping[str, Any]
    unit: int
    report: Callable[[str], None]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name the keys in which two jobs differ, with the parts that do: ``options (scale)``."""
    found = []
    for name in sorted(key for key in {*before, *now} if before.get(key) != now.get(key)):
        old, new = before.get(name), now.get(name)
        parts = ""
        if isinstance(old, dict) and isinstance(new, dict):
            differing = (key for key in {*old, *new} if old.get(key) != new.get(key))
            parts = f" ({', '.join(sorted(differing))})"
        found.append(f"{name}{parts}")
    return found


class PartialMatrices:
    """The matrices of an unfinished file: ``(n_profiles, width)`` for each of `widths`.

    A context manager; when its block ends without an error the file is moved to `final`. On any
    error (a kill included) what is journaled stays, if that is anything at all. `lay_out` writes a
    file, but for the values of its matrices, to a path, and gives the places of their first values
    in bytes; each must lie in one piece, a profile after the other. Profiles before `done` are on
    the disk; `sha256` is the checksum of the file once it has its final name, where the first
    matrix is the first in the file.

    Raises `DgexError` where there is no place or no space; an `OSError` passes through.
    """

    def __init__(
        self,
        final: Path,
        n_profiles: int,
        widths: Sequence[int],
        dtype: np.dtype[Any],
        resume: Resume,
        lay_out: Callable[[Path], Sequence[int]],
    ) -> None:
        self._final, self._place = final, final_place(final)
        self._path = self._place.with_name(f"{self._place.name}.partial")
        self._journal = self._path.with_name(f"{self._path.name}.json")
        self._report, self._lay_out, self._n = resume.report, lay_out, n_profiles
        self._row_bytes = [width * dtype.itemsize for width in widths]
        self._run_profiles = -(-RUN_BYTES // (sum(self._row_bytes) * resume.unit)) * resume.unit
        layout = {"shape": [n_profiles, *widths], "dtype": dtype.str, "unit": resume.unit}
        # As it is read back: without tuples.
        self._job = json.loads(json.dumps({**resume.job, "layout": layout}))
        self._about: dict[str, Any] = {}
        self._runs: list[list[Any]] = []
        self._offsets: list[int] = []
        self._digests: list[Any] = []
        self._descriptor = self._run_start = self.done = 0
        self._record = Behind(self._journal_run, ahead=1)
        self.sha256: str | None = None

    def __enter__(self) -> Self:
        try:
            self._find()
            if not self.done:
                self._begin()
        except DgexError as error:
            self._keep(error)
        self._descriptor = os.open(self._path, os.O_RDWR)
        if not self.done:
            self._digests = self._new_digests(self._descriptor)
        self._run_start = self.done
        self._hash = Behind(_add, ahead=1)
        return self

    def write(self, start: int, matrices: Sequence[FloatArray]) -> None:
        """Write the next profiles of each matrix, of the dtype of the file, from `start` on."""
        while len(matrices[0]):
            run_stop = self._run_start + self._run_profiles
            parts = [values[: run_stop - start] for values in matrices]
            matrices = [values[run_stop - start :] for values in matrices]
            for place, part in enumerate(parts):
                content = np.ascontiguousarray(part).data.cast("B")
                # While the disk takes them: reading the file again would cost as much as writing.
                self._hash(self._digests[place], content)
                _write_at(self._descriptor, content, self._at(place, start))
                self._hash.settle()
            start += len(parts[0])
            if start == run_stop:
                # The next run is written meanwhile: the disk never waits for it.
                self._record(start, [digest.hexdigest() for digest in self._digests])
                self._run_start = start

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._hash.close()
        try:
            with nullcontext() if error is None else suppress(OSError, DgexError):
                self._record.settle()
            if error is None:
                size = os.fstat(self._descriptor).st_size
                if self._leads:
                    hash_range(self._digests[0], self._descriptor, self._at(0, self._n), size)
                move_whole(self._path, self._place)
        except OSError as failure:
            self._keep(DgexError(f"{self._final}: can't be written: {one_line(failure)}"))
        except DgexError as failure:
            self._keep(failure)
        finally:
            self._record.close()
            os.close(self._descriptor)
        if error is not None:
            self._keep(error)
            return
        self._journal.unlink(missing_ok=True)
        self.sha256 = self._digests[0].hexdigest() if self._leads else None

    @property
    def _leads(self) -> bool:
        """Whether the first matrix is the first in the file, so that its checksum begins there."""
        return self._offsets[0] == min(self._offsets)

    def _at(self, place: int, profile: int) -> int:
        return self._offsets[place] + profile * self._row_bytes[place]

    def _new_digests(self, descriptor: int) -> list[Any]:
        """Begin the checksums of the matrices; that of a file's first with what is before it."""
        digests = [hashlib.sha256() for _ in self._offsets]
        if self._leads:
            hash_range(digests[0], descriptor, 0, self._offsets[0])
        return digests

    def _journal_run(self, stop: int, sha256: Sequence[str]) -> None:
        os.fsync(self._descriptor)
        self._runs.append([stop, *sha256])
        self._write_journal()
        self.done = stop

    def _write_journal(self) -> None:
        made = {**FORMAT, "job": self._job, **self._about, "runs": self._runs}
        write_record(self._journal, made, {})

    def _find(self) -> None:
        """Look how many profiles an interrupted writer of this job left; say so if any."""
        found = read_record(self._journal)
        found = found if found.items() >= FORMAT.items() else {}
        runs = found.get("runs", [])
        if not self._path.is_file() or not self._journal.is_file() or (found and not runs):
            return
        other = differences(found.get("job", {}), self._job)
        if not found:
            cause = "its journal is damaged or of another version"
        elif other:
            cause = f"not the same {', '.join(other)}"
        else:
            cause = self._check(found)
        before = f"{runs[-1][0]:,}" if runs else ""
        if not self.done:
            line = f"restarts, not at profile {before}: {cause}" if runs else f"restarts: {cause}"
        else:
            line = f"resumes at profile {self.done:,} of {self._n:,}"
            line += f", not {before}: {cause}" if cause else ""
        self._report(f"{self._final}: {line}")
        if self.done:
            self._write_journal()
            status = self._path.stat()
            require_space(self._final, status.st_size - 512 * status.st_blocks)

    def _check(self, found: Mapping[str, Any]) -> str:
        """Take over the runs whose bytes are those that were written; say why not all of them.

        They are read for it, once: the finished file's checksum needs that anyway.
        """
        self._offsets = [found["offset"], *found["further_offsets"]]
        with self._path.open("rb") as file:
            if self._around(file.fileno()) != found["around_sha256"]:
                return "it is damaged, or another file than its journal's"
            keys = ("offset", "further_offsets", "around_sha256")
            self._about = {key: found[key] for key in keys}
            sound = self._new_digests(file.fileno())
            for stop, *expected in found["runs"]:
                digests = [digest.copy() for digest in sound]
                for place, digest in enumerate(digests):
                    run = self._at(place, self.done), self._at(place, stop)
                    hash_range(digest, file.fileno(), *run)
                if [digest.hexdigest() for digest in digests] != expected:
                    return "values before that are damaged"
                self._digests, self.done = digests, stop
                self._runs.append([stop, *expected])
                sound = digests
        return ""

    def _around(self, descriptor: int) -> str:
        """Checksum of the file but for its matrices."""
        digest, start = hashlib.sha256(), 0
        for offset, place in sorted((offset, place) for place, offset in enumerate(self._offsets)):
            hash_range(digest, descriptor, start, offset)
            start = self._at(place, self._n)
        hash_range(digest, descriptor, start, os.fstat(descriptor).st_size)
        return digest.hexdigest()

    def _begin(self) -> None:
        """Lay out a new file, over whatever is there."""
        self._clear()
        require_space(self._final, self._n * sum(self._row_bytes))
        try:
            self._offsets = list(self._lay_out(self._path))
            sync(self._path, os.O_RDWR)
            with self._path.open("rb") as file:
                around = self._around(file.fileno())
            first, *others = self._offsets
            self._about = {"offset": first, "further_offsets": others, "around_sha256": around}
            self._write_journal()
        except BaseException:
            self._clear()
            raise

    def _clear(self) -> None:
        # The journal first: without one, nothing is taken for work that was done.
        self._journal.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _keep(self, error: BaseException) -> None:
        """Keep what is worth it, and say so: in the text of an error of ours, which is raised."""
        # As it is on the disk: an interrupt may have come between the journal and our own count.
        runs = read_record(self._journal).get("runs")
        if runs and self._path.exists():
            kept = (
                f"{runs[-1][0]:,} of {self._n:,} profiles are kept in {self._path.name}, "
                "the same command resumes there"
            )
            if isinstance(error, DgexError):
                raise type(error)(f"{error}; {kept}") from error
            self._report(f"{self._final}: {kept}")
            return
        self._clear()
        if isinstance(error, DgexError):
            raise error


def _add(digest: Any, content: memoryview) -> None:
    digest.update(content)


def _write_at(descriptor: int, content: memoryview, place: int) -> None:
    while content:
        n = os.pwrite(descriptor, content, place)
        content, place = content[n:], place + n
