"""A model applied to the parts of a prepared study, and scored: lines, JSON and a table."""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgex_jax.errors import DgexError, FormatError, StudyError
from dgex_jax.io.expression import aligned, blocks, check_storable, listed
from dgex_jax.io.files import atomic_path
from dgex_jax.io.manifest import record
from dgex_jax.io.progress import Progress
from dgex_jax.methods.network import PRECISION
from dgex_jax.model.certainty import IntervalCoverage
from dgex_jax.model.info import part_roles
from dgex_jax.model.match import SHOWN
from dgex_jax.model.model import DESCRIPTION, checksum, known
from dgex_jax.model.predict import told_device
from dgex_jax.prepare.genes import match_ensembl
from dgex_jax.prepare.names import kind_of_probes
from dgex_jax.scores import GeneScores, RunningScores, Summary, summarise
from dgex_jax.train.arrays import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.config import IdKind
    from dgex_jax.io.progress import Listener, Tick
    from dgex_jax.methods import Fitted
    from dgex_jax.model.certainty import Coverage
    from dgex_jax.model.model import Model
    from dgex_jax.prepare.prepared import Prepared

LEARNED_FROM = "tr"
PROFILES_AT_A_TIME = 4 * BATCH
INTERVAL = 0.9
"""The level whose coverage is told."""

NAMING: dict[IdKind, str] = {
    "ensembl": "Ensembl id",
    "probe": "probes",
    "entrez": "Entrez id",
    "symbol": "symbol",
}
COLUMNS = ("", "profiles", "genes", "MAE mean ± sd", "r mean", "median", "R² mean", "median")
EXPLAINED = (
    "over target genes: MAE in standardised units of {}, ± standard deviation (ddof 0); "
    "r: Pearson; R²: 1 - SSE / SST about the gene's mean in the part"
)


@dataclass(frozen=True)
class SharedTargets:
    """Targets of a model that were measured: their places `kept` ``(n_shared,)`` in the model.

    `copies` ``(n_shared,)``: those that copy a landmark of the model, and repeat it in RNA-seq.
    """

    kept: NDArray[np.intp]
    copies: NDArray[np.bool_]


@dataclass(frozen=True)
class SharedGenes(SharedTargets):
    """The genes that a model and a study share, and what they were matched by.

    `landmarks` ``(n_landmarks,)`` are the study's columns of X for the landmarks of the model,
    `targets` ``(n_shared,)`` those of Y for its shared targets.
    """

    kind: IdKind
    landmarks: NDArray[np.intp]
    targets: NDArray[np.intp]


@dataclass(frozen=True)
class PartEvaluation:
    """Scores of the shared targets on a part, and their summary.

    `without_copies` leaves out targets that copy a landmark; ``None`` where that says nothing new.
    `coverage` is that of the intervals of `INTERVAL`; ``None`` if the model has none.
    """

    genes: GeneScores
    every: Summary
    without_copies: Summary | None
    coverage: Coverage | None


@dataclass(frozen=True)
class Scored:
    """How a model does: the targets that it is judged on, and part → scores."""

    shared: SharedTargets
    parts: Mapping[str, PartEvaluation]


@dataclass(frozen=True)
class Evaluation(Scored):
    """How a model does on a study: the genes of both, and part → scores in the order asked for.

    `own_study`: whether the model was trained on it, by its sha256; ``None`` if it does not say.
    """

    shared: SharedGenes
    own_study: bool | None


def evaluate(
    model: Model,
    study: Prepared,
    parts: Sequence[str] | None = None,
    *,
    progress: bool | Listener = False,
) -> Evaluation:
    """Apply a model to parts of a study and compare what it infers with what was measured.

    Errors are in standardised units of the study: X and Y of each data set (GEO, 1000G, GTEx) were
    standardised gene by gene with means and deviations over that data set itself, as the paper
    does. On a study other than the model's own this is not the scale of training: a shift or a
    change of spread between the two studies is taken out before anything is compared.

    `parts` are the study's, all but ``tr`` by default. `progress`: ``True`` shows it, a callable
    gets (step, profiles done, profiles in all). Raises `StudyError` if the study lacks a part or
    one is named twice, `FormatError` if a landmark of the model is none of the study's, no target
    is shared, the study has no ids, or values can't be read or are not finite.
    """
    if parts is None:
        parts = [part for part in study.parts if part != LEARNED_FROM]
    for place, part in enumerate(parts):
        if part not in study.parts:
            raise StudyError(f"{study.path}: has no part {part!r}, only {', '.join(study.parts)}")
        if part in parts[:place]:
            raise StudyError(f"parts: {part!r} is named twice")
    shared = _shared_genes(model, study)
    trained_on = known(model.record, str, "study", "prepared_sha256")
    own_study = None if trained_on is None else study.sha256 == trained_on
    show = Progress(progress)
    found = {}
    for part in parts:
        covered = _covered(model, study, part, shared.kept, own_study=bool(own_study))
        with show.step(study.parts.label(part), study.n_profiles(part)) as tick:
            genes = part_scores(model.method, study, part, shared, tick, covered)
        # On an array copies are other probes; elsewhere they repeat an input.
        repeats = study.parts.platform_of(part) != "array"
        coverage = None if covered is None else covered.by_level()[0]
        found[part] = judged(genes, shared, coverage, repeats=repeats)
    return Evaluation(shared, found, own_study)


