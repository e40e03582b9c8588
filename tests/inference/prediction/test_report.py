"""The report on a prediction: what it counts is what was written, and it comes with it or not."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import anndata
import numpy as np
import pytest

from dgex_jax.config import PredictOptions
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import Expression
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.writers import write_gctx
from dgex_jax.model import prediction_page
from dgex_jax.model.model import write_model
from dgex_jax.model.predict import predict
from dgex_jax.model.prediction_page import interval_widths
from dgex_jax.train.arrays import BATCH
from tests.cli.case import command, refused_line
from tests.pages import check_page

pytestmark = pytest.mark.usefixtures("quick_compilation")
PLAIN = PredictOptions("standardized", interval=0.8)
EVIL = "<script>alert(1)<b>"


@pytest.fixture
def source(table, tmp_path, write):
    return write(table, tmp_path / "in.gctx", "gctx")


@pytest.fixture
def tallies(monkeypatch):
    """Give the tallies that predictions make, as they are made."""
    made = []

    class Kept(prediction_page.Tally):
        def __init__(self, *about) -> None:
            super().__init__(*about)
            made.append(self)

    monkeypatch.setattr("dgex_jax.model.predict.Tally", Kept)
    return made


def read(path):
    return check_page(path.read_text(encoding="utf-8"))


@pytest.mark.filterwarnings("ignore:The 'mode.chained_assignment' option:Warning")
@pytest.mark.parametrize("scale", ["standardized", "reference"])
def test_it_counts_what_was_written(scale, sure, source, tmp_path, tallies) -> None:
    options = PredictOptions("standardized", scale=scale, interval=0.8)
    done = predict(sure, source, tmp_path / "a.h5ad", options, page=tmp_path / "a.html")
    assert done.page == tmp_path / "a.html"
    made = anndata.read_h5ad(tmp_path / "a.h5ad")
    inferred = made[:, made.var["source"] == "inferred"]
    (tally,) = tallies
    counts, _ = np.histogram(inferred.X, tally.edges)
    assert tally.counts.tolist() == counts.tolist()
    assert counts.sum() + tally.n_beyond == inferred.X.size
    assert tally.counts.sum() > 0.9 * inferred.X.size
    for field, name in enumerate(prediction_page.PROFILE_FIELDS):
        np.testing.assert_array_equal(tally.fields[:, field], made.obs[name].to_numpy(np.float32))
    widths = np.sort((inferred.layers["upper"] - inferred.layers["lower"]).ravel())
    calibrated = sure.uncertainty.calibrated["va"]
    told = interval_widths(calibrated, inferred.var["interval_width"].to_numpy(), tally)
    np.testing.assert_allclose(np.sort(told), widths, rtol=1e-3, atol=1e-4)
    page = read(tmp_path / "a.html")
    *unlike, genes = page.tables
    unlike_rows = (made.obs["unlike_training"] > 0.99).sum()
    assert f"{unlike_rows} of 40" in page.text
    assert sum(len(one["rows"]) for one in unlike) == unlike_rows
    titles = [head["title"] for head in genes["heads"]]
    by_error = inferred.var.sort_values("mae_te", kind="stable")
    own = titles.index("id in the output")
    assert [row[own] for row in genes["rows"]] == list(by_error.index)
    errors = [row[titles.index("expected error")] for row in genes["rows"]]
    assert errors == [round(one, 4) for one in by_error["mae_te"]]
    assert sum(genes["low"]) == done.n_trusted
    assert f"{done.n_trusted} of 45" in page.text
    assert ("in the output's units" in titles) == (scale == "reference")
    assert done.page.stat().st_mtime_ns >= (tmp_path / "a.h5ad").stat().st_mtime_ns


def test_with_every_format_it_says_the_same(sure, source, tmp_path) -> None:
    tables = []
    for name in ("a.gctx", "a.tsv", "a.zarr"):
        done = predict(sure, source, tmp_path / name, PLAIN, page=tmp_path / "a.html")
        page = read(tmp_path / "a.html")
        tables.append((page.tables, page.all("img")))
        assert all(one.name in page.text for one in done.outputs)
        record = json.loads((tmp_path / "a.html.provenance.json").read_text())
        assert record["belongs_to"] == name
        assert ("output" in record["inputs"]) == (name != "a.zarr")
    assert all(one == tables[0] for one in tables)


def test_what_was_matched_and_imputed(sure, table, tmp_path, write) -> None:
    kept = [n for n, gene in enumerate(table.genes) if gene != sure.landmarks.ensembl[4]]
    genes = tuple(table.genes[n] for n in kept)
    path = write(
        replace(table, values=table.values[:, kept], genes=genes), tmp_path / "i.csv", "csv"
    )
    options = replace(PLAIN, impute=True)
    predict(sure, path, tmp_path / "a.tsv", options, page=tmp_path / "a.html", command="dgex <x>")
    text = read(tmp_path / "a.html").text
    assert "19 of 20, by Ensembl id on its rows" in text
    assert f"training mean in every profile: {sure.landmarks.symbols[4]}." in text
    assert "table of text" in text
    assert "dgex <x>" in text
    predict(sure, path, tmp_path / "a.tsv", options, page=tmp_path / "a.html")
    text = read(tmp_path / "a.html").text
    assert f"predict(model, {str(path)!r}, {str(tmp_path / 'a.tsv')!r}, PredictOptions(" in text
    assert "impute=True, interval=0.8)" in text


def test_names_of_files_and_profiles_stay_names(sure, table, tmp_path, write) -> None:
    profiles = (EVIL, *table.profiles[1:])
    far = table.values * np.where(np.arange(len(profiles)) == 0, 50, 1)[:, np.newaxis]
    odd = replace(table, profiles=profiles, values=far.astype(np.float32))
    path = write(odd, tmp_path / f"{EVIL}.tsv", "tsv")
    predict(sure, path, tmp_path / "a.tsv", PLAIN, page=tmp_path / "a.html")
    page = read(tmp_path / "a.html")
    assert f"{EVIL}.tsv" in page.text
    assert page.tables[0]["rows"][0][0] == EVIL
    assert not page.all("b")


def test_a_model_that_can_not_tell(model, source, tmp_path) -> None:
    options = PredictOptions("standardized")
    predict(
        replace(model, errors={}), source, tmp_path / "a.tsv", options, page=tmp_path / "a.html"
    )
    text = read(tmp_path / "a.html").text
    assert "This model can't tell" in text
    assert "which genes are worth trusting is not known" in text
    alone = next(gene for gene in model.landmarks.ensembl if gene not in model.targets.ensembl)
    predict(model, source, tmp_path / "a.tsv", options, genes=[alone], page=tmp_path / "a.html")
    assert "The output has no inferred gene." in read(tmp_path / "a.html").text


def test_a_resumed_prediction_has_the_report_of_an_undisturbed_one(
    sure, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("dgex_jax.io.partial.RUN_BYTES", 1)
    n = 3 * BATCH + 11
    rng = np.random.default_rng(2)
    values = rng.normal(size=(n, len(sure.landmarks))).astype(np.float32)
    path = tmp_path / "many.gctx"
    write_gctx(path, Expression(path, values, tuple(map(str, range(n))), sure.landmarks.ensembl))
    infer = partial(predict, sure, path, tmp_path / "a.gctx", PLAIN, page=tmp_path / "a.html")
    infer()
    straight = (tmp_path / "a.html").read_bytes()

    def stop(step: str, done: int, _total: int) -> None:
        if step == "inferring" and done >= 2 * BATCH:
            raise KeyboardInterrupt

    for one in tmp_path.glob("a.*"):
        one.unlink()
    with pytest.raises(KeyboardInterrupt):
        infer(progress=stop)
    assert not list(tmp_path.glob("a.html"))
    said: list[str] = []
    infer(report=said.append)
    assert "resum" in said[0]
    assert (tmp_path / "a.html").read_bytes() == straight


def test_it_comes_with_its_output_or_not_at_all(sure, source, table, tmp_path, write) -> None:
    output, page = tmp_path / "a.gctx", tmp_path / "a.html"
    predict(sure, source, output, PLAIN, page=page)
    before = {one: one.read_bytes() for one in (output, page)}
    bad = write(replace(table, values=table.values * np.nan), tmp_path / "bad.gctx", "gctx")
    with pytest.raises(FormatError, match="missing"):
        predict(sure, bad, output, PLAIN, page=page)
    assert {one: one.read_bytes() for one in before} == before
    assert not [one for one in tmp_path.iterdir() if ".tmp." in one.name]
    # A report is of the output that lies there: the next one takes it away.
    predict(sure, source, output, PLAIN)
    assert output.is_file()
    assert not list(tmp_path.glob("a.html*"))


def test_commands(sure, table, tmp_path, write, capsys) -> None:
    write_model(tmp_path / "sure", sure)
    one, other = (write(table, tmp_path / f"{name}.gctx", "gctx") for name in "ab")
    words = ["predict", tmp_path / "sure", "--platform", "standardized", "-q"]
    assert command(*words, one, "-o", tmp_path / "x.tsv", "--report", tmp_path / "x.html") == 0
    assert f"{tmp_path / 'x.html'}: report\n" in capsys.readouterr().out
    assert (
        f"dgex predict {tmp_path / 'sure'} --platform standardized"
        in read(tmp_path / "x.html").text
    )
    folder = tmp_path / "pages"
    assert command(*words, one, other, "-o", tmp_path / "out", "--report", folder) == 0
    names = sorted(path.name for path in folder.glob("*.html"))
    assert names == ["a.html", "b.html"]
    assert "b.gctx: 40 profiles" in read(folder / "b.html").text
    capsys.readouterr()
    run = partial(refused_line, capsys, tmp_path, partial(command, *words))
    to = ("-o", tmp_path / "y.gctx", "--report")
    assert "a page's name ends in .html" in run(one, *to, tmp_path / "y.txt")
    assert "not a file in a folder" in run(one, *to, tmp_path / "none" / "y.html")
    assert "which must hold nothing else" in run(one, *to, tmp_path / "sure" / "y.html")
    several = run(one, other, "-o", tmp_path / "out", "--report", tmp_path / "y.html")
    assert "the reports go to a folder" in several
    shard = ("-o", tmp_path / "y.zarr", "--shard", "1/2", "--report", tmp_path / "y.html")
    assert "a report is of a whole output" in run(one, *shard)


def test_a_page_is_no_input(sure, source, tmp_path) -> None:
    page = source.rename(tmp_path / "in.html")
    with pytest.raises(DgexError, match="is the input"):
        predict(sure, page, tmp_path / "a.gctx", PLAIN, page=page)
    with Gctx(page) as file:
        assert len(file.profiles) == 40
