"""AnnData files (``.h5ad``) out, profile by profile; needs the optional package ``anndata``."""

from __future__ import annotations

import json
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

from dgex_jax.formats.h5ad import anndata_errors, import_anndata
from dgex_jax.formats.matrixwriter import MatrixWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dgex_jax.formats.partial import Resume


class H5adWriter(MatrixWriter):
    """Write an AnnData file profile by profile, values as float32.

    A context manager (see `ProfileWriter`): the file appears under `path` when the block ends
    without an error and all profiles have arrived; otherwise an older file stays as it was, and
    without `resume` nothing else is left.

    Parameters
    ----------
    path
        The file to be written.
    profiles, genes
        Ids (``obs_names``, ``var_names``), unique, in the order of the values to come.
    profile_metadata, gene_metadata
        ``obs`` and ``var``, indexed by the ids in their order; mixed columns become text.
    provenance
        JSON values, stored as text in ``uns["dgex"]``.
    resume
        Lets an interrupted file go on where it stopped (see `partial`).

    Raises
    ------
    FormatError
        Ids that come twice, metadata that anndata can't write, and at the end missing profiles.
    DgexError
        anndata is not installed, or a place that can't be written to.
    """

    def __init__(
        self,
        path: Path | str,
        profiles: Sequence[str],
        genes: Sequence[str],
        profile_metadata: pd.DataFrame,
        gene_metadata: pd.DataFrame,
        provenance: Mapping[str, Any],
        resume: Resume | None = None,
    ) -> None:
        super().__init__(path, profiles, genes, np.dtype(np.float32), resume)
        self._anndata = import_anndata(self.path)
        self._obs = plain_metadata(profile_metadata, self.profiles)
        self._var = plain_metadata(gene_metadata, self.genes)
        self._uns = {"dgex": json.dumps(provenance, sort_keys=True)}

    @contextmanager
    def _lay_out(self, path: Path, dcpl: Any) -> Iterator[Any]:
        with anndata_errors(self.path, "can't be written"):
            empty = self._anndata.AnnData(obs=self._obs, var=self._var, uns=self._uns)
            empty.write_h5ad(path)
        with h5py.File(path, "r+") as file:
            if "X" in file:
                del file["X"]
            shape = (len(self.profiles), len(self.genes))
            X = file.create_dataset("X", shape, dtype=self.dtype, dcpl=dcpl)
            X.attrs["encoding-type"] = "array"
            X.attrs["encoding-version"] = "0.2.0"
            yield X

    def _described(self) -> Iterator[bytes]:
        yield f"anndata {version('anndata')}".encode()
        yield self._uns["dgex"].encode()
        for frame in (self._obs, self._var):
            yield repr([str(dtype) for dtype in frame.dtypes]).encode()
            yield frame.to_csv().encode("utf-8", "surrogatepass")


def plain_metadata(metadata: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """Give ``obs`` or ``var`` as anndata can write it: indexed by text, columns of one type."""
    index = pd.Index(list(ids), dtype=object)
    plain = pd.DataFrame(index=index)
    for name in metadata.columns:
        column = metadata[name]
        if pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype):
            texts = ["" if pd.isna(value) else str(value) for value in column]
            # Pandas' own text dtype is not what every anndata writes.
            plain[str(name)] = pd.Series(texts, index=index, dtype=object)
        else:
            plain[str(name)] = column.array
    return plain
