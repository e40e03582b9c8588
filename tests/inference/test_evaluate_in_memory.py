"""A model scored on a study in memory: of any length, whatever its genes are and in any order."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dgex_jax.analysis.scores import summarise
from dgex_jax.data.prepared import Prepared
from dgex_jax.errors import FormatError, StudyError
from dgex_jax.inference.evaluate import evaluate
from dgex_jax.inference.evaluate_report import evaluation_json, evaluation_lines
from dgex_jax.inference.evaluate_table import gene_table
from dgex_jax.models.forward import BATCH
from tests.inference.evaluated import assert_scores, infer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dgex_jax.inference.model import Model


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


def test_a_part_that_a_study_of_arrays_lacks(model) -> None:
    study = InMemory(
        dict.fromkeys(("tr", "va", "te"), tables(model, 4)),
        model.landmarks.ensembl,
        model.targets.ensembl,
    )
    assert list(evaluate(model, study).parts) == ["va", "te"]
    with pytest.raises(StudyError, match=r"in_memory\.h5: has no part 'GTEx', only tr, va, te"):
        evaluate(model, study, ["te", "GTEx"])


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
