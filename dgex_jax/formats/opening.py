"""An expression file opened by what it holds, never by its name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from dgex_jax.formats.delimited import read_delimited
from dgex_jax.formats.expression import Expression, ExpressionSource
from dgex_jax.formats.gct import read_gct
from dgex_jax.formats.gctx import Gctx
from dgex_jax.formats.h5ad import H5ad
from dgex_jax.formats.recognise import kind_of
from dgex_jax.formats.rpkm import read_rpkm

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from dgex_jax.formats.expression import FloatArray, Selection
    from dgex_jax.formats.table import GeneFilter

__all__ = [
    "AnnotatedSource",
    "Subset",
    "Transposed",
    "comments_of",
    "is_table",
    "kind_of",
    "notes_of",
    "open_expression",
]


class AnnotatedSource(ExpressionSource, Protocol):
    """An `ExpressionSource` that also knows what its file says of profiles and genes."""

    @property
    def profile_metadata(self) -> pd.DataFrame:
        """One line a profile, indexed by id (or no column at all)."""

    @property
    def gene_metadata(self) -> pd.DataFrame:
        """One line a gene, indexed by id (or no column at all)."""


@dataclass(frozen=True)
class Transposed:
    """A file whose profiles are where others have their genes, and the other way round."""

    base: AnnotatedSource

    @property
    def path(self) -> Path:
        """The file."""
        return self.base.path

    @property
    def profiles(self) -> tuple[str, ...]:
        """Ids on the gene axis of the file."""
        return self.base.genes

    @property
    def genes(self) -> tuple[str, ...]:
        """Ids on the profile axis of the file."""
        return self.base.profiles

    @property
    def profile_metadata(self) -> pd.DataFrame:
        """Annotation of the file's gene axis."""
        return self.base.gene_metadata

    @property
    def gene_metadata(self) -> pd.DataFrame:
        """Annotation of the file's profile axis."""
        return self.base.profile_metadata

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""
        return self.base.read(genes, profiles).T


@dataclass(frozen=True)
class Subset:
    """Some profiles or genes of a file, the genes by other ids if need be.

    Attributes
    ----------
    base
        The file.
    profile_places, gene_places
        Which of them, in their order; ``None`` for all.
    names
        Ids of its genes; ``None`` for those of the file.
    """

    base: AnnotatedSource
    profile_places: NDArray[np.intp] | None = None
    gene_places: NDArray[np.intp] | None = None
    names: tuple[str, ...] | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self.base.path

    @cached_property
    def profiles(self) -> tuple[str, ...]:
        """Ids of the profiles."""
        return _taken(self.base.profiles, self.profile_places)

    @cached_property
    def genes(self) -> tuple[str, ...]:
        """Ids of the genes."""
        return self.names or _taken(self.base.genes, self.gene_places)

    @cached_property
    def profile_metadata(self) -> pd.DataFrame:
        """Annotation of the profiles."""
        return _rows_of(self.base.profile_metadata, self.profile_places)

    @cached_property
    def gene_metadata(self) -> pd.DataFrame:
        """Annotation of the genes."""
        metadata = _rows_of(self.base.gene_metadata, self.gene_places)
        return metadata if self.names is None or metadata.empty else metadata.set_axis(self.names)

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""
        rows, columns = _within(self.profile_places, profiles), _within(self.gene_places, genes)
        return self.base.read(rows, columns)


def _taken(ids: tuple[str, ...], places: NDArray[np.intp] | None) -> tuple[str, ...]:
    return ids if places is None else tuple(ids[place] for place in places.tolist())


def _rows_of(metadata: pd.DataFrame, places: NDArray[np.intp] | None) -> pd.DataFrame:
    return metadata if places is None or not len(metadata) else metadata.iloc[places]


def _within(places: NDArray[np.intp] | None, chosen: Selection) -> Selection:
    if places is None:
        return chosen
    return places if chosen is None else places[chosen]


def is_table(source: AnnotatedSource) -> bool:
    """Whether a file is text, in which annotation stands among the values."""
    while isinstance(source, Subset | Transposed):
        source = source.base
    return isinstance(source, Expression)


def notes_of(source: AnnotatedSource) -> tuple[str, ...]:
    """Say what was left out of the values when a file was read."""
    while isinstance(source, Subset | Transposed):
        source = source.base
    return getattr(source, "notes", ())


def comments_of(source: AnnotatedSource) -> tuple[str, ...]:
    """Give the lines that stood before the table of a file."""
    while isinstance(source, Subset | Transposed):
        source = source.base
    return getattr(source, "comments", ())


def open_expression(
    path: Path | str, *, genes: GeneFilter = None, accept_wrong_dimensions: bool = False
) -> Gctx | H5ad | Expression:
    """Open a GCTX, AnnData, GCT or GEUVADIS file, or a table.

    Parameters
    ----------
    path
        The file; text may be gzip-compressed. See `kind_of`.
    genes
        What the readers of GCT and GEUVADIS keep in memory (see `read_gct`). Tables are kept whole;
        GCTX and AnnData are read lazily, so there it limits nothing: all ids are there, and only
        values asked for are read. Callers must choose genes by id in every case.
    accept_wrong_dimensions
        For GCT: trust the table where the dimension line is wrong.

    Returns
    -------
    Gctx, H5ad or Expression
        An `AnnotatedSource`; the first two hold the file open until it is closed. The rows of a
        ``table`` are given as genes, whatever they are; ids of tables and of AnnData may come
        twice.

    Raises
    ------
    FormatError
        None of these formats, or a fault that its reader names.
    DgexError
        An AnnData file without anndata.
    """
    kind = kind_of(path)
    if kind == "gctx":
        return Gctx(path)
    if kind == "h5ad":
        return H5ad(path)
    if kind == "gct":
        return read_gct(path, genes=genes, accept_wrong_dimensions=accept_wrong_dimensions)
    return read_rpkm(path, genes=genes) if kind == "geuvadis" else read_delimited(path)
