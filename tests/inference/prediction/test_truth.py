"""Predictions scored on raw files: as NumPy has it from `dgex predict`, and as a prepared study."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from dgex_jax.config import PredictOptions
from dgex_jax.errors import FormatError, StudyError
from dgex_jax.io.expression import Expression
from dgex_jax.io.writers import write_gctx
from dgex_jax.model.evaluate import evaluate
from dgex_jax.model.model import write_model
from dgex_jax.model.predict import predict
from dgex_jax.model.truth import evaluate_files, files_lines
from dgex_jax.prepare.prepared import open_prepared
from tests.cli.case import command, refused_line
from tests.inference.prediction.test_scale import mapped

if TYPE_CHECKING:
    from pathlib import Path

    from dgex_jax.model.model import Model

SCORES = ("mae", "r", "r2")
N = 40
"""Samples that both files have; each has three more profiles."""


@pytest.fixture(scope="module")
def files(model, tmp_path_factory) -> Path:
    """Landmarks by Ensembl id, truth by symbol in another order, a table of pairs."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(3)
    low, high = model.quantile[[0, -1]]
    l1000 = pd.DataFrame(
        rng.uniform(low, high, (len(model.landmarks), N + 3)).round(3),
        index=rng.permutation(model.landmarks.ensembl),
        columns=[f"L{n}" for n in range(N + 3)],
    )
    l1000.to_csv(folder / "l1000.tsv", sep="\t", index_label="gene")
    symbols = dict.fromkeys([*model.landmarks.symbols, *model.targets.symbols])
    gone = [name for name in model.targets.symbols if name not in model.landmarks.symbols][:3]
    genes = [*(name for name in symbols if name not in gone), "OTHER1", "OTHER2"]
    samples = rng.permutation([*range(N), 101, 102, 103])
    # Tied values, so that the rules for ties count; one gene is always the highest.
    values = np.log2(rng.integers(1, 60, (len(genes), N + 3)))
    others = [name for name in genes if name in {*symbols} - {*model.landmarks.symbols}]
    values[genes.index(others[-1])] = 7
    rna = pd.DataFrame(values, index=genes, columns=[f"R{n}" for n in samples])
    rna.to_csv(folder / "rna.csv")
    (rna - 3).to_csv(folder / "standardized.csv")
    pd.DataFrame({"l": [f"L{n}" for n in range(N)], "r": [f"R{n}" for n in range(N)]}).to_csv(
        folder / "pairs.tsv", sep="\t", index=False
    )
    write_model(folder / "model", model)
    return folder


