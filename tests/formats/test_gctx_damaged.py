"""GCTX in: files that are wrong, inconsistent or damaged are refused by name, in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gctx import Gctx, write_gctx
from tests.formats.gctx_files import VALUES, write


def refused(path: Path, match: str) -> None:
    """Assert that opening fails with one line that names the file and the cause."""
    with pytest.raises(FormatError, match=match) as caught:
        Gctx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(tmp_path / "missing.gctx", "no such file")
    refused(tmp_path, "is a folder")
    refused(Path(os.devnull), "not an ordinary file")
    empty = tmp_path / "empty.gctx"
    empty.touch()
    refused(empty, "is empty")
    text = tmp_path / "text.gctx"
    text.write_text("#1.2\n")
    refused(text, "does not begin as an HDF5 file")

    def forbidden(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "a.gctx")
    monkeypatch.setattr(Path, "open", forbidden)
    refused(path, "can't be read: Permission denied")


@pytest.mark.parametrize(
    ("version", "match"),
    [(b"GCTX2.0", "'GCTX2.0' is not GCTX1.0"), (1.0, "'1.0'")],
)
def test_wrong_versions_are_refused(tmp_path: Path, version: Any, match: str) -> None:
    refused(write(tmp_path / "a.gctx", version=version), match)


@pytest.mark.parametrize("name", ["0/DATA/0/matrix", "0/META/COL/id", "0/META/ROW", "0"])
def test_missing_groups_are_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.gctx")
    with h5py.File(path, "a") as file:
        del file[name]
    refused(path, "has no dataset /0/" if name != "0" else "has no dataset /0/META/COL/id")


def test_ids_and_shape_must_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.gctx"
    refused(write(path, profiles=("a", "b", "a")), "duplicate profile id 'a'.*1 and 3")
    refused(write(path, genes=("a", "b", "c", "b")), "duplicate gene id 'b'")
    refused(write(path, profiles=("a", "", "c")), "id of profile 2 is empty")
    refused(write(path, values=VALUES.T.copy()), "transposed against its ids.*4 x 3.*3 profile")
    refused(write(path, values=VALUES[:2]), "2 x 4, which does not fit 3 profile")
    refused(write(path, values=VALUES.astype("S3")), "holds .S3, not numbers")
    refused(write(path, genes=np.array([0.5, 1, 2, 3])), "neither text nor whole numbers")
    refused(write(path, genes=np.array([[1, 2], [3, 4]])), "has no column of values")


def test_bad_metadata_is_refused_when_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gctx")
    with h5py.File(path, "a") as file:
        file["0/META/COL/short"] = np.arange(2)
        file.create_group("0/META/ROW/group")
    with Gctx(path) as source:
        with pytest.raises(FormatError, match=r"COL/short has 2 values for 3 ids"):
            _ = source.profile_metadata
        with pytest.raises(FormatError, match=r"ROW/group is not a dataset"):
            _ = source.gene_metadata


@pytest.fixture
def valid(tmp_path: Path) -> bytes:
    values = np.random.default_rng(0).normal(size=(40, 30))
    expression = Expression(
        tmp_path / "a.gctx",
        values,
        tuple(f"p{i}" for i in range(40)),
        tuple(f"g{i}" for i in range(30)),
        pd.DataFrame({"s": ["x"] * 40}, index=[f"p{i}" for i in range(40)]),
    )
    write_gctx(expression.path, expression, compression="gzip")
    return expression.path.read_bytes()


def test_truncated_files_are_refused(tmp_path: Path, valid: bytes) -> None:
    path = tmp_path / "a.gctx"
    for share in range(1, 20):
        path.write_bytes(valid[: len(valid) * share // 20])
        refused(path, "damaged or truncated HDF5 file")


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_never_end_in_a_traceback(tmp_path: Path, valid: bytes, seed: int) -> None:
    """Random bytes overwritten: either the file still reads or a `FormatError` names it."""
    rng = np.random.default_rng(seed)
    path = tmp_path / "a.gctx"
    texts = []
    for _ in range(60):
        raw = bytearray(valid)
        for _ in range(3):
            at = int(rng.integers(8, len(raw) - 40))
            raw[at : at + 20] = rng.bytes(20)
        path.write_bytes(raw)
        try:
            with Gctx(path) as source:
                source.read()
                source.profile_metadata.shape  # noqa: B018
        except DgexError as error:
            texts.append(str(error))
    assert texts
    assert all(text.startswith(str(path)) for text in texts)
