"""ARCHS4 HDF5 in: raw counts of public RNA-seq samples, whole samples at a time.

Both layouts: ``meta/samples/…`` and ``meta/genes/…`` (version 2), ``meta/Sample_…`` and
``meta/genes`` (version 1), with the matrix either way round.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

import h5py

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import annotation_frame, check_ids, listed, positions
from dgex_jax.io.hdf5 import Hdf5File, narrow_dtype, read_ids, read_matrix

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from dgex_jax.io.expression import FloatArray, Selection

MATRIX = "data/expression"
SAMPLES = "geo_accession"
SYMBOLS = ("symbol", "gene_symbol", "genes")
ENSEMBL = ("ensembl_gene", "ensembl_gene_id", "ensembl_id", "ensemblid")
"""What the fields of ids are called, from version to version."""

FIELDS = (
    "series_id",
    "singlecellprobability",
    "title",
    "source_name_ch1",
    "characteristics_ch1",
)
"""What is read of the samples' metadata; files have some forty fields, a few of them long texts."""

CACHE = {"rdcc_nbytes": 1 << 27, "rdcc_nslots": 100_003}
"""A block of samples mostly ends inside a chunk, if chunks are wider than one sample (those of
ARCHS4 itself are 2,000 genes of one): room for all genes of the next blocks' chunks."""


class Archs4(Hdf5File):
    """An ARCHS4 file of genes opened for reading in parts (an `AnnotatedSource`).

    Profiles are the samples, by GSM id (unique). Genes are named by their Ensembl ids where the
    file has one for each and none twice, else by their symbols, which may come twice or be empty
    (`notes` then say which; whoever needs such a gene refuses it). Opening reads ids alone. Which
    axis of the matrix has the genes is told by the number of ids, never by the version. A context
    manager; `close` it otherwise.

    Raises `FormatError` for no such file, not HDF5, truncated or damaged, a file of transcripts,
    missing groups, ids that don't fit the matrix or each other, as many samples as genes (then the
    axes can't be told), a sample without an id or there twice.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, "ARCHS4", **CACHE)

    def _look(self) -> None:
        if not isinstance(self._file.get("meta"), h5py.Group):
            raise FormatError(f"{self.path}: is not ARCHS4: it has no group /meta")
        if "meta/transcripts" in self._file or "meta/transcript" in self._file:
            raise FormatError(
                f"{self.path}: is an ARCHS4 file of transcripts; take the one of genes"
            )
        self._of_samples = self._fields("samples", "Sample_")
        self._of_genes = self._fields("genes", "gene_")
        if SAMPLES not in self._of_samples:
            raise FormatError(f"{self.path}: has no GSM ids (/meta/samples/{SAMPLES})")
        named = [
            next((name for name in names if name in self._of_genes), None)
            for names in (ENSEMBL, SYMBOLS)
        ]
        samples = self._dataset(self._of_samples[SAMPLES])
        genes = {name: self._dataset(self._of_genes[name]) for name in named if name}
        if not genes:
            raise FormatError(f"{self.path}: has no gene symbols (/meta/genes/symbol)")
        self._matrix = self._numbers(MATRIX)
        sizes = {dataset.size for dataset in genes.values()}
        if len(sizes) > 1:
            told = " and ".join(f"{dataset.size} {name}" for name, dataset in genes.items())
            raise FormatError(f"{self.path}: has {told}: they don't fit each other")
        # Before as many ids are read as a damaged file says there are.
        self._genes_first = self._are_genes_first(sizes.pop(), samples.size)
        self.profiles = read_ids(self.path, samples)
        check_ids(self.path, "profile", self.profiles)
        self._name_genes({name: read_ids(self.path, one) for name, one in genes.items()})

    def _fields(self, group: str, prefix: str) -> dict[str, str]:
        """Give the fields of an axis, each with its place in the file."""
        meta = self._file["meta"]
        inner = meta.get(group)
        if isinstance(inner, h5py.Group):
            return {name: f"meta/{group}/{name}" for name in inner}
        found = {group: f"meta/{group}"} if isinstance(inner, h5py.Dataset) else {}
        flat = [name for name in meta if name.startswith(prefix)]
        return found | {name.removeprefix(prefix): f"meta/{name}" for name in flat}

    def _are_genes_first(self, n_genes: int, n_samples: int) -> bool:
        shape = self._matrix.shape
        ids = f"{n_genes} genes and {n_samples} samples"
        if shape not in {(n_genes, n_samples), (n_samples, n_genes)}:
            text = " x ".join(map(str, shape))
            raise FormatError(f"{self.path}: /{MATRIX} is {text}, which does not fit {ids}")
        if n_genes == n_samples:
            raise FormatError(
                f"{self.path}: has {ids}: on which axis of /{MATRIX} the genes are can't be told"
            )
        return bool(shape[0] == n_genes)

    def _name_genes(self, kinds: dict[str, tuple[str, ...]]) -> None:
        good = (name for name, ids in kinds.items() if "" not in ids and len({*ids}) == len(ids))
        name = next(good, list(kinds)[-1])  # Ensembl ids come first
        self.genes = ids = kinds[name]
        del self._of_genes[name]
        if twice := [repr(one) for one, n in Counter(ids).items() if n > 1 and one]:
            self.notes += (f"{len(twice):,} ids of genes come more than once: {listed(twice)}",)
        if n_empty := ids.count(""):
            self.notes += (f"{n_empty:,} genes have no id",)

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """Dtype of what `read` gives: float64, in which every count is exact (floats as stored)."""
        return narrow_dtype(self._matrix.dtype)

    def profile_field(self, name: str) -> list[str] | NDArray[Any] | None:
        """Read one field of the samples' metadata: texts or numbers, in file order.

        ``None`` if the file lacks it. Raises `FormatError` for a field that is no column of one
        value a sample.
        """
        if name not in self._of_samples:
            return None
        with self._opened():
            return self._field(self._of_samples[name], len(self.profiles))

    @cached_property
    def profile_metadata(self) -> pd.DataFrame:
        """One line a sample, indexed by GSM id: those of `FIELDS` that the file has."""
        fields = {name: self.profile_field(name) for name in FIELDS if name in self._of_samples}
        return annotation_frame(self.profiles, fields)

    @cached_property
    def gene_metadata(self) -> pd.DataFrame:
        """One line a gene: all fields that the file has beside the ids (symbol, biotype, …)."""
        with self._opened():
            n = len(self.genes)
            fields = {name: self._field(place, n) for name, place in self._of_genes.items()}
        return annotation_frame(self.genes, fields)

    def read(self, profiles: Selection = None, genes: Selection = None) -> FloatArray:
        """Values ``(n_profiles, n_genes)`` of a selection, in its order; NaN where missing.

        Each chunk of the file that has some of the values is unpacked once a call, so samples are
        best asked for in ascending blocks, with all the genes that are needed. Raises `FormatError`
        for values that can't be read, or a file that was changed since it was opened; `IndexError`
        for a selection out of bounds.
        """
        rows = positions(profiles, len(self.profiles))
        columns = positions(genes, len(self.genes))
        with self._opened():
            if self._genes_first:
                return read_matrix(self._matrix, columns, rows, self.dtype, turned=True)
            return read_matrix(self._matrix, rows, columns, self.dtype)
