"""A model scored on a study on disk: by others' formulas, gene by gene, in lines and in a table."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from dgex_jax.analysis.scores import summarise
from dgex_jax.config import PARTS
from dgex_jax.data.prepared import open_prepared
from dgex_jax.errors import DgexError, FormatError, StudyError
from dgex_jax.inference.evaluate import evaluate
from dgex_jax.inference.evaluate_report import evaluation_json, evaluation_lines
from dgex_jax.inference.evaluate_table import gene_table, gene_table_file
from dgex_jax.inference.export import export_model
from tests.inference.evaluated import assert_scores, infer

if TYPE_CHECKING:
    from dgex_jax.inference.model import Model


@pytest.fixture(scope="module", params=["va", "1000G"])
def exported(request, trained) -> Model:
    """The trained network of each best epoch."""
    return export_model(trained.run, trained.prepared, best=request.param)


def test_own_study_has_the_errors_that_the_model_says(trained, exported) -> None:
    with open_prepared(trained.prepared) as study:
        found = evaluate(exported, study)
        assert list(found.parts) == list(exported.errors) == ["va", "te", "1000G", "GTEx"]
        assert found.own_study is True
        assert found.shared.kind == "ensembl"
        np.testing.assert_array_equal(found.shared.targets, np.arange(21))
        for part, one in found.parts.items():
            np.testing.assert_allclose(one.genes.mae, exported.errors[part], rtol=0, atol=1e-6)
            assert one.every.mae.mean == pytest.approx(exported.errors[part].mean(), abs=1e-6)
            truth = study.Y(part).astype(np.float64)
            assert one.genes.n_profiles == len(truth)
            assert_scores(one.genes, infer(exported, study.X(part)), truth, 1e-5)
            assert one.every.n_constant == one.genes.constant.sum()
            for pair, values in ((one.every.r, one.genes.r), (one.every.r2, one.genes.r2)):
                assert pair == pytest.approx((np.nanmean(values), np.nanmedian(values)), rel=1e-12)
        # Few samples and a small simulation: RNA-seq genes that nothing expresses are there.
        assert any(one.every.n_constant for one in found.parts.values())


def test_copies_are_left_out_as_in_the_tables(trained, exported) -> None:
    with open_prepared(trained.prepared) as study:
        copies = study.copy_of_landmark
        assert 0 < copies.sum() < len(copies)
        found = evaluate(exported, study)
    np.testing.assert_array_equal(found.shared.copies, copies)
    for part, one in found.parts.items():
        if part in {"va", "te"}:
            assert one.without_copies is None
            continue
        assert one.without_copies is not None
        assert one.without_copies == summarise(one.genes, ~copies)
        assert one.without_copies.n_genes == (~copies).sum()
        assert one.without_copies.mae.mean == one.genes.mae[~copies].mean()


def test_rows_of_a_part(trained) -> None:
    with open_prepared(trained.prepared) as study:
        for part in PARTS:
            X, Y = study.X(part), study.Y(part)
            for rows in (slice(2, 7), slice(-3, None), slice(5, 5), slice(4, 10**6)):
                np.testing.assert_array_equal(study.X(part, rows), X[rows])
                np.testing.assert_array_equal(study.Y(part, rows=rows), Y[rows])
                np.testing.assert_array_equal(study.Y(part, slice(3, 9), rows), Y[rows, 3:9])
        with pytest.raises(ValueError, match="rows must have step 1, not 2"):
            study.X("te", slice(None, None, 2))


def test_parts_asked_for(trained, exported) -> None:
    with open_prepared(trained.prepared) as study:
        found = evaluate(exported, study, ["GTEx", "tr"])
        assert list(found.parts) == ["GTEx", "tr"]
        assert found.parts["tr"].genes.n_profiles == 103
        with pytest.raises(StudyError, match="parts: 'te' is named twice"):
            evaluate(exported, study, ["te", "va", "te"])


# --- what is said and written


def test_whose_study_it_is(trained, exported) -> None:
    others = {"study": {"prepared_sha256": "0" * 64}}
    with open_prepared(trained.prepared) as study:
        for record, own, said in (
            (exported.record, True, None),
            (others, False, "not the study that m was trained on (its sha256 differs)"),
            ({}, None, "m does not say whether it was trained on this study"),
        ):
            changed = dataclasses.replace(exported, record=record)
            found = evaluate(changed, study, ["tr", "te", "GTEx"])
            assert found.own_study is own
            lines = evaluation_lines(Path("m"), changed, study, found)
            about = [line for line in lines if line.startswith(f"{study.path}: ")]
            assert len(about) == (said is not None)
            assert said is None or said in about[0]
            expected = [line.split()[0] for line in lines if "to expect of new profiles" in line]
            name = {"va": "GEO-te", "1000G": "GTEx-te"}[changed.selected_on]
            assert expected == ([name] if own else [])
            assert any("trained on it" in line for line in lines) == bool(own)


def test_lines_hold_the_numbers(trained, exported) -> None:
    with open_prepared(trained.prepared) as study:
        found = evaluate(exported, study)
        lines = evaluation_lines(Path("m"), exported, study, found)
        content = evaluation_json(Path("m"), exported, study, found)
    assert "(simulated data)" in lines[0]
    rows = {line[:16].strip(): line[16:] for line in lines[2:]}
    for part, name in (("te", "GEO-te"), ("GTEx", "GTEx-te")):
        every = found.parts[part].every
        assert every.r is not None
        assert every.r2 is not None
        numbers = [every.mae.mean, every.mae.sd, *every.r, *every.r2]
        cells = rows[name].replace("±", "").split()[:8]
        assert cells == [str(found.parts[part].genes.n_profiles), "21"] + [
            f"{number:.4f}" for number in numbers
        ]
        told = content["parts"][part]["all"]
        assert [told["MAE"]["mean"], told["MAE"]["sd"]] == numbers[:2]
        assert [*told["r"].values(), *told["R2"].values()] == numbers[2:]
    assert content["parts"]["te"]["without_copies"] is None
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_table_gene_by_gene(trained, exported) -> None:
    with open_prepared(trained.prepared) as study:
        found = evaluate(exported, study, ["GTEx", "te"])
    text = gene_table(Path("t"), exported, found)
    table = pd.read_csv(io.StringIO(text), sep="\t", dtype=str, keep_default_na=False)
    names = ["ensembl", "symbol", "entrez", "probes", "copy_of_landmark"]
    scores = [f"{score}_{part}" for part in ("GTEx", "te") for score in ("MAE", "r", "R2")]
    assert list(table) == names + scores
    genes = exported.targets
    assert tuple(table["ensembl"]) == genes.ensembl
    assert tuple(table["symbol"]) == genes.symbols
    assert tuple(table["entrez"]) == genes.entrez
    assert [tuple(probes.split(",")) for probes in table["probes"]] == [*genes.probes]
    assert (table["copy_of_landmark"] == "1").tolist() == found.shared.copies.tolist()
    for part, one in found.parts.items():
        for name, values in (("MAE", one.genes.mae), ("r", one.genes.r), ("R2", one.genes.r2)):
            read = [float(cell or "nan") for cell in table[f"{name}_{part}"]]
            np.testing.assert_array_equal(read, values)
    broken = dataclasses.replace(genes, symbols=("a\tb", *genes.symbols[1:]))
    with pytest.raises(FormatError, match="symbol of a target"):
        gene_table(Path("t"), dataclasses.replace(exported, targets=broken), found)


def test_table_is_whole_or_not_there(trained, exported, tmp_path) -> None:
    path = tmp_path / "genes.tsv"
    path.write_text("older")
    with open_prepared(trained.prepared) as study:
        found = evaluate(exported, study, ["te"])

    def fail() -> None:
        with gene_table_file(path, tmp_path / "model", trained.prepared) as write:
            write(exported, found)
            raise DgexError("on the way")

    with pytest.raises(DgexError, match="on the way"):
        fail()
    assert path.read_text() == "older"
    with gene_table_file(path, tmp_path / "model", trained.prepared) as write:
        write(exported, found)
    assert path.read_text() == gene_table(path, exported, found)
    assert [one.name for one in tmp_path.iterdir()] == ["genes.tsv"]
