"""GCTX in: every way of storing it, reading in parts, and files that are wrong or damaged."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.io.expression import AnnotatedSource, Expression
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.writers import write_gctx
from tests.io.refusing import refused

if TYPE_CHECKING:
    from cmapPy.pandasGEXpress.GCToo import GCToo

PROFILES = ("p1", "profile two", "µ3")
GENES = ("200814_at", "g2", "g3", "g4")
VALUES = np.arange(12, dtype=np.float32).reshape(3, 4) / 3


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
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(length)
    kind.set_strpad(codes[padding])
    filler = b" " if padding == "space" else b"\0"
    raw = np.array([text.ljust(length, filler) for text in encoded], dtype=f"S{length}")
    folder, _, last = name.rpartition("/")
    group = file.require_group(folder)
    space = h5py.h5s.create_simple((len(texts),))
    dataset = h5py.h5d.create(group.id, last.encode(), kind, space)
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
    """Write a GCTX file with plain h5py, independent of the writer of the library."""
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


@pytest.mark.parametrize("padding", ["space", "null", "terminated", "variable"])
@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
def test_every_padding_of_strings(tmp_path: Path, padding: str, charset: str) -> None:
    path = write(tmp_path / "a.gctx", padding=padding, charset=charset)
    with h5py.File(path, "a") as file:
        put_strings(file, "0/META/COL/dose", ("10 µM", "", "-666"), padding, charset)
    with Gctx(path) as source:
        assert (source.profiles, source.genes) == (PROFILES, GENES)
        assert source.profile_metadata["dose"].tolist() == ["10 µM", "", "-666"]
        np.testing.assert_array_equal(source.read(), VALUES)


@pytest.mark.parametrize(
    ("profiles", "wanted"),
    [
        (("a  ", "b", "c "), ("a", "b", "c")),
        *(
            (np.array([5720, -3, 7416], kind), ("5720", "-3", "7416"))
            for kind in ("i8", "i4", "f8")
        ),
    ],
)
def test_spaces_are_padding_and_numbers_are_decimal_text(tmp_path, profiles, wanted) -> None:
    with Gctx(write(tmp_path / "a.gctx", profiles=profiles)) as source:
        assert source.profiles == wanted


@pytest.mark.parametrize(
    "version", [b"GCTX1.0", np.array([b"GCTX1.0"]), "GCTX1.0", np.bytes_(b"GCTX1.0 "), None]
)
def test_version_as_scalar_array_or_text(tmp_path: Path, version: Any) -> None:
    with Gctx(write(tmp_path / "a.gctx", version=version)) as source:
        assert (len(source.profiles), len(source.genes)) == (3, 4)


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
    [
        *(("<f4", "f4"), (">f4", "f4"), ("<f8", "f8"), (">f8", "f8"), ("f2", "f4"), ("i4", "f8")),
        *((kind, "f8") for kind in ("i1", "u1", ">i2", "i8", "u4")),
    ],
)
def test_every_storage_and_dtype(
    tmp_path: Path, storage: dict[str, Any], stored: str, given: str
) -> None:
    values = np.arange(12).reshape(3, 4).astype(stored)
    with Gctx(write(tmp_path / "a.gctx", values=values, **storage)) as source:
        assert source.dtype == np.dtype(given)
        np.testing.assert_array_equal(source.read(), values.astype(given), strict=True)


def test_missing_values_and_infinities(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[0, 1], values[1, 2], values[2, 0], values[2, 1] = -666, np.nan, np.inf, -np.inf
    with Gctx(write(tmp_path / "a.gctx", values=values)) as source:
        found = source.read(genes=np.array([2, 1, 0]))
    values[0, 1] = np.nan
    np.testing.assert_array_equal(found, values[:, [2, 1, 0]])


def test_metadata_keeps_its_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gctx")
    with h5py.File(path, "a") as file:
        file["0/META/COL/dose"] = np.array([1.5, -666, 3], dtype=np.float32)
        file["0/META/COL/count"] = np.array([1, -666, 2**60 + 1])
        file["0/META/COL/column"] = np.array([[1], [2], [3]], dtype=np.int16)
        put_strings(file, "0/META/COL/code", ("007", "NA", "1e5"), "null", "utf-8")
    with Gctx(path) as source:
        frame = source.profile_metadata
    assert frame.index.tolist() == list(PROFILES)
    assert frame["code"].tolist() == ["007", "NA", "1e5"]
    assert (frame["dose"].dtype, frame["count"].dtype) == (np.float32, "Int64")
    for name in ("dose", "count"):
        assert frame[name].isna().tolist() == [False, True, False]
    assert frame["count"].iloc[2] == 2**60 + 1
    assert frame["column"].tolist() == [1, 2, 3]


LARGE = np.random.default_rng(0).normal(size=(157, 83)).astype(np.float32)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("large") / "a.gctx",
        values=LARGE,
        profiles=tuple(f"p{i}" for i in range(157)),
        genes=tuple(f"g{i}" for i in range(83)),
        chunks=(11, 83),
    )


SELECTIONS = [
    *(None, slice(None), slice(5, 60), slice(60, 5, -7), slice(10, 10), slice(-3, None)),
    *(np.array([3]), np.array([70, 2, 2, 40, 3, 81])),
    *(np.array([-1, 0, -5], dtype=np.int32), np.array([], dtype=np.int64)),
]


@pytest.mark.parametrize("limit", [1, 1 << 25])
@pytest.mark.parametrize("profiles", SELECTIONS)
def test_any_selection_equals_indexing_in_memory(
    large: Path, monkeypatch: pytest.MonkeyPatch, profiles: Any, limit: int
) -> None:
    monkeypatch.setattr("dgex_jax.io.hdf5.READ_BYTES", limit)
    rows = slice(None) if profiles is None else profiles
    with Gctx(large) as source:
        for genes in SELECTIONS:
            columns = slice(None) if genes is None else genes
            np.testing.assert_array_equal(source.read(profiles, genes), LARGE[rows][:, columns])


def test_impossible_selections_are_refused(large: Path) -> None:
    with Gctx(large) as source:
        for bad in (np.array([83]), np.array([-84]), np.array([0.5]), np.zeros((2, 2), int)):
            with pytest.raises(IndexError):
                source.read(genes=bad)
    with pytest.raises(ValueError, match="is closed"):
        source.read()


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
        assert (len(source.profiles), len(source.genes)) == (n_profiles, n_genes)
        found = source.read(np.array([999_999, 777_777, 5]), np.array([19_999, 3]))
        assert source.read(slice(777_770, 777_780), slice(0, 5)).shape == (10, 5)
    row = [19_999, 3] if chunks else [0, 0]
    np.testing.assert_array_equal(found, [[0, 0], row, [0, 0]])


def test_opening_and_metadata_do_not_touch_the_matrix(
    large: Path, monkeypatch: pytest.MonkeyPatch
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
    with Gctx(large) as gctx:
        source: AnnotatedSource = gctx
        assert source.path == large
        assert source.profile_metadata.shape == (157, 0)
        assert source.gene_metadata.shape == (83, 0)
        assert asked == []
        source.read(slice(0, 1))
        assert asked == [1]


def test_wrong_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(Gctx, tmp_path / "missing.gctx", "no such file")
    refused(Gctx, tmp_path, "is a folder")
    refused(Gctx, Path(os.devnull), "not an ordinary file")
    path = tmp_path / "a.gctx"
    for text, match in (("", "is empty"), ("#1.2\n", "does not begin as an HDF5 file")):
        path.write_text(text)
        refused(Gctx, path, match)

    def forbidden(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    write(path)
    monkeypatch.setattr(Path, "open", forbidden)
    refused(Gctx, path, "can't be read: Permission denied")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"version": b"GCTX2.0"}, "'GCTX2.0' is not GCTX1.0"),
        ({"version": 1.0}, "'1.0'"),
        ({"profiles": ("a", "b", "a")}, "duplicate profile id 'a'.*1 and 3"),
        ({"genes": ("a", "b", "c", "b")}, "duplicate gene id 'b'"),
        ({"profiles": ("a", "", "c")}, "id of profile 2 is empty"),
        ({"values": VALUES.T.copy()}, "transposed against its ids.*4 x 3.*3 profile"),
        ({"values": VALUES[:2]}, "2 x 4, which does not fit 3 profile"),
        ({"values": VALUES.astype("S3")}, "holds .S3, not numbers"),
        ({"genes": np.array([0.5, 1, 2, 3])}, "neither text nor whole numbers"),
        ({"genes": np.array([[1, 2], [3, 4]])}, "has no column of values"),
    ],
)
def test_parts_must_fit(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    refused(Gctx, write(tmp_path / "a.gctx", **changes), match)


@pytest.mark.parametrize("name", ["0/DATA/0/matrix", "0/META/COL/id", "0/META/ROW", "0"])
def test_missing_groups_are_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.gctx")
    with h5py.File(path, "a") as file:
        del file[name]
    refused(Gctx, path, "has no dataset /0/" + ("META/COL/id" if name == "0" else ""))


FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "short": ({"data": np.arange(2)}, "/0/META/ROW/new has 2 values for 4 ids"),
    "vectors": ({"shape": (4,), "dtype": h5py.vlen_dtype(np.int32)}, "holds object"),
    "references": ({"shape": (4,), "dtype": h5py.ref_dtype}, "holds object"),
    "huge": (
        {"shape": (4,), "dtype": "S1000000000", "chunks": (1,), "compression": "gzip"},
        "declares 4000000000 bytes",
    ),
}


@pytest.mark.parametrize("fault", FIELDS)
@pytest.mark.parametrize("name", ["new", "id"])
def test_bad_columns(tmp_path: Path, fault: str, name: str) -> None:
    """Ids are looked at when the file is opened, fields when they are asked for."""
    path = write(tmp_path / "a.gctx")
    options, match = FIELDS[fault]
    with h5py.File(path, "a") as file:
        file.pop(f"0/META/ROW/{name}", None)
        file.create_dataset(f"0/META/ROW/{name}", **options)
    if name == "id":
        refused(Gctx, path, "which does not fit" if fault == "short" else match)
        return
    with Gctx(path) as source:
        refused(lambda _: source.gene_metadata, path, match)


def test_bad_names_and_groups(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gctx")
    with h5py.File(path, "a") as file:
        file["0/META/COL/a\nb"] = [1]
        file.create_group("0/META/ROW/group")
    with Gctx(path) as source:
        refused(lambda _: source.profile_metadata, path, r"a\\nb has 1 values for 3 ids")
        refused(lambda _: source.gene_metadata, path, "ROW/group is not a dataset")


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gctx", chunks=(1, 4), compression="gzip")
    valid = path.read_bytes()
    for share in range(1, 20):
        path.write_bytes(valid[: len(valid) * share // 20])
        refused(Gctx, path, "damaged or truncated HDF5 file")


@pytest.mark.filterwarnings("ignore")  # cmapPy's own, of pandas
def test_cmappy_reads_what_is_written_and_the_other_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cmapPy", reason="cmapPy is not installed (it needs pandas 2)")
    # Its writer uses a name that NumPy 2 has no longer.
    monkeypatch.setattr(np, "string_", np.bytes_, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cmapPy.pandasGEXpress.GCToo import GCToo
        from cmapPy.pandasGEXpress.parse import parse
        from cmapPy.pandasGEXpress.write_gctx import write as write_theirs
    values = np.random.default_rng(5).normal(size=(7, 11)).astype(np.float32)
    values[2, 3] = np.nan
    profiles, genes = [f"profile {k}" for k in range(7)], [f"{k}_at" for k in range(11)]
    cells = pd.DataFrame({"cell": list("abcdefg"), "dose": np.arange(7) / 8}, index=profiles)
    symbols = pd.DataFrame({"symbol": [f"G{k}" for k in range(11)]}, index=genes)
    made = Expression(tmp_path / "a.gctx", values, tuple(profiles), tuple(genes), cells, symbols)
    write_gctx(made.path, made)
    found: GCToo = parse(str(made.path))
    np.testing.assert_array_equal(found.data_df.loc[genes, profiles].to_numpy().T, values)
    for name in ("cell", "dose"):
        assert found.col_metadata_df.loc[profiles, name].tolist() == cells[name].tolist()
    assert found.row_metadata_df.loc[genes, "symbol"].tolist() == symbols["symbol"].tolist()

    frame = pd.DataFrame(values.T, index=genes, columns=profiles)
    write_theirs(GCToo(frame, symbols, cells), str(tmp_path / "theirs.gctx"))
    with Gctx(tmp_path / "theirs.gctx") as source:
        rows = [source.profiles.index(name) for name in profiles]
        columns = [source.genes.index(name) for name in genes]
        np.testing.assert_array_equal(source.read(rows, columns), values)
        assert source.gene_metadata.loc[genes, "symbol"].tolist() == symbols["symbol"].tolist()
