"""Faults that damaged files have found, one test each."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from dgex_jax.data.genemap import read_gene_map
from dgex_jax.data.probelist import read_probe_list
from dgex_jax.data.study import read_study
from dgex_jax.errors import DgexError, FormatError, StudyError
from dgex_jax.formats import lines, table
from dgex_jax.formats.delimited import read_delimited
from dgex_jax.formats.expression import Expression
from dgex_jax.formats.gct import read_gct
from dgex_jax.formats.gctx import Gctx
from dgex_jax.formats.h5ad import H5ad
from tests.fuzz.readers import refusal
from tests.fuzz.tables import Table, described, write_gctx, write_h5ad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = Table(("p1", "p2"), ("g1", "g2", "g3"), np.arange(1.0, 7).reshape(2, 3))


def refused(read: Callable[[Path], Any], path: Path) -> str:
    """The text of the clean error."""
    with pytest.raises(DgexError) as caught:
        read(path)
    outcome, text = refusal(str(caught.value), path)
    assert outcome == "refused", text
    return text


def gctx_values(path: Path) -> Any:
    with Gctx(path) as file:
        assert file.profile_metadata.index.tolist() == list(file.profiles)
        assert file.gene_metadata.index.tolist() == list(file.genes)
        return file.read()


def h5ad_values(path: Path) -> Any:
    with H5ad(path) as file:
        rows, columns = np.arange(len(file.profiles)), np.arange(len(file.genes))
        np.testing.assert_array_equal(file.read(rows[::-1], columns), file.read()[::-1])
        np.testing.assert_array_equal(file.read(rows, columns[::-1]), file.read()[:, ::-1])
        return file.read()


@pytest.mark.parametrize("sizes", ["9" * 5000 + "\t1", "1\t" + "9" * 5000])
def test_gct_sizes_of_thousands_of_digits(tmp_path: Path, sizes: str) -> None:
    path = tmp_path / "a.gct"
    path.write_text(f"#1.2\n{sizes}\nName\tDescription\tp\ng\td\t1\n")
    assert "line 2 is not 2 numbers" in refused(read_gct, path)


def test_gct_with_as_many_fields_as_a_line_holds(tmp_path: Path) -> None:
    """Looking for names that come twice took time by their square: minutes here."""
    n = 30_000
    names, cells = "\t".join(f"f{k}" for k in range(n)), "\t".join(["x"] * n)
    path = tmp_path / "a.gct"
    path.write_text(f"#1.3\n1\t1\t{n}\t0\nid\t{names}\tp\ng\t{cells}\t1\n")
    assert read_gct(path).gene_metadata.shape == (1, n)
    path.write_text(
        f"#1.3\n1\t1\t{n}\t0\nid\t{names.replace('f7	', 'f9	')}\tp\ng\t{cells}\t1\n"
    )
    assert "the gene field 'f9' comes twice" in refused(read_gct, path)


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
    for content in (text.encode(), gzip.compress(text.encode())):
        path.write_bytes(content)
        if "\t" in text or "," in text:
            read_delimited(path)
        with monkeypatch.context() as patch:
            patch.setattr(lines, limit, size)
            for read in (read_delimited, read_gene_map):
                if read is read_delimited and "\t" not in text and "," not in text:
                    continue
                if read is read_gene_map and not cause.startswith(("line 1", "has")):
                    continue
                found = refused(read, path)
                assert cause in found or "not 3" in found, found


@pytest.mark.parametrize("mark", "\t,")
def test_a_table_of_one_column_as_r_writes_it(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"\nsample\ng1{mark}1\ng2{mark}2.5\n")
    found = read_delimited(path)
    assert (found.profiles, found.genes) == (("sample",), ("g1", "g2"))
    assert found.values.tolist() == [[1, 2.5]]


def test_zero_bytes_are_no_text(tmp_path: Path) -> None:
    """An id with one could never be written again, and other readers end it there."""
    path = tmp_path / "a.gct"
    path.write_bytes(b"#1.2\n1\t1\nName\tDescription\tp\0q\ng\td\t1\n")
    assert "line 3: has a zero byte" in refused(read_gct, path)
    path.write_bytes(b"A\tENSG01\t1_at\nB\tENSG02\t2_at\0\n")
    assert "line 2: has a zero byte" in refused(read_gene_map, path)


def test_values_for_which_there_is_no_memory(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("g\tp\tq\n" + "".join(f"g{k}\t1\t2\n" for k in range(100)))
    assert read_delimited(path).values.nbytes == 1600
    monkeypatch.setattr(table, "machine_memory", lambda: 1599)
    assert "more memory than the" in refused(read_delimited, path)


def test_probes_that_come_twice_are_found_at_once(tmp_path: Path, monkeypatch) -> None:
    """A list of one probe over and over was kept whole before it was refused."""
    path = tmp_path / "a.txt"
    path.write_text("a\n" * 10)
    monkeypatch.setattr(lines, "MOST_LINES", 5)
    assert "duplicate probe id 'a'" in refused(
        lambda path: read_probe_list(path, Expression(path, np.zeros((1, 1)), ("p",), ("a",))), path
    )


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
        (f'{STUDY}[files]\ngeo = "~a\\u0000b"\nlandmarks = "l"', "files.geo = '~a\\x00b': "),
        (f'{STUDY}[files]\ngeo = "a\\u0000b"\nlandmarks = "l"', "files.geo = 'a\\x00b': "),
        ("#" * ((1 << 20) + 1), "is larger than a study file can be"),
    ],
)
def test_studies(tmp_path: Path, text: str, cause: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8")
    found = refused(read_study, path)
    assert cause in found
    assert found.isprintable()


def test_errors_are_one_short_line() -> None:
    for kind in (DgexError, FormatError, StudyError):
        text = str(kind("a\nb\x1b[31m\u2028\udcff " + "x" * 100_000 + "end"))
        assert text.startswith("a\\nb\\x1b[31m\\u2028\\udcff xxx")
        assert text.endswith("xxxend")
        assert len(text) < 3000
        assert text.isprintable()
    assert str(DgexError("µ 'x' — 日本")) == "µ 'x' — 日本"


KINDS: dict[str, dict[str, Any]] = {
    "vectors": {"shape": (3,), "dtype": h5py.vlen_dtype(np.int32)},
    "references": {"shape": (3,), "dtype": h5py.ref_dtype},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["id", "symbol"])
def test_gctx_fields_of_no_text(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / "a.gctx"
    write_gctx(path, SMALL)
    with h5py.File(path, "a") as file:
        file.pop(f"0/META/ROW/{name}", None)
        file.create_dataset(f"0/META/ROW/{name}", **KINDS[kind])
    assert f"/0/META/ROW/{name} holds object" in refused(gctx_values, path)


def test_gctx_fields_with_a_line_end_in_their_names(tmp_path: Path) -> None:
    path = tmp_path / "a.gctx"
    write_gctx(path, SMALL)
    with h5py.File(path, "a") as file:
        file["0/META/ROW/a\nb"] = [1]
    assert "a\\nb has 1 values for 3 ids" in refused(gctx_values, path)


def put_outside(file: Any, name: str, way: str, other: Path) -> None:
    """Make a dataset take its values from another file."""
    values = file[name][...]
    del file[name]
    if way == "external":
        other.write_bytes(values.tobytes())
        file.create_dataset(name, values.shape, values.dtype, external=[(other, 0, values.nbytes)])
        return
    with h5py.File(other, "w") as source:
        source["x"] = values
    if way == "link":
        file[name] = h5py.ExternalLink(other, "/x")
    else:
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        layout[...] = h5py.VirtualSource(other, "x", shape=values.shape)
        file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("way", ["external", "virtual", "link"])
@pytest.mark.parametrize("name", ["0/DATA/0/matrix", "0/META/ROW/id", "0/META/ROW/symbol", "X"])
def test_values_of_other_files(tmp_path: Path, way: str, name: str) -> None:
    """What a stranger's file names, on this disk, does not end up in what is made of it."""
    path = tmp_path / "a.h5"
    write = write_h5ad if name == "X" else write_gctx
    write(path, Table(*[SMALL.profiles, SMALL.genes, SMALL.values], {}, {"symbol": SMALL.genes}))
    read = h5ad_values if name == "X" else gctx_values
    assert read(path).shape == (2, 3)
    with h5py.File(path, "a") as file:
        put_outside(file, name, way, tmp_path / "b.h5")
    assert "lies in another file" in refused(read, path)


