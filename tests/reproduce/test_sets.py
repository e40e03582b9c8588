"""Studies of one's own parts: several sets by name, none, and arrays alone."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from dgex_jax.io.gctx import Gctx
from dgex_jax.io.manifest import digest
from dgex_jax.io.writers import GctxWriter
from dgex_jax.rawfiles import paths_of
from dgex_jax.simulate.config import SimulationConfig
from dgex_jax.simulate.write import SOURCE, simulate
from dgex_jax.train.record import mark_done
from reproduce import all as everything
from reproduce import all_tables, figure5, table2
from reproduce.baselines import LINCS, chosen_values
from reproduce.stages import is_prepared, raw_files
from reproduce.workspace import Workspace, at_rates
from tests.reproduce.conftest import Made, run_script
from tests.tinystudy import SIMULATE

if TYPE_CHECKING:
    from pathlib import Path

SMALL = """
[training]
epochs = 2
monitor_size = 50
batch_size = 50
learning_rate = 1e-2
[baselines]
k_max = 5
l1_lambdas = [1e-2, 1e-1]
"""
COMPENDIUM = """name = "own"
title = "An own study"
[compendium]
name = "Arrays"
files = "geo.gctx"
landmarks = "map_lm.txt"
targets = "map_tg.txt"
"""
SETS = """
[sets.Cells]
file = "1000g.txt.gz"
platform = "rnaseq"
values = "rpkm"
role = "validation"
[sets.Organs]
file = "a.gct"
platform = "rnaseq"
values = "rpkm"
[sets.Late]
file = "b.gct"
platform = "rnaseq"
values = "rpkm"
validated_by = "va"
[networks]
hidden_layers = [2]
units = [6]
"""
WEIGHTS = f'{SMALL}weights = "weights.gctx"\n'
ALONE = """name = "own"
title = "Arrays alone"
[files]
geo = "geo.gctx"
landmarks = "landmarks.txt"
"""
ONE_RATE = "[networks]\nhidden_layers = [1]\nunits = [6]\ndropout = [0.1]\n"
CHOSEN_ON = {"va": "va", "te": "va", "Cells": "Cells", "Organs": "Cells", "Late": "va"}
TABLES = {
    "table1": ("te", "Arrays-te", (0.1,)),
    "table2": ("Organs", "Organs-te", (0.25,)),
    "table2_Late": ("Late", "Late-te", (0.25,)),
    "tableS2": ("va", "Arrays-va", (0, 0.1, 0.25)),
    "tableS3": ("te", "Arrays-te", (0, 0.1, 0.25)),
    "tableS4": ("Cells", "Cells-va", (0, 0.1, 0.25)),
    "tableS5": ("Organs", "Organs-te", (0, 0.1, 0.25)),
    "tableS5_Late": ("Late", "Late-te", (0, 0.1, 0.25)),
}
OF_SETS = ["table2", "tableS4", "tableS5", "figure4", "figure5"]
N_TARGETS, NO_WEIGHTS = 31, 3


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """The simulator's files; GTEx in two halves, Entrez ids of the genes, weights by them."""
    folder = tmp_path_factory.mktemp("sets")
    files = simulate(SimulationConfig(**tomllib.loads(SIMULATE)), folder)
    header, sizes, *table = pd.read_csv(
        files.gtex, sep="\x00", header=None, dtype=str, compression="gzip"
    )[0]
    rows = [line.split("\t") for line in table]
    for name, columns in (("a", slice(2, 12)), ("b", slice(12, None))):
        half = [row[:2] + row[columns] for row in rows]
        n_genes, n_samples = sizes.split("\t")[0], len(half[0]) - 2
        lines = [header, f"{n_genes}\t{n_samples}", *("\t".join(row) for row in half)]
        (folder / f"{name}.gct").write_text("\n".join(lines) + "\n")
    maps = [
        [line.split("\t")[-1].split(",") for line in path.read_text().splitlines()]
        for path in (files.landmarks, files.targets)
    ]
    entrez = [
        {probe: f"{start + number}" for number, gene in enumerate(genes) for probe in gene}
        for start, genes in zip((1, 1001), maps, strict=True)
    ]
    with Gctx(files.geo) as source:
        ids, probes, values = source.profiles, source.genes, source.read()
        about = {"pr_gene_id": [(entrez[0] | entrez[1]).get(one, "0") for one in probes]}
    metadata = pd.DataFrame(about, index=list(probes))
    with GctxWriter(files.geo, ids, probes, gene_metadata=metadata, src=SOURCE) as writer:
        writer.append(values)
    # Landmark 999 is none of the study's, and some of its targets have no weights.
    landmarks = ["OFFSET", *dict.fromkeys(entrez[0].values()), "999"]
    targets = [*dict.fromkeys(entrez[1].values())]
    rng = np.random.default_rng(2)
    with GctxWriter(folder / "weights.gctx", landmarks, targets) as writer:
        writer.append(rng.normal(0, 0.2, (len(landmarks), len(targets))).astype(np.float32))
    (folder / "landmarks.txt").write_text("\n".join(gene[0] for gene in maps[0]) + "\n")
    return folder


