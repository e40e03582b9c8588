"""GCTX 1.0 out: profiles appended block by block, the file in place only when complete."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError
from dgex_jax.formats.hdf5_text import encode_fixed
from dgex_jax.formats.ids import check_storable
from dgex_jax.formats.matrixwriter import MatrixWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from dgex_jax.formats.expression import Expression, FloatArray
    from dgex_jax.formats.partial import Resume

MISSING = -666
"""What GCTX and GCT 1.3 write where there is no value."""

CHUNK_BYTES = 1 << 20


class GctxWriter(MatrixWriter):
    """Write a GCTX 1.0 file profile by profile.

    A context manager (see `ProfileWriter`): the file appears under `path` when the block ends
    without an error and all profiles have arrived; otherwise an older file stays as it was, and
    without `resume` nothing else is left.

    Parameters
    ----------
    path
        The file to be written.
    profiles, genes
        Ids, unique, in the order of the values to come.
    dtype
        float32 or float64, how the matrix is stored.
    profile_metadata, gene_metadata
        One line an id, indexed by the ids in their order. Numbers (and truth values, as 0 and 1)
        are stored as numbers; everything else as text, which loses trailing spaces (readers take
        them for padding). Missing text and integers become -666.
    src
        The root attribute ``src`` (where the values come from).
    attributes
        More root attributes: JSON values, stored as JSON text.
    compression
        ``None`` (contiguous) or an HDF5 filter name such as ``gzip`` (chunks of whole profiles).
    resume
        Lets an interrupted file go on where it stopped (see `partial`); not with `compression`.

    Raises
    ------
    FormatError
        Ids or metadata the format can't hold; a value that would be read back as another (-666
        stands for a missing value; a float64 beyond float32's range); at the end missing profiles.
    DgexError
        A place that can't be written to.
    """

    def __init__(
        self,
        path: Path | str,
        profiles: Sequence[str],
        genes: Sequence[str],
        *,
        dtype: DTypeLike = np.float32,
        profile_metadata: pd.DataFrame | None = None,
        gene_metadata: pd.DataFrame | None = None,
        src: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        compression: str | None = None,
        resume: Resume | None = None,
    ) -> None:
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"dtype {dtype}: a GCTX matrix is float32 or float64")
        packed = compression is not None
        super().__init__(path, profiles, genes, np.dtype(dtype), resume, compressed=packed)
        self._fields = {
            "COL": _fields(self.path, "profile", self.profiles, profile_metadata),
            "ROW": _fields(self.path, "gene", self.genes, gene_metadata),
        }
        self._src = src
        self._attributes = {
            name: json.dumps(value, sort_keys=True) for name, value in (attributes or {}).items()
        }
        self._compression = compression

    def _stored(self, start: int, block: FloatArray) -> FloatArray:
        stored = super()._stored(start, block)
        bad = stored == MISSING
        if stored.dtype != block.dtype:
            bad |= np.isinf(stored) & np.isfinite(block)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise FormatError(
                f"{self.path}: profile {self.profiles[start + row]!r}, gene "
                f"{self.genes[column]!r}: {block[row, column]} can't be stored as {self.dtype}"
                f" ({MISSING} means missing)"
            )
        return stored

    @contextmanager
    def _lay_out(self, path: Path, dcpl: Any) -> Iterator[Any]:
        with h5py.File(path, "w") as file:
            self._write_head(file)
            shape = (len(self.profiles), len(self.genes))
            chunks = None
            if self._compression is not None:
                rows = CHUNK_BYTES // (shape[1] * self.dtype.itemsize)
                chunks = (min(max(1, rows), shape[0]), shape[1])
            yield file.create_dataset(
                "0/DATA/0/matrix",
                shape,
                dtype=self.dtype,
                chunks=chunks,
                compression=self._compression,
                dcpl=dcpl,
            )

    def _described(self) -> Iterator[bytes]:
        for text in (str(self._src), json.dumps(self._attributes, sort_keys=True)):
            yield text.encode()
        for axis, fields in self._fields.items():
            for name, values in fields.items():
                yield f"{axis}/{name} {values.dtype.str}".encode()
                yield values.tobytes()

    def _write_head(self, file: Any) -> None:
        file.attrs["version"] = np.bytes_(b"GCTX1.0")
        if self._src is not None:
            file.attrs["src"] = np.bytes_(self._src.encode())
        for name, text in self._attributes.items():
            # Text of variable length may be longer than the 64 KB of a fixed one.
            file.attrs[name] = text
        for axis, fields in self._fields.items():
            for name, values in fields.items():
                file.create_dataset(f"0/META/{axis}/{name}", data=values, compression="gzip")


def write_gctx(path: Path | str, expression: Expression, **options: Any) -> None:
    """Write `expression` with its metadata as GCTX 1.0.

    Parameters
    ----------
    path
        The file to be written.
    expression
        What it shall hold; its dtype is kept unless `options` names another.
    options
        Any keyword of `GctxWriter`.
    """
    settings: dict[str, Any] = {
        "dtype": expression.values.dtype,
        "profile_metadata": expression.profile_metadata,
        "gene_metadata": expression.gene_metadata,
    } | options
    with GctxWriter(path, expression.profiles, expression.genes, **settings) as writer:
        writer.append(expression.values)


def _fields(
    path: Path, kind: str, ids: tuple[str, ...], metadata: pd.DataFrame | None
) -> dict[str, NDArray[Any]]:
    """Make the datasets of one axis, ids first."""
    padded = next((name for name in ids if name.endswith(" ")), None)
    if padded is not None:
        raise FormatError(f"{path}: {kind} id {padded!r}: the format can't hold a trailing space")
    fields = {"id": _text_field(path, f"{kind} id", ids)}
    if metadata is None or metadata.columns.empty:
        return fields
    if tuple(metadata.index) != ids:
        raise FormatError(f"{path}: the index of the {kind} metadata is not the {kind} ids")
    for name in metadata.columns:
        if not isinstance(name, str) or name in {"", ".", "id"} or "/" in name or name in fields:
            raise FormatError(f"{path}: {name!r} can't be the name of a {kind} field")
        fields[name] = _field(path, f"{kind} field {name!r}", metadata[name])
    return fields


def _field(path: Path, what: str, column: pd.Series[Any]) -> NDArray[Any]:
    if pd.api.types.is_bool_dtype(column.dtype) and not column.isna().any():
        return column.to_numpy(np.int8)
    if pd.api.types.is_integer_dtype(column.dtype):
        missing = column.isna().to_numpy()
        dtype = np.dtype(np.uint64 if column.dtype in ("uint64", "UInt64") else np.int64)
        if missing.any() and dtype == np.uint64:
            raise FormatError(f"{path}: {what}: an unsigned field can't hold missing values")
        return column.to_numpy(dtype, na_value=MISSING if missing.any() else 0)
    if pd.api.types.is_float_dtype(column.dtype):
        narrow = column.dtype in ("float32", "Float32")
        return column.to_numpy(np.float32 if narrow else np.float64, na_value=np.nan)
    missing_text = str(MISSING)
    return _text_field(
        path, what, [missing_text if pd.isna(value) else str(value) for value in column]
    )


def _text_field(path: Path, what: str, texts: Sequence[str]) -> NDArray[Any]:
    check_storable(path, what, texts, "\0")
    return encode_fixed(texts)
