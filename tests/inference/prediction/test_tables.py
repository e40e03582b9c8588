"""A choice of genes, under which ids, in every format; tables; several files in one command."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.config import PredictOptions
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.gct import read_gct
from dgex_jax.io.manifest import sidecar
from dgex_jax.model.match import choose_genes, model_ids, name_genes, read_gene_list, written_genes
from dgex_jax.model.model import write_model
from dgex_jax.model.predict import predict
from dgex_jax.train.network import Forward
from tests.cli.case import command, refused_line
from tests.inference.prediction.conftest import anndata

PLAIN = PredictOptions("standardized")
NAMES = ("b.gctx", "b.gct.gz", "b.tsv", "b.tsv.gz", "b.csv", "b.csv.gz", "b.parquet", "b.h5ad")
NAMES += ("b.zarr",)


@pytest.fixture
def path(table, tmp_path, write):
    return write(table, tmp_path / "in.gctx", "gctx")


def frame(path) -> pd.DataFrame:
    """Values of an output, float32, profiles by genes; not by our own readers but for GCT."""
    name = path.name
    if name.endswith(".gctx"):
        with h5py.File(path) as file:
            ids = [list(file[f"0/META/{one}/id"].asstr()[:]) for one in ("COL", "ROW")]
            return pd.DataFrame(file["0/DATA/0/matrix"][...], *ids)
    if name.endswith(".gct.gz"):
        found = read_gct(path)
        return pd.DataFrame(found.values.astype(np.float32), found.profiles, found.genes)
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
        return pd.read_parquet(path, engine="pyarrow").set_index("profile")
    if name.endswith((".h5ad", ".zarr")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            package = anndata()
            read = package.read_zarr if name.endswith(".zarr") else package.read_h5ad
            found = read(path)
        return pd.DataFrame(found.X, list(found.obs_names), list(found.var_names))
    separator = "," if ".csv" in name else "\t"
    return pd.read_csv(path, sep=separator, index_col="profile").astype(np.float32)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found.index) == list(expected.index)
    assert list(found.columns) == list(expected.columns)
    assert found.to_numpy().tobytes() == expected.to_numpy().tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_chosen_genes_are_those_columns_of_all(name, model, path, tmp_path) -> None:
    if name.endswith((".h5ad", ".zarr")):
        anndata()
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    predict(model, path, tmp_path / "all.gctx", PLAIN)
    everything = frame(tmp_path / "all.gctx")
    done = predict(model, path, tmp_path / name, PLAIN)
    assert (done.n_landmarks, done.n_targets, done.expected_on) == (20, 45, "te")
    assert done.n_trusted == (model.errors["te"] < 0.5).sum()
    assert_same(frame(tmp_path / name), everything)
    # By symbol, Ensembl id with a version, Entrez id, and probe; in any order, one of them twice.
    symbols = [model.targets.symbols[3], model.landmarks.symbols[7].lower()]
    names = [*symbols, f"{model.targets.ensembl[30]}.4", model.targets.entrez[31], symbols[0]]
    names += [model.landmarks.probes[2][0]]
    options = replace(PLAIN, ids="symbol")
    done = predict(model, path, tmp_path / name, options, genes=names)
    # The target that is a landmark as well comes with it where an id names both.
    ensembl = [*model.landmarks.ensembl, *model.targets.ensembl]
    places = [n for n, gene in enumerate(ensembl) if gene == model.targets.ensembl[30]]
    places = sorted({2, 7, 23, *places, 51})
    expected = everything.iloc[:, places]
    expected.columns = [written_genes(model, "symbol").ids[place] for place in places]
    assert_same(frame(tmp_path / name), expected)
    chosen = [place - 20 for place in places if place >= 20]
    assert (done.n_landmarks, done.n_targets) == (len(places) - len(chosen), len(chosen))
    assert done.n_trusted == (model.errors["te"][chosen] < 0.5).sum()
    if not name.endswith(".zarr"):
        (recorded,) = json.loads(sidecar(tmp_path / name).read_text())["files"].values()
        assert recorded == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["a.tsv.gz", "a.csv", "a.parquet"])
def test_a_failure_on_the_way_leaves_the_older(name, model, path, tmp_path) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")

    def fail(step: str, done: int, _total: int) -> None:
        if step == "inferring" and done:
            raise DgexError("the disk is gone")

    (tmp_path / name).write_text("older")
    with pytest.raises(DgexError, match="the disk is gone"):
        predict(model, path, tmp_path / name, PLAIN, progress=fail)
    assert (tmp_path / name).read_text() == "older"
    assert {one.name for one in tmp_path.iterdir()} == {"in.gctx", name, f".{name}.lock"}


def test_names_that_mean_several_genes_or_none(model) -> None:
    ids, n = model_ids(model), len(model.landmarks)
    copy = next(place for place, name in enumerate(ids) if name.endswith(":inferred"))
    gene = ids[copy].removesuffix(":inferred")
    assert list(choose_genes(model, ids, [gene])) == [ids.index(gene), copy]
    assert list(choose_genes(model, ids, [ids[copy]])) == [copy]
    shared = list(model.targets.symbols)
    shared[0] = shared[1] = "BOTH1"
    other = replace(model, targets=replace(model.targets, symbols=tuple(shared)))
    assert {n, n + 1} <= set(choose_genes(other, ids, [" BOTH1 ", ""]))
    # As HGNC has them: the present symbol, an older one, and one that two genes had.
    shared[:3] = ["MARCHF1", "SEPTIN2", "TP53"]
    other = replace(model, targets=replace(model.targets, symbols=tuple(shared)))
    assert list(choose_genes(other, ids, ["MARCH1", "SEPT2", "TP53"])) == [n, n + 1, n + 2]
    with pytest.raises(DgexError) as caught:
        choose_genes(other, ids, ["TP35", "nothing_like_it", "TP53", ids[5]])
    assert str(caught.value) == (
        "genes: 2 of the 4 named are not in the model: TP35 (nearest: TP53), nothing_like_it"
    )
    with pytest.raises(DgexError, match=r"30 of the 31 named are not .* and 10 more$"):
        choose_genes(other, ids, ["TP53", *(f"absent.{k}" for k in range(30))])
    for nothing in ([], [" "]):
        with pytest.raises(DgexError, match="none is named"):
            choose_genes(model, ids, nothing)


def test_ids_of_the_output_are_unique(model) -> None:
    ids, n = model_ids(model), len(model.landmarks)
    symbols = list(model.targets.symbols)
    symbols[0], symbols[1], symbols[2] = "", "SAME", "SAME"
    symbols[3] = model.landmarks.symbols[0]  # of another gene
    assert ids[n + 3] != f"{ids[0]}:inferred"
    other = replace(model, targets=replace(model.targets, symbols=tuple(symbols)))
    names, kept = name_genes(other, ids, "symbol")
    assert len(set(names)) == len(names)
    assert {0, n, n + 1, n + 2, n + 3} <= kept
    of_all = [*model.landmarks.symbols, *symbols]
    for place, name in enumerate(names):
        suffix = ":inferred" if ids[place].endswith(":inferred") else ""
        assert name == (ids[place] if place in kept else of_all[place] + suffix)
        assert (place in kept) == (
            not of_all[place]
            or len(
                {
                    ids[k].removesuffix(":inferred")
                    for k in range(len(ids))
                    if of_all[k] == of_all[place]
                }
            )
            > 1
        )
    (note,) = written_genes(other, "symbol", [ids[n], ids[n + 1], ids[n + 7]]).notes
    assert note.startswith("2 genes of the output have the model's id: no symbol, or one that")
    assert written_genes(model, "ensembl").ids == ids
    bare = [replace(one, entrez=("",) * len(one)) for one in (model.landmarks, model.targets)]
    with pytest.raises(DgexError, match="the model knows no Entrez id of its genes"):
        name_genes(replace(model, landmarks=bare[0], targets=bare[1]), ids, "entrez")
    clash = ("", *model.landmarks.entrez[1:])
    numbers = [model.landmarks.entrez[1], *ids[1:]]
    with pytest.raises(DgexError, match="some are also ids of the model, of other genes"):
        name_genes(
            replace(model, landmarks=replace(model.landmarks, entrez=clash)), numbers, "entrez"
        )


def test_lists_of_genes(tmp_path) -> None:
    assert read_gene_list("TP53,780") == ["TP53", "780"]
    assert read_gene_list("ENSG00000141510.12") == ["ENSG00000141510.12"]
    listed = tmp_path / "genes.txt"
    for text in ("TP53\nMYC\n", "Gene symbol\r\nTP53\r\nMYC", '# mine\n"TP53"\n\n MYC\n'):
        listed.write_text(text.replace("Gene symbol", "gene_symbol"))
        assert [one for one in read_gene_list(str(listed)) if one] == ["TP53", "MYC"]
    for given in ("genes.text.txt", str(tmp_path / "none")):
        with pytest.raises(FormatError, match=f"^{re.escape(given)}: no such file"):
            read_gene_list(given)


# --- the command


@pytest.fixture
def folder(model, tmp_path):
    """The model as a folder."""
    write_model(tmp_path / "model", model)
    return tmp_path / "model"


@pytest.fixture
def two(table, tmp_path, write):
    """Two files of other profiles, of other formats."""
    later = replace(table, values=-table.values, profiles=tuple(f"q{n}" for n in range(40)))
    return write(table, tmp_path / "a.b.gct", "gct"), write(later, tmp_path / "c.csv.gz", "csv")


def test_several_files(folder, two, model, tmp_path, capsys, monkeypatch) -> None:
    made = []
    monkeypatch.setattr(
        "dgex_jax.train.network.Forward", lambda *of: made.append(1) or Forward(*of)
    )
    out = tmp_path / "deep" / "out"
    words = ("predict", folder, *two, "-o", out, "--platform", "standardized", "-q")
    assert command(*words, "--format", "tsv", "--genes", model.targets.symbols[3]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(made) == 1
    assert sum("1 inferred genes, standardised units" in line for line in said) == 2
    assert "of 1 inferred genes have an expected error below 0.5" in said[-1]
    for path, name in zip(two, ("a.b.tsv", "c.tsv"), strict=True):
        predict(model, path, tmp_path / "one.tsv", PLAIN, genes=[model.targets.symbols[3]])
        assert (out / name).read_bytes() == (tmp_path / "one.tsv").read_bytes()
    assert command(*words) == 0
    one = ("predict", folder, two[0], "-o", out, "--platform", "standardized", "-q")
    assert command(*one, "--format", "csv") == 0
    names = {"a.b.tsv", "c.tsv", "a.b.gctx", "c.gctx", "a.b.csv"}
    assert {path.name for path in out.iterdir() if path.suffix not in {".json", ".lock"}} == names


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"-o": "out.gctx"}, "out.gctx: with several inputs, or --format, the output is a folder"),
        ({"--format": "xlsx"}, "the output ends in .gctx"),
        ({"third": "sub/a.b.tsv"}, "its output would be"),
        ({"third": "-"}, "standard input has no name for its output"),
        ({"third": "no.gct"}, "no.gct: no such file"),
        ({"third": "page.gct"}, "page.gct: is a web page"),
        ({"--genes": "TP35"}, "1 of the 1 named are not in the model: TP35"),
        ({"-o": "."}, "is the input, not to be overwritten"),
    ],
)
def test_several_files_are_checked_before_the_first(
    change, cause, folder, two, tmp_path, capsys, monkeypatch, write, table
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.gct").write_text("<html>no table</html>")
    (tmp_path / "sub").mkdir()
    write(table, tmp_path / "sub/a.b.tsv", "tsv")
    (tmp_path / "out").mkdir()
    given = {"-o": "out", "--platform": "standardized"}
    third = [change["third"]] if "third" in change else []
    given |= {key: value for key, value in change.items() if key != "third"}
    if given["-o"] == ".":
        given["--format"] = "gct"
    flags = [word for pair in given.items() for word in pair]

    def run(*words: object) -> int:
        return command("predict", folder, *two, *third, "-q", *flags, *words)

    assert cause in refused_line(capsys, tmp_path, run)


def test_a_fault_of_the_second_file_names_it(folder, two, tmp_path, capsys) -> None:
    two[1].write_bytes(two[0].read_bytes().replace(b"ENSG", b"XXXX"))
    words = ("predict", folder, *two, "-o", tmp_path / "out", "--platform", "standardized", "-q")
    assert command(*words) == 2
    assert capsys.readouterr().err.startswith(f"dgex: error: {two[1]}: of 20 landmarks 0 on its")
    there = {one.name for one in (tmp_path / "out").iterdir() if one.name[0] != "."}
    assert there == {"a.b.gctx", "a.b.gctx.provenance.json"}


def test_a_model_without_errors_says_so(model, two, tmp_path, capsys) -> None:
    write_model(tmp_path / "bare", replace(model, errors={}))
    words = ("predict", tmp_path / "bare", two[0], "-o", tmp_path / "o.tsv", "-q", "--platform")
    assert command(*words, "standardized") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("tells no errors: which genes are worth trusting is not known")