def values_of(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["0/DATA/0/matrix"][...].astype(np.float64)


def truth_of(files: Path, platform: str | None) -> Path:
    return files / ("standardized.csv" if platform == "standardized" else "rna.csv")


def measured(model: Model, files: Path, platform: str) -> tuple[list[int], np.ndarray]:
    """Places of the measured targets and their values on the reference scale, paired samples."""
    table = pd.read_csv(truth_of(files, platform), index_col=0)[[f"R{n}" for n in range(N)]]
    ranked = [name for genes in (model.landmarks, model.targets) for name in genes.symbols]
    there = [name for name in ranked if name in table.index]
    kept = [place for place, name in enumerate(model.targets.symbols) if name in table.index]
    values = table.loc[there].T.to_numpy()
    if platform in {"rnaseq", "microarray"}:
        assert model.quantile is not None
        own, here = ((np.arange(n) + 0.5) / n for n in (len(ranked), len(there)))
        values = mapped(values, np.interp(here, own, model.quantile), platform)
    return kept, values[:, -len(kept) :]


def scored(model: Model, files: Path, platform: str = "l1000", **more: Any) -> Any:
    """Scores of the landmarks of ``l1000.tsv`` by the truth of another file."""
    options = PredictOptions(platform, block_size=more.pop("block_size", 512))  # type: ignore[arg-type]
    pairs = more.pop("pairs", files / "pairs.tsv")
    truth = truth_of(files, more.get("truth_platform"))
    return evaluate_files(model, files / "l1000.tsv", truth, options, pairs=pairs, **more)


@pytest.mark.parametrize("platform", [None, "rnaseq", "microarray", "standardized"])
@pytest.mark.parametrize("standardize", [None, "training"])
def test_scores_are_those_of_a_prediction(sure, files, tmp_path, platform, standardize) -> None:
    """Of the paired profiles, by plain loops; every option says the same in any block size."""
    paired = tmp_path / "paired.tsv"
    table = pd.read_csv(files / "l1000.tsv", sep="\t", index_col=0)
    table[[f"L{n}" for n in range(N)]].to_csv(paired, sep="\t", index_label="gene")
    options = PredictOptions("l1000", standardize=standardize or "input")  # type: ignore[arg-type]
    predict(sure, paired, tmp_path / "out.gctx", replace(options, interval=0.9))
    inferred, *bounds = (
        values_of(tmp_path / f"out{layer}.gctx")[:, len(sure.landmarks) :]
        for layer in ("", ".lower", ".upper")
    )
    kept, truth = measured(sure, files, platform or "rnaseq")
    if platform != "standardized":
        mean, sd = truth.mean(axis=0), truth.std(axis=0) + 1e-3
        if standardize == "training":
            mean, sd = sure.targets.mean[kept], sure.targets.sd[kept]
        truth = (truth - mean) / sd
    found = scored(sure, files, truth_platform=platform, standardize=standardize)
    assert found.shared.kept.tolist() == kept
    assert len(kept) == len(sure.targets) - 3
    genes = found.parts["truth"].genes
    np.testing.assert_allclose(genes.mae, np.abs(inferred[:, kept] - truth).mean(axis=0), atol=1e-5)
    assert genes.n_profiles == N
    lower, upper = (bound[:, kept] for bound in bounds)
    inside = (lower <= truth) & (truth <= upper)
    coverage = found.parts["truth"].coverage
    assert coverage.values == pytest.approx(inside.mean(), abs=1e-4)
    assert coverage.genes == pytest.approx((inside.mean(axis=0) >= 0.85).mean(), abs=0.03)
    assert coverage.profiles == pytest.approx((inside.mean(axis=1) >= 0.85).mean())
    said = "\n".join(files_lines(files / "model", sure, found))
    assert f"inside the 90 % intervals: {100 * coverage.values:.1f} % (truth)" in said
    constant = np.ptp(truth, axis=0) < 1e-12
    assert constant.any()
    np.testing.assert_array_equal(genes.constant, constant)
    for k in np.flatnonzero(~constant):
        r = np.corrcoef(inferred[:, kept[k]], truth[:, k])[0, 1]
        assert genes.r[k] == pytest.approx(r, abs=1e-5)
    for size in (1, 7):
        again = scored(
            sure, files, truth_platform=platform, standardize=standardize, block_size=size
        )
        for name in SCORES:
            one, other = (getattr(of.parts["truth"].genes, name) for of in (found, again))
            assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", ["rna.csv", "rna.gctx"])
def test_any_order_of_pairs_either_axis_and_format_give_the_same(
    model, files, tmp_path, name
) -> None:
    table = pd.read_csv(files / "pairs.tsv", sep="\t").sample(frac=1, random_state=1)
    table[["r", "l"]].to_csv(tmp_path / "shuffled.csv", index=False)
    turned = pd.read_csv(files / "rna.csv", index_col=0).T.round(3)
    turned.T.to_csv(tmp_path / "rounded.csv")
    path = tmp_path / name
    if name == "rna.csv":
        turned.to_csv(path)
    else:
        ids = tuple(turned.index), tuple(turned.columns)
        write_gctx(path, Expression(path, turned.to_numpy(np.float32), *ids))
    one, other = (
        evaluate_files(model, files / "l1000.tsv", truth, PredictOptions("l1000"), pairs=pairs)
        for truth, pairs in (
            (tmp_path / "rounded.csv", files / "pairs.tsv"),
            (path, tmp_path / "shuffled.csv"),
        )
    )
    for score in SCORES:
        ours, theirs = (getattr(of.parts["truth"].genes, score) for of in (one, other))
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize(
    ("name", "platform", "part", "standardize"),
    [
        ("gtex", "rnaseq", "GTEx", None),
        ("thousand_genomes", "rnaseq", "1000G", None),
        ("geo", "microarray", "te", "training"),
    ],
)
def test_raw_files_of_a_study_score_as_it_does(
    model, prepared, raw, tmp_path, name, platform, part, standardize
) -> None:
    """All genes are there, so ranks are those of preparation; of GEO only its test part."""
    path = getattr(raw, name)
    with open_prepared(prepared) as study:
        wanted = evaluate(model, study, [part]).parts[part]
        model = replace(model, copy_of_landmark=study.copy_of_landmark)
    pairs = None
    if part == "te":
        with h5py.File(prepared) as file:
            rows = file["compendium/split/test"][:]
            ids = file["compendium/profiles"].asstr()[:][rows]
        pairs = tmp_path / "te.csv"
        pd.DataFrame({"a": ids, "b": ids}).to_csv(pairs, index=False)
    options = PredictOptions(platform)
    found = evaluate_files(model, path, path, options, standardize=standardize, pairs=pairs)
    scores = found.parts["truth"]
    genes = scores.genes
    # In RNA-seq a target with the id of a landmark repeats an input.
    assert (scores.without_copies is None) == (platform == "microarray")
    if scores.without_copies and wanted.without_copies:
        assert scores.without_copies.n_genes == wanted.without_copies.n_genes
        assert scores.without_copies.mae.mean == pytest.approx(wanted.without_copies.mae.mean)
    assert genes.n_profiles == wanted.genes.n_profiles
    for score, tolerance in (("mae", 1e-6), ("r", 1e-5), ("r2", 1e-5)):
        ours, theirs = getattr(genes, score), getattr(wanted.genes, score)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_the_command_says_what_it_compared(files, model, tmp_path, capsys) -> None:
    words = ("evaluate", files / "model", files / "l1000.tsv", "--platform", "l1000", "-q")
    words += ("--truth", files / "rna.csv", "--pairs", files / "pairs.tsv")
    table = tmp_path / "genes.tsv"
    assert command(*words, "-o", table) == 0
    said = capsys.readouterr()
    found = scored(model, files)
    assert said.out.splitlines() == files_lines(files / "model", model, found)
    for text in (
        f"l1000.tsv (l1000), measured in {files / 'rna.csv'} (rnaseq)",
        f"40 pairs by column 1 'l' and column 2 'r' of {files / 'pairs.tsv'}",
        f"3 of 43 profiles of {files / 'rna.csv'} have no partner: R",
        "rna.csv: 40 profiles, 42 of 45 targets by symbol on its rows",
        "20 landmarks to 42 targets",
        "3 target(s) of the model were not measured: left out: ",
        "1 targets have one value in all profiles and become 0: ",
        "MAE in standardised units of the paired profiles",
        "truth: 1 gene(s) are constant in it: no r, no R²",
    ):
        assert text in said.out
    by_gene = pd.read_csv(table, sep="\t", dtype=str).astype({"MAE_truth": float})
    np.testing.assert_array_equal(by_gene["MAE_truth"], found.parts["truth"].genes.mae)
    assert command(*words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parts"]["truth"]["all"]["MAE"]["mean"] == by_gene["MAE_truth"].mean()
    assert (told["targets"], told["targets_left_out"], told["truth_platform"]) == (42, 3, "rnaseq")
    assert set(told["provenance"]["inputs"]) == {"model", "input", "truth", "pairs"}
    assert command("verify", table, "--inputs", files) == 0


def test_few_genes_are_warned_of_and_fewer_refused(model, files, tmp_path) -> None:
    table = pd.read_csv(files / "rna.csv", index_col=0)
    for n, refused in ((30, False), (15, True)):
        few = tmp_path / "few.csv"
        table.loc[table.index.isin(model.targets.symbols[:n])].to_csv(few)
        call = partial(
            evaluate_files,
            model,
            files / "l1000.tsv",
            few,
            PredictOptions("l1000"),
            pairs=files / "pairs.tsv",
        )
        if refused:
            with pytest.raises(
                FormatError, match=r"of 45 targets 12 on its rows .* at least 23 are needed"
            ):
                call()
            continue
        (warning,) = call().warnings
        assert warning.startswith(f"{few}: ")
        assert warning.endswith("genes are there: ranks among so few are not those of training")


def test_what_is_refused(model, files, prepared, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(files)
    few = pd.read_csv("pairs.tsv", sep="\t").head(29)
    few.to_csv(tmp_path / "few.tsv", sep="\t", index=False)
    truth = ("--truth", "rna.csv")
    full = ("l1000.tsv", "--platform", "l1000", *truth, "--pairs")
    for words, cause in (
        ((prepared, *truth, "--platform", "rnaseq"), "which has its truth: leave out --truth"),
        (("l1000.tsv",), "an expression file is scored with --truth FILE"),
        (("l1000.tsv", *truth), "--truth: say with --platform what the values of FILE are"),
        ((prepared, "--standardize", "input"), "--standardize: goes with --truth FILE"),
        ((*full, "pairs.tsv", "--parts", "te"), "--parts: are those of a prepared study"),
        (full[:-1], "rna.csv: none of its profiles ("),
        (
            (*full, tmp_path / "few.tsv"),
            "29 pairs are too few for means and deviations of their own",
        ),
        ((*full, "pairs.tsv", "-o", "rna.csv"), "rna.csv: is an input, it is not written over"),
        ((*full[:3], "--truth", "l1000.tsv"), "l1000.tsv: of 45 targets "),
        ((*full[:3], "--truth", "no.tsv"), "no.tsv: "),
    ):
        line = refused_line(capsys, files, command, "evaluate", "model", *words)
        assert cause in line
    assert (
        command("evaluate", "model", *full, tmp_path / "few.tsv", "--standardize", "training") == 0
    )
    for options, more, cause in (
        (
            PredictOptions("standardized"),
            {"truth_platform": "standardized", "standardize": "input"},
            "both files",
        ),
        (PredictOptions("l1000", scale="reference"), {}, "scores are of standardised units"),
    ):
        with pytest.raises(StudyError, match=cause):
            evaluate_files(model, "l1000.tsv", "rna.csv", options, **more)
