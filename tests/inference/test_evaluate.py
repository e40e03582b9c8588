"""A model scored on a study: by others' formulas, whatever its genes are, in lines and tables."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score

from dgex_jax.errors import DgexError, FormatError, StudyError
from dgex_jax.methods.network import Network
from dgex_jax.model.evaluate import (
    evaluate,
    evaluation_json,
    evaluation_lines,
    gene_table_file,
)
from dgex_jax.model.export import export_model
from dgex_jax.parts import PAPER, Parts
from dgex_jax.prepare.prepared import Prepared, open_prepared
from dgex_jax.scores import summarise
from dgex_jax.train.arrays import BATCH
from tests.inference.conftest import infer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dgex_jax.model.model import Model
    from dgex_jax.scores import GeneScores

M = Path("m")


def assert_scores(
    found: GeneScores, guess: NDArray[np.float64], truth: NDArray[np.float32], tolerance: float
) -> None:
    """Scores as scipy's and scikit-learn's, and none where the truth is constant."""
    measured = truth.astype(np.float64)
    close = {"rtol": tolerance, "atol": tolerance}
    mae = mean_absolute_error(measured, guess, multioutput="raw_values")
    r2 = r2_score(measured, guess, multioutput="raw_values")
    np.testing.assert_allclose(found.mae, mae, **close)
    constant = (measured == measured[0]).all(axis=0)
    np.testing.assert_array_equal(found.constant, constant)
    for gene, none in enumerate(constant.tolist()):
        if none:
            assert np.isnan([found.r[gene], found.r2[gene]]).all()
            continue
        r = pearsonr(guess[:, gene], measured[:, gene]).statistic
        np.testing.assert_allclose([found.r[gene], found.r2[gene]], [r, r2[gene]], **close)


# --- a study on disk


@pytest.fixture(scope="module", params=["va", "1000G"])
def exported(request, trained) -> Model:
    """The trained network of each best epoch."""
    return export_model(trained.run, trained.prepared, best=request.param)


@pytest.fixture
def study(trained):
    """The study it was trained on."""
    with open_prepared(trained.prepared) as opened:
        yield opened


def test_own_study_has_the_errors_that_the_model_says(study, exported) -> None:
    found, copies = evaluate(exported, study), study.copy_of_landmark
    assert list(found.parts) == list(exported.errors) == ["va", "te", "1000G", "GTEx"]
    assert (found.own_study, found.shared.kind) == (True, "ensembl")
    np.testing.assert_array_equal(found.shared.targets, np.arange(21))
    np.testing.assert_array_equal(found.shared.copies, copies)
    assert 0 < copies.sum() < len(copies)
    for part, one in found.parts.items():
        np.testing.assert_allclose(one.genes.mae, exported.errors[part], rtol=0, atol=1e-6)
        assert one.every.mae.mean == pytest.approx(exported.errors[part].mean(), abs=1e-6)
        truth = study.Y(part)
        assert one.genes.n_profiles == len(truth)
        assert_scores(one.genes, infer(exported, study.X(part)), truth, 1e-5)
        assert one.every.n_constant == one.genes.constant.sum()
        for pair, values in ((one.every.r, one.genes.r), (one.every.r2, one.genes.r2)):
            assert pair == pytest.approx((np.nanmean(values), np.nanmedian(values)), rel=1e-12)
        # Copies of landmarks are left out as in the tables, where they repeat an input.
        wanted = None if part in {"va", "te"} else summarise(one.genes, ~copies)
        assert one.without_copies == wanted
    # Few samples and a small simulation: RNA-seq genes that nothing expresses are there.
    assert any(one.every.n_constant for one in found.parts.values())


def test_rows_of_a_part(study) -> None:
    for part in PAPER:
        X, Y = study.X(part), study.Y(part)
        for rows in (slice(2, 7), slice(-3, None), slice(5, 5), slice(4, 10**6)):
            np.testing.assert_array_equal(study.X(part, rows), X[rows])
            np.testing.assert_array_equal(study.Y(part, rows=rows), Y[rows])
            np.testing.assert_array_equal(study.Y(part, slice(3, 9), rows), Y[rows, 3:9])
    with pytest.raises(ValueError, match="rows must have step 1, not 2"):
        study.X("te", slice(None, None, 2))


def test_parts_asked_for(study, exported) -> None:
    found = evaluate(exported, study, ["GTEx", "tr"])
    assert list(found.parts) == ["GTEx", "tr"]
    assert found.parts["tr"].genes.n_profiles == 103
    with pytest.raises(StudyError, match="parts: 'te' is named twice"):
        evaluate(exported, study, ["te", "va", "te"])


def test_whose_study_it_is(study, exported) -> None:
    others = {"study": {"prepared_sha256": "0" * 64}}
    covered = []
    for record, own, said in (
        (exported.record, True, None),
        (others, False, "not the study that m was trained on (its sha256 differs)"),
        ({}, None, "m does not say whether it was trained on this study"),
    ):
        changed = dataclasses.replace(exported, record=record)
        found = evaluate(changed, study, ["tr", "te", "GTEx"])
        assert found.own_study is own
        covered.append([found.parts[part].coverage for part in ("te", "GTEx")])
        lines = evaluation_lines(M, changed, study, found)
        about = [line for line in lines if line.startswith(f"{study.path}: ")]
        assert len(about) == (said is not None)
        assert said is None or said in about[0]
        expected = [line.split()[0] for line in lines if "to expect of new profiles" in line]
        name = {"va": "GEO-te", "1000G": "GTEx-te"}[changed.selected_on]
        assert expected == ([name] if own else [])
        assert any("trained on it" in line for line in lines) == bool(own)
    # Intervals go by the platform where the parts of a study say nothing.
    # Of 1000G there are too few profiles for this level.
    assert (covered[0][0] is None, covered[0][1]) == (False, None)
    assert covered[1:] == covered[:1] * 2


def test_lines_and_json_hold_the_numbers(study, exported) -> None:
    found = evaluate(exported, study)
    lines = evaluation_lines(M, exported, study, found)
    content = evaluation_json(M, exported, study, found)
    assert "(simulated data)" in lines[0]
    rows = {line[:16].strip(): line[16:] for line in lines[2:]}
    for part, name in (("te", "GEO-te"), ("GTEx", "GTEx-te")):
        every = found.parts[part].every
        numbers = [every.mae.mean, every.mae.sd, *every.r, *every.r2]
        shown = [str(found.parts[part].genes.n_profiles), "21", *(f"{one:.4f}" for one in numbers)]
        assert rows[name].replace("±", "").split()[:8] == shown
        told = content["parts"][part]["all"]
        assert [*told["MAE"].values(), *told["r"].values(), *told["R2"].values()] == numbers
    assert content["parts"]["te"]["without_copies"] is None
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_table_gene_by_gene_is_complete_or_not_there(study, exported, tmp_path) -> None:
    found, path = evaluate(exported, study, ["GTEx", "te"]), tmp_path / "genes.tsv"
    path.write_text("older")
    targets = dataclasses.replace(exported.targets, symbols=("a\tb", *exported.targets.symbols[1:]))
    broken = dataclasses.replace(exported, targets=targets)

    def stopped(model: Model) -> None:
        with gene_table_file(path, M, study.path) as write:
            write(model, found)
            raise DgexError("on the way")

    for model, cause in ((exported, "on the way"), (broken, "symbol of a target")):
        with pytest.raises(DgexError, match=cause):
            stopped(model)
        assert path.read_text() == "older"
    with gene_table_file(path, M, study.path) as write:
        write(exported, found)
    assert [one.name for one in tmp_path.iterdir()] == ["genes.tsv"]
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    names = ["ensembl", "symbol", "entrez", "probes", "copy_of_landmark"]
    scores = [f"{score}_{part}" for part in ("GTEx", "te") for score in ("MAE", "r", "R2")]
    assert list(table) == names + scores
    genes = exported.targets
    for name, ids in (("ensembl", genes.ensembl), ("symbol", genes.symbols)):
        assert tuple(table[name]) == ids
    assert [tuple(probes.split(",")) for probes in table["probes"]] == [*genes.probes]
    assert (table["copy_of_landmark"] == "1").tolist() == found.shared.copies.tolist()
    for part, one in found.parts.items():
        for name, values in (("MAE", one.genes.mae), ("r", one.genes.r), ("R2", one.genes.r2)):
            read = [float(cell or "nan") for cell in table[f"{name}_{part}"]]
            np.testing.assert_array_equal(read, values)


# --- studies in memory: of any length, whatever their genes are and in any order


@dataclasses.dataclass(frozen=True)
class Some(Parts):
    """Of the parts those that there are values of."""

    there: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        return iter(self.there)


class InMemory(Prepared):
    """Genes named at will, arrays of any length, and the most rows read at a time."""

    def __init__(
        self,
        arrays: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
        landmarks: Sequence[str],
        targets: Sequence[str],
        *,
        copies: NDArray[np.bool_] | None = None,
        gene_ids: Any = "ensembl",
    ) -> None:
        self.path, self.name, self.title, self.simulated = Path("in_memory.h5"), "m", "M", False
        self.parts = Some(PAPER.compendium, PAPER.platform, PAPER.sets, tuple(arrays))
        self.gene_ids = gene_ids
        self.landmarks = self.landmark_symbols = tuple(landmarks)
        self.targets = self.symbols = tuple(targets)
        self.copy_of_landmark = np.zeros(len(targets), bool) if copies is None else copies
        self._arrays, self.most = arrays, 0

    sha256 = "of no file"

    def n_profiles(self, part: str) -> int:
        return len(self._arrays[part][0])

    def _read(self, part: str, kind: str, rows: slice, columns: slice) -> NDArray[np.float32]:
        self.most = max(self.most, rows.stop - rows.start)
        return self._arrays[part]["XY".index(kind)][rows, columns]

    @property
    def landmark_probes(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(name.split(",")) for name in self.landmarks)

    @property
    def target_probes(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(name.split(",")) for name in self.targets)

    landmark_entrez = property(lambda self: ("",) * len(self.landmarks))
    target_entrez = property(lambda self: ("",) * len(self.targets))
    quantile = landmark_quantile = property(lambda _: None)
    scaling = close = lambda *_: None


@pytest.fixture(scope="module")
def model(new_model) -> Model:
    """7 landmarks, 9 targets, every gene with an Ensembl id and one or two probes."""
    made = new_model()
    genes = {}
    for role, letter in (("landmarks", "1"), ("targets", "2")):
        places = range(len(getattr(made, role)))
        genes[role] = dataclasses.replace(
            getattr(made, role),
            ensembl=tuple(f"ENSG{letter}{i:05d}" for i in places),
            probes=tuple((f"{letter}{i}_at", f"{letter}{i}_s_at")[: 1 + i % 2] for i in places),
        )
    return dataclasses.replace(made, **genes)


def tables(model: Model, n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, len(model.landmarks))).astype(np.float32)
    noise = rng.normal(size=(n, len(model.targets)))
    return X, (infer(model, X) / 3 + noise).astype(np.float32)


def in_memory(model: Model, arrays: Any, **more: Any) -> InMemory:
    """A study of the model's own genes."""
    genes = {"landmarks": model.landmarks.ensembl, "targets": model.targets.ensembl, **more}
    return InMemory(arrays if isinstance(arrays, dict) else {"te": arrays}, **genes)


