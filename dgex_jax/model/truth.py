"""A model scored on raw files: landmarks of one, and targets that another measured of the same."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.errors import FormatError, StudyError
from dgex_jax.io.expression import View, listed
from dgex_jax.io.files import Unchanged
from dgex_jax.io.lines import kind_of
from dgex_jax.io.open import open_input
from dgex_jax.io.progress import Progress
from dgex_jax.model.certainty import RunningCoverage
from dgex_jax.model.evaluate import (
    INTERVAL,
    Scored,
    SharedTargets,
    judged,
    parts_json,
    score_lines,
)
from dgex_jax.model.model import checksum
from dgex_jax.model.predict import BOUNDS, inferred
from dgex_jax.model.scale import ENOUGH_PROFILES, WARNING, Plan, plan_of, profiles_of
from dgex_jax.prepare.pairs import read_pairs
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.scores import RunningScores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dgex_jax.config import Platform, PredictOptions, Standardize
    from dgex_jax.io.progress import Listener, Tick
    from dgex_jax.model.certainty import Coverage
    from dgex_jax.model.match import Role
    from dgex_jax.model.model import Model
    from dgex_jax.prepare.prepared import Prepared
    from dgex_jax.scores import GeneScores

TRUTH = "truth"
"""The one part of such an evaluation."""
ROLES: tuple[Role, Role] = ("landmark", "target")
NAMED = 5


@dataclass(frozen=True)
class FilesEvaluation(Scored):
    """How a model does on raw files.

    `plans` are what was decided on the paired profiles of both. `inputs`: what a file is to the
    evaluation (``input``, ``truth``, ``pairs``) → its path and sha256. `notes` say what was found
    out, a fact a line, `warnings` what a user should look at; both name the file.
    """

    plans: tuple[Plan, Plan]
    inputs: Mapping[str, tuple[Path, str]]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def evaluate_files(
    model: Model,
    input_path: Path | str,
    truth_path: Path | str,
    options: PredictOptions,
    *,
    truth_platform: Platform | None = None,
    standardize: Standardize | None = None,
    pairs: Path | str | None = None,
    progress: bool | Listener = False,
) -> FilesEvaluation:
    """Infer targets from the landmarks of a file, and compare them with what a file measured.

    Both files (see `open_input`) may be the same. Their profiles are paired by `read_pairs`, and
    those without a partner left out before anything is computed. Landmarks become the network's
    input by `options` as in `dgex_jax.model.predict.predict`. Measured targets, found by any id,
    are brought to the same units: ranked among all genes of the model that are there and mapped on
    its reference quantile, as in training (L1000 values stay if they are in its range), then
    standardised. `truth_platform` is by default that of the input, ``rnaseq`` for another file than
    an L1000 input. `standardize` holds for both files: by means and deviations of the paired
    profiles (``input``, the default: the paper scales every data set by itself) or of training.

    `progress`: ``True`` shows it, a callable gets (step, profiles done, profiles in all). Raises
    `StudyError` for options that contradict each other, `FormatError` if a file can't be read,
    matched (half of the targets must be there), paired or standardised, or changes meanwhile.
    """
    paths = Path(input_path), Path(truth_path)
    inputs = dict(zip(("input", TRUTH), paths, strict=True))
    table = None if pairs is None else inputs.setdefault("pairs", Path(pairs))
    both = _options(
        options, truth_platform, standardize, same=paths[0].resolve() == paths[1].resolve()
    )
    unchanged = [Unchanged.of(path) for path in inputs.values()]
    show = Progress(progress)
    with ExitStack() as files:
        accept = options.accept_wrong_dimensions
        opened = {path: open_input(path, files, accept_wrong_dimensions=accept) for path in paths}
        found = [
            profiles_of(model, opened[path], of, role)
            for path, of, role in zip(paths, both, ROLES, strict=True)
        ]
        first, second = (match.source.profiles for match in found)
        paired = read_pairs(table, first, second, paths)
        n, own = len(paired.landmarks), "input" in [one.standardize for one in both]
        if own and n < ENOUGH_PROFILES:
            raise FormatError(
                f"{paths[1]}: {n} pairs are too few for means and deviations of their own "
                f"({ENOUGH_PROFILES} are needed); see --standardize training"
            )
        places = paired.landmarks, paired.truth
        plan, truth = (
            plan_of(
                model,
                replace(match, source=View(match.source, profile_places=chosen)),
                of,
                show,
            )
            for match, chosen, of in zip(found, places, both, strict=True)
        )
        shared = _shared(model, truth)
        with show.step("scoring", n) as tick:
            scores, coverage = _scores(plan, truth, shared, tick)
        plans = plan, truth
        lines = [(one.match.source.path, one.lines(), one.warnings) for one in plans]
        sums = {what: (path, checksum(path)) for what, path in inputs.items()}
        for one in unchanged:
            one.check()
    said = [
        f"{path}: {line}" for path, of, _ in lines for line in of if not line.startswith(WARNING)
    ]
    return FilesEvaluation(
        shared,
        {TRUTH: judged(scores, shared, coverage, repeats=both[1].platform == "rnaseq")},
        plans,
        sums,
        (*paired.notes, *said),
        tuple(f"{path}: {text}" for path, _, of in lines for text in of),
    )


def _options(
    options: PredictOptions,
    platform: Platform | None,
    standardize: Standardize | None,
    *,
    same: bool,
) -> tuple[PredictOptions, PredictOptions]:
    """Give those of the input and those of the truth."""
    default: Platform = "rnaseq" if options.platform == "l1000" and not same else options.platform
    units = standardize or options.standardize or "input"
    first, second = (
        replace(options, platform=one, standardize=None if one == "standardized" else units)
        for one in (options.platform, platform or default)
    )
    if standardize and not (first.standardize or second.standardize):
        raise StudyError(f"standardize = {standardize!r}: both files are standardised already")
    if options.scale != "standardized":
        raise StudyError(f"scale = {options.scale!r}: scores are of standardised units")
    return first, second


def _shared(model: Model, truth: Plan) -> SharedTargets:
    kept = np.array(truth.match.present, np.intp)
    copies = np.zeros(len(kept), np.bool_)
    if model.copy_of_landmark is not None:
        copies = model.copy_of_landmark[kept]
    return SharedTargets(kept, copies)


def _scores(
    plan: Plan, truth: Plan, shared: SharedTargets, tick: Tick
) -> tuple[GeneScores, Coverage | None]:
    """Score batch by batch, which no block size changes."""
    running = RunningScores(len(shared.kept))
    known, covered = plan.model.uncertainty, None
    platform = plan.options.platform
    if known and known.calibrated and INTERVAL in plan.model.interval_for(platform).levels:
        plan = replace(plan, options=replace(plan.options, interval=INTERVAL))
        covered = RunningCoverage(INTERVAL)
    rows = slice(0, len(plan.match.source.profiles))
    for block in inferred(plan, rows, len(plan.model.landmarks) + shared.kept):
        measured = truth.read(block.rows)
        running.add(block.values, measured)
        if covered is not None:
            lower, upper = (block.bounds[name] for name in BOUNDS)
            covered.add((lower <= measured) & (measured <= upper))
        tick(len(block.values))
    return running.scores(), None if covered is None else covered.coverage()


def open_study(path: Path) -> Prepared:
    """Open a prepared study; the `FormatError` of an expression file says how it is scored."""
    try:
        return open_prepared(path)
    except FormatError as error:
        with suppress(FormatError):
            kind_of(path)
            raise StudyError(
                f"{error}; an expression file is scored with --truth FILE (what was measured) and "
                "--platform"
            ) from error
        raise


def refuse_study(path: Path) -> None:
    """Raise `StudyError` if a file is a prepared study."""
    with suppress(FormatError), open_prepared(path):
        raise StudyError(f"{path}: is a prepared study, which has its truth: leave out --truth")


# --- what is said


def files_lines(path: Path, model: Model, found: FilesEvaluation) -> list[str]:
    """Say how the model in `path` does on raw files: what was compared, a table, its meaning."""
    plan, truth = found.plans
    n, left_out = len(found.shared.kept), truth.imputed
    files = [f"{one.match.source.path} ({one.options.platform})" for one in found.plans]
    lines = [
        f"{path}: {model.method.title} on {files[0]}, measured in {files[1]}",
        *found.notes,
        f"{len(plan.match.genes):,} landmarks to {n:,} targets",
    ]
    if left_out:
        told = f"{len(left_out):,} target(s) of the model were not measured: left out"
        lines.append(f"{told}: {listed(left_out, NAMED)}")
    whose = {"input": "the paired profiles", "training": "training", None: "the file"}
    part = (TRUTH, found.parts[TRUTH], "")
    return [*lines, *score_lines([part], whose[truth.options.standardize])]


def files_json(path: Path, model: Model, found: FilesEvaluation) -> dict[str, Any]:
    """Give all that `files_lines` says as JSON values; what is not defined is ``None``."""
    plan, truth = found.plans
    return {
        "model": str(path),
        "method": model.method.title,
        "selected_on": model.selected_on,
        **{what: str(one) for what, (one, _) in found.inputs.items()},
        "platform": plan.options.platform,
        "truth_platform": truth.options.platform,
        "standardize": truth.options.standardize or plan.options.standardize,
        "matched_by": plan.match.naming,
        "truth_matched_by": truth.match.naming,
        "landmarks": len(plan.match.genes),
        "landmarks_imputed": len(plan.imputed),
        "targets": len(found.shared.kept),
        "targets_left_out": len(truth.match.missing),
        "notes": list(found.notes),
        "warnings": list(found.warnings),
        "parts": parts_json(found),
    }
