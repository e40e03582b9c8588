"""The methods D-GEX is compared with: fitted on ``tr`` once a study, tuned, and measured."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from dgex_jax.baselines.knn import KnnGe, KnnProfiles
from dgex_jax.baselines.lasso import lasso_path
from dgex_jax.baselines.linear import LeastSquares, Mean, ridge_path
from dgex_jax.baselines.weights import read_weights, standardised_prediction
from dgex_jax.errors import FormatError
from dgex_jax.io.files import atomic_path
from dgex_jax.io.manifest import digest, known_sha256, read_json, write_json
from dgex_jax.io.progress import Progress
from dgex_jax.parts import OF_COMPENDIUM
from dgex_jax.rawfiles import normalization
from dgex_jax.scores import choose, mae_per_gene
from dgex_jax.train.record import DONE, write_gene_errors
from reproduce.stages import inputs_of, make_folder, write_step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.baselines.linear import LinearFit
    from dgex_jax.config import BaselineConfig
    from dgex_jax.io.progress import Tick
    from dgex_jax.parts import Parts
    from dgex_jax.prepare.prepared import Prepared
    from dgex_jax.prepare.study import Study
    from dgex_jax.train.arrays import Float32, StudyArrays
    from reproduce.workspace import Workspace

METHODS = ("Mean", "LR", "LR-L1", "LR-L2", "KNN-GE", "KNN-profiles")
"""In the order of the tables; Mean and KNN-profiles are not in the paper's."""

LINCS = "LINCS-OLS"
"""The regression weights that LINCS published (`BaselineConfig.weights`), on sets alone."""

LARGEST_GAP = 1e-4
"""LR-L1 is done at this duality gap, a share of ``|y|^2 / n``, in every target."""

PRECISION = {"LR-L1": "float64, steps in float32 where they suffice"}
"""Of what is not all float64."""

PROFILES_AT_A_TIME = 2048


class Model(Protocol):
    """A fitted model."""

    def predict(self, X: Float32) -> NDArray[np.float64]:
        """Predict ``(n_profiles, n_targets)``."""


@dataclass(frozen=True)
class Measured:
    """What a method reaches.

    - `errors`: part → ``(n_targets,)`` float64, MAE of each gene.
    - `chosen`: validation part → the value chosen there (``k`` or ``lambda``), whether it is
      ``at_edge`` of the grid, and of an iterative solution the largest relative duality ``gap``;
      empty for a method with nothing to choose.
    - `curve`: A row for each value tried, growing: the value, the overall error on each validation
      part, and the gap.
    - `note`: what a reader of its errors must know.
    """

    errors: Mapping[str, NDArray[np.float64]]
    chosen: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    curve: Sequence[dict[str, float]] = ()
    note: str = ""


def methods_of(study: Study, part: str) -> tuple[str, ...]:
    """Name the methods that are measured on a part."""
    given = study.baselines.weights is not None and part not in OF_COMPENDIUM
    return (*METHODS, LINCS) if given else METHODS


def weights_file(study: Study) -> Path:
    """Return the file of LINCS' weights, where the study has one."""
    if study.baselines.weights is None:
        raise AssertionError(f"{LINCS} is measured where there are weights")
    return study.baselines.weights


def settings(method: str, config: BaselineConfig) -> dict[str, Any]:
    """Everything in the study file that a method's results depend on."""
    depends: dict[str, dict[str, Any]] = {
        "LR-L1": {"lambdas": list(config.l1_lambdas), "gap": LARGEST_GAP},
        "LR-L2": {"lambdas": list(config.l2_lambdas)},
        "KNN-GE": {"k_max": config.k_max},
        "KNN-profiles": {"k_max": config.k_max},
    }
    return depends.get(method, {})


