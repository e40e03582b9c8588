"""What every reader gives: a matrix of profiles by rows (genes or probes) with its ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

FloatArray = NDArray[np.floating[Any]]
Selection = slice | NDArray[np.integer[Any]] | None


class ExpressionSource(Protocol):
    """An expression file whose ids are known and whose values can be read in parts."""

    @property
    def path(self) -> Path:
        """The file, named in every error."""

    @property
    def profiles(self) -> tuple[str, ...]:
        """Profile (sample) ids, in file order."""

    @property
    def genes(self) -> tuple[str, ...]:
        """Probe or gene ids, in file order."""

    @property
    def gene_metadata(self) -> pd.DataFrame:
        """Annotation of the genes, a line each, indexed by id."""

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""


@dataclass(frozen=True)
class Expression:
    """A whole expression file in memory.

    Attributes
    ----------
    path
        The file it came from.
    values
        ``(n_profiles, n_genes)`` float32 or float64; NaN where the file has no value.
    profiles, genes
        Ids, unique, in file order.
    profile_metadata, gene_metadata
        One line a profile (gene), indexed by id; annotation is text and stays text.
    notes
        What was left out of the values, a line each.
    comments
        Lines of text before the table.
    """

    path: Path
    values: FloatArray
    profiles: tuple[str, ...]
    genes: tuple[str, ...]
    profile_metadata: pd.DataFrame = field(default_factory=pd.DataFrame)
    gene_metadata: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()

    @property
    def n_missing(self) -> int:
        """Number of missing values."""
        return int(np.isnan(self.values).sum())

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""
        rows = slice(None) if profiles is None else profiles
        columns = slice(None) if genes is None else genes
        return self.values[rows][:, columns]
