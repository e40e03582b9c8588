"""A model as one page: what it infers, of what it was made, and how far it is to be trusted."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.config import ALIKE
from dgex_jax.io.manifest import drop_with_sidecar, file_sha256, record, write_sidecar
from dgex_jax.methods.network import PRECISION
from dgex_jax.model.info import SHOWN_LEVEL, heaviest_landmarks, part_roles, told_coverage
from dgex_jax.model.model import DESCRIPTION, TRUSTED, known, read_model
from dgex_jax.pages.page import (
    EXPECTED_ERROR,
    SIMULATED,
    Head,
    LongTable,
    Picture,
    Table,
    check_page,
    genes_by_error,
    number,
    picture,
    render,
    table,
    written_page,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.methods.uncertainty import Calibration
    from dgex_jax.model.model import Model

NOT_STATED, UNUSED = "not stated", "not used"
MOST_VALUES = 8
"""Lists of settings that are longer (ids of training profiles) are told by their length."""
LABELS = {"array": "microarrays", "rnaseq": "RNA-seq", "l1000": "L1000"}
STEPS = {"preparation": "prepared with", "training": "trained with", "export": "exported with"}


def write_card(path: Path, page: Path, given: str | None = None) -> None:
    """Write the card of a model folder as one HTML page, atomically, and its record beside it.

    `given` is what the page's command calls the model, by default its path. The same model gives
    the same bytes. Raises `FormatError` as `read_model` does, `DgexError` if the page can't be
    written there, or a package is missing.
    """
    check_page(page, path)
    model = read_model(path)
    sha256 = file_sha256(path / DESCRIPTION)
    text = render("card.html.j2", _content(path, model, sha256, given or str(path)))
    inputs = {"model": {"name": DESCRIPTION, "sha256": sha256}}
    with written_page(page) as write:
        write(text)
        drop_with_sidecar(page)
    write_sidecar(page, record("dgex info", precision=PRECISION, inputs=inputs))


def _content(path: Path, model: Model, sha256: str, given: str) -> dict[str, Any]:
    """Collect all that the template shows."""
    told, part = model.record, model.expected_on
    errors = None if part is None else model.errors[part]
    study = (known(told, str, "study", key) for key in ("name", "title"))
    simulated = {True: "simulated", False: "measured", None: "not known whether measured"}
    facts = [
        (
            "Infers",
            f"{len(model.targets):,} target genes from {len(model.landmarks):,} landmark genes",
        ),
        ("Method", model.method.title),
        ("Parameters", f"{model.n_parameters:,}"),
        ("Study", ": ".join(filter(None, study)) or NOT_STATED),
        ("Data", simulated[model.simulated]),
        ("Source", known(told, str, "study", "source") or NOT_STATED),
        ("Licence of the data", known(told, str, "study", "licence") or NOT_STATED),
        ("Checksum", f"sha256 {sha256} ({DESCRIPTION}, which holds those of the other files)"),
    ]
    if part is not None and errors is not None:
        expected = f"{errors.mean():.4f} ± {errors.std():.4f} (mean ± sd over target genes, MAE in "
        expected += f"standardised units on {model.parts.label(part)})"
        facts.insert(3, ("Error to expect", expected))
    return {
        "name": path.resolve().name,
        "simulated": SIMULATED if model.simulated else None,
        "facts": facts,
        "commands": _commands(given, model),
        "parts_table": _parts(model),
        "raw_files": _raw_files(told),
        "members": _members(model),
        "method_facts": list(model.method.facts().items()),
        "settings": _settings(model),
        "training": _training(told),
        "versions": _versions(told),
        "errors": _errors(model),
        "errors_drawn": list(_errors_drawn(model)),
        "coverage_drawn": list(_coverage_drawn(model)),
        "coverage": _coverage(model),
        "genes": _genes(model),
        "trusted": TRUSTED,
        "n_trusted": None if errors is None else int((errors < TRUSTED).sum()),
        "n_targets": len(model.targets),
        "expected_on": None if part is None else model.parts.label(part),
        "level": _level(model),
        "heaviest": table(
            "Landmarks that weigh most",
            ("landmark", "#weight"),
            [(one["landmark"], number(one["weight"], 2)) for one in heaviest_landmarks(model)],
        ),
    }


def _commands(given: str, model: Model) -> list[str]:
    platform = ALIKE[model.parts.platform][0]
    predict = f"dgex predict {shlex.quote(given)} profiles.gctx -o inferred.gctx"
    interval = "" if _calibration(model) is None else f" --interval {_level(model):g}"
    return [
        'pip install "dgex-jax[report]"',
        f"{predict} --platform {platform}{interval} --report inferred.html",
    ]


# What it was made of


def _parts(model: Model) -> Table:
    roles = part_roles(model.parts, model.selected_on)
    rows = []
    for part in model.parts:
        n = known(model.record, int, "study", "profiles", part)
        platform = LABELS[model.parts.platform_of(part)]
        n_told = "" if n is None else f"{n:,}"
        rows.append((model.parts.label(part), roles.get(part, UNUSED), platform, n_told))
    heads = ("part", "what it was to this model", "platform", "#profiles")
    return table("Profiles by part", heads, rows)


def _raw_files(told: Mapping[str, Any]) -> Table:
    found = known(told, dict, "study", "raw_files") or {}
    rows = [
        (str(role), known(one, str, "name") or "", known(one, str, "sha256") or "")
        for role, one in found.items()
        if isinstance(one, dict)
    ]
    prepared = known(told, str, "study", "prepared_sha256")
    rows += [("the prepared study", "", prepared)] if prepared else []
    return table("Raw files", ("what", "file", "=sha256"), rows)


def _members(model: Model) -> Table:
    """List the methods of a fit, those of weight 0 too; a model of one method has its own row."""
    rows = [
        (
            known(one, str, "name") or "",
            known(one, str, "title") or "",
            number(known(one, int | float, "weight"), 2),
            number(known(one, int | float, "error")),
            number(known(one, int | float, "seconds"), 1),
        )
        for one in known(model.record, list, "members") or []
        if isinstance(one, dict)
    ]
    heads = ("method", "as fitted", "#weight", "#error on validation", "#seconds")
    return table("Methods that were fitted", heads, rows)


def _settings(model: Model) -> list[tuple[str, str]]:
    found = known(model.record, dict, "settings") or {}
    return [
        (str(step), json.dumps(_short(of_step), indent=2, sort_keys=True, ensure_ascii=False))
        for step, of_step in [*found.items(), ("method", model.method.settings)]
        if of_step
    ]


def _short(value: Any) -> Any:
    """Give JSON values with long lists told by their length."""
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    if not isinstance(value, list | tuple):
        return value
    if len(value) > MOST_VALUES:
        return f"{len(value):,} values"
    return [_short(one) for one in value]


def _training(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    seed, seconds = known(told, int, "seeds", "training"), known(told, int | float, "seconds")
    devices = known(told, list, "devices") or []
    best = known(told, dict, "best_epochs") or {}
    provenance = known(told, dict, "provenance") or {}
    commits = {
        step: known(of_step, str, "commit")
        for step, of_step in provenance.items()
        if isinstance(of_step, dict)
    }
    device = known(provenance, str, "training", "device", "kind")
    facts = {
        "Seed": "" if seed is None else str(seed),
        "Time": "" if seconds is None else f"{seconds:,.1f} s",
        "Devices": ", ".join(map(str, devices)) or device or "",
        # Counted from 0 in the record, from 1 for people, as while training.
        "Best epochs": "; ".join(
            f"{' and '.join(str(one + 1) for one in epochs)} on {part}"
            for part, epochs in best.items()
            if isinstance(epochs, list) and all(type(one) is int for one in epochs)
        ),
        "Commit": ", ".join(f"{step}: {one}" for step, one in commits.items() if one),
    }
    return [(name, text) for name, text in facts.items() if text]


def _versions(told: Mapping[str, Any]) -> Table:
    steps = {step: known(told, dict, "versions", step) or {} for step in STEPS}
    steps = {step: of_step for step, of_step in steps.items() if of_step}
    programs = dict.fromkeys(name for of_step in steps.values() for name in of_step)
    rows = [
        (str(name), *(str(of_step.get(name, "")) for of_step in steps.values()))
        for name in programs
    ]
    return table("Versions", ("program", *(STEPS[step] for step in steps)), rows)


# How well


def _errors(model: Model) -> Table:
    roles = part_roles(model.parts, model.selected_on)
    rows = [
        (
            model.parts.label(part),
            roles.get(part, UNUSED),
            number(float(values.mean())),
            number(float(values.std())),
            number(float(np.median(values))),
            f"{(values < TRUSTED).sum():,}",
        )
        for part, values in model.errors.items()
    ]
    below = f"#genes below {TRUSTED:g}"
    heads = ("part", "what it was to this model", "#mean error", "#sd", "#median", below)
    return table("Errors by part", heads, rows)


def _coverage(model: Model) -> Table:
    rows = [
        (
            label,
            f"{one['level']:.0%}",
            *(f"{one[key]:.1%}" for key in ("values", "genes", "profiles")),
        )
        for label, levels in told_coverage(model.record, model.parts).items()
        for one in levels
    ]
    heads = ("part", "#nominal", "#values", "#genes", "#profiles")
    return table("Coverage of the intervals", heads, rows)


def _errors_drawn(model: Model) -> Iterator[Picture]:
    from dgex_jax.plots import errors_by_gene  # noqa: PLC0415 (optional)

    drawn = {
        model.parts.label(part): values
        for part, values in model.errors.items()
        if len(values) > 1 and np.ptp(values)
    }
    if drawn:
        yield picture(
            lambda axes: errors_by_gene(drawn, ax=axes),
            f"Distribution of the error over target genes on {', '.join(drawn)}",
            f"Errors of the target genes by part{_note(model)}.",
        )


def _coverage_drawn(model: Model) -> Iterator[Picture]:
    from dgex_jax.plots import calibration  # noqa: PLC0415 (optional)

    coverage = told_coverage(model.record, model.parts)
    levels = [[one["level"] for one in of_part] for of_part in coverage.values()]
    if levels and all(one == levels[0] for one in levels):
        reached = {label: [one["values"] for one in of] for label, of in coverage.items()}
        yield picture(
            lambda axes: calibration(levels[0], reached, ax=axes),
            f"Share of values inside the intervals by level, on {', '.join(coverage)}",
            f"Calibration of the intervals on parts that nothing was chosen on{_note(model)}.",
        )


def _note(model: Model) -> str:
    return " (simulated data)" if model.simulated else ""


def _calibration(model: Model) -> Calibration | None:
    """Give the intervals of the profiles whose errors are to be expected, if it has any."""
    calibrated = {} if model.uncertainty is None else model.uncertainty.calibrated
    found = calibrated.get(model.selected_on)
    return found if found is not None and found.levels else None


def _level(model: Model) -> float | None:
    """Give the level whose widths are shown, or the highest that it has."""
    found = _calibration(model)
    if found is None:
        return None
    return SHOWN_LEVEL if SHOWN_LEVEL in found.levels else found.levels[-1]


def _genes(model: Model) -> LongTable:
    """List the target genes, by expected error."""
    genes, part, level = model.targets, model.expected_on, _level(model)
    nothing: NDArray[np.float64] = np.full(len(genes), np.nan)
    errors = None if part is None else model.errors[part]
    r2 = nothing if part is None else model.r2.get(part, nothing)
    widths, calibrated = nothing, _calibration(model)
    if calibrated is not None and level is not None:
        widths = 2 * calibrated.half_widths(level, np.array([calibrated.centre]))[0]
    copies = model.copy_of_landmark
    copied = np.zeros(len(genes), bool) if copies is None else copies
    columns: dict[Head, Sequence[str] | NDArray[Any]] = {
        Head("symbol"): genes.symbols,
        Head(EXPECTED_ERROR, number=True, digits=4): nothing if errors is None else errors,
        Head("R²", number=True, digits=3): r2,
        Head(f"width of {level or 0:.0%}", number=True, digits=3): widths,
        Head("copy of a landmark"): ["copy" if one else "" for one in copied.tolist()],
        Head("Ensembl"): genes.ensembl,
        Head("Entrez"): genes.entrez,
        Head("probes"): [", ".join(of_gene) for of_gene in genes.probes],
    }
    # Columns of nothing only take room.
    columns = {head: cells for head, cells in columns.items() if _says_something(cells)}
    return genes_by_error("Target genes", "target genes", columns, errors, TRUSTED)


def _says_something(cells: Sequence[str] | NDArray[Any]) -> bool:
    if isinstance(cells, np.ndarray):
        return bool(np.isfinite(cells).any())
    return any(cells)