def reproduce(raw: Path, text: str, script=everything) -> Made:
    """Run a script of a study in a folder of its own."""
    study = raw / f"{digest({'text': text})[:8]}.toml"
    study.write_text(text)
    return run_script(script, study, raw / study.stem)


@pytest.fixture(scope="module")
def own(raw) -> Made:
    return reproduce(raw, COMPENDIUM + SETS + WEIGHTS)


def errors_of(space: Workspace, row) -> pd.DataFrame:
    if row.method == "D-GEX":
        folder = f"{row.dropout * 100:g}pct-{row.units:g}x{row.hidden_layers:g}"
        return pd.read_csv(space.results / "runs" / folder / "errors.tsv", sep="\t")
    return pd.read_csv(space.baselines / f"{row.method}.tsv", sep="\t")


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_the_errors_of_their_part(own, name) -> None:
    space, said = own.space, own.shown
    part, label, rates = TABLES[name]
    table = pd.read_csv(space.tables / f"{name}.csv")
    text = (space.tables / f"{name}.md").read_text(encoding="utf-8")
    is_set = part not in {"va", "te"}
    assert (text in said) == (name in {"table1", "table2", "table2_Late"})
    assert f"on {label}; epochs, k, lambda and the best network chosen on " in text
    assert (LINCS in set(table["method"])) == is_set
    assert list(dict.fromkeys(table["dropout"].dropna())) == list(rates)
    assert list(dict.fromkeys(table["targets"]))[1:] == (
        ["Without the 3 targets that are copies of a landmark"] if is_set else []
    )
    assert table.filter(like="paper_").isna().all(axis=None)
    assert "The paper, on its own data" not in text
    assert "(paper" not in text
    for block, rows in table.groupby("targets"):
        validation = {}
        lr = pd.read_csv(space.baselines / "LR.tsv", sep="\t")
        for row in rows.itertuples():
            errors = errors_of(space, row)
            counted = errors["copy_of_landmark"] == 0 if "Without" in block else errors.index >= 0
            mae = errors.loc[counted, f"MAE_{part}"]
            assert row.mean == pytest.approx(mae.mean(), rel=1e-4)
            assert row.sd == pytest.approx(mae.std(ddof=0), rel=1e-4)
            if row.method == "D-GEX":
                other = lr.loc[counted, f"MAE_{part}"]
                gain = 1 - mae.mean() / other.mean()
                assert row.improvement_over_LR == pytest.approx(gain, abs=1e-4)
                assert row.share_better_than_LR == pytest.approx((mae < other).mean(), abs=1e-4)
                validation[row.Index] = errors[f"MAE_{CHOSEN_ON[part]}"].mean()
        assert list(rows.index[rows["chosen"] == 1]) == [min(validation, key=validation.get)]


def test_each_part_has_what_its_own_validation_part_chose(own) -> None:
    space = own.space
    chosen = chosen_values(space)["LR-L2"]
    assert set(chosen) == {"va", "Cells"}
    curve = pd.read_csv(space.baselines / "LR-L2_tuning.tsv", sep="\t")
    with h5py.File(space.prepared) as file:
        train = file["compendium/split/train"][:]
        X, Y = (file[f"compendium/{kind}"][:][train].astype(float) for kind in "XY")
        values = {
            part: [file[f"sets/{part}/{kind}"][:].astype(float) for kind in "XY"]
            for part in ("Cells", "Organs", "Late")
        }
    errors = pd.read_csv(space.baselines / "LR-L2.tsv", sep="\t")
    for part, (inputs, truth) in values.items():
        lambda_ = chosen[CHOSEN_ON[part]]["lambda"]
        predicted = Ridge(alpha=len(X) * lambda_, solver="svd").fit(X, Y).predict(inputs)
        wanted = np.abs(predicted - truth).mean(axis=0)
        np.testing.assert_allclose(errors[f"MAE_{part}"], wanted, atol=1e-6)
    for part, label in (("va", "Arrays-va"), ("Cells", "Cells-va")):
        assert chosen[part]["lambda"] == curve["lambda"][curve[label].idxmin()]


