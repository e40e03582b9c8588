"""An evaluation in lines for people and as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dgex_jax.config import CHOSEN_PARTS, PART_NAMES
from dgex_jax.errors import FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.inference.evaluate import LEARNED_FROM
from dgex_jax.inference.modelfolder import DESCRIPTION
from dgex_jax.inference.provenance import told_device
from dgex_jax.models.mlp import MLP
from dgex_jax.provenance import file_sha256, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dgex_jax.analysis.scores import Summary
    from dgex_jax.data.prepared import Prepared
    from dgex_jax.inference.evaluate import Evaluation
    from dgex_jax.inference.model import Model

NAMING = {"ensembl": "Ensembl id", "probe": "probes"}
COLUMNS = ("", "profiles", "genes", "MAE mean ± sd", "r mean", "median", "R² mean", "median")
EXPLAINED = (
    "over target genes: MAE in standardised units of the study, ± standard deviation (ddof 0); "
    "r: Pearson; R²: 1 - SSE / SST about the gene's mean in the part"
)


def evaluation_lines(path: Path, model: Model, study: Prepared, found: Evaluation) -> list[str]:
    """Say how the model in `path` does on a study: what was compared, a table, and what it means.

    The model, the study and the evaluation belong together.
    """
    shared = found.shared
    simulated = " (simulated data)" if study.simulated else ""
    counts = f"{len(shared.landmarks):,} landmarks to {len(shared.kept):,} targets"
    lines = [
        f"{path}: {model.network.name} on {study.path}{simulated}",
        f"{counts}, matched by {NAMING[shared.kind]}",
    ]
    dropped = len(model.targets) - len(shared.kept)
    if dropped:
        lines.append(f"{dropped:,} target(s) of the model are none of the study's: left out")
    if not found.own_study:
        lines.append(f"{study.path}: {_whose(path, found)}")
    rows = [COLUMNS, *_rows(found)]
    roles = ["", *_roles(model, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, role in zip(rows, roles, strict=True):
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([f"{row[0]:<{widths[0]}}", *cells, role]).rstrip())
    return [*lines, EXPLAINED, *_undefined(found)]


def _whose(path: Path, found: Evaluation) -> str:
    if found.own_study is None:
        return f"{path} does not say whether it was trained on this study"
    own = "X and Y are in its own standardised units"
    return f"not the study that {path} was trained on (its sha256 differs); {own}"


def _rows(found: Evaluation) -> Iterator[tuple[str, ...]]:
    for part, one in found.parts.items():
        yield (PART_NAMES[part], f"{one.genes.n_profiles:,}", *_cells(one.every))
        if one.without_copies is not None:
            yield ("  without copies", "", *_cells(one.without_copies))


def _cells(summary: Summary) -> tuple[str, ...]:
    numbers = [
        "-" if pair is None else f"{pair[place]:.4f}"
        for pair in (summary.r, summary.r2)
        for place in (0, 1)
    ]
    return f"{summary.n_genes:,}", f"{summary.mae.mean:.4f} ± {summary.mae.sd:.4f}", *numbers


def _roles(model: Model, found: Evaluation) -> Iterator[str]:
    chosen, expected = CHOSEN_PARTS[model.selected_on]
    roles = {
        LEARNED_FROM: "trained on it",
        chosen: "the best epoch was chosen on it",
        expected: "to expect of new profiles",
    }
    for part, one in found.parts.items():
        yield roles.get(part, "") if found.own_study else ""
        if one.without_copies is not None:
            yield ""


def _undefined(found: Evaluation) -> Iterator[str]:
    for part, one in found.parts.items():
        if one.every.n_constant:
            yield (
                f"{PART_NAMES[part]}: {one.every.n_constant:,} gene(s) are constant in it: "
                "no r, no R²"
            )
        if one.every.n_flat:
            yield f"{PART_NAMES[part]}: {one.every.n_flat:,} gene(s) are inferred constant: no r"


def evaluation_json(path: Path, model: Model, study: Prepared, found: Evaluation) -> dict[str, Any]:
    """Return all that `evaluation_lines` says as JSON values; what is not defined is ``None``."""
    return {
        "model": str(path),
        "network": model.network.name,
        "selected_on": model.selected_on,
        "prepared": str(study.path),
        "study": study.name,
        "simulated": study.simulated,
        "own_study": found.own_study,
        "matched_by": found.shared.kind,
        "landmarks": len(found.shared.landmarks),
        "targets": len(found.shared.kept),
        "targets_left_out": len(model.targets) - len(found.shared.kept),
        "parts": {
            part: {
                "profiles": one.genes.n_profiles,
                "all": _summary_json(one.every),
                "without_copies": one.without_copies and _summary_json(one.without_copies),
            }
            for part, one in found.parts.items()
        },
    }


def evaluation_record(path: Path, study: Prepared) -> dict[str, Any]:
    """Give the provenance of an evaluation of the model in `path` on a study."""
    description = path / DESCRIPTION
    try:
        sha256 = file_sha256(description)
    except OSError as error:
        raise FormatError(f"{description}: can't be read: {one_line(error)}") from error
    return record(
        "dgex evaluate",
        precision=MLP.precision,
        inputs={
            "model": {"name": f"{path.resolve().name}/{DESCRIPTION}", "sha256": sha256},
            "prepared": {"name": study.path.name, "sha256": study.sha256},
        },
        device=told_device(),
    )


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