def test_memory_does_not_grow_with_the_profiles(model) -> None:
    X, Y = tables(model, 9 * BATCH + 5)
    study = in_memory(model, (X, Y))
    ticks: list[tuple[str, int, int]] = []
    found = evaluate(model, study, progress=lambda *seen: ticks.append(seen)).parts["te"].genes
    assert study.most <= 4 * BATCH
    assert [done for _, done, _ in ticks] == [*range(BATCH, 9 * BATCH + 1, BATCH), len(X)]
    assert {(name, total) for name, _, total in ticks} == {("GEO-te", len(X))}
    assert found.n_profiles == len(X)
    assert_scores(found, infer(model, X), Y, 2e-6)


@pytest.mark.parametrize("kind", ["ensembl", "version", "probe"])
def test_genes_are_found_in_any_order_among_others(model, kind) -> None:
    """Bit for bit the scores of the same genes in the model's order; what is missing is dropped."""
    X, Y = tables(model, 300)
    wanted = evaluate(model, in_memory(model, (X, Y))).parts["te"].genes
    rng = np.random.default_rng(4)
    names = []
    for genes in (model.landmarks, model.targets):
        # Probes of a gene in another order are the same probes.
        probes = [",".join(reversed(of_gene)) for of_gene in genes.probes]
        names.append(probes if kind == "probe" else list(genes.ensembl))
    rows = [place for place in range(9) if place not in {1, 6}]
    landmarks, targets = rng.permutation(7), rng.permutation(rows)
    other = rng.normal(size=(300, 2)).astype(np.float32)
    suffix = ".3" if kind == "version" else ""
    study = InMemory(
        {"te": (np.hstack([other, X[:, landmarks]]), np.hstack([Y[:, targets], other]))},
        ["other1", "other2", *(names[0][place] + suffix for place in landmarks)],
        [*(names[1][place] + suffix for place in targets), "other3", "other4"],
        gene_ids="probe" if kind == "probe" else "ensembl",
    )
    found = evaluate(model, study)
    assert found.shared.kind == ("probe" if kind == "probe" else "ensembl")
    assert found.shared.kept.tolist() == rows
    for name in ("mae", "r", "r2"):
        scores = getattr(found.parts["te"].genes, name)
        assert scores.tobytes() == getattr(wanted, name)[rows].tobytes()
    text = "\n".join(evaluation_lines(M, model, study, found))
    assert "7 landmarks to 7 targets" in text
    assert "2 target(s) of the model are none of the study's: left out" in text


