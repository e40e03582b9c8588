"""GCTX out: read again by h5py and by the reader; complete or absent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gctx import Gctx, GctxWriter, write_gctx

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = ("p1", "µ2", "p3")
GENES = ("g1", "g2")


@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [1, 7, 200])
def test_blocks_of_any_size_give_the_same_file(
    tmp_path: Path, step: int, dtype: Any, compression: str | None
) -> None:
    values = np.random.default_rng(1).normal(size=(50, 9)).astype(dtype)
    values[3, 4] = np.nan
    profiles = [f"p{i}" for i in range(50)]
    genes = [f"g{i}" for i in range(9)]
    path = tmp_path / "a.gctx"
    with GctxWriter(path, profiles, genes, dtype=dtype, compression=compression) as writer:
        for start in range(0, 50, step):
            writer.append(values[start : start + step])
        assert not path.exists()
    with h5py.File(path) as file:
        assert file.attrs["version"] == b"GCTX1.0"
        matrix = file["0/DATA/0/matrix"]
        assert matrix.dtype == dtype
        assert matrix.compression == compression
        np.testing.assert_array_equal(matrix[...], values)
        assert [text.decode() for text in file["0/META/COL/id"]] == profiles
        assert [text.decode() for text in file["0/META/ROW/id"]] == genes
    with Gctx(path) as source:
        np.testing.assert_array_equal(source.read(), values)
        assert source.profiles == tuple(profiles)
    assert [child.name for child in tmp_path.iterdir()] == ["a.gctx"]


def test_metadata_comes_back(tmp_path: Path) -> None:
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
    path = tmp_path / "a.gctx"
    with GctxWriter(path, PROFILES, GENES, profile_metadata=frame, src="Zoë") as writer:
        writer.append(np.zeros((3, 2)))
    with h5py.File(path) as file:
        assert file.attrs["src"].decode() == "Zoë"
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


def test_write_gctx_keeps_dtype_and_metadata(tmp_path: Path) -> None:
    notes = pd.DataFrame({"symbol": ["A", "B"]}, index=list(GENES), dtype=object)
    values = np.arange(6.0).reshape(3, 2)
    expression = Expression(tmp_path / "x", values, PROFILES, GENES, gene_metadata=notes)
    write_gctx(tmp_path / "a.gctx", expression)
    write_gctx(tmp_path / "b.gctx", expression, dtype=np.float32, compression="gzip")
    with Gctx(tmp_path / "a.gctx") as wide, Gctx(tmp_path / "b.gctx") as narrow:
        assert (wide.dtype.name, narrow.dtype.name) == ("float64", "float32")
        np.testing.assert_array_equal(wide.read(), narrow.read())
        assert wide.gene_metadata.to_dict("index") == {"g1": {"symbol": "A"}, "g2": {"symbol": "B"}}


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        expression = Expression(tmp_path / "x", np.ones((3, 2)), PROFILES, GENES)
        write_gctx(tmp_path / name, expression)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_alone(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.gctx"
    path.write_text("old")

    def fail() -> None:
        with GctxWriter(path, PROFILES, GENES) as writer:
            writer.append(np.zeros((3, 2)))
            raise error("stop")

    with pytest.raises(error, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["a.gctx"]


def write(path: Path, *blocks: Any, dtype: Any = np.float32) -> None:
    with GctxWriter(path, PROFILES, GENES, dtype=dtype) as writer:
        for block in blocks:
            writer.append(np.asarray(block))


@pytest.mark.parametrize(
    ("blocks", "match"),
    [
        ([np.zeros((2, 2))], "not written: 2 of 3 profiles"),
        ([np.zeros((2, 2)), np.zeros((2, 2))], r"shape \(2, 2\) does not fit at profile 2 of 3"),
        ([np.zeros((3, 3))], r"shape \(3, 3\) does not fit"),
        ([np.zeros(3)], r"shape \(3,\) does not fit"),
        ([[[0, 1], [-666, 2], [3, 4]]], "profile 'µ2', gene 'g1': -666"),
        ([[[0, 1], [2, 1e39], [3, 4]]], r"profile 'µ2', gene 'g2': 1e\+39 can't be stored"),
    ],
)
def test_what_would_not_come_back_is_refused(tmp_path: Path, blocks: Any, match: str) -> None:
    with pytest.raises(FormatError, match=match):
        write(tmp_path / "a.gctx", *blocks)
    assert list(tmp_path.iterdir()) == []


def test_infinities_and_float64_range_are_kept(tmp_path: Path) -> None:
    values = np.array([[np.inf, -np.inf], [1e300, np.nan], [0, 1]])
    write(tmp_path / "a.gctx", values, dtype=np.float64)
    with Gctx(tmp_path / "a.gctx") as source:
        np.testing.assert_array_equal(source.read(), values)


def test_bad_ids_and_metadata_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gctx"
    with pytest.raises(FormatError, match="duplicate gene id 'g'"):
        GctxWriter(path, PROFILES, ["g", "g"])
    with pytest.raises(FormatError, match="has no profiles"):
        GctxWriter(path, [], GENES)
    with pytest.raises(FormatError, match="'g ': the format can't hold a trailing space"):
        GctxWriter(path, PROFILES, ["g ", "h"])
    with pytest.raises(FormatError, match=r"can't hold '\\x00'"):
        GctxWriter(path, PROFILES, ["g\0", "h"])
    notes = pd.DataFrame({"a/b": [1, 2]}, index=list(GENES))
    with pytest.raises(FormatError, match="'a/b' can't be the name of a gene field"):
        GctxWriter(path, PROFILES, GENES, gene_metadata=notes)
    with pytest.raises(FormatError, match="index of the gene metadata is not the gene ids"):
        GctxWriter(path, PROFILES, GENES, gene_metadata=pd.DataFrame({"a": [1, 2]}))
    with pytest.raises(TypeError, match="int64"):
        GctxWriter(path, PROFILES, GENES, dtype=np.int64)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(DgexError, match=r"no/a\.gctx: can't be written") as caught:
        write(tmp_path / "no" / "a.gctx", np.zeros((3, 2)))
    assert "\n" not in str(caught.value)
