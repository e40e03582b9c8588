"""GCTX and GCT out, profile by profile: read again by h5py and by the readers; whole or absent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import Expression
from dgex_jax.io.gct import read_gct
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.writers import GctWriter, GctxWriter, write_gctx

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = ("p1", "µ2", "p3")
GENES = ("g1", "g2")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [1, 7, 200])
def test_blocks_of_any_size_give_the_same_file(tmp_path, step, dtype) -> None:
    values = np.random.default_rng(1).normal(size=(50, 9)).astype(dtype)
    values[3, 4] = np.nan
    profiles = [f"p{i}" for i in range(50)]
    genes = [f"g{i}" for i in range(9)]
    path = tmp_path / "a.gctx"
    with GctxWriter(path, profiles, genes, dtype=dtype) as writer:
        for start in range(0, 50, step):
            writer.append(values[start : start + step])
        assert not path.exists()
    with h5py.File(path) as file:
        assert file.attrs["version"] == b"GCTX1.0"
        matrix = file["0/DATA/0/matrix"]
        assert matrix.dtype == dtype
        np.testing.assert_array_equal(matrix[...], values)
        assert [text.decode() for text in file["0/META/COL/id"]] == profiles
        assert [text.decode() for text in file["0/META/ROW/id"]] == genes
    with Gctx(path) as source:
        np.testing.assert_array_equal(source.read(), values)
        assert source.profiles == tuple(profiles)
    assert [child.name for child in tmp_path.iterdir()] == ["a.gctx"]


def test_metadata_comes_back(tmp_path) -> None:
    frame = pd.DataFrame(
        {
            "text": ["007", None, "10 µM"],
            "whole": [1, 2, 3],
            "some": pd.array([1, None, 2**60 + 1], dtype="Int64"),
            "real": np.array([0.5, np.nan, -1], dtype=np.float32),
            "flag": [True, False, True],
        },
        index=list(PROFILES),
    )
    # The list of imputed genes of a large model is longer than a fixed HDF5 attribute may be.
    told = {"imputed": [f"GENE{n}" for n in range(20000)]}
    path = tmp_path / "a.gctx"
    more: dict[str, Any] = {"src": "Zoë", "attributes": {"provenance": told}}
    with GctxWriter(path, PROFILES, GENES, profile_metadata=frame, **more) as writer:
        writer.append(np.zeros((3, 2)))
    with h5py.File(path) as file:
        assert file.attrs["src"].decode() == "Zoë"
        assert json.loads(file.attrs["provenance"]) == told
        assert file["0/META/COL/some"][...].tolist() == [1, -666, 2**60 + 1]
    with Gctx(path) as source:
        found = source.profile_metadata
    assert found.index.tolist() == list(PROFILES)
    assert set(found.columns) == set(frame.columns)
    assert found["text"].tolist() == ["007", "-666", "10 µM"]
    assert found["whole"].tolist() == [1, 2, 3]
    pd.testing.assert_series_equal(found["some"], frame["some"], check_index=False)
    pd.testing.assert_series_equal(found["real"], frame["real"], check_index=False)
    assert found["flag"].tolist() == [1, 0, 1]


def test_write_gctx_keeps_dtype_and_metadata(tmp_path) -> None:
    notes = pd.DataFrame({"symbol": ["A", "B"]}, index=list(GENES), dtype=object)
    values = np.arange(6.0).reshape(3, 2)
    expression = Expression(tmp_path / "x", values, PROFILES, GENES, gene_metadata=notes)
    for name in "ac":
        write_gctx(tmp_path / name, expression)
    write_gctx(tmp_path / "b", expression, dtype=np.float32)
    # Equal content gives equal bytes.
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()
    with Gctx(tmp_path / "a") as wide, Gctx(tmp_path / "b") as narrow:
        assert (wide.dtype.name, narrow.dtype.name) == ("float64", "float32")
        np.testing.assert_array_equal(wide.read(), narrow.read())
        assert wide.gene_metadata.to_dict("index") == {"g1": {"symbol": "A"}, "g2": {"symbol": "B"}}


def write(path: Path, *blocks: Any, dtype: Any = np.float32) -> None:
    empty = pd.DataFrame()
    with (
        GctWriter(path, PROFILES, GENES, empty, empty)
        if path.suffix == ".gct"
        else GctxWriter(path, PROFILES, GENES, dtype=dtype)
    ) as writer:
        for block in blocks:
            if isinstance(block, BaseException):
                raise block
            writer.append(np.asarray(block))


SHAPES = [
    ([np.zeros((2, 2))], FormatError, "not written: 2 of 3 profiles"),
    ([np.zeros((2, 2))] * 2, FormatError, r"shape \(2, 2\) does not fit at profile 2 of 3 x 2"),
    ([np.zeros((3, 3))], FormatError, r"shape \(3, 3\) does not fit"),
    ([np.zeros(3)], FormatError, r"shape \(3,\) does not fit"),
    ([[[0, 1], [-666, 2], [3, 4]]], FormatError, "profile 'µ2', gene 'g1': -666"),
    ([np.zeros((3, 2)), RuntimeError("stop")], RuntimeError, "stop"),
    ([np.zeros((3, 2)), KeyboardInterrupt("stop")], KeyboardInterrupt, "stop"),
]


@pytest.mark.parametrize(
    ("name", "blocks", "error", "match"),
    [
        *((name, *case) for case in SHAPES for name in ("a.gctx", "a.gct")),
        ("a.gctx", [[[0, 1], [2, 1e39], [3, 4]]], FormatError, r"'g2': 1e\+39 can't be stored"),
    ],
)
def test_what_is_not_all_there_leaves_the_old_file_alone(
    tmp_path, name, blocks, error, match
) -> None:
    (tmp_path / name).write_text("old")
    with pytest.raises(error, match=match):
        write(tmp_path / name, *blocks)
    assert (tmp_path / name).read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == [name]


def test_infinities_and_float64_range_are_kept(tmp_path) -> None:
    values = np.array([[np.inf, -np.inf], [1e300, np.nan], [0, 1]])
    write(tmp_path / "a.gctx", values, dtype=np.float64)
    with Gctx(tmp_path / "a.gctx") as source:
        np.testing.assert_array_equal(source.read(), values)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"genes": ["g", "g"]}, FormatError, "duplicate gene id 'g'"),
        ({"profiles": []}, FormatError, "has no profiles"),
        ({"genes": ["g ", "h"]}, FormatError, "'g ': the format can't hold a trailing space"),
        ({"genes": ["g\0", "h"]}, FormatError, r"can't hold '\\x00'"),
        (
            {"gene_metadata": pd.DataFrame({"a/b": [1, 2]}, index=list(GENES))},
            FormatError,
            "'a/b' can't be the name of a gene field",
        ),
        (
            {"gene_metadata": pd.DataFrame({"a": [1, 2]})},
            FormatError,
            "index of the gene metadata is not the gene ids",
        ),
        ({"dtype": np.int64}, TypeError, "int64"),
    ],
)
def test_bad_ids_and_metadata_are_refused(tmp_path, change, error, match) -> None:
    with pytest.raises(error, match=match):
        GctxWriter(tmp_path / "a.gctx", **{"profiles": PROFILES, "genes": GENES} | change)


def test_an_unwritable_place_is_named(tmp_path) -> None:
    with pytest.raises(DgexError, match=r"no/a\.gctx: can't be written") as caught:
        write(tmp_path / "no" / "a.gctx", np.zeros((3, 2)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("step", [1, 3, 11])
def test_gct_writer_gives_back_what_it_got(tmp_path, step, monkeypatch) -> None:
    monkeypatch.setattr("dgex_jax.io.writers.VALUES_AT_A_TIME", 30)
    values = np.random.default_rng(4).normal(size=(11, 7)).astype(np.float32)
    values[3, 2] = np.nan
    profiles, genes = [f"p{n}" for n in range(11)], [f"g{n}" for n in range(7)]
    with GctWriter(tmp_path / "a.gct", profiles, genes, pd.DataFrame(), pd.DataFrame()) as writer:
        for start in range(0, 11, step):
            writer.append(values[start : start + step])
    found = read_gct(tmp_path / "a.gct")
    np.testing.assert_array_equal(found.values.astype(np.float32), values)
    assert (found.profiles, found.genes) == (tuple(profiles), tuple(genes))
