"""Every kind of file gives what the GCTX of the same values gives, to the bit."""

from __future__ import annotations

import gzip
import importlib
from contextlib import ExitStack
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats import h5ad
from dgex_jax.formats.delimited import read_delimited
from dgex_jax.inference.inputs import open_input

KINDS = {
    "packed gctx": "a.gctx",
    "gct": "a.gct",
    "gct 1.2": "a.gct",
    "tsv": "a.tsv",
    "csv": "a.csv.gz",
    "quoted csv": "a.csv",
    "R's header": "a.txt",
    "BOM and CRLF": "a.tsv.gz.txt",
    "dense": "a.h5ad",
    "csr": "a.h5ad",
    "csc": "a.h5ad",
}


@pytest.fixture
def expected(table, tmp_path, write, results) -> np.ndarray:
    """Results of the plain GCTX."""
    return results(write(table, tmp_path / "plain.gctx", "gctx"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_bits(
    kind, table, tmp_path, write, results, expected, model, oracle
) -> None:
    path = write(table, tmp_path / KINDS[kind], kind)
    found = results(path)
    assert found.tobytes() == expected.tobytes()
    columns = [table.genes.index(gene) for gene in model.landmarks.ensembl]
    np.testing.assert_array_equal(found[:, :20], table.values[:, columns])
    np.testing.assert_allclose(found[:, 20:], oracle(model, found[:, :20]), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "kind", ["gctx", "packed gctx", "gct", "tsv", "csv", "dense", "csr", "csc"]
)
def test_genes_may_be_either_axis(kind, table, tmp_path, write, results, expected) -> None:
    turned = replace(
        table, values=table.values.T.copy(), profiles=table.genes, genes=table.profiles
    )
    path = write(turned, tmp_path / "turned", kind)
    assert results(path, block_size=7).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("kind", "name"), [("gctx", "a.csv"), ("csv", "a.gctx"), ("tsv", "a.h5ad")]
)
def test_the_name_does_not_matter(kind, name, table, tmp_path, write, results, expected) -> None:
    assert results(write(table, tmp_path / name, kind)).tobytes() == expected.tobytes()


def test_carried_metadata(table, tmp_path, write) -> None:
    for kind in ("gctx", "gct", "csr"):
        with ExitStack() as files:
            source = open_input(write(table, tmp_path / "a", kind), files)
            assert source.profiles == table.profiles
            assert source.profile_metadata["tissue"].tolist()[:4] == ["t0", "t1", "t2", "t0"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a\tp1\tp2\ng1\t1\t1,5\n", "line 2, row 'g1', column 'p2': '1,5' is not a number"),
        ("a,p1,p2\ng1,1,2\ng2,3,0x1F\n", "line 3, row 'g2', column 'p2': '0x1F' is not a number"),
        ("a,p1,p2\ng1,1,2\ng2,3\n", "line 3, row 'g2': 2 columns, but the header has 3"),
        ("a,p1\ng1,1,2,3\n", "line 2, row 'g1': 4 columns, but the header has 2"),
        ("a,p1,p2\n,1,2\n", "line 2: the row id is empty"),
        ("a,p1,p2\n  ,1,2\n", "the id of row 1 is empty"),
        ("a,p1,\ng1,1,2\n", "line 1: the id of column 2 is empty"),
        ("a,p1,,\ng1,1,2,\n", "line 1: the id of column 2 is empty"),
        ("a,p1,p2\n1,2,3\n2\n", "line 3, row '2': 1 columns, but the header has 3"),
        ("a,p1\nGC,#N/A\nTP53,1\n", "line 2, row 'GC', column 'p1': '#N/A' is not a number"),
        ("a,p1,p2\nGC,#N/A,2\nTP53,1,2\n", "row 'GC', column 'p1': '#N/A' is not a number"),
        ("a,p1,p2\n", "has no rows below its header"),
        ("", "is empty"),
        ("g1,1.5,2.5\ng2,3,4\n", "line 1 has numbers, not ids"),
        ("just a text\nof two lines\n", "is no table of tab- or comma-separated cells"),
        ('a,p1\n"g1,1\n', "line 2: an open quote: a quoted cell must end where the cell does"),
        ('a,p1\n"g\t1",1\n', "line 2: a tab inside a quoted cell"),
        ("a,p1\ng1,\t1\n", "line 2: a tab in a comma-separated table"),
        ("PK\x03\x04rubbish", "is a zip archive; unpack it first"),
        ("%PDF-1.7", "is a PDF document"),
        ("a\0b", "is neither HDF5 nor text"),
    ],
)
def test_tables_that_can_not_be_read(tmp_path, text, cause) -> None:
    path = tmp_path / "table.tsv"
    contents = [text.encode(), gzip.compress(text.encode())]
    for content in contents if text else contents[:1]:
        path.write_bytes(content)
        with pytest.raises(FormatError) as error, ExitStack() as files:
            open_input(path, files)
        assert str(error.value).startswith(f"{path}: ")
        assert cause in str(error.value)
        assert "\n" not in str(error.value)