def _covered(
    model: Model, study: Prepared, part: str, kept: NDArray[np.intp], *, own_study: bool
) -> IntervalCoverage | None:
    """Count by the intervals of a part's own chooser, on another study by those of its platform."""
    known = model.uncertainty
    if known is None or not known.calibrated:
        return None
    platform = study.parts.platform_of(part)
    intervals = (
        known.calibrated.get(study.parts.chooser_of(part))
        if own_study
        else model.interval_for("microarray" if platform == "array" else platform)
    )
    if intervals is None or INTERVAL not in intervals.levels:
        return None
    return IntervalCoverage(known, intervals, (INTERVAL,), kept)


def judged(
    genes: GeneScores, shared: SharedTargets, coverage: Coverage | None, *, repeats: bool
) -> PartEvaluation:
    """Summarise scores; without copies of landmarks too, if they are there and repeat an input."""
    without = repeats and shared.copies.any() and not shared.copies.all()
    return PartEvaluation(
        genes, summarise(genes), summarise(genes, ~shared.copies) if without else None, coverage
    )


def part_scores(
    method: Fitted,
    study: Prepared,
    part: str,
    genes: SharedGenes | None = None,
    tick: Tick = lambda _n: None,
    covered: IntervalCoverage | None = None,
) -> GeneScores:
    """Score a method on a part of a study, some profiles at a time, in its standardised units.

    Without `genes` they are the study's, in its order. `tick` gets the number of profiles just
    done.
    """
    running = RunningScores(study.n_targets if genes is None else len(genes.kept))
    for block in blocks(study.n_profiles(part), PROFILES_AT_A_TIME):
        X = study.X(part, block)
        if genes is not None:
            X = X[:, genes.landmarks]
        start = block.start
        for every in method(X):
            rows = slice(start, start + len(every))
            inferred, Y = every, study.Y(part, rows=rows)
            if genes is not None:
                inferred, Y = every[:, genes.kept], Y[:, genes.targets]
            running.add(inferred, Y)
            if covered is not None:
                first = start - block.start
                covered.add(X[first : first + len(every)], np.abs(inferred - Y))
            tick(len(every))
            start = rows.stop
    return running.scores()


# --- the genes of a model in a study


def _shared_genes(model: Model, study: Prepared) -> SharedGenes:
    """Find the genes of a model in a study, and which of its targets copy an input."""
    if study.gene_ids == "number":
        raise FormatError(
            f"{study.path}: its genes have no ids, so which of them are the model's can't be told; "
            "prepare a study of the raw files (dgex prepare)"
        )
    kind, landmarks, targets = _matched(model, study)
    missing = np.flatnonzero(landmarks < 0).tolist()
    if missing:
        raise FormatError(
            f"{study.path}: {len(missing)} of {len(landmarks)} landmarks of the model are none of "
            f"its landmarks (by {NAMING[kind]}): {listed(model.landmarks.names(missing), SHOWN)}"
        )
    kept = np.flatnonzero(targets >= 0)
    if not kept.size:
        raise FormatError(
            f"{study.path}: none of the {len(targets)} targets of the model is one of its targets "
            f"(by {NAMING[kind]})"
        )
    found = targets[kept]
    copies = study.copy_of_landmark[found]
    if copies.any():
        # The study may have landmarks of its own.
        inputs = [study.landmarks[column] for column in landmarks.tolist()]
        copies &= match_ensembl([study.targets[column] for column in found.tolist()], inputs) >= 0
    return SharedGenes(kept, copies, kind, landmarks, found)


