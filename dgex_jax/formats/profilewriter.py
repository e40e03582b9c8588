"""What every streaming writer of profiles shares: what is still to come, what fits, the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.ids import check_ids

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from dgex_jax.formats.expression import FloatArray


class ProfileWriter(ABC):
    """Base of the writers that get a file's values profile by profile.

    A context manager. Inside it, whoever has the values asks for `pending` and appends those
    profiles, in that order, in blocks of any size; the file appears under `path` when the block
    ends without an error and all of them have arrived. An older file stays as it was until then.

    Subclasses give `_open` (and enter on its stack whatever must be closed or removed) and
    `_write`, and where the end is more than closing, `_finish`.

    Parameters
    ----------
    path
        The file to be written.
    profiles, genes
        Ids, unique, in the order of the values to come.

    Attributes
    ----------
    missing
        Pieces that other processes have still to write when the block has ended.
    sha256
        Checksum of the file (hexadecimal) when the block has ended, where writing it gave that.

    Raises
    ------
    FormatError
        Ids that are missing or come twice, and at the end missing profiles.
    DgexError
        A place that can't be written to.
    """

    missing = 0
    sha256: str | None = None

    def __init__(self, path: Path | str, profiles: Sequence[str], genes: Sequence[str]) -> None:
        self.path = Path(path)
        self.profiles, self.genes = tuple(profiles), tuple(genes)
        check_ids(self.path, "profile", self.profiles)
        check_ids(self.path, "gene", self.genes)
        self._left: list[slice] = []
        self._stack = ExitStack()

    @abstractmethod
    def _open(self, stack: ExitStack) -> Sequence[slice]:
        """Make ready to write; give the runs of profiles that are to be written, ascending."""

    @abstractmethod
    def _write(self, start: int, block: FloatArray) -> None:
        """Write profiles from `start` on, ``(n, n_genes)``, which are known to fit."""

    def _finish(self) -> None:  # noqa: B027
        """Do what is left when all profiles are there, before what is open is closed."""

    def pending(self) -> Sequence[slice]:
        """Give the runs of profiles still to be appended, ascending; none if all are there.

        Right after the start they begin at multiples of the writer's unit. A file that goes on
        where it was interrupted (see `partial`) lists only what is missing.
        """
        return tuple(self._left)

    def append(self, block: FloatArray) -> None:
        """Add the next profiles in the order of `pending`.

        Parameters
        ----------
        block
            ``(n, n_genes)`` values in the order of the ids, of one run; NaN where there is none.

        Raises
        ------
        FormatError
            A wrong shape, more profiles than the run has, or values the format can't hold.
        DgexError
            The disk is full.
        """
        run = self._left[0] if self._left else slice(len(self.profiles), len(self.profiles))
        stop = run.start + len(block)
        if block.shape != (len(block), len(self.genes)) or stop > run.stop:
            raise FormatError(
                f"{self.path}: a block of shape {block.shape} does not fit at profile {run.start} "
                f"of {len(self.profiles)} x {len(self.genes)} genes"
            )
        with self._disk_errors():
            self._write(run.start, block)
        self._left[:1] = [slice(stop, run.stop)] if stop < run.stop else []

    def __enter__(self) -> Self:
        with ExitStack() as stack, self._disk_errors():
            self._left = [run for run in self._open(stack) if run.start < run.stop]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._disk_errors():
            if error is not None:
                self._stack.__exit__(kind, error, trace)
                return
            with self._stack:
                missing = sum(run.stop - run.start for run in self._left)
                if missing:
                    there, n = len(self.profiles) - missing, len(self.profiles)
                    raise FormatError(f"{self.path}: not written: {there} of {n} profiles")
                self._finish()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Turn what a disk (or HDF5, with a `RuntimeError`) says into one line."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            raise DgexError(f"{self.path}: can't be written: {one_line(error)}") from error
