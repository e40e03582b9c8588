"""Faults that damaged files have found, one test each."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from dgex_jax.errors import DgexError, FormatError, StudyError
from dgex_jax.io import lines, table
from dgex_jax.io.delimited import read_delimited
from dgex_jax.io.expression import Expression
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.h5ad import H5ad
from dgex_jax.prepare.genes import read_gene_map
from dgex_jax.prepare.probelist import read_probe_list
from dgex_jax.prepare.study import read_study
from tests.fuzz.tables import Table, described, write_gctx, write_h5ad
from tests.io.refusing import refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = Table(
    ("p1", "p2"),
    ("g1", "g2", "g3"),
    np.arange(1.0, 7).reshape(2, 3),
    {},
    {"symbol": ("A", "B", "C")},
)


def values_of(path: Path) -> Any:
    """All values and ids of a GCTX (``.gctx``) or an AnnData file, by two ways through it."""
    with Gctx(path) if path.suffix == ".gctx" else H5ad(path) as file:
        assert file.profile_metadata.index.tolist() == list(file.profiles)
        assert file.gene_metadata.index.tolist() == list(file.genes)
        rows, columns = np.arange(len(file.profiles)), np.arange(len(file.genes))
        np.testing.assert_array_equal(file.read(rows[::-1], columns), file.read()[::-1])
        np.testing.assert_array_equal(file.read(rows, columns[::-1]), file.read()[:, ::-1])
        return file.read()


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """A small file in which one element is another."""

    def make(kind: str, name: str, change: Callable[..., Any], layout: str = "dense") -> Path:
        path = tmp_path / f"a.{kind}"
        if kind == "gctx":
            write_gctx(path, SMALL)
        else:
            write_h5ad(path, SMALL, layout)
        np.testing.assert_array_equal(values_of(path), SMALL.values)
        with h5py.File(path, "a") as file:
            attributes = dict(file[name].attrs)
            old = file[name][...] if isinstance(file[name], h5py.Dataset) else None
            del file[name]
            change(file, name, old)
            if name in file and isinstance(file[name], h5py.Dataset) and not file[name].attrs:
                file[name].attrs.update(attributes)
        return path

    return make


@pytest.mark.parametrize(
    ("limit", "size", "text", "cause"),
    [
        ("LONGEST_LINE", 40, "g\tp\n" + "x" * 41 + "\t1\n", "line 2: is longer than 40 bytes"),
        ("LONGEST_LINE", 40, "x" * 41, "line 1: is longer than 40 bytes"),
        ("MOST_LINES", 3, "g\tp\na\t1\nb\t2\nc\t3\n", "has more than 3 lines"),
        ("MOST_LINES", 3, "g\tp\na\t1\n\n\n\n\n", "has more than 3 lines"),
        ("MOST_COLUMNS", 4, "g\tp\tq\tr\ts\na\t1\t2\t3\t4\n", "line 1: has more than 4 columns"),
        ("MOST_COLUMNS", 4, "g,p,q,r,s\na,1,2,3,4\n", "line 1: has more than 4 columns"),
    ],
)
def test_text_has_limits(tmp_path, monkeypatch, limit, size, text, cause) -> None:
    path = tmp_path / "a.tsv"
    is_table = "\t" in text or "," in text
    for content in (text.encode(), gzip.compress(text.encode())):
        path.write_bytes(content)
        if is_table:
            read_delimited(path)
        with monkeypatch.context() as patch:
            patch.setattr(lines, limit, size)
            if is_table:
                refused(read_delimited, path, cause)
            if cause.startswith(("line 1", "has")):
                refused(read_gene_map, path, f"{cause}|not 3")


@pytest.mark.parametrize("mark", "\t,")
def test_a_table_of_one_column_as_r_writes_it(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"\nsample\ng1{mark}1\ng2{mark}2.5\n")
    found = read_delimited(path)
    assert (found.profiles, found.genes) == (("sample",), ("g1", "g2"))
    assert found.values.tolist() == [[1, 2.5]]


def test_values_for_which_there_is_no_memory(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("g\tp\tq\n" + "".join(f"g{k}\t1\t2\n" for k in range(100)))
    assert read_delimited(path).values.nbytes == 1600
    monkeypatch.setattr(table, "machine_memory", lambda: 1599)
    refused(read_delimited, path, "more memory than the")


def test_gene_maps_and_lists(tmp_path: Path, monkeypatch) -> None:
    """A list of one probe over and over was kept whole before it was refused."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"A\tENSG01\t1_at\nB\tENSG02\t2_at\0\n")
    refused(read_gene_map, path, "line 2: has a zero byte")
    path.write_text("a\n" * 10)
    monkeypatch.setattr(lines, "MOST_LINES", 5)
    array = Expression(path, np.zeros((1, 1)), ("p",), ("a",))
    refused(lambda path: read_probe_list(path, array), path, "duplicate probe id 'a'")


