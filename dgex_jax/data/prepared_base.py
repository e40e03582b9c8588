"""What training asks of a prepared study, whatever file it comes from."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from dgex_jax.config import PARTS
from dgex_jax.data.genemap import is_ensembl
from dgex_jax.errors import FormatError
from dgex_jax.formats.closing import Closing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray

GeneIds = Literal["ensembl", "probe", "number"]
"""What the ids of a study's genes are: Ensembl ids; probe ids (a study of arrays alone, whose genes
are its probes); numbers given by the reader to columns that have no ids."""

Scaling = tuple["NDArray[np.float64]", "NDArray[np.float64]"]

ROWS_AT_A_TIME = 4096


class Prepared(Closing):
    """A prepared study opened for reading: standardised landmarks X and targets Y of its parts.

    Opening reads names and shapes; values are read, and checked to be finite, when asked for.
    A context manager.

    Attributes
    ----------
    path
        The file.
    name, title
        The study.
    simulated
        Whether the expression values are made up.
    parts
        Those of `PARTS` that the study has: all five, or the first three (arrays alone).
    gene_ids
        What `landmarks` and `targets` hold.
    landmarks, targets
        Unique ids in the order of the columns of X and Y.
    landmark_symbols, symbols
        Gene symbols of landmarks and of targets; empty where not known.
    copy_of_landmark
        ``(n_targets,)`` bool: the target has the Ensembl id of a landmark.
    halves
        Columns of Y of the first and the second half of the targets.
    """

    path: Path
    name: str
    title: str
    simulated: bool
    parts: tuple[str, ...] = PARTS
    gene_ids: GeneIds
    landmarks: tuple[str, ...]
    landmark_symbols: tuple[str, ...]
    targets: tuple[str, ...]
    symbols: tuple[str, ...]
    copy_of_landmark: NDArray[np.bool_]
    halves: tuple[slice, slice]

    @property
    def n_landmarks(self) -> int:
        """Number of landmark genes."""
        return len(self.landmarks)

    @property
    def n_targets(self) -> int:
        """Number of target genes, both halves."""
        return len(self.targets)

    @property
    def landmark_ensembl(self) -> tuple[str, ...]:
        """Ensembl ids of the landmarks; empty where a gene has none or its id is not known."""
        return self._ensembl("landmark", self.landmarks)

    @property
    def target_ensembl(self) -> tuple[str, ...]:
        """Ensembl ids of the targets, likewise."""
        return self._ensembl("target", self.targets)

    def _ensembl(self, role: str, ids: tuple[str, ...]) -> tuple[str, ...]:
        if self.gene_ids == "ensembl":
            return ids
        known = self._known_ensembl(role)
        if known is not None:
            return known
        return tuple(one if is_ensembl(one) else "" for one in ids)

    def _known_ensembl(self, role: str) -> tuple[str, ...] | None:  # noqa: ARG002
        """Ensembl ids of probes, if the file says anything of them."""
        return None

    @property
    @abstractmethod
    def landmark_probes(self) -> tuple[tuple[str, ...], ...]:
        """For each landmark the probes that its array values are the mean of, in map order.

        Raises
        ------
        FormatError
            The file does not say (as for all properties below).
        """

    @property
    @abstractmethod
    def target_probes(self) -> tuple[tuple[str, ...], ...]:
        """For each target the probes that its array values are the mean of, in map order."""

    @property
    @abstractmethod
    def landmark_entrez(self) -> tuple[str, ...]:
        """Entrez gene ids of the landmarks, decimal text; empty where not known."""

    @property
    @abstractmethod
    def target_entrez(self) -> tuple[str, ...]:
        """Entrez gene ids of the targets, likewise."""

    @property
    @abstractmethod
    def quantile(self) -> NDArray[np.float64] | None:
        """Reference quantile ``(n_landmarks + n_targets,)`` float64, never falling.

        ``None`` where the file says of no quantile normalisation.
        """

    @property
    @abstractmethod
    def landmark_quantile(self) -> NDArray[np.float64]:
        """Reference quantile of the landmarks alone, ``(n_landmarks,)`` float64, never falling.

        The mean over GEO-tr of each profile's sorted landmark values *after* the joint quantile
        normalisation of all genes: the scale that is then standardised. So a profile of which only
        landmarks are known, mapped on it by the ranks among them, is on the scale of `scaling`.
        """

    @abstractmethod
    def scaling(self, part: str, kind: str) -> Scaling:
        """Means and deviations ``(n_genes,)`` that X or Y (`kind`) of `part` was scaled with.

        The standardised value is ``(value - mean) / (deviation + normalize.OFFSET)``.
        """

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file (hexadecimal)."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @abstractmethod
    def n_profiles(self, part: str) -> int:
        """Return the number of profiles of one of `parts`."""

    @abstractmethod
    def _read(self, part: str, kind: str, rows: slice, columns: slice) -> FloatArray:
        """Read rows and columns of X or Y of a part; both are given by start and stop."""

    def X(self, part: str, rows: slice = slice(None)) -> NDArray[np.float32]:
        """Landmarks of one of `parts`, ``(n_rows, n_landmarks)`` float32, C-contiguous.

        Parameters
        ----------
        part
            One of `parts`.
        rows
            Which of its profiles (a slice with step 1).

        Raises
        ------
        FormatError
            Values can't be read or are not finite.
        """
        return self._checked(part, "X", rows, slice(0, self.n_landmarks))

    def Y(
        self, part: str, columns: slice = slice(None), rows: slice = slice(None)
    ) -> NDArray[np.float32]:
        """Targets of one of `parts`, ``(n_rows, n_columns)`` float32, C-contiguous.

        Parameters
        ----------
        part
            One of `parts`.
        columns
            Which targets, as one of `halves` (a slice with step 1).
        rows
            Which of its profiles (likewise).

        Raises
        ------
        FormatError
            Values can't be read or are not finite.
        """
        return self._checked(part, "Y", rows, _plain("columns", columns, self.n_targets))

    def _checked(self, part: str, kind: str, rows: slice, columns: slice) -> NDArray[np.float32]:
        if part not in self.parts:
            raise KeyError(f"{part!r} is not one of {', '.join(self.parts)}")
        rows = _plain("rows", rows, self.n_profiles(part))
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(self._read(part, kind, rows, columns), dtype=np.float32)
        n_bad, first = 0, None
        for start in range(0, len(values), ROWS_AT_A_TIME):
            bad = np.argwhere(~np.isfinite(values[start : start + ROWS_AT_A_TIME]))
            n_bad += len(bad)
            if first is None and len(bad):
                row, column = bad[0].tolist()
                first = (rows.start + start + row + 1, columns.start + column + 1)
        if first is not None:
            raise FormatError(
                f"{self.path}: {self._array_name(part, kind)}: {n_bad} values are not finite, "
                f"the first in row {first[0]}, column {first[1]}"
            )
        return values

    def _array_name(self, part: str, kind: str) -> str:
        return f"{kind}_{part}"


def _plain(what: str, run: slice, length: int) -> slice:
    """Return a run of rows or columns by its start and stop, none of them negative or missing."""
    start, stop, step = run.indices(length)
    if step != 1:
        raise ValueError(f"{what} must have step 1, not {step}")
    return slice(start, max(start, stop))
