"""Several expression files of one platform as one: the genes they share, all their profiles."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.io.expression import notes_of, positions
from dgex_jax.prepare.genes import match_ensembl

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dgex_jax.io.expression import AnnotatedSource, FloatArray, Selection

FILE = "file"
"""The field of the profiles' metadata that names their file."""


class Joined:
    """Files of one platform, opened and closed by the caller, as one `AnnotatedSource`.

    Genes are those that all files have, by the first file's ids and in its order; Ensembl ids are
    compared without their version. Profiles are those of all files, in the order given. `path` is
    the first file's; `notes` say what was left out.

    Raises `FormatError` for a profile that two files have, or a gene that is twice in a file;
    `PreparationError` if the files share no gene.
    """

    def __init__(self, sources: Sequence[AnnotatedSource]) -> None:
        self.sources = tuple(sources)
        for source in sources:
            match_ensembl(source.genes, source.genes, source.path)
        rows = np.array([match_ensembl(sources[0].genes, one.genes) for one in sources])
        self._columns = rows[:, (rows >= 0).all(axis=0)]
        if not self._columns.size:
            paths = ", ".join(str(source.path) for source in sources)
            raise PreparationError(f"{paths}: have no gene in common by their ids")
        self.genes = tuple(sources[0].genes[column] for column in self._columns[0].tolist())
        self.profiles = tuple(name for source in sources for name in source.profiles)
        self._check_profiles()
        self._ends = np.cumsum([len(source.profiles) for source in sources])
        self.notes = tuple(self._notes())

    @property
    def path(self) -> Path:
        """The first file."""
        return self.sources[0].path

    @cached_property
    def gene_metadata(self) -> pd.DataFrame:
        """Annotation of the genes in the first file."""
        metadata = self.sources[0].gene_metadata
        return metadata.iloc[self._columns[0]] if len(metadata) else metadata

    @cached_property
    def profile_metadata(self) -> pd.DataFrame:
        """All fields of all files, empty text where a file lacks one, and the file of each."""
        frames = []
        for source, name in zip(self.sources, self._names(), strict=True):
            known = source.profile_metadata
            index = pd.Index(source.profiles, dtype=object)
            frame = known.set_axis(index) if len(known) else pd.DataFrame(index=index)
            frames.append(frame.astype(object).assign(**{FILE: name}))
        return pd.concat(frames).fillna("")

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing."""
        rows = positions(profiles, len(self.profiles))
        chosen = positions(genes, len(self.genes))
        of_file = np.searchsorted(self._ends, rows, side="right")
        joined = np.empty((len(rows), len(chosen)), self._dtype)
        for number in np.unique(of_file).tolist():
            places = np.flatnonzero(of_file == number)
            source = self.sources[number]
            first = self._ends[number] - len(source.profiles)
            columns = self._columns[number][chosen]
            joined[places] = source.read(rows[places] - first, columns)
        return joined

    @cached_property
    def _dtype(self) -> np.dtype[np.floating[Any]]:
        """The widest of all files, whichever of them are read."""
        one = np.zeros(1, dtype=np.intp)
        return np.result_type(*(source.read(one, one).dtype for source in self.sources))

    def _check_profiles(self) -> None:
        first: dict[str, Path] = {}
        for source in self.sources:
            for name in source.profiles:
                if name in first:
                    other = first[name]
                    raise FormatError(f"{source.path}: profile {name!r} is in {other} as well")
                first[name] = source.path

    def _names(self) -> list[str]:
        """Names of the files; whole paths where two are called the same."""
        names = [source.path.name for source in self.sources]
        unique = max(Counter(names).values()) == 1
        return names if unique else [str(source.path) for source in self.sources]

    def _notes(self) -> list[str]:
        notes = []
        for source, name in zip(self.sources, self._names(), strict=True):
            notes += [f"{name}: {note}" for note in notes_of(source)]
            left = len(source.genes) - len(self.genes)
            if left:
                notes.append(
                    f"{name}: {left} of its {len(source.genes)} genes are not in all files"
                )
            if FILE in source.profile_metadata.columns:
                notes.append(f"{name}: its field {FILE!r} is replaced by the name of the file")
        return notes
