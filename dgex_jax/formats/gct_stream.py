"""GCT 1.3 out, profile by profile: the format has a line for each gene, so values wait on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.formats.atomic import atomic_path
from dgex_jax.formats.diskspace import require_space
from dgex_jax.formats.gct_write import gct_lines
from dgex_jax.formats.lines import fill_lines
from dgex_jax.formats.profilewriter import ProfileWriter
from dgex_jax.formats.temporary import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    import pandas as pd
    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray


class GctWriter(ProfileWriter):
    """Write a GCT 1.3 file profile by profile (gzip-compressed if the suffix is ``.gz``).

    A context manager (see `ProfileWriter`): the file appears under `path` when the block ends
    without an error and all profiles have arrived; otherwise nothing is left and an older file
    stays as it was. Values (float32) wait in a scratch folder beside it; in memory are a few genes
    of all profiles at a time. As no line of the text is whole before the last profile is there, an
    interrupted file begins anew.

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
        super().__init__(path, profiles, genes)
        self.profile_metadata, self.gene_metadata = profile_metadata, gene_metadata
        self._temporary = self._scratch = self.path
        self._pieces: list[tuple[int, int]] = []

    def _open(self, stack: ExitStack) -> Sequence[slice]:
        # Ids and metadata that can't be written are refused here, not after hours.
        next(gct_lines(self.path, self, "1.3", None))
        self._temporary = stack.enter_context(atomic_path(self.path))
        require_space(self.path, 4 * len(self.profiles) * len(self.genes))
        folder = temporary_folder(self._temporary.with_name(f"{self.path.name}.values"))
        self._scratch = Path(stack.enter_context(folder)) / "values"
        return [slice(0, len(self.profiles))]

    def _write(self, start: int, block: FloatArray) -> None:  # noqa: ARG002
        with self._scratch.open("ab") as file:
            place = file.tell()
            # Gene by gene inside a block, so that some genes of it are one piece of the file.
            file.write(np.ascontiguousarray(block.T, dtype=np.float32).data)
        self._pieces.append((place, len(block)))

    def _finish(self) -> None:
        fill_lines(self._temporary, gct_lines(self.path, self, "1.3", None), self.path)

    def read(self, profiles: slice, genes: slice) -> NDArray[np.float32]:
        """Values ``(n_profiles, n_genes)`` of all profiles and some genes, as appended."""
        if profiles != slice(None):
            raise ValueError("only whole genes can be read back")
        start, stop, _ = genes.indices(len(self.genes))
        values = np.empty((stop - start, len(self.profiles)), np.float32)
        column = 0
        with self._scratch.open("rb") as file:
            for place, n in self._pieces:
                file.seek(place + 4 * start * n)
                piece = np.fromfile(file, np.float32, (stop - start) * n)
                values[:, column : column + n] = piece.reshape(-1, n)
                column += n
        return values.T
