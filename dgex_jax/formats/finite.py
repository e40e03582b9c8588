"""No computation starts from values that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dgex_jax.formats.expression import FloatArray


class FiniteCheck:
    """Counts what is missing or infinite in a file that is read block by block.

    Parameters
    ----------
    path
        The file, named in the error.
    genes
        Ids of the columns of every block.
    """

    def __init__(self, path: Path, genes: Sequence[str]) -> None:
        self.path = path
        self.genes = genes
        self.n_missing = 0
        self.n_infinite = 0
        self._first: str | None = None

    def add(self, block: FloatArray, profile_ids: Sequence[str]) -> None:
        """Count the next block.

        Parameters
        ----------
        block
            ``(n, n_genes)`` values.
        profile_ids
            ``(n,)`` ids of its rows.
        """
        bad = ~np.isfinite(block)
        n_bad = int(bad.sum())
        if n_bad == 0:
            return
        n_missing = int(np.isnan(block).sum())
        self.n_missing += n_missing
        self.n_infinite += n_bad - n_missing
        if self._first is None:
            row, column = divmod(int(bad.argmax()), bad.shape[1])
            self._first = (
                f"{block[row, column]} in profile {profile_ids[row]!r}, gene {self.genes[column]!r}"
            )

    def raise_if_any(self) -> None:
        """Raise `FormatError` with the counts and the first place, if any block had one."""
        if self._first is not None:
            raise FormatError(
                f"{self.path}: {self.n_missing} missing and {self.n_infinite} infinite values; "
                f"the first is {self._first}"
            )


def require_finite(
    values: FloatArray, *, path: Path, profiles: Sequence[str], genes: Sequence[str]
) -> None:
    """Raise `FormatError` if a value is missing or infinite.

    Parameters
    ----------
    values
        ``(n_profiles, n_genes)``.
    path
        The file they come from.
    profiles, genes
        Their ids.
    """
    check = FiniteCheck(path, genes)
    check.add(values, profiles)
    check.raise_if_any()