def _matched(model: Model, study: Prepared) -> tuple[IdKind, NDArray[np.intp], NDArray[np.intp]]:
    """Match landmarks and targets by the first kind of id that finds most landmarks.

    By Ensembl id where both have them, a gene is the same if its probes are, else by Entrez id or
    symbol.
    """
    best: tuple[IdKind, NDArray[np.intp], NDArray[np.intp]] | None = None
    for kind in NAMING:
        try:
            roles = list(_both_roles(model, study, kind))
        except FormatError:
            # A study of an older format lacks some of them.
            continue
        landmarks, targets = (_by_id(study.path, kind, *of) for of in roles)
        if best is None or (landmarks >= 0).sum() > (best[1] >= 0).sum():
            told = kind_of_probes(model.landmarks) if kind == "probe" else kind
            best = told, landmarks, targets
        if (landmarks >= 0).all():
            break
    if best is None:
        raise FormatError(f"{study.path}: its genes have no ids that are the model's")
    return best


def _both_roles(
    model: Model, study: Prepared, kind: IdKind
) -> Iterator[tuple[Sequence[Any], Sequence[Any]]]:
    """Give the ids of one kind of the landmarks, then of the targets: the model's, the study's."""
    for role, genes in (("landmark", model.landmarks), ("target", model.targets)):
        if kind == "symbol":
            theirs = study.landmark_symbols if role == "landmark" else study.symbols
        else:
            name = "probes" if kind == "probe" else kind
            theirs = getattr(study, f"{role}_{name}")
        yield genes.probes if kind == "probe" else genes.ids(kind), theirs


def _by_id(
    path: Path, kind: IdKind, ours: Sequence[Any], theirs: Sequence[Any]
) -> NDArray[np.intp]:
    """Find each of our genes among theirs; -1 where it isn't there, or its symbol is twice."""
    if kind == "ensembl":
        named = [place for place, one in enumerate(theirs) if one]
        try:
            found = match_ensembl(ours, [theirs[place] for place in named])
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error
        return np.append(np.array(named, np.intp), -1)[found]
    key = frozenset if kind == "probe" else str
    counts = Counter(map(key, theirs))
    places = {key(one): place for place, one in enumerate(theirs) if one}
    return np.array(
        [places.get(key(one), -1) if one and counts[key(one)] == 1 else -1 for one in ours],
        np.intp,
    )


# --- what is said and written


def evaluation_lines(path: Path, model: Model, study: Prepared, found: Evaluation) -> list[str]:
    """Say how the model in `path` does on a study: what was compared, a table, its meaning."""
    shared = found.shared
    simulated = " (simulated data)" if study.simulated else ""
    counts = f"{len(shared.landmarks):,} landmarks to {len(shared.kept):,} targets"
    lines = [
        f"{path}: {model.method.title} on {study.path}{simulated}",
        f"{counts}, matched by {NAMING[shared.kind]}",
    ]
    dropped = len(model.targets) - len(shared.kept)
    if dropped:
        lines.append(f"{dropped:,} target(s) of the model are none of the study's: left out")
    if found.own_study is None:
        whose = f"{path} does not say whether it was trained on this study"
        lines.append(f"{study.path}: {whose}")
    elif not found.own_study:
        whose = f"not the study that {path} was trained on (its sha256 differs)"
        lines.append(f"{study.path}: {whose}; X and Y are in its own standardised units")
    roles = part_roles(model.parts, model.selected_on) if found.own_study else {}
    return [
        *lines,
        *score_lines(
            [
                (study.parts.label(part), one, roles.get(part, ""))
                for part, one in found.parts.items()
            ],
            "the study",
        ),
    ]


def score_lines(parts: Sequence[tuple[str, PartEvaluation, str]], whose: str) -> list[str]:
    """Make a table of parts (name, scores, role), in whose standardised units, and explain it."""
    rows: list[tuple[str, ...]] = [(*COLUMNS, "")]
    undefined: list[str] = []
    covered: list[str] = []
    for name, one, role in parts:
        rows.append((name, f"{one.genes.n_profiles:,}", *_cells(one.every), role))
        if one.without_copies is not None:
            rows.append(("  without copies", "", *_cells(one.without_copies), ""))
        if one.coverage is not None:
            covered.append(f"{100 * one.coverage.values:.1f} % ({name})")
        if n := one.every.n_constant:
            undefined.append(f"{name}: {n:,} gene(s) are constant in it: no r, no R²")
        if n := one.every.n_flat:
            undefined.append(f"{name}: {n:,} gene(s) are inferred constant: no r")
    if covered:
        share = f"measured values inside the {100 * INTERVAL:g} % intervals"
        undefined.insert(0, f"{share}: {', '.join(covered)}")
    marks = f"<{'>' * (len(COLUMNS) - 1)}<"
    return [*aligned(rows, marks), EXPLAINED.format(whose), *undefined]