def fit_baselines(
    space: Workspace, study: Prepared, arrays: StudyArrays, methods: Sequence[str]
) -> None:
    """Fit the baselines, of `METHODS` and `LINCS`, that are not done yet.

    Written are ``<method>.tsv`` (errors per gene), ``<method>_tuning.tsv`` (the validation errors
    of every k or lambda), ``chosen.json``, and after each method its mark in ``done.json``.
    """
    config, halves = space.study.baselines, space.study.training.halves
    folder = space.baselines
    marks = read_json(folder / DONE) or {}
    for method in methods:
        mark = baseline_mark(space, study, method)
        if marks.get(method) == mark:
            continue
        make_folder(folder)
        # No mark while the files are in between: they may be another configuration's by now.
        if marks.pop(method, None) is not None:
            write_json(folder / DONE, marks)
        start = time.perf_counter()
        steps = len(settings(method, config).get("lambdas", [0]))
        with Progress(show=True).step(f"baseline {method}", steps, "fits") as tick:
            if method == LINCS:
                measured = _measure_weights(space.study, study, arrays)
            else:
                measured = fit_baseline(method, config, arrays, tick)
        write_gene_errors(folder / f"{method}.tsv", study, measured.errors, n_halves=halves)
        if measured.chosen or measured.note:
            _write_tuning(folder, method, measured, arrays.parts)
        marks[method] = mark
        write_json(folder / DONE, marks)
        weights = [weights_file(space.study)] if method == LINCS else []
        inputs = inputs_of(space, [space.prepared, *weights])
        own = [folder / f"{method}.tsv", folder / f"{method}_tuning.tsv"]
        write_step(space, f"baseline-{method}", own, inputs, PRECISION.get(method, "float64"))
        write_step(space, "baselines", [folder / "chosen.json", folder / DONE], inputs, "float64")
        print(f"baseline {method}: {time.perf_counter() - start:.1f} s", flush=True)


def baseline_mark(space: Workspace, study: Prepared, method: str) -> str:
    """Hash everything that a baseline's results depend on, but for the versions of libraries."""
    depends = settings(method, space.study.baselines)
    if method == LINCS:
        depends["weights_sha256"] = known_sha256(weights_file(space.study))
    return digest(
        {
            "prepared_sha256": study.sha256,
            "halves": space.study.training.halves,
            "method": method,
            "settings": depends,
        }
    )


def fit_baseline(method: str, config: BaselineConfig, arrays: StudyArrays, tick: Tick) -> Measured:
    """Fit one of `METHODS` on ``tr`` and measure it everywhere; `tick` counts the lambdas done."""
    X, Y = arrays.X["tr"], arrays.Y["tr"]
    match method:
        case "Mean":
            return _measure(Mean().fit(X, Y), arrays)
        case "LR":
            return _measure(LeastSquares().fit(X, Y), arrays)
        case "LR-L1":
            # From large to small: each fit starts where the one before ended.
            fits = lasso_path(X, Y, config.l1_lambdas[::-1], tolerance=LARGEST_GAP)
            return tune_lambda(fits, arrays, tick)
        case "LR-L2":
            return tune_lambda(ridge_path(X, Y, config.l2_lambdas[::-1]), arrays, tick)
        case "KNN-GE":
            return _tune_k(KnnGe(config.k_max).fit(X, Y), arrays)
        case "KNN-profiles":
            return _tune_k(KnnProfiles(config.k_max).fit(X, Y), arrays)
    raise AssertionError(f"{method} is one of {METHODS}")


