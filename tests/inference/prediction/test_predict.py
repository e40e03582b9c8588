"""``dgex predict``: the same bits of every kind of file, what it says, and what it refuses."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import re
from contextlib import ExitStack
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dgex_jax.config import PredictOptions
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import Expression
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.open import open_input
from dgex_jax.io.progress import Progress
from dgex_jax.io.writers import write_gctx
from dgex_jax.model.predict import inferred, predict
from dgex_jax.model.scale import make_plan
from dgex_jax.train.arrays import BATCH

PLAIN = PredictOptions("standardized")
KINDS = {
    "gctx": "a.csv",
    "packed gctx": "a.gctx",
    "gct": "a.gct",
    "gct 1.2": "a.gct",
    "tsv": "a.h5ad",
    "csv": "a.csv.gz",
    "quoted csv": "a.gctx",
    "R's header": "a.txt",
    "BOM and CRLF": "a.tsv.gz.txt",
    "dense": "a.h5ad",
    "csr": "a.h5ad",
    "csc": "a.h5ad",
}
"""Kind of file → a name, which does not matter."""


def matrix(path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["0/DATA/0/matrix"][...]


# --- files of every kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_bits(
    kind, table, tmp_path, write, results, model, oracle
) -> None:
    expected = results(write(table, tmp_path / "plain.gctx", "gctx"))
    path = write(table, tmp_path / KINDS[kind], kind)
    found = results(path)
    assert found.tobytes() == expected.tobytes()
    columns = [table.genes.index(gene) for gene in model.landmarks.ensembl]
    np.testing.assert_array_equal(found[:, :20], table.values[:, columns])
    np.testing.assert_allclose(found[:, 20:], oracle(model, found[:, :20]), rtol=0, atol=2e-5)
    if kind in {"gct 1.2", "quoted csv", "R's header", "BOM and CRLF"}:
        return
    with ExitStack() as files:
        source = open_input(path, files)
        assert source.profiles == table.profiles
        if kind not in {"tsv", "csv"}:
            tissue = source.profile_metadata["tissue"].tolist()
            assert tissue[:4] == ["t0", "t1", "t2", "t0"]
    turned = replace(
        table, values=table.values.T.copy(), profiles=table.genes, genes=table.profiles
    )
    path = write(turned, tmp_path / "turned", kind)
    assert results(path, block_size=7).tobytes() == expected.tobytes()


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
    with ExitStack() as files:
        source = open_input(path, files)
        assert source.profiles == ("p,1", "p2")
        assert source.genes == ("g1", "g1")
        np.testing.assert_array_equal(source.read(), [[np.nan, np.nan], [1e-3, -2.5]])


def test_hdf5_files_that_can_not_be_read(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = np.zeros((2, 2))
    with (
        pytest.raises(FormatError, match=r"neither GCTX .* AnnData .* nor ARCHS4"),
        ExitStack() as files,
    ):
        open_input(path, files)
    with h5py.File(path, "a") as file:
        file.create_group("obs")
        file.create_group("var")
    find = importlib.import_module

    def refuse(name: str):
        if name == "anndata":
            raise ImportError
        return find(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
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


# --- in blocks, in memory that does not grow


@pytest.fixture(scope="module")
def many(model, tmp_path_factory):
    """Two full batches of profiles and a piece, with raw values."""
    n = 2 * BATCH + 37
    rng = np.random.default_rng(11)
    genes = tuple(dict.fromkeys([*model.landmarks.ensembl, *model.targets.ensembl]))
    values = (rng.gamma(2, 3, (n, len(genes))) - 3.5).astype(np.float32)
    profiles = tuple(f"s{k}" for k in range(n))
    path = tmp_path_factory.mktemp("many") / "many.gctx"
    write_gctx(path, Expression(path, values, profiles, genes))
    return path


@pytest.mark.parametrize(
    ("platform", "scale"), [("standardized", "reference"), ("rnaseq", "standardized")]
)
def test_any_block_size_gives_the_same_file(many, model, tmp_path, platform, scale) -> None:
    sums = set()
    for size in (1, 100, 256, 257, 5000):
        options = PredictOptions(platform, scale=scale, block_size=size)
        predict(model, many, tmp_path / "a.gctx", options)
        sums.add(hashlib.sha256((tmp_path / "a.gctx").read_bytes()).hexdigest())
    assert len(sums) == 1
    assert matrix(tmp_path / "a.gctx").shape == (2 * BATCH + 37, 65)


class Watched:
    """A source that counts the most profiles read at a time."""

    def __init__(self, base) -> None:
        self._base = base
        self.most = 0

    def __getattr__(self, name: str):
        return getattr(self._base, name)

    def read(self, profiles=None, genes=None):
        values = self._base.read(profiles, genes)
        self.most = max(self.most, len(values))
        return values


def test_a_run_of_profiles_is_that_part_of_all(many, model) -> None:
    """Shares of a file, cut where batches begin, have the bits of all; no more is read at once."""
    with Gctx(many) as gctx:
        source = Watched(gctx)
        n = len(source.profiles)
        plan = make_plan(model, source, PredictOptions("rnaseq", block_size=BATCH), Progress())
        entire = np.concatenate([block.values for block in inferred(plan, slice(0, n))])
        assert (len(entire), source.most) == (n, BATCH)
        for rows in (slice(BATCH, 2 * BATCH), slice(2 * BATCH, n)):
            part = np.concatenate([block.values for block in inferred(plan, rows)])
            assert part.tobytes() == entire[rows].tobytes()
        with pytest.raises(ValueError, match="rows begin at 7, no multiple"):
            next(inferred(plan, slice(7, 20)))


def test_provenance_says_what_decides_the_values(model, table, tmp_path, write) -> None:
    names = list(model.landmarks.ensembl)
    path = write(without(table, *names[2:5]), tmp_path / "in.tsv", "tsv")
    options = PredictOptions("rnaseq", impute=True, scale="reference")
    done = predict(model, path, tmp_path / "a.gctx", options)
    with h5py.File(tmp_path / "a.gctx") as file:
        told = json.loads(file.attrs["provenance"])
        sources = [text.decode() for text in file["0/META/ROW/source"]]
        errors = file["0/META/ROW/expected_error"][20:]
    assert told["input"] == {
        "name": "in.tsv",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "genes": "by Ensembl id on its rows",
        "second": "",
        "renamed": {},
        "by_other_names": {},
        "notes": [next(note for note in done.notes if note.endswith("taken for logarithms"))],
        "comments": [],
    }
    assert told["options"] == {
        "platform": "rnaseq",
        "standardize": "input",
        "values": None,
        "scale": "reference",
        "impute": True,
        "force_platform": False,
    }
    assert (told["warnings"], told["precision"]) == ([], "highest")
    assert told["imputed"] == list(model.landmarks.symbols[2:5])
    assert told["expected_error_on"] == "GTEx"
    assert [place for place, text in enumerate(sources) if text == "imputed"] == [2, 3, 4]
    np.testing.assert_allclose(errors, model.errors["GTEx"] * model.targets.sd)
    imputed = np.tile(model.landmarks.mean[2:5], (40, 1))
    np.testing.assert_allclose(matrix(tmp_path / "a.gctx")[:, 2:5], imputed, rtol=1e-6)
    assert str(tmp_path) not in json.dumps(told)
    assert done.notes[0] == "40 profiles, 17 of 20 landmarks by Ensembl id on its rows"
    missing = f"3 missing landmarks have their training mean: {', '.join(told['imputed'])}"
    assert {missing, "the model was trained on simulated data"} <= set(done.notes)
    with pytest.raises(FormatError, match="3 of 20 landmarks are missing"):
        predict(model, path, tmp_path / "b.gctx", PredictOptions("rnaseq"))
    assert not (tmp_path / "b.gctx").exists()


def test_precision_of_training_does_not_matter(model, table, tmp_path, write) -> None:
    """A model in use takes products in float32, whatever its record says."""
    path = write(table, tmp_path / "in.gctx", "gctx")
    settings = {"settings": {"training": {"precision": "tf32"}}}
    for name, record in (("a", {}), ("b", settings)):
        used = replace(model, record={**model.record, **record})
        predict(used, path, tmp_path / f"{name}.gctx", PLAIN)
    assert (tmp_path / "a.gctx").read_bytes() == (tmp_path / "b.gctx").read_bytes()


@pytest.mark.parametrize("name", ["a.gctx", "a.gct", "a.h5ad"])
def test_a_failure_on_the_way_leaves_nothing(name, model, many, tmp_path) -> None:
    if name == "a.h5ad":
        pytest.importorskip("anndata")
    (tmp_path / name).write_text("older")
    seen = []

    def fail(step: str, done: int, total: int) -> None:
        seen.append((step, done, total))
        if step == "inferring" and done > BATCH:
            raise DgexError("the disk is gone")

    with pytest.raises(DgexError, match="the disk is gone"):
        predict(model, many, tmp_path / name, PLAIN, progress=fail)
    assert ("inferring", 2 * BATCH, 2 * BATCH + 37) in seen
    # The empty lock file stays, as beside every output.
    assert {path.name for path in tmp_path.iterdir()} == {name, f".{name}.lock"}
    assert (tmp_path / name).read_text() == "older"


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("a.txt", "the output ends in .gctx, .gct, .gct.gz, .tsv, .tsv.gz, "),
        ("no/a.gctx", "can't be written: not a file in a folder that is there"),
        ("folder.gct", "can't be written: not a file in a folder that is there"),
        ("in.gctx", "is the input, not to be overwritten"),
    ],
)
def test_places_that_can_not_be_written(name, cause, model, table, tmp_path, write) -> None:
    path = write(table, tmp_path / "in.gctx", "gctx")
    before = path.read_bytes()
    (tmp_path / "folder.gct").mkdir()
    with pytest.raises(DgexError, match=re.escape(f"{tmp_path / name}: {cause}")):
        predict(model, path, tmp_path / name, PLAIN)
    assert path.read_bytes() == before


# --- the command


def without(table, *genes: str):
    """The table without some genes."""
    kept = [place for place, gene in enumerate(table.genes) if gene not in genes]
    names = tuple(table.genes[place] for place in kept)
    return replace(table, values=table.values[:, kept], genes=names)
