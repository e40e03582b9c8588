"""GCTX in: every way of storing it, and reading in parts (refusals: test_gctx_damaged.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from dgex_jax.formats.gctx import Gctx
from tests.formats.gctx_files import GENES, PROFILES, VALUES, put_strings, write

if TYPE_CHECKING:
    from pathlib import Path

    from dgex_jax.formats.expression import ExpressionSource


@pytest.mark.parametrize("padding", ["space", "null", "terminated", "variable"])
@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
def test_every_padding_of_strings(tmp_path: Path, padding: str, charset: str) -> None:
    path = write(tmp_path / "a.gctx", padding=padding, charset=charset)
    with h5py.File(path, "a") as file:
        put_strings(file, "0/META/COL/dose", ("10 µM", "", "-666"), padding, charset)
    with Gctx(path) as source:
        assert source.profiles == PROFILES
        assert source.genes == GENES
        assert source.profile_metadata["dose"].tolist() == ["10 µM", "", "-666"]
        np.testing.assert_array_equal(source.read(), VALUES)


def test_spaces_in_a_null_padded_id_are_padding(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gctx", profiles=("a  ", "b", "c "))
    with Gctx(path) as source:
        assert source.profiles == ("a", "b", "c")


@pytest.mark.parametrize(
    "version", [b"GCTX1.0", np.array([b"GCTX1.0"]), "GCTX1.0", np.bytes_(b"GCTX1.0 ")]
)
def test_version_as_scalar_array_or_text(tmp_path: Path, version: Any) -> None:
    with Gctx(write(tmp_path / "a.gctx", version=version)) as source:
        assert source.shape == (3, 4)


@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"chunks": (1, 4)},
        {"chunks": (2, 3), "compression": "gzip"},
        {"chunks": (3, 1), "compression": "lzf", "shuffle": True},
        {"chunks": (3, 4), "fletcher32": True},
    ],
)
@pytest.mark.parametrize(
    ("stored", "given"),
    [("<f4", "f4"), (">f4", "f4"), ("<f8", "f8"), (">f8", "f8"), ("f2", "f4"), ("i4", "f8")],
)
def test_every_storage_and_dtype(
    tmp_path: Path, storage: dict[str, Any], stored: str, given: str
) -> None:
    values = np.arange(12).reshape(3, 4).astype(stored)
    with Gctx(write(tmp_path / "a.gctx", values=values, **storage)) as source:
        found = source.read()
        assert found.dtype == np.dtype(given) == source.dtype
        np.testing.assert_array_equal(found, values.astype(given))


@pytest.mark.parametrize("kind", ["i8", "i4", "f8"])
def test_numeric_ids_become_decimal_text(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.gctx", genes=np.array([5720, 55847, 7416, 10174], dtype=kind))
    with Gctx(path) as source:
        assert source.genes == ("5720", "55847", "7416", "10174")


def test_missing_values_and_infinities(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[0, 1], values[1, 2], values[2, 0], values[2, 1] = -666, np.nan, np.inf, -np.inf
    with Gctx(write(tmp_path / "a.gctx", values=values)) as source:
        found = source.read(genes=np.array([2, 1, 0]))
    assert np.isnan(found[0, 1])
    assert np.isnan(found[1, 0])
    assert found[2, 2] == np.inf
    assert found[2, 1] == -np.inf
    assert np.isnan(found).sum() == 2


def test_metadata_keeps_its_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gctx")
    with h5py.File(path, "a") as file:
        file["0/META/COL/dose"] = np.array([1.5, -666, 3], dtype=np.float32)
        file["0/META/COL/count"] = np.array([1, -666, 2**60 + 1])
        file["0/META/COL/whole"] = np.array([[1], [2], [3]], dtype=np.int16)
        put_strings(file, "0/META/COL/code", ("007", "NA", "1e5"), "null", "utf-8")
    with Gctx(path) as source:
        frame = source.profile_metadata
    assert frame.index.tolist() == list(PROFILES)
    assert frame["code"].tolist() == ["007", "NA", "1e5"]
    assert frame["dose"].dtype == np.float32
    assert frame["dose"].isna().tolist() == [False, True, False]
    assert frame["count"].dtype == "Int64"
    assert frame["count"].isna().tolist() == [False, True, False]
    assert frame["count"].iloc[2] == 2**60 + 1
    assert frame["whole"].tolist() == [1, 2, 3]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray[Any, Any]]:
    values = np.random.default_rng(0).normal(size=(157, 83)).astype(np.float32)
    profiles = tuple(f"p{i}" for i in range(157))
    genes = tuple(f"g{i}" for i in range(83))
    folder = tmp_path_factory.mktemp("large")
    return (
        write(folder / "a.gctx", values=values, profiles=profiles, genes=genes, chunks=(11, 83)),
        values,
    )


SELECTIONS = [
    None,
    slice(None),
    slice(5, 60),
    slice(60, 5, -7),
    slice(10, 10),
    slice(-3, None),
    np.array([3]),
    np.array([70, 2, 2, 40, 3, 81]),
    np.array([-1, 0, -5], dtype=np.int32),
    np.array([], dtype=np.int64),
]


@pytest.mark.parametrize("limit", [1, 1 << 25])
@pytest.mark.parametrize("genes", SELECTIONS)
@pytest.mark.parametrize("profiles", SELECTIONS)
def test_any_selection_equals_indexing_in_memory(
    large: tuple[Path, np.ndarray[Any, Any]],
    monkeypatch: pytest.MonkeyPatch,
    profiles: Any,
    genes: Any,
    limit: int,
) -> None:
    path, values = large
    monkeypatch.setattr("dgex_jax.formats.hdf5_matrix.READ_BYTES", limit)
    rows = slice(None) if profiles is None else profiles
    columns = slice(None) if genes is None else genes
    with Gctx(path) as source:
        found = source.read(profiles, genes)
    np.testing.assert_array_equal(found, values[rows][:, columns])


@pytest.mark.parametrize(
    "selection", [np.array([83]), np.array([-84]), np.array([0.5]), np.zeros((2, 2), int)]
)
def test_impossible_selections_are_refused(
    large: tuple[Path, np.ndarray[Any, Any]], selection: Any
) -> None:
    with Gctx(large[0]) as source, pytest.raises(IndexError):
        source.read(genes=selection)


@pytest.mark.parametrize("chunks", [(11, 20_000), None])
def test_the_matrix_is_never_read_wholesale(tmp_path: Path, chunks: Any) -> None:
    """Twenty billion declared values (80 GB), of which one profile was ever written."""
    n_profiles, n_genes = 1_000_000, 20_000
    path = tmp_path / "huge.gctx"
    with h5py.File(path, "w") as file:
        file.attrs["version"] = b"GCTX1.0"
        options = {"chunks": chunks} if chunks else {}
        matrix = file.create_dataset("0/DATA/0/matrix", (n_profiles, n_genes), "f4", **options)
        if chunks:
            matrix[777_777] = np.arange(n_genes)
        file["0/META/COL/id"] = np.arange(n_profiles)
        file["0/META/ROW/id"] = np.arange(n_genes)
    with Gctx(path) as source:
        assert source.shape == (n_profiles, n_genes)
        rows = np.array([999_999, 777_777, 5])
        found = source.read(rows, np.array([19_999, 3]))
        assert source.read(slice(777_770, 777_780), slice(0, 5)).shape == (10, 5)
    row = [19_999, 3] if chunks else [0, 0]
    np.testing.assert_array_equal(found, [[0, 0], row, [0, 0]])


def test_opening_and_metadata_do_not_touch_the_matrix(
    large: tuple[Path, np.ndarray[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def record(original: Any) -> Any:
        def wrapper(self: Any, *arguments: Any, **options: Any) -> Any:
            if self.name.endswith("matrix"):
                asked.append(1)
            return original(self, *arguments, **options)

        return wrapper

    monkeypatch.setattr(h5py.Dataset, "__getitem__", record(h5py.Dataset.__getitem__))
    monkeypatch.setattr(h5py.Dataset, "read_direct", record(h5py.Dataset.read_direct))
    with Gctx(large[0]) as source:
        assert source.shape == (157, 83)
        assert source.profile_metadata.shape == (157, 0)
        assert source.gene_metadata.shape == (83, 0)
        assert asked == []
        source.read(slice(0, 1))
        assert asked == [1]


def test_it_is_an_expression_source(large: tuple[Path, np.ndarray[Any, Any]]) -> None:
    with Gctx(large[0]) as gctx:
        source: ExpressionSource = gctx
        assert source.path == large[0]
        assert source.read(slice(0, 2)).shape == (2, 83)