def _cells(summary: Summary) -> tuple[str, ...]:
    numbers = [
        "-" if pair is None else f"{pair[place]:.4f}"
        for pair in (summary.r, summary.r2)
        for place in (0, 1)
    ]
    return f"{summary.n_genes:,}", f"{summary.mae.mean:.4f} ± {summary.mae.sd:.4f}", *numbers


def evaluation_json(path: Path, model: Model, study: Prepared, found: Evaluation) -> dict[str, Any]:
    """Give all that `evaluation_lines` says as JSON values; what is not defined is ``None``."""
    return {
        "model": str(path),
        "method": model.method.title,
        "selected_on": model.selected_on,
        "prepared": str(study.path),
        "study": study.name,
        "simulated": study.simulated,
        "own_study": found.own_study,
        "matched_by": found.shared.kind,
        "landmarks": len(found.shared.landmarks),
        "targets": len(found.shared.kept),
        "targets_left_out": len(model.targets) - len(found.shared.kept),
        "parts": parts_json(found),
    }


def parts_json(found: Scored) -> dict[str, Any]:
    """Give the scores of each part as JSON values."""
    return {
        part: {
            "profiles": one.genes.n_profiles,
            "all": _summary_json(one.every),
            "without_copies": one.without_copies and _summary_json(one.without_copies),
            "coverage": one.coverage and one.coverage.to_json(),
        }
        for part, one in found.parts.items()
    }


def _summary_json(summary: Summary) -> dict[str, Any]:
    r, r2 = (pair or (None, None) for pair in (summary.r, summary.r2))
    return {
        "genes": summary.n_genes,
        "MAE": {"mean": summary.mae.mean, "sd": summary.mae.sd},
        "r": {"mean": r[0], "median": r[1]},
        "R2": {"mean": r2[0], "median": r2[1]},
        "constant_genes": summary.n_constant,
        "inferred_constant_genes": summary.n_flat,
    }


def evaluation_record(path: Path, inputs: Mapping[str, tuple[Path, str]]) -> dict[str, Any]:
    """Give the provenance of an evaluation of the model in `path` on files, with their sha256."""
    model = {
        "name": f"{path.resolve().name}/{DESCRIPTION}",
        "sha256": checksum(path / DESCRIPTION),
    }
    files = {what: {"name": one.name, "sha256": sha256} for what, (one, sha256) in inputs.items()}
    return record(
        "dgex evaluate",
        precision=PRECISION,
        inputs={"model": model, **files},
        device=told_device(),
    )


@contextmanager
def gene_table_file(
    path: Path | None, model: Path, *inputs: Path
) -> Iterator[Callable[[Model, Scored], object]]:
    """Take the place of a table, give a function that writes it; complete or not there.

    A line a shared target, tab-separated: ``ensembl``, ``symbol``, ``entrez``, ``probes``,
    ``copy_of_landmark`` (0 or 1), then of each part ``MAE_te``, ``r_te``, ``R2_te``, …: decimal, as
    many digits as give the same float64 again, empty where not defined. Without a path the function
    does nothing. Raises `DgexError` if `path` is an input, doesn't end in ``.tsv``, is in the
    model folder, or can't be written, or an id of the model holds a tab or a line end.
    """
    if path is None:
        yield lambda _model, _found: None
        return
    place = path.resolve()
    if place in [one.resolve() for one in inputs]:
        raise DgexError(f"{path}: is an input, it is not written over")
    if path.suffix.lower() != ".tsv":
        raise DgexError(f"{path}: the table is tab-separated, its name ends in .tsv")
    if model.resolve() in (place, *place.parents):
        raise DgexError(f"{path}: a model folder holds nothing but the model, choose another place")
    with atomic_path(path) as temporary:
        yield lambda model, found: _gene_table(path, model, found).to_csv(
            temporary, sep="\t", index=False, quoting=csv.QUOTE_NONE
        )


def _gene_table(path: Path, model: Model, found: Scored) -> pd.DataFrame:
    table = pd.DataFrame(model.targets.columns(), dtype=object).take(found.shared.kept)
    for name in table:
        check_storable(path, f"{name} of a target", list(table[name]), "\t\n\r")
    table["copy_of_landmark"] = found.shared.copies.astype(int)
    for part, one in found.parts.items():
        for name, values in (("MAE", one.genes.mae), ("r", one.genes.r), ("R2", one.genes.r2)):
            table[f"{name}_{part}"] = values
    return table
