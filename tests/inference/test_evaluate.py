"""A model scored on a study: by others' formulas, gene by gene, whatever the order of the genes."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score

from dgex_jax.analysis.scores import summarise
from dgex_jax.data.prepared import PARTS, Prepared, open_prepared
from dgex_jax.errors import DgexError, FormatError, StudyError
from dgex_jax.inference.evaluate import evaluate
from dgex_jax.inference.evaluate_report import evaluation_json, evaluation_lines
from dgex_jax.inference.evaluate_table import gene_table, gene_table_file
from dgex_jax.inference.export import export_model
from dgex_jax.models.forward import BATCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dgex_jax.analysis.scores import GeneScores
    from dgex_jax.inference.model import Model


def infer(model: Model, X: NDArray[Any]) -> NDArray[np.float64]:
    """The network in plain NumPy, float64."""
    outputs = []
    for half in model.halves:
        hidden = X.astype(np.float64)
        for name in [name for name in half if name != "output"]:
            hidden = np.tanh(hidden @ half[name]["kernel"] + half[name]["bias"])
        outputs.append(hidden @ half["output"]["kernel"] + half["output"]["bias"])
    return np.concatenate(outputs, axis=1)


@pytest.fixture(scope="module", params=["va", "1000G"])
def exported(request, trained) -> Model:
    """The trained network of each best epoch."""
    return export_model(trained.run, trained.prepared, best=request.param)


def assert_scores(
    found: GeneScores, guess: NDArray[np.float64], truth: NDArray[np.float64], tolerance: float
) -> None:
    """Scores as scipy's and scikit-learn's, and none where the truth is constant."""
    close = {"rtol": tolerance, "atol": tolerance}
    mae = mean_absolute_error(truth, guess, multioutput="raw_values")
    r2 = r2_score(truth, guess, multioutput="raw_values")
    np.testing.assert_allclose(found.mae, mae, **close)
    constant = (truth == truth[0]).all(axis=0)
    np.testing.assert_array_equal(found.constant, constant)
    for gene, none in enumerate(constant.tolist()):
        if none:
            assert np.isnan([found.r[gene], found.r2[gene]]).all()
            continue
        r = pearsonr(guess[:, gene], truth[:, gene]).statistic
        np.testing.assert_allclose([found.r[gene], found.r2[gene]], [r, r2[gene]], **close)


# --- a study on disk


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


# --- a study in memory, of any shape


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
        self.parts = tuple(arrays)
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

    landmark_entrez = target_entrez = quantile = landmark_quantile = property(lambda _: None)
    scaling = close = lambda *_: None


def ids(letter: str, n: int) -> list[str]:
    return [f"ENSG{letter}{place:05d}" for place in range(n)]


@pytest.fixture(scope="module")
def model(new_model) -> Model:
    """7 landmarks, 9 targets, every gene with an Ensembl id and one or two probes."""
    made = new_model()
    genes = {}
    for role, letter in (("landmarks", "1"), ("targets", "2")):
        n = len(getattr(made, role))
        probes = tuple((f"{letter}{i}_at", f"{letter}{i}_s_at")[: 1 + i % 2] for i in range(n))
        genes[role] = dataclasses.replace(
            getattr(made, role), ensembl=tuple(ids(letter, n)), probes=probes
        )
    return dataclasses.replace(made, **genes)


def tables(model: Model, n: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, len(model.landmarks))).astype(np.float32)
    noise = rng.normal(size=(n, len(model.targets)))
    return X, (infer(model, X) / 3 + noise).astype(np.float32)


def test_memory_does_not_grow_with_the_profiles(model) -> None:
    X, Y = tables(model, 9 * BATCH + 5)
    study = InMemory({"te": (X, Y)}, model.landmarks.ensembl, model.targets.ensembl)
    ticks: list[tuple[str, int, int]] = []
    found = evaluate(model, study, progress=lambda *seen: ticks.append(seen)).parts["te"].genes
    assert study.most <= 4 * BATCH
    assert [done for _, done, _ in ticks] == [*range(BATCH, 9 * BATCH + 1, BATCH), len(X)]
    assert {(name, total) for name, _, total in ticks} == {("GEO-te", len(X))}
    assert found.n_profiles == len(X)
    assert_scores(found, infer(model, X), Y.astype(np.float64), 2e-6)


@pytest.mark.parametrize("kind", ["ensembl", "version", "probe"])
def test_genes_are_found_in_any_order_among_others(model, kind) -> None:
    """Bit for bit the scores of the same genes in the model's order; what is missing is dropped."""
    X, Y = tables(model, 300)
    own = InMemory({"te": (X, Y)}, model.landmarks.ensembl, model.targets.ensembl)
    wanted = evaluate(model, own).parts["te"].genes
    rng = np.random.default_rng(4)
    names = []
    for genes in (model.landmarks, model.targets):
        # Probes of a gene in another order are the same probes.
        probes = [",".join(reversed(of_gene)) for of_gene in genes.probes]
        names.append(probes if kind == "probe" else list(genes.ensembl))
    absent = {1, 6}
    rows = [place for place in range(9) if place not in absent]
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
    one = found.parts["te"].genes
    for name in ("mae", "r", "r2"):
        assert getattr(one, name).tobytes() == getattr(wanted, name)[rows].tobytes()
    text = "\n".join(evaluation_lines(Path("model"), model, study, found))
    assert "7 landmarks to 7 targets" in text
    assert "2 target(s) of the model are none of the study's: left out" in text