def chosen_values(space: Workspace) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what was chosen: method → validation part → `Measured.chosen` of it.

    Raises `FormatError`: the file was removed or damaged since it was written.
    """
    path = space.baselines / "chosen.json"
    content = read_json(path) or {}
    tuned = {}
    for method in METHODS:
        wanted = settings(method, space.study.baselines)
        if not wanted:
            continue
        key = "lambda" if "lambdas" in wanted else "k"
        of_method = content.get(method)
        if not isinstance(of_method, dict) or not all(
            isinstance(of_method.get(part), dict) and {key, "at_edge"} <= of_method[part].keys()
            for part in space.study.parts.choosers
        ):
            raise FormatError(
                f"{path}: does not say which k was chosen and which lambda; remove {path.parent}"
            )
        tuned[method] = of_method
    return tuned


def note_on_weights(space: Workspace) -> str:
    """Return what a reader of the errors of `LINCS` must know; empty where it is not measured."""
    return str((read_json(space.baselines / "chosen.json") or {}).get(LINCS, {}).get("note", ""))


def tune_lambda(fits: Iterable[LinearFit], arrays: StudyArrays, tick: Tick) -> Measured:
    """Errors with lambda tuned, for each part, on the validation part that belongs to it.

    Of all fits only the best two so far are held; test parts are measured once all is chosen.
    """
    parts = arrays.parts
    best: dict[str, tuple[float, LinearFit, NDArray[np.float64]]] = {}
    curve: list[dict[str, float]] = []
    for fit in fits:
        row = {"lambda": fit.lambda_}
        for part in parts.choosers:
            mae = _model_errors(fit, arrays, part)
            row[part] = float(mae.mean())
            if part not in best or row[part] < best[part][0]:
                best[part] = (row[part], fit, mae)
        if fit.gap is not None:
            row["gap"] = float(fit.gap.max())
        curve.append(row)
        tick(1)
    chosen: dict[str, dict[str, Any]] = {}
    for part in parts.choosers:
        choice = choose([row["lambda"] for row in curve], [row[part] for row in curve])
        chosen[part] = {"lambda": choice.value, "at_edge": bool(choice.at_edge)}
        gap = best[part][1].gap
        if gap is not None:
            chosen[part]["gap"] = float(gap.max())
    errors = {
        part: best[part][2]
        if part in best
        else _model_errors(best[parts.chooser_of(part)][1], arrays, part)
        for part in parts.evaluated
    }
    return Measured(errors, chosen, sorted(curve, key=lambda row: row["lambda"]))


def _tune_k(model: KnnGe | KnnProfiles, arrays: StudyArrays) -> Measured:
    parts = arrays.parts
    by_k = {
        part: model.errors_by_k(arrays.X[part], arrays.Y[part], model.ks_)
        for part in parts.choosers
    }
    overall = {part: by_k[part].mean(axis=1) for part in by_k}
    chosen: dict[str, dict[str, Any]] = {}
    for part in by_k:
        choice = choose(model.ks_, overall[part])
        chosen[part] = {"k": int(choice.value), "at_edge": bool(choice.at_edge)}
    errors = {}
    for part in parts.evaluated:
        k = chosen[parts.chooser_of(part)]["k"]
        if part in by_k:
            errors[part] = by_k[part][model.ks_.index(k)]
        else:
            errors[part] = model.errors_by_k(arrays.X[part], arrays.Y[part], [k])[0]
    curve = [
        {"k": k} | {part: float(overall[part][row]) for part in by_k}
        for row, k in enumerate(model.ks_)
    ]
    return Measured(errors, chosen, curve)


def _measure(model: Model, arrays: StudyArrays) -> Measured:
    return Measured({part: _model_errors(model, arrays, part) for part in arrays.parts.evaluated})


def _measure_weights(config: Study, study: Prepared, arrays: StudyArrays) -> Measured:
    """Measure LINCS' weights on the sets; a landmark that the study lacks is held at its mean."""
    published = read_weights(weights_file(config))
    landmarks, targets = (
        names if study.gene_ids == "entrez" else entrez
        for names, entrez in (
            (study.landmarks, study.landmark_entrez),
            (study.targets, study.target_entrez),
        )
    )
    weights = published.aligned(landmarks, targets)
    known = weights.known
    errors = {part: np.full(study.n_targets, np.nan) for part in study.parts.evaluated}
    for part in study.parts.names:
        deviations = (study.scaling(part, kind)[1] for kind in "XY")
        predicted = standardised_prediction(weights, arrays.X[part], *deviations)
        errors[part][known] = mae_per_gene(predicted[:, known], arrays.Y[part][:, known])
    told = "on the sets alone, since all of LINCS' compendium was in their fit"
    notes = [f"{LINCS}: the weights of {published.path.name}, {told}"]
    if weights.held:
        notes.append(
            f"{len(weights.held):,} of their {len(published.landmarks):,} landmarks are not in the "
            "study and held at their means"
        )
    notes.append(
        "they are applied, without their intercept, to log2 deviations from the means that each "
        "set was standardised with, as their plain prediction would have the shift between "
        "platforms in its errors, which all other methods are spared; a gene's other spread stays"
    )
    rule = "original" if config.files is None else normalization(config.files, config.prepare)
    if rule != "none":
        notes.append(f'the scale of the study (normalize = "{rule}") is not theirs')
    return Measured(errors, note=f"{'; '.join(notes)}.")


def _model_errors(model: Model, arrays: StudyArrays, part: str) -> NDArray[np.float64]:
    """MAE per gene ``(n_targets,)``, inferred in blocks of profiles."""
    X, Y = arrays.X[part], arrays.Y[part]
    total = np.zeros(Y.shape[1])
    for start in range(0, len(X), PROFILES_AT_A_TIME):
        rows = slice(start, start + PROFILES_AT_A_TIME)
        total += mae_per_gene(model.predict(X[rows]), Y[rows]) * len(X[rows])
    return total / len(X)


def _write_tuning(folder: Path, method: str, measured: Measured, parts: Parts) -> None:
    """Write the tuning curve, and what was chosen, or the note, beside those of other methods."""
    if measured.curve:
        with atomic_path(folder / f"{method}_tuning.tsv") as temporary:
            labels = {part: parts.label(part) for part in parts}
            table = pd.DataFrame(list(measured.curve)).rename(columns=labels)
            table.to_csv(temporary, sep="\t", index=False)
    path, note = folder / "chosen.json", {"note": measured.note} if measured.note else {}
    write_json(path, (read_json(path) or {}) | {method: {**measured.chosen, **note}})