def test_ids_of_impossible_size(tmp_path: Path) -> None:
    path = tmp_path / "a.gctx"
    write_gctx(path, SMALL)
    with h5py.File(path, "a") as file:
        del file["0/META/ROW/id"]
        file.create_dataset("0/META/ROW/id", (3,), "S1000000000", chunks=(1,), compression="gzip")
    assert "/0/META/ROW/id declares 3000000000 bytes" in refused(gctx_values, path)


@pytest.mark.parametrize("name", ["obs/_index", "var/_index"])
def test_columns_of_impossible_size(tmp_path: Path, name: str) -> None:
    """Seconds and gigabytes went into 4 GB of one number before the file was refused."""
    path = tmp_path / "a.h5ad"
    write_h5ad(path, SMALL)
    assert h5ad_values(path).shape == (2, 3)
    with h5py.File(path, "a") as file:
        del file[name]
        file.create_dataset(name, (10**9,), "i4", chunks=(1000,))
    assert f"/{name} declares 4000000000 bytes" in refused(h5ad_values, path)


@pytest.mark.parametrize("kind", ["gctx", "h5ad"])
def test_chunks_of_impossible_size(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.h5"
    (write_h5ad if kind == "h5ad" else write_gctx)(path, SMALL)
    with h5py.File(path, "a") as file:
        name = "X" if kind == "h5ad" else "0/DATA/0/matrix"
        attributes = dict(file[name].attrs)
        del file[name]
        chunks = {"chunks": (30_000, 30_000), "maxshape": (None, None), "compression": "gzip"}
        file.create_dataset(name, (2, 3), "f4", **chunks).attrs.update(attributes)
    assert "chunks of 3600000000 bytes" in refused(
        h5ad_values if kind == "h5ad" else gctx_values, path
    )


def replace(group: Any, name: str, values: Any) -> None:
    del group[name]
    group[name] = values


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
    if layout == "csc":
        values = values.T
    names = [
        tuple(f"{kind}{k}" for k in range(n)) for kind, n in zip("pg", values.shape, strict=True)
    ]
    damaged = Table(names[0], names[1], values)
    write_h5ad(path, damaged, layout)
    np.testing.assert_array_equal(h5ad_values(path), values)
    name, changed = SPARSE[fault]
    with h5py.File(path, "a") as file:
        replace(file["X"], name, changed)
    assert "X: " in refused(h5ad_values, path)


@pytest.mark.parametrize("layout", ["dense", "csr", "csc"])
@pytest.mark.parametrize("more", [(1, 0), (0, 1), (-1, 0), (0, -1)])
def test_h5ad_values_that_do_not_fit_their_ids(tmp_path: Path, layout: str, more) -> None:
    """A larger X was read as far as the ids go."""
    path = tmp_path / "a.h5ad"
    write_h5ad(path, SMALL, layout)
    rows, columns = (n + k for n, k in zip((2, 3), more, strict=True))
    bigger = np.ones((rows, columns))
    names = [tuple(f"{kind}{k}" for k in range(n)) for kind, n in (("p", rows), ("g", columns))]
    write_h5ad(tmp_path / "b.h5ad", Table(names[0], names[1], bigger), layout)
    with h5py.File(path, "a") as file, h5py.File(tmp_path / "b.h5ad") as other:
        del file["X"]
        other.copy("X", file)
    assert f"X is {rows} x {columns}, which does not fit 2 profiles" in refused(h5ad_values, path)


def test_h5ad_ids_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    write_h5ad(path, SMALL)
    with h5py.File(path, "a") as file:
        del file["obs/_index"]
        file["obs/_index"] = np.zeros(2, [("a", "f4"), ("b", "S3")])
        described(file["obs/_index"], "array", "0.2.0")
    assert "neither text nor numbers" in refused(h5ad_values, path)


@pytest.mark.parametrize("version", ["9.9", "x\ny"])
def test_h5ad_elements_of_no_known_kind(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a.h5ad"
    write_h5ad(path, SMALL)
    with h5py.File(path, "a") as file:
        file["obs/_index"].attrs["encoding-version"] = version
    assert "damaged or no AnnData file" in refused(h5ad_values, path)
