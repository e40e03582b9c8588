"""The methods D-GEX is compared with, each fitted on GEO-tr once a study."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pandas as pd

from dgex_jax.data.progress import Progress
from dgex_jax.errors import FormatError
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.models.knn import KnnGe
from dgex_jax.models.knn_profiles import KnnProfiles
from dgex_jax.models.lasso import lasso_path
from dgex_jax.models.linear import LeastSquares
from dgex_jax.models.mean import Mean
from dgex_jax.models.ridge import ridge_path
from dgex_jax.training.geneerrors import write_gene_errors
from dgex_jax.training.record import DONE, digest, read_json, write_json
from reproduce.stages import make_folder
from reproduce.steprecord import inputs_of, write_step
from reproduce.tuned import VALIDATION, Measured, measure, tune_k, tune_lambda

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dgex_jax.config import BaselineConfig
    from dgex_jax.data.prepared import Prepared
    from dgex_jax.data.progress import Tick
    from dgex_jax.training.arrays import StudyArrays
    from reproduce.workspace import Workspace

METHODS = ("Mean", "LR", "LR-L1", "LR-L2", "KNN-GE", "KNN-profiles")
"""In the order of the tables; Mean and KNN-profiles are not in the paper's."""

PRECISION = {"LR-L1": "float64, steps in float32 where they suffice"}
"""Of what is not all float64."""

LARGEST_GAP = 1e-4
"""LR-L1 is done at this duality gap, a share of ``|y|^2 / n``, in every target."""


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
    """Fit the baselines, of `METHODS`, that are not done yet.

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
            measured = fit_baseline(method, config, arrays, tick)
        write_gene_errors(folder / f"{method}.tsv", study, measured.errors, n_halves=halves)
        if measured.chosen:
            write_tuning(folder, method, measured)
        marks[method] = mark
        write_json(folder / DONE, marks)
        _record(space, method)
        print(f"baseline {method}: {time.perf_counter() - start:.1f} s", flush=True)


def _record(space: Workspace, method: str) -> None:
    """Write down what was written for a method, and the files that all methods share."""
    folder, inputs = space.baselines, inputs_of(space, [space.prepared])
    own = [folder / f"{method}.tsv", folder / f"{method}_tuning.tsv"]
    write_step(space, f"baseline-{method}", own, inputs, PRECISION.get(method, "float64"))
    write_step(space, "baselines", [folder / "chosen.json", folder / DONE], inputs, "float64")


def baseline_mark(space: Workspace, study: Prepared, method: str) -> str:
    """Hash everything that a baseline's results depend on, but for the versions of libraries."""
    return digest(
        {
            "prepared_sha256": study.sha256,
            "halves": space.study.training.halves,
            "method": method,
            "settings": settings(method, space.study.baselines),
        }
    )


def fit_baseline(method: str, config: BaselineConfig, arrays: StudyArrays, tick: Tick) -> Measured:
    """Fit one of `METHODS` on GEO-tr and measure it everywhere; `tick` counts the lambdas done."""
    X, Y = arrays.X["tr"], arrays.Y["tr"]
    match method:
        case "Mean":
            return measure(Mean().fit(X, Y), arrays)
        case "LR":
            return measure(LeastSquares().fit(X, Y), arrays)
        case "LR-L1":
            # From large to small: each fit starts where the one before ended.
            fits = lasso_path(X, Y, config.l1_lambdas[::-1], tolerance=LARGEST_GAP)
            return tune_lambda(fits, arrays, tick)
        case "LR-L2":
            return tune_lambda(ridge_path(X, Y, config.l2_lambdas[::-1]), arrays, tick)
        case "KNN-GE":
            return tune_k(KnnGe(config.k_max).fit(X, Y), arrays)
        case "KNN-profiles":
            return tune_k(KnnProfiles(config.k_max).fit(X, Y), arrays)
    raise AssertionError(f"{method} is one of {METHODS}")


def write_tuning(folder: Path, method: str, measured: Measured) -> None:
    """Write the tuning curve, and what was chosen beside what other methods chose."""
    names = {"va": "GEO-va", "1000G": "1000G-va"}
    with atomic_path(folder / f"{method}_tuning.tsv") as temporary:
        table = pd.DataFrame(list(measured.curve)).rename(columns=names)
        table.to_csv(temporary, sep="\t", index=False)
    path = folder / "chosen.json"
    write_json(path, (read_json(path) or {}) | {method: dict(measured.chosen)})


def chosen_values(space: Workspace) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what was chosen: method → validation part → `Measured.chosen` of it.

    Raises
    ------
    FormatError
        The file was removed or damaged since it was written.
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
            for part in VALIDATION
        ):
            raise FormatError(
                f"{path}: does not say which k was chosen and which lambda; remove {path.parent}"
            )
        tuned[method] = of_method
    return tuned