def test_cells_of_a_table(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbf"","p,1", p2 \r\n\r\n" g1",NA,1e-3\r\ng1,,"-2.5"\r\n')
    source = read_delimited(path)
    assert source.profiles == ("p,1", "p2")
    assert source.genes == ("g1", "g1")
    np.testing.assert_array_equal(source.values, [[np.nan, np.nan], [1e-3, -2.5]])


def test_other_hdf5_files_are_no_input(tmp_path) -> None:
    path = tmp_path / "a.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = np.zeros((2, 2))
    with pytest.raises(FormatError, match=r"neither GCTX .* nor AnnData"), ExitStack() as files:
        open_input(path, files)


def test_anndata_missing_is_one_line(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.h5ad"
    with h5py.File(path, "w") as file:
        file.create_group("obs")
        file.create_group("var")
    find = importlib.import_module

    def refuse(name: str):
        if name == "anndata":
            raise ImportError
        return find(name)

    monkeypatch.setattr(h5ad.importlib, "import_module", refuse)
    with pytest.raises(DgexError) as error, ExitStack() as files:
        open_input(path, files)
    assert str(error.value) == (
        f'{path}: an .h5ad file needs anndata: pip install "dgex-jax[anndata]"'
    )


def test_damaged_anndata_files(table, tmp_path, write) -> None:
    path = write(table, tmp_path / "a.h5ad", "csr")
    with h5py.File(path, "r+") as file:
        del file["X/indptr"]
    with pytest.raises(FormatError, match=f"{path}: "), ExitStack() as files:
        open_input(path, files).read()
    path = write(table, tmp_path / "b.h5ad", "dense")
    with h5py.File(path, "r+") as file:
        del file["X"]
    with pytest.raises(FormatError, match="has no X"), ExitStack() as files:
        open_input(path, files)


def test_part_of_a_sparse_file(table, tmp_path, write) -> None:
    rng = np.random.default_rng(3)
    values = np.where(rng.uniform(size=table.values.shape) < 0.6, 0, table.values)
    sparse = replace(table, values=values.astype(np.float32))
    for kind in ("csr", "csc", "dense"):
        path = write(sparse, tmp_path / f"{kind}.h5ad", kind)
        with ExitStack() as files:
            source = open_input(path, files)
            for _ in range(4):
                rows, columns = rng.integers(0, 40, 9), rng.integers(0, 29, 6)
                for profiles, genes in ((rows, columns), (slice(3, 11), columns), (None, None)):
                    left = slice(None) if profiles is None else profiles
                    right = slice(None) if genes is None else genes
                    found = source.read(profiles, genes)
                    assert found.dtype == np.float32
                    np.testing.assert_array_equal(found, sparse.values[left][:, right])
