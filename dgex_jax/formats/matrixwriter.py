"""Streaming writers of HDF5 files with one matrix of profiles, interrupted or in one go."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from dgex_jax.formats.atomic import atomic_path
from dgex_jax.formats.diskspace import require_space
from dgex_jax.formats.partial import PartialMatrix
from dgex_jax.formats.profilewriter import ProfileWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager, ExitStack
    from pathlib import Path

    from dgex_jax.formats.expression import FloatArray
    from dgex_jax.formats.partial import Resume


class MatrixWriter(ProfileWriter):
    """Base of the writers whose values are one matrix of an HDF5 file.

    Subclasses give `_lay_out`, `_described` and, where the format can't hold any value, `_stored`.

    Parameters
    ----------
    path, profiles, genes
        As in `ProfileWriter`.
    dtype
        How the matrix is stored.
    resume
        ``None``: an error leaves nothing. Else an interrupted file goes on (see `partial`); one
        process at a time, which the caller takes care of.
    compressed
        The matrix takes less place than its values (and can't be resumed).
    """

    def __init__(
        self,
        path: Path | str,
        profiles: Sequence[str],
        genes: Sequence[str],
        dtype: np.dtype[Any],
        resume: Resume | None,
        *,
        compressed: bool = False,
    ) -> None:
        super().__init__(path, profiles, genes)
        if compressed and resume is not None:
            raise ValueError("a compressed matrix can't go on where it was interrupted")
        self.dtype = dtype
        self._resume, self._compressed = resume, compressed
        self._matrix: Any = None
        self._partial: PartialMatrix | None = None

    @abstractmethod
    def _lay_out(self, path: Path, dcpl: Any) -> AbstractContextManager[Any]:
        """Write all but the values; give the matrix, created with `dcpl`, and close the file."""

    @abstractmethod
    def _described(self) -> Iterable[bytes]:
        """Give all that `_lay_out` writes, in some form that differs where that does."""

    def _stored(self, start: int, block: FloatArray) -> FloatArray:  # noqa: ARG002
        """Give values as they are stored (inf where too large), if the format can hold them."""
        with np.errstate(over="ignore"):
            return np.asarray(block, self.dtype)

    def _open(self, stack: ExitStack) -> Sequence[slice]:
        n, shape = len(self.profiles), (len(self.profiles), len(self.genes))
        if self._resume is not None:
            about = hashlib.sha256()
            for content in self._described():
                about.update(len(content).to_bytes(8, "big") + content)
            job = {**self._resume.job, "ids and metadata": about.hexdigest()}
            resume = replace(self._resume, job=job)
            self._partial = stack.enter_context(
                PartialMatrix(self.path, shape, self.dtype, resume, self._lay_out_early)
            )
            return [slice(self._partial.done, n)]
        temporary = stack.enter_context(atomic_path(self.path))
        if not self._compressed:
            require_space(self.path, shape[0] * shape[1] * self.dtype.itemsize)
        self._matrix = stack.enter_context(self._lay_out(temporary, None))
        return [slice(0, n)]

    def _write(self, start: int, block: FloatArray) -> None:
        stored = self._stored(start, block)
        if self._partial is not None:
            self._partial.write(start, stored)
        else:
            self._matrix[start : start + len(block)] = stored

    def __exit__(self, *stopped: Any) -> None:
        super().__exit__(*stopped)
        if self._partial is not None:
            self.sha256 = self._partial.sha256

    def _lay_out_early(self, path: Path) -> int:
        """Lay out the file with a place for its matrix from the start on; give that place."""
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        with self._lay_out(path, plan) as matrix:
            offset: int | None = matrix.id.get_offset()
        if offset is None:
            raise AssertionError("the matrix is not in one piece")
        return offset