def test_a_gene_of_other_probes_is_another_gene(model) -> None:
    landmarks = [",".join(of_gene) for of_gene in model.landmarks.probes]
    targets = ["20_at", "21_at", "21_s_at"]
    X, Y = tables(model, 3)
    study = InMemory({"te": (X, Y[:, :3])}, landmarks, targets, gene_ids="probe")
    # Gene 1 is the mean of two probes, which the study has one by one.
    assert evaluate(model, study).shared.kept.tolist() == [0]


def test_copies_of_landmarks_that_the_model_does_not_use(model) -> None:
    X, Y = tables(model, 20)
    targets = [*model.targets.ensembl[:7], model.landmarks.ensembl[2], "ENSG300009"]
    own = dataclasses.replace(
        model, targets=dataclasses.replace(model.targets, ensembl=tuple(targets))
    )
    more = np.hstack([X, X[:, :1]])
    copies = np.arange(9) >= 7
    landmarks = [*model.landmarks.ensembl, "ENSG300009"]
    study = InMemory({"GTEx": (more, Y)}, landmarks, targets, copies=copies)
    found = evaluate(own, study)
    assert np.flatnonzero(found.shared.copies).tolist() == [7]
    assert found.parts["GTEx"].without_copies == summarise(
        found.parts["GTEx"].genes, np.arange(9) != 7
    )
    # A study that does not know of copies.
    plain = InMemory({"GTEx": (more, Y)}, landmarks, targets)
    assert evaluate(own, plain).parts["GTEx"].without_copies is None


def test_genes_that_can_not_be_matched(model) -> None:
    X, Y = tables(model, 4)
    arrays = {"te": (X, Y)}
    names = [f"other{place}" for place in range(9)]
    few = [*model.landmarks.ensembl[:5], "a", "b"]
    with pytest.raises(FormatError) as caught:
        evaluate(model, InMemory(arrays, few, model.targets.ensembl))
    names_of_two = [
        model.landmarks.symbols[place] or model.landmarks.ensembl[place] for place in (5, 6)
    ]
    assert str(caught.value) == (
        "in_memory.h5: 2 of 7 landmarks of the model are none of its landmarks (by Ensembl id): "
        + ", ".join(names_of_two)
    )
    with pytest.raises(FormatError, match="none of the 9 targets of the model is one of its"):
        evaluate(model, InMemory(arrays, model.landmarks.ensembl, names))
    numbered = InMemory(arrays, ids("L", 7), ids("T", 9), gene_ids="number")
    with pytest.raises(FormatError, match="its genes have no ids"):
        evaluate(model, numbered)
    versioned = dataclasses.replace(
        model.targets, ensembl=tuple(f"ENSG{place:011d}" for place in range(9))
    )
    twice = [f"{name}.1" for name in versioned.ensembl[:8]] + [f"{versioned.ensembl[0]}.2"]
    with pytest.raises(FormatError, match=r"in_memory\.h5: .* are the same gene"):
        evaluate(
            dataclasses.replace(model, targets=versioned),
            InMemory(arrays, model.landmarks.ensembl, twice),
        )


def test_parts_asked_for(trained, exported) -> None:
    with open_prepared(trained.prepared) as study:
        found = evaluate(exported, study, ["GTEx", "tr"])
        assert list(found.parts) == ["GTEx", "tr"]
        assert found.parts["tr"].genes.n_profiles == 103
        with pytest.raises(StudyError, match="parts: 'te' is named twice"):
            evaluate(exported, study, ["te", "va", "te"])


def test_a_part_that_a_study_of_arrays_lacks(model) -> None:
    study = InMemory(
        dict.fromkeys(("tr", "va", "te"), tables(model, 4)),
        model.landmarks.ensembl,
        model.targets.ensembl,
    )
    assert list(evaluate(model, study).parts) == ["va", "te"]
    with pytest.raises(StudyError, match=r"in_memory\.h5: has no part 'GTEx', only tr, va, te"):
        evaluate(model, study, ["te", "GTEx"])


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


def test_constant_genes_are_counted_and_empty(model) -> None:
    X, Y = tables(model, 30)
    Y[:, [2, 4]] = 0.1
    study = InMemory({"te": (X, Y)}, model.landmarks.ensembl, model.targets.ensembl)
    found = evaluate(model, study)
    lines = evaluation_lines(Path("m"), model, study, found)
    assert lines[-1] == "GEO-te: 2 gene(s) are constant in it: no r, no R²"
    rows = gene_table(Path("t"), model, found).splitlines()
    empty = [place for place, row in enumerate(rows[1:]) if row.endswith("\t\t")]
    assert empty == [2, 4]
    Y[:] = 0.1
    found = evaluate(model, study)
    content = evaluation_json(Path("m"), model, study, found)["parts"]["te"]["all"]
    assert content["r"] == content["R2"] == {"mean": None, "median": None}
    assert content["constant_genes"] == 9
    assert evaluation_lines(Path("m"), model, study, found)[-3].split()[-4:] == ["-"] * 4


def test_constant_inferences_are_counted(model) -> None:
    half = dict(model.halves[0])
    half["output"] = {**half["output"], "kernel": half["output"]["kernel"].copy()}
    half["output"]["kernel"][:, 1] = 0
    flat = dataclasses.replace(model, halves=[half, model.halves[1]])
    study = InMemory({"te": tables(model, 30)}, model.landmarks.ensembl, model.targets.ensembl)
    found = evaluate(flat, study)
    assert np.isnan(found.parts["te"].genes.r).tolist() == [place == 1 for place in range(9)]
    assert not np.isnan(found.parts["te"].genes.r2).any()
    lines = evaluation_lines(Path("m"), flat, study, found)
    assert lines[-1] == "GEO-te: 1 gene(s) are inferred constant: no r"


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
