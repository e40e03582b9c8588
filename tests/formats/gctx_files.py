"""GCTX files written with plain h5py, in every way that others store them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = ("p1", "profile two", "µ3")
GENES = ("200814_at", "g2", "g3", "g4")
VALUES = np.arange(12, dtype=np.float32).reshape(3, 4) / 3


def string_type(padding: int, length: int) -> Any:
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(length)
    kind.set_strpad(padding)
    return kind


def put_strings(file: Any, name: str, texts: tuple[str, ...], padding: str, charset: str) -> None:
    """Write strings by HDF5's own low-level calls, each padding as its writers do."""
    encoded = [text.encode(charset) for text in texts]
    if padding == "variable":
        file.create_dataset(name, data=encoded, dtype=h5py.string_dtype("utf-8"))
        return
    length = max(map(len, encoded)) + 3
    codes = {
        "space": h5py.h5t.STR_SPACEPAD,
        "null": h5py.h5t.STR_NULLPAD,
        "terminated": h5py.h5t.STR_NULLTERM,
    }
    filler = b" " if padding == "space" else b"\0"
    kind = string_type(codes[padding], length)
    raw = np.array([text.ljust(length, filler) for text in encoded], dtype=f"S{length}")
    group = file.require_group(name.rpartition("/")[0])
    space = h5py.h5s.create_simple((len(texts),))
    dataset = h5py.h5d.create(group.id, name.rpartition("/")[2].encode(), kind, space)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, raw, kind)


def write(
    path: Path,
    *,
    values: Any = VALUES,
    profiles: Any = PROFILES,
    genes: Any = GENES,
    padding: str = "null",
    charset: str = "utf-8",
    version: Any = b"GCTX1.0",
    **matrix: Any,
) -> Path:
    """Write a GCTX file with plain h5py, independent of the writer under test."""
    with h5py.File(path, "w") as file:
        if version is not None:
            file.attrs["version"] = version
        file.create_dataset("0/DATA/0/matrix", data=values, **matrix)
        for axis, ids in (("COL", profiles), ("ROW", genes)):
            name = f"0/META/{axis}/id"
            if isinstance(ids, np.ndarray):
                file[name] = ids
            else:
                put_strings(file, name, ids, padding, charset)
    return path