def test_copies_of_landmarks_that_the_model_does_not_use(model) -> None:
    X, Y = tables(model, 20)
    targets = (*model.targets.ensembl[:7], model.landmarks.ensembl[2], "ENSG300009")
    own = dataclasses.replace(model, targets=dataclasses.replace(model.targets, ensembl=targets))
    arrays = {"GTEx": (np.hstack([X, X[:, :1]]), Y)}
    landmarks = [*model.landmarks.ensembl, "ENSG300009"]
    study = in_memory(own, arrays, landmarks=landmarks, copies=np.arange(9) >= 7)
    found = evaluate(own, study)
    part = found.parts["GTEx"]
    assert np.flatnonzero(found.shared.copies).tolist() == [7]
    assert part.without_copies == summarise(part.genes, np.arange(9) != 7)
    # A study that does not know of copies.
    plain = evaluate(own, in_memory(own, arrays, landmarks=landmarks))
    assert plain.parts["GTEx"].without_copies is None


def test_genes_and_parts_that_can_not_be_matched(model) -> None:
    arrays, few = tables(model, 4), [*model.landmarks.ensembl[:5], "a", "b"]
    versioned = tuple(f"ENSG{place:011d}" for place in range(9))
    targets = dataclasses.replace(model.targets, ensembl=versioned)
    twice = [*(f"{name}.1" for name in versioned[:8]), f"{versioned[0]}.2"]
    others = [f"other{place}" for place in range(9)]
    lacking = ", ".join(model.landmarks.names([5, 6]))
    for used, more, cause in (
        (model, {"landmarks": few}, "2 of 7 landmarks of the model are none of its landmarks (by"),
        (model, {"landmarks": few}, f"(by Ensembl id): {lacking}"),
        (model, {"targets": others}, "none of the 9 targets of the model is one of its targets"),
        (model, {"gene_ids": "number"}, "its genes have no ids"),
        (dataclasses.replace(model, targets=targets), {"targets": twice}, "are the same gene"),
    ):
        with pytest.raises(FormatError) as caught:
            evaluate(used, in_memory(model, arrays, **more))
        assert str(caught.value).startswith("in_memory.h5: ")
        assert cause in str(caught.value)
    # Gene 1 is the mean of two probes, which this study has one by one.
    probes = [",".join(of_gene) for of_gene in model.landmarks.probes]
    some = {"te": (arrays[0], arrays[1][:, :3])}
    study = InMemory(some, probes, ["20_at", "21_at", "21_s_at"], gene_ids="probe")
    assert evaluate(model, study).shared.kept.tolist() == [0]
    # Of a compendium whose rows are symbols, these stand for the probes.
    symbols = tuple(f"S{place}" for place in range(7))
    rows = tuple((one,) for one in symbols)
    genes = dataclasses.replace(model.landmarks, ensembl=("",) * 7, symbols=symbols, probes=rows)
    study = InMemory(some, symbols, ["20_at", "21_at", "21_s_at"], gene_ids="symbol")
    assert evaluate(dataclasses.replace(model, landmarks=genes), study).shared.kind == "symbol"
    study = in_memory(model, dict.fromkeys(("tr", "va", "te"), arrays))
    assert list(evaluate(model, study).parts) == ["va", "te"]
    with pytest.raises(StudyError, match=r"in_memory\.h5: has no part 'GTEx', only tr, va, te"):
        evaluate(model, study, ["te", "GTEx"])