def test_lincs_weights_are_measured_on_the_sets_where_there_are_some(own, raw) -> None:
    space = own.space
    with Gctx(raw / "weights.gctx") as file:
        weights = pd.DataFrame(file.read().astype(float), file.profiles, file.genes)
    with h5py.File(space.prepared) as file:
        landmarks, targets = (
            file[f"{kind}_info/entrez"].asstr()[:] for kind in ("landmark", "target")
        )
        W = weights.loc[landmarks, targets].to_numpy()
        errors = pd.read_csv(space.baselines / f"{LINCS}.tsv", sep="\t")
        for part in ("Cells", "Organs", "Late"):
            x, y = (file[f"sets/{part}/{kind}"][:].astype(float) for kind in "XY")
            x_sd, y_sd = (file[f"sets/{part}/{kind}_sd"][:] + 1e-3 for kind in "XY")
            # Both in log2, as deviations from the means of the set.
            off = ((x * x_sd) @ W - y * y_sd) / y_sd
            np.testing.assert_allclose(errors[f"MAE_{part}"], np.abs(off).mean(axis=0), atol=1e-5)
    assert errors[["MAE_va", "MAE_te"]].isna().all(axis=None)


def test_targets_without_weights_do_not_count(raw) -> None:
    with Gctx(raw / "weights.gctx") as file:
        rows, genes, values = file.profiles, file.genes, file.read()
    with GctxWriter(raw / "fewer.gctx", rows[:-1], genes[NO_WEIGHTS:]) as writer:
        writer.append(np.zeros_like(values[:-1, NO_WEIGHTS:]))
    study = COMPENDIUM + SETS.replace("[2]", "[1]") + SMALL + 'weights = "fewer.gctx"\n'
    made = reproduce(raw, study, table2)
    space, said = made.space, made.shown
    errors = pd.read_csv(space.baselines / f"{LINCS}.tsv", sep="\t")["MAE_Organs"]
    n_known = int(errors.notna().sum())
    assert 0 < N_TARGETS - n_known <= NO_WEIGHTS
    assert f"{LINCS}: {n_known} of {N_TARGETS} targets, compared in these alone." in said
    row = pd.read_csv(space.tables / "table2.csv").query("method == @LINCS").iloc[0]
    assert row["mean"] == pytest.approx(errors.mean(), rel=1e-4)
    (network,) = at_rates(space.study, [0.25])
    ours = pd.read_csv(space.run(network) / "errors.tsv", sep="\t")["MAE_Organs"]
    gain = 1 - ours[errors.notna()].mean() / errors.mean()
    word = "lower" if gain >= 0 else "higher"
    assert f"{abs(gain):.2%} {word} overall error than {LINCS} (better in " in said
    # Other weights are measured again; nothing else is.
    marks = json.loads((space.baselines / "done.json").read_text())
    with GctxWriter(raw / "fewer.gctx", rows[:-1], genes[NO_WEIGHTS:]) as writer:
        writer.append(np.ones_like(values[:-1, NO_WEIGHTS:]))
    reproduce(raw, study, table2)
    again = json.loads((space.baselines / "done.json").read_text())
    assert {name for name in marks if marks[name] != again[name]} == {LINCS}


