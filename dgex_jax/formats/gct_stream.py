"""GCT 1.3 out, profile by profile: the format has a line for each gene, so values wait on disk."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.formats.gct_write import gct_lines
from dgex_jax.formats.lines import fill_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import pandas as pd
    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray


class GctWriter:
    """Write a GCT 1.3 file profile by profile (gzip-compressed if the suffix is ``.gz``).

    A context manager: the file appears under `path` when the block ends without an error and all
    profiles have arrived; otherwise nothing is left and an older file stays as it was. Values wait
    in a scratch folder beside it; in memory are a few genes of all profiles at a time.

    Parameters
    ----------
    path
        The file to be written.
    profiles, genes
        Ids, unique, in the order of the values to come.
    profile_metadata, gene_metadata
        One line an id, indexed by the ids in their order; stored as text, -666 where missing.

    Raises
    ------
    FormatError
        Ids or metadata the format can't hold, and at the end missing profiles.
    DgexError
        A place that can't be written to.
    """

    def __init__(
        self,
        path: Path | str,
        profiles: Sequence[str],
        genes: Sequence[str],
        profile_metadata: pd.DataFrame,
        gene_metadata: pd.DataFrame,
    ) -> None:
        self.path = Path(path)
        self.profiles, self.genes = tuple(profiles), tuple(genes)
        self.profile_metadata, self.gene_metadata = profile_metadata, gene_metadata
        self._stack = ExitStack()
        self._temporary = self._scratch = self.path
        self._pieces: list[tuple[int, int]] = []
        self._written = 0

    def __enter__(self) -> Self:
        # Ids and metadata that can't be written are refused here, not after hours.
        next(gct_lines(self.path, self, "1.3", None))
        with ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_path(self.path))
            folder = tempfile.TemporaryDirectory(prefix=".dgex_", dir=self._temporary.parent)
            self._scratch = Path(stack.enter_context(folder)) / "values"
            self._stack = stack.pop_all()
        return self

    def append(self, block: FloatArray) -> None:
        """Add the next profiles ``(n, n_genes)``, stored as float32; NaN where there is no value.

        Raises
        ------
        FormatError
            A wrong shape, or more profiles than ids.
        DgexError
            The disk is full.
        """
        n = len(block)
        if block.shape != (n, len(self.genes)) or self._written + n > len(self.profiles):
            raise FormatError(
                f"{self.path}: a block of shape {block.shape} does not fit at profile "
                f"{self._written} of {len(self.profiles)} x {len(self.genes)} genes"
            )
        try:
            with self._scratch.open("ab") as file:
                place = file.tell()
                # Gene by gene inside a block, so that some genes of it are one piece of the file.
                file.write(np.ascontiguousarray(block.T, dtype=np.float32).data)
        except OSError as error:
            raise DgexError(f"{self.path}: can't be written: {one_line(error)}") from error
        self._pieces.append((place, n))
        self._written += n

    def read(self, profiles: slice, genes: slice) -> NDArray[np.float32]:
        """Values ``(n_profiles, n_genes)`` of all profiles and some genes, as appended."""
        if profiles != slice(None):
            raise ValueError("only whole genes can be read back")
        start, stop, _ = genes.indices(len(self.genes))
        values = np.empty((stop - start, self._written), np.float32)
        column = 0
        with self._scratch.open("rb") as file:
            for place, n in self._pieces:
                file.seek(place + 4 * start * n)
                piece = np.fromfile(file, np.float32, (stop - start) * n)
                values[:, column : column + n] = piece.reshape(-1, n)
                column += n
        return values.T

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            if self._written < len(self.profiles):
                raise FormatError(
                    f"{self.path}: not written: {self._written} of {len(self.profiles)} profiles"
                )
            fill_lines(self._temporary, gct_lines(self.path, self, "1.3", None), self.path)
