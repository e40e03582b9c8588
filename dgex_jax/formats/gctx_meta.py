"""What a GCTX file says beside its matrix: version, ids and annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError
from dgex_jax.formats.gctx_write import MISSING
from dgex_jax.formats.hdf5_inside import require_column_sizes, require_inside
from dgex_jax.formats.hdf5_text import decode_padded

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

VERSION = "GCTX1.0"
NULLABLE: dict[str, Any] = {
    "int16": pd.Int16Dtype(),
    "int32": pd.Int32Dtype(),
    "int64": pd.Int64Dtype(),
}
"""The integers that -666 fits."""


def read_version(path: Path, file: Any) -> None:
    """Raise `FormatError` if the root attribute ``version`` is there and not ``GCTX1.0``.

    Some writers store it as a scalar, others as an array of one, and some not at all: then the
    groups tell what the file is, as for cmapPy and cmapR.
    """
    if "version" not in file.attrs:
        return
    found = [
        decode_padded(value) if isinstance(value, (bytes, str)) else str(value)
        for value in np.ravel(file.attrs["version"]).tolist()
    ]
    if found != [VERSION]:
        raise FormatError(f"{path}: version {', '.join(found)!r} is not {VERSION}")


def find_dataset(path: Path, file: Any, name: str) -> Any:
    """Give the dataset called `name`, or raise `FormatError`."""
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise FormatError(f"{path}: has no dataset /{name}")
    require_inside(path, file, dataset)
    return dataset


def read_ids(path: Path, dataset: Any) -> tuple[str, ...]:
    """Read the ids of one axis.

    Parameters
    ----------
    path
        The file, for the text of errors.
    dataset
        Where the ids are.

    Returns
    -------
    tuple of str
        In file order; integers (and whole floats) become decimal text.

    Raises
    ------
    FormatError
        Ids that are neither text nor whole numbers.
    """
    values = _read_column(path, dataset)
    if values.dtype.kind in "OSU":
        return tuple(map(decode_padded, values.tolist()))
    if values.dtype.kind == "f" and np.isfinite(values).all() and np.all(values % 1 == 0):
        return tuple(str(int(value)) for value in values.tolist())
    if values.dtype.kind in "iu":
        return tuple(map(str, values.tolist()))
    raise FormatError(
        f"{path}: {dataset.name} holds {values.dtype}, neither text nor whole numbers"
    )


def read_fields(path: Path, file: Any, axis: str, ids: tuple[str, ...]) -> pd.DataFrame:
    """Read the annotation of one axis.

    Parameters
    ----------
    path, file
        The file, by name and opened.
    axis
        ``ROW`` (genes) or ``COL`` (profiles).
    ids
        Ids of the axis, in file order.

    Returns
    -------
    pd.DataFrame
        ``(n_ids, n_fields)`` indexed by id. Text stays text, ``-666`` and what looks like a number
        included. Numbers keep their dtype, with -666 as NaN (integers: pandas' nullable dtype).

    Raises
    ------
    FormatError
        A field that is no column of one value per id.
    """
    index = pd.Index(ids, dtype=object)
    columns: dict[str, Any] = {}
    for name, dataset in file[f"0/META/{axis}"].items():
        if name == "id":
            continue
        place = f"0/META/{axis}/{name}"
        if not isinstance(dataset, h5py.Dataset):
            raise FormatError(f"{path}: /{place} is not a dataset")
        require_inside(path, file, dataset)
        if dataset.size != len(ids):
            raise FormatError(f"{path}: /{place} has {dataset.size} values for {len(ids)} ids")
        annotation = _annotation(path, place, _read_column(path, dataset))
        dtype = object if isinstance(annotation, list) else None
        columns[name] = pd.Series(annotation, index=index, dtype=dtype)
    return pd.DataFrame(columns, index=index, columns=pd.Index(list(columns), dtype=object))


def _read_column(path: Path, dataset: Any) -> NDArray[Any]:
    """Read a dataset of shape (n,), or (n, 1) or (1, n) as some Matlab writers have it."""
    if dataset.ndim == 0 or max(dataset.shape) != dataset.size:
        raise FormatError(f"{path}: {dataset.name} has no column of values but {dataset.shape}")
    if dataset.dtype.kind == "O" and h5py.check_string_dtype(dataset.dtype) is None:
        raise FormatError(f"{path}: {dataset.name} holds {dataset.dtype}, neither text nor numbers")
    require_column_sizes(path, dataset)
    values: NDArray[Any] = dataset[...].reshape(-1)
    return values


def _annotation(path: Path, place: str, values: NDArray[Any]) -> Any:
    if values.dtype.kind in "OSU":
        return [decode_padded(value) for value in values.tolist()]
    if values.dtype.kind == "b":
        return values
    if values.dtype.kind not in "iuf":
        raise FormatError(f"{path}: /{place} holds {values.dtype}, neither text nor numbers")
    native = values.astype(values.dtype.newbyteorder("="))
    missing = native == MISSING
    if native.dtype.kind == "f":
        return np.where(missing, np.nan, native).astype(native.dtype)
    if not missing.any():
        return native
    nullable: Any = pd.array(native.tolist(), dtype=NULLABLE[native.dtype.name])
    nullable[missing] = pd.NA
    return nullable
