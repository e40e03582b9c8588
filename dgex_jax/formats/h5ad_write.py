"""AnnData files (``.h5ad``) out, profile by profile; needs the optional package ``anndata``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
import pandas as pd

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.formats.h5ad import anndata_errors, import_anndata
from dgex_jax.formats.ids import check_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from dgex_jax.formats.expression import FloatArray


class H5adWriter:
    """Write an AnnData file profile by profile.

    A context manager: the file appears under `path` when the block ends without an error and all
    profiles have arrived; otherwise nothing is left and an older file stays as it was.

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

    Raises
    ------
    FormatError
        Ids that come twice, and at the end missing profiles.
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
    ) -> None:
        self.path = Path(path)
        self._anndata = import_anndata(self.path)
        self.profiles, self.genes = tuple(profiles), tuple(genes)
        check_ids(self.path, "profile", self.profiles)
        check_ids(self.path, "gene", self.genes)
        self._obs = _plain(profile_metadata, self.profiles)
        self._var = _plain(gene_metadata, self.genes)
        self._uns = {"dgex": json.dumps(provenance, sort_keys=True)}
        self._stack = ExitStack()
        self._X: Any = None
        self._written = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            with anndata_errors(self.path, "can't be written"):
                empty = self._anndata.AnnData(obs=self._obs, var=self._var, uns=self._uns)
                empty.write_h5ad(temporary)
                file = stack.enter_context(h5py.File(temporary, "r+"))
                if "X" in file:
                    del file["X"]
                shape = (len(self.profiles), len(self.genes))
                self._X = file.create_dataset("X", shape, dtype=np.float32)
                self._X.attrs["encoding-type"] = "array"
                self._X.attrs["encoding-version"] = "0.2.0"
            self._stack = stack.pop_all()
        return self

    def append(self, block: FloatArray) -> None:
        """Add the next profiles ``(n, n_genes)``, stored as float32.

        Raises
        ------
        FormatError
            A wrong shape, or more profiles than ids.
        DgexError
            The disk is full.
        """
        start, stop = self._written, self._written + len(block)
        if block.shape != (len(block), len(self.genes)) or stop > len(self.profiles):
            raise FormatError(
                f"{self.path}: a block of shape {block.shape} does not fit at profile {start} of "
                f"{len(self.profiles)} x {len(self.genes)} genes"
            )
        try:
            self._X[start:stop] = block
        except (OSError, RuntimeError) as error:
            raise DgexError(f"{self.path}: can't be written: {one_line(error)}") from error
        self._written = stop

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self._written < len(self.profiles):
            failure = FormatError(
                f"{self.path}: not written: {self._written} of {len(self.profiles)} profiles"
            )
            self._stack.__exit__(type(failure), failure, None)
            raise failure
        try:
            self._stack.__exit__(kind, error, trace)
        except (OSError, RuntimeError) as failed:
            raise DgexError(f"{self.path}: can't be written: {one_line(failed)}") from failed


def _plain(metadata: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """Give a copy that anndata can write: indexed by text, columns of one type."""
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
