"""What tests of preparation ask of files and of refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from dgex_jax.errors import DgexError, FormatError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LATER = (
    *(f"{role}_info/{name}" for role in ("landmark", "target") for name in ("probes", "entrez")),
    "landmark_quantile",
)
"""Datasets that format version 1 lacks."""


def refused(
    call: Callable[[], Any],
    text: str,
    kind: type[DgexError] = FormatError,
    path: Path | None = None,
) -> None:
    """Expect one line that has `text` (a pattern), and begins with `path`."""
    with pytest.raises(kind, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert path is None or str(caught.value).startswith(f"{path}: ")


def datasets(path: Path) -> dict[str, np.ndarray]:
    """Every dataset of an HDF5 file, text as str."""
    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            values = item[()]
            found[name] = values.astype(str) if values.dtype.kind == "S" else values

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def make_older(path: Path, version: int) -> None:
    """Turn the paper's study, as it is written now, into what versions 1 and 2 wrote."""
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = version
        del file.attrs["parts"]
        for old, new in {"GEO": "compendium", "1000G": "sets/1000G", "GTEx": "sets/GTEx"}.items():
            file.move(new, old)
        del file["sets"]
        if version == 2:
            file.attrs["data_sets"] = '["GEO", "1000G", "GTEx"]'
            return
        for name in (*LATER, "dropped/probes"):
            del file[name]
        del file.attrs["gene_ids"]


def assert_same(one: Path, other: Path) -> None:
    """Expect two prepared studies to hold the same."""
    ours, theirs = datasets(one), datasets(other)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)
