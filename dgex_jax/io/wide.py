"""Profiles out as tables, a line a profile and a column a gene: TSV, CSV and Parquet.

Lines arrive as profiles do, so memory stays flat; that of Parquet, whose every piece lists all
columns, grows with the square root of the file's size. An interrupted table restarts.
"""

from __future__ import annotations

import importlib
import json
import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import check_storable
from dgex_jax.io.files import atomic_path, require_space
from dgex_jax.io.lines import packed
from dgex_jax.io.writers import FORBIDDEN, QUOTE, ProfileWriter, check_unlike_missing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from dgex_jax.io.expression import FloatArray

CORNER = "profile"
"""Name of the column of the profiles' ids, the first."""

GROUP_BYTES = 1 << 27
"""Values that wait in memory, at least, to become a row group of a Parquet file, of which they are
the columns."""

LISTED_BYTES = 1700
"""Memory that pyarrow (26) holds to the end for each column of each group, measured over 40 groups
of 10,000. Larger groups are fewer: see `_group_rows`."""

COLUMN_FIELDS = ("source", "expected_error")
"""What a Parquet file says of each gene."""


class _WideWriter(ProfileWriter):
    """Base of the writers of tables, which have no place for layers and metadata of profiles."""

    def __init__(
        self,
        path: Path | str,
        profiles: Sequence[str],
        genes: Sequence[str],
        gene_metadata: pd.DataFrame | None = None,
    ) -> None:
        super().__init__(path, profiles, genes, None, gene_metadata)

    def _place(self, stack: ExitStack) -> Path:
        """Check ids and space; give the temporary path, whose file `_handles` closes."""
        for kind, ids in (("profile", self.profiles), ("gene", self.genes)):
            check_storable(self.path, f"{kind} id", ids, FORBIDDEN)
        if CORNER in self.genes:
            raise FormatError(f"{self.path}: a gene is called {CORNER!r}, as the column of ids is")
        temporary = stack.enter_context(atomic_path(self.path))
        require_space(self.path, 4 * len(self.profiles) * len(self.genes))
        self._handles = stack.enter_context(ExitStack())
        return temporary

    def _finish(self) -> None:
        self._handles.close()


class TextTableWriter(_WideWriter):
    """Write a table of commas (``.csv``) or tabs, through gzip if the suffix is ``.gz``.

    The first line is ``profile`` and the genes' ids. Values (float32) have nine digits, from which
    the same float32 is read again, ``NaN`` where there is none; ids that hold the separator or a
    quote are quoted. Metadata have no place in it. Raises as `ProfileWriter`, and `FormatError` for
    ids that can't be told from the table and for -666, which means missing in tables.
    """

    def _open(self, stack: ExitStack) -> Sequence[slice]:
        temporary = self._place(stack)
        self._mark = "," if self.path.name.endswith((".csv", ".csv.gz")) else "\t"
        self._numbers = self._mark.join(["%.9g"] * len(self.genes))
        self._file = self._handles.enter_context(packed(temporary, self.path))
        header = self._mark.join(map(self._cell, (CORNER, *self.genes)))
        self._file.write(f"{header}\n".encode())
        return [slice(0, len(self.profiles))]

    def _write(self, start: int, blocks: Sequence[FloatArray], _columns: FloatArray) -> None:
        (block,) = blocks
        values, profiles = np.asarray(block, np.float32), self.profiles[start:]
        check_unlike_missing(self.path, values, profiles, self.genes)
        for profile, row in zip(profiles, values.tolist(), strict=False):
            numbers = (self._numbers % tuple(row)).replace("nan", "NaN")
            self._file.write(f"{self._cell(profile)}{self._mark}{numbers}\n".encode())

    def _cell(self, text: str) -> str:
        if self._mark in text or QUOTE in text:
            return f"{QUOTE}{text.replace(QUOTE, 2 * QUOTE)}{QUOTE}"
        return text


class ParquetWriter(_WideWriter):
    """Write a Parquet file: a text column ``profile``, then a float32 column a gene.

    The file's own metadata hold `provenance` (JSON values) under ``dgex``, those of a column what
    is known of its gene (`COLUMN_FIELDS`). Raises as `ProfileWriter`, and `DgexError` where pyarrow
    is not installed.
    """

    def __init__(
        self,
        path: Path | str,
        profiles: Sequence[str],
        genes: Sequence[str],
        gene_metadata: pd.DataFrame,
        provenance: Mapping[str, Any],
    ) -> None:
        super().__init__(path, profiles, genes, gene_metadata)
        self._told = json.dumps(provenance, sort_keys=True)
        try:
            self._arrow = importlib.import_module("pyarrow")
            self._parquet = importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            text = f'{self.path}: a Parquet file needs pyarrow: pip install "dgex-jax[parquet]"'
            raise DgexError(text) from error

    def _open(self, stack: ExitStack) -> Sequence[slice]:
        temporary, about = self._place(stack), self.gene_metadata
        fields = [name for name in COLUMN_FIELDS if name in about.columns]
        texts = [{name: str(about[name].iloc[n]) for name in fields} for n in range(len(about))]
        kind = self._arrow.float32()
        columns = [self._arrow.field(CORNER, self._arrow.string())]
        columns += [
            self._arrow.field(gene, kind, metadata=text)
            for gene, text in zip(self.genes, texts, strict=True)
        ]
        self._schema = self._arrow.schema(columns, metadata={"dgex": self._told})
        # Numbers of 24 random bits: neither dictionaries nor compression nor bounds gain anything.
        plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
        self._file = self._handles.enter_context(
            self._parquet.ParquetWriter(str(temporary), self._schema, **plain)
        )
        self._group = np.empty((len(self.genes), self._group_rows()), np.float32)
        self._start = self._filled = 0
        return [slice(0, len(self.profiles))]

    def _write(self, _start: int, blocks: Sequence[FloatArray], _columns: FloatArray) -> None:
        (block,) = blocks
        while len(block):
            part = block[: self._group.shape[1] - self._filled]
            self._group[:, self._filled : self._filled + len(part)] = part.T
            self._filled += len(part)
            block = block[len(part) :]
            if self._filled == self._group.shape[1]:
                self._flush()

    def _finish(self) -> None:
        if self._filled:
            self._flush()
        super()._finish()

    def _group_rows(self) -> int:
        """Profiles of a group, so that it and the list of all groups take the least memory."""
        row = 4 * len(self.genes)
        least = math.isqrt(len(self.profiles) * row * LISTED_BYTES * len(self.genes))
        return min(len(self.profiles), max(1, GROUP_BYTES // row, least // row))

    def _flush(self) -> None:
        """Write the values that wait as one row group."""
        stop = self._start + self._filled
        columns = [self._arrow.array(self.profiles[self._start : stop], self._arrow.string())]
        columns += [self._arrow.array(row[: self._filled]) for row in self._group]
        self._file.write_table(self._arrow.Table.from_arrays(columns, schema=self._schema))
        self._start, self._filled = stop, 0