def test_figures_and_report_of_every_set(own) -> None:
    space = own.space
    names = {path.stem for path in space.figures.glob("*.png")}
    assert {"figure4", "figure4_Late", "figure5", "figure5_Late"} <= names
    for name, part in (("figure5", "Organs"), ("figure5_Late", "Late")):
        drawn = pd.read_csv(space.figures / f"{name}.csv")
        for network in at_rates(space.study):
            log = pd.read_csv(space.run(network) / "log.tsv", sep="\t")
            np.testing.assert_allclose(
                drawn[f"{network.dropout:.0%}"], log[f"MAE_{part}"], rtol=1e-4
            )
    for name, part in (("figure4", "Organs"), ("figure4_Late", "Late"), ("figure3", "te")):
        drawn = pd.read_csv(space.figures / f"{name}.csv")
        lr = pd.read_csv(space.baselines / "LR.tsv", sep="\t")
        np.testing.assert_allclose(drawn["LR"], lr[f"MAE_{part}"], rtol=1e-4)
    report = (space.results / "report.html").read_text(encoding="utf-8")
    for label in ("Organs-te (Table 2)", "Late-te (Table 2 · Late)", "best epochs, Cells-va"):
        assert label in report
    # Named as the original's in Table S1, nowhere else.
    assert "GEO-" not in report.replace("each half's best on GEO-va, and on 1000G-va", "")
    assert {line.split(" is left out")[0] for line in own.told.splitlines()} == {
        "figureS3",
        "weight-hubs",
    }
    for kind in ("tables", "figures"):
        assert f"{kind}: {getattr(space, kind)}" in own.shown


@pytest.mark.parametrize("form", [COMPENDIUM, ALONE], ids=["no sets", "arrays alone"])
def test_what_needs_a_set_is_left_out_and_named(raw, form, capsys) -> None:
    made = reproduce(raw, form + ONE_RATE + SMALL)
    space, told = made.space, made.told
    assert [line.split(" is left out: ")[0] for line in told.splitlines()] == OF_SETS
    assert all("set beside " in line for line in told.splitlines())
    report = (space.results / "report.html").read_text(encoding="utf-8")
    assert "Table 2: for each test set: study own: has no test set beside " in report
    written = {path.stem for path in space.tables.iterdir()}
    assert {"table1", "tableS2", "tableS3", "departures"} <= written
    assert not written & {"table2", "tableS4", "tableS5"}
    table = pd.read_csv(space.tables / "table1.csv")
    assert table["paper_mean"].isna().all()
    for row in table.itertuples():
        assert row.mean == pytest.approx(errors_of(space, row)["MAE_te"].mean(), rel=1e-4)
    done = json.loads((space.run(at_rates(space.study)[0]) / "done.json").read_text())
    assert [key for key in done if key.startswith("best_")] == ["best_va_epochs"]
    arguments = ["--study", str(space.path), "--out", str(space.results.parent)]
    capsys.readouterr()
    for script in (table2, figure5):
        assert script.main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "has no test set beside" in error
    space.path.write_text(form + ONE_RATE + WEIGHTS)
    assert all_tables.main(arguments) == 2
    assert "baselines.weights: is measured on sets alone" in capsys.readouterr().err


def test_weights_that_are_not_there_leave_no_trace(raw, tmp_path, capsys) -> None:
    study = raw / "absent.toml"
    study.write_text(COMPENDIUM + SETS + SMALL + 'weights = "no.gctx"')
    for more in (["--dry-run"], []):
        assert table2.main(["--study", str(study), "--out", str(tmp_path / "out"), *more]) == 2
        assert "no.gctx: can't be read: No such file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


OLD_RULES = {
    "duplicates": "clusters",
    "scale_on": "all",
    "partition": "random",
    "seed": 1,
    "accept_wrong_dimensions": False,
}
"""What the version before recorded of `[prepare]` with all defaults."""


@pytest.mark.parametrize(
    ("five_files", "version", "known"),
    [(True, 1, False), (True, 2, True), (True, 3, True), (False, 2, False), (False, 3, True)],
)
def test_a_study_prepared_by_the_version_before_stays(
    made, own, tmp_path, five_files, version, known
) -> None:
    """Its record as that version wrote it: the same settings and files, format version 2."""
    space = made.space if five_files else own.space
    settings = space.study.preparation_settings()
    if five_files:
        simulation = dataclasses.asdict(SimulationConfig(**tomllib.loads(SIMULATE)))
        settings = {"simulation": simulation, "prepare": OLD_RULES}
    stats = {path.resolve(): path.stat() for path in paths_of(raw_files(space)).values()}
    config = {
        "settings": settings,
        "files": {str(path): [one.st_size, one.st_mtime_ns] for path, one in stats.items()},
        "format_version": version,
    }
    copy = dataclasses.replace(space, prepared=tmp_path / "prepared.h5")
    copy.prepared.write_bytes(space.prepared.read_bytes())
    (tmp_path / "preparation").mkdir()
    mark_done(tmp_path / "preparation", config)
    assert is_prepared(copy) == known