def test_constant_genes_are_counted_and_empty(model, tmp_path) -> None:
    X, Y = tables(model, 30)
    Y[:, [2, 4]] = 0.1
    study = in_memory(model, (X, Y))
    found = evaluate(model, study)
    last = evaluation_lines(M, model, study, found)[-1]
    assert last == "GEO-te: 2 gene(s) are constant in it: no r, no R²"
    with gene_table_file(tmp_path / "t.tsv", M, study.path) as write:
        write(model, found)
    rows = (tmp_path / "t.tsv").read_text().splitlines()[1:]
    assert [place for place, row in enumerate(rows) if row.endswith("\t\t")] == [2, 4]
    Y[:] = 0.1
    found = evaluate(model, study)
    content = evaluation_json(M, model, study, found)["parts"]["te"]["all"]
    assert content["r"] == content["R2"] == {"mean": None, "median": None}
    assert content["constant_genes"] == 9
    assert evaluation_lines(M, model, study, found)[-3].split()[-4:] == ["-"] * 4


def test_constant_inferences_are_counted(model) -> None:
    last = f"half1/W{model.method.config.hidden_layers}"
    kernel = model.method.tensors[last].copy()
    kernel[:, 1] = 0
    flat = dataclasses.replace(
        model, method=Network(model.method.settings, {**model.method.tensors, last: kernel})
    )
    study = in_memory(model, tables(model, 30))
    found = evaluate(flat, study)
    assert np.isnan(found.parts["te"].genes.r).tolist() == [place == 1 for place in range(9)]
    assert not np.isnan(found.parts["te"].genes.r2).any()
    last = evaluation_lines(M, flat, study, found)[-1]
    assert last == "GEO-te: 1 gene(s) are inferred constant: no r"