STUDY = 'name = "a"\ntitle = "A"\n'


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[simulate]\nseed = 9\n" + f"x = {'9' * 4090}" * 3, "is longer than 4096 bytes"),
        (f"[simulate]\nseed = {'9' * 4080}", "is no TOML: a whole number of more than 64 bits"),
        (f"name = {'[' * 4000}", "is no TOML: nested too deeply"),
        (f"name = {'[' * 4000}{']' * 50}", "is no TOML: nested too deeply"),
        ("name = " + "[\n" * 30_000, "is no TOML: nested too deeply"),
        (f"name = {'{a=' * 1300}1", "is no TOML: nested too deeply"),
        (f"{STUDY}x = 0x{'f' * 4000}", "is no TOML: a whole number of more than 64 bits"),
        (f"{STUDY}[simulate]\nx = [[0x{'f' * 4000}]]", "is no TOML: a whole number of more than"),
        (f"{STUDY}[simulate]\n[training]\nlearning_rate = 1{'0' * 400}", "is no TOML: a whole"),
        (f"{'.'.join('a' * 2040)} = 1\n" * 16, "is no TOML: "),
        ("".join(f"[b{k}.{'.'.join('a' * 2040)}]\n" for k in range(15)), "b0: unknown key"),
        (f"[{'.'.join('a' * 100_000)}]", "is larger than a study file can be"),
        (f'{STUDY}[simulate]\n"a\\nb" = 1', "unknown key"),
        (f'{STUDY}[simulate]\n"\\u001b[31m" = 1', "unknown key"),
        (f'{STUDY}[simulate]\n[networks]\nunits = "{"x" * 4000}"', "must be a list"),
        (f'{STUDY}[files]\ngeo = "~a\\u0000b"\nlandmarks = "l"', r"files.geo = '~a\\x00b': "),
        (f'{STUDY}[files]\ngeo = "a\\u0000b"\nlandmarks = "l"', r"files.geo = 'a\\x00b': "),
        ("#" * ((1 << 20) + 1), "is larger than a study file can be"),
    ],
)
def test_studies(tmp_path: Path, text: str, cause: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8")
    refused(read_study, path, cause)


def test_errors_are_one_short_line() -> None:
    for kind in (DgexError, FormatError, StudyError):
        text = str(kind("a\nb\x1b[31m\u2028\udcff " + "x" * 100_000 + "end"))
        assert text.startswith("a\\nb\\x1b[31m\\u2028\\udcff xxx")
        assert text.endswith("xxxend")
        assert len(text) < 3000
        assert text.isprintable()
    assert str(DgexError("µ 'x' — 日本")) == "µ 'x' — 日本"


@pytest.mark.parametrize("way", ["external", "virtual", "link"])
@pytest.mark.parametrize("name", ["0/DATA/0/matrix", "0/META/ROW/id", "0/META/ROW/symbol", "X"])
def test_values_of_other_files(tmp_path: Path, changed, way: str, name: str) -> None:
    """What a stranger's file names, on this disk, does not end up in what is made of it."""
    other = tmp_path / "b.h5"

    def put_outside(file: Any, name: str, values: Any) -> None:
        if way == "external":
            other.write_bytes(values.tobytes())
            outside = [(other, 0, values.nbytes)]
            file.create_dataset(name, values.shape, values.dtype, external=outside)
            return
        with h5py.File(other, "w") as source:
            source["x"] = values
        if way == "link":
            file[name] = h5py.ExternalLink(other, "/x")
        else:
            layout = h5py.VirtualLayout(values.shape, values.dtype)
            layout[...] = h5py.VirtualSource(other, "x", shape=values.shape)
            file.create_virtual_dataset(name, layout)

    path = changed("h5ad" if name == "X" else "gctx", name, put_outside)
    refused(values_of, path, "lies in another file")


@pytest.mark.parametrize("name", ["obs/_index", "var/_index"])
def test_columns_of_impossible_size(changed, name: str) -> None:
    """Seconds and gigabytes went into 4 GB of one number before the file was refused."""

    def put(file: Any, name: str, _: Any) -> None:
        file.create_dataset(name, (10**9,), "i4", chunks=(1000,))

    path = changed("h5ad", name, put)
    refused(values_of, path, f"/{name} declares 4000000000 bytes")


@pytest.mark.parametrize(("kind", "name"), [("gctx", "0/DATA/0/matrix"), ("h5ad", "X")])
def test_chunks_of_impossible_size(changed, kind: str, name: str) -> None:
    storage = {"chunks": (30_000, 30_000), "maxshape": (None, None), "compression": "gzip"}

    def put(file: Any, name: str, _: Any) -> None:
        file.create_dataset(name, (2, 3), "f4", **storage)

    path = changed(kind, name, put)
    refused(values_of, path, "chunks of 3600000000 bytes")


SPARSE: dict[str, tuple[str, Any]] = {
    "indices beyond": ("indices", [0, 1, 9]),
    "far beyond": ("indices", [0, 1, 2**31 - 1]),
    "negative indices": ("indices", [0, 1, -1]),
    "fractional indices": ("indices", [0.0, 1.0, 2.5]),
    "too many indices": ("indices", [0, 1, 2, 2]),
    "pointers beyond": ("indptr", [0, 99, 3]),
    "pointers back": ("indptr", [0, 3, 1]),
    "negative pointers": ("indptr", [0, -1, 3]),
    "pointers short": ("indptr", [0, 3]),
    "pointers long": ("indptr", [0, 1, 2, 3]),
    "pointers late": ("indptr", [1, 2, 3]),
    "fractional pointers": ("indptr", [0.0, 1.5, 3.0]),
    "no values": ("data", []),
}


@pytest.mark.parametrize("fault", SPARSE)
@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_sparse_matrices_that_can_not_be(tmp_path: Path, fault: str, layout: str) -> None:
    """These wrote to foreign memory: wrong values, or the death of the process."""
    path = tmp_path / "a.h5ad"
    values = np.array([[1.0, 0, 2], [0, 3, 0]])
    values = values.T if layout == "csc" else values
    profiles, genes = (tuple(f"i{k}" for k in range(n)) for n in values.shape)
    write_h5ad(path, Table(profiles, genes, values), layout)
    np.testing.assert_array_equal(values_of(path), values)
    name, wrong = SPARSE[fault]
    with h5py.File(path, "a") as file:
        del file["X"][name]
        file["X"][name] = wrong
    refused(values_of, path, "X: ")


@pytest.mark.parametrize("layout", ["dense", "csr", "csc"])
@pytest.mark.parametrize("more", [(1, 0), (0, 1), (-1, 0), (0, -1)])
def test_h5ad_values_that_do_not_fit_their_ids(tmp_path: Path, changed, layout: str, more) -> None:
    """A larger X was read as far as the ids go."""
    rows, columns = (n + k for n, k in zip((2, 3), more, strict=True))
    profiles, genes = (tuple(f"i{k}" for k in range(n)) for n in (rows, columns))
    write_h5ad(tmp_path / "b.h5ad", Table(profiles, genes, np.ones((rows, columns))), layout)
    with h5py.File(tmp_path / "b.h5ad") as other:
        path = changed("h5ad", "X", lambda file, *_: other.copy("X", file), layout)
    refused(values_of, path, f"X is {rows} x {columns}, which does not fit 2 profiles")


def test_h5ad_ids_that_are_no_text(changed) -> None:
    def put(file: Any, name: str, _: Any) -> None:
        file[name] = np.zeros(2, [("a", "f4"), ("b", "S3")])
        described(file[name], "array", "0.2.0")

    refused(values_of, changed("h5ad", "obs/_index", put), "neither text nor numbers")


@pytest.mark.parametrize("version", ["9.9", "x\ny"])
def test_h5ad_elements_of_no_known_kind(changed, version: str) -> None:
    def put(file: Any, name: str, values: Any) -> None:
        file.create_dataset(name, data=values, dtype=h5py.string_dtype())
        described(file[name], "string-array", version)

    refused(values_of, changed("h5ad", "obs/_index", put), "damaged or no AnnData file")
