"""A model for people: what it infers, of what, how well, and how it came about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.io.expression import aligned
from dgex_jax.methods.network import Network
from dgex_jax.model.model import DESCRIPTION, known, read_model
from dgex_jax.parts import Parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.model.model import Model

N_NAMED = 10
SHOWN_LEVEL = 0.9
INDENT = 12


def model_info(path: Path) -> dict[str, Any]:
    """Give the content of ``model.json``, and what can be said of the other files, as JSON values.

    Added are ``checksums`` (``ok``, or `read_model` raises), ``errors`` (part → mean over targets
    and standard deviation, ddof 0), ``expected_error_on`` (the part no choice was made on) and, by
    their errors on it, ``best_genes`` and ``worst_genes``: ten each, equal errors in the model's
    order.
    """
    model = read_model(path)
    part = model.expected_on
    errors = np.zeros(0) if part is None else model.errors[part]
    return {
        **json.loads((path / DESCRIPTION).read_bytes()),
        "method": {
            "kind": model.method.kind,
            "title": model.method.title,
            "facts": model.method.facts(),
            "settings": model.method.settings,
        },
        "parts": model.parts.to_json(),
        "checksums": "ok",
        "errors": {
            part: {"mean": float(values.mean()), "sd": float(values.std())}
            for part, values in model.errors.items()
        },
        "expected_error_on": part,
        "heaviest_landmarks": heaviest_landmarks(model),
        "best_genes": _first_genes(model, errors, errors),
        "worst_genes": _first_genes(model, -errors, errors),
    }


def heaviest_landmarks(model: Model) -> list[dict[str, Any]]:
    """List the landmarks that weigh most where a method has weights of them, else none."""
    places, weights = model.method.heaviest(N_NAMED)
    names = model.landmarks.names(places.tolist())
    pairs = zip(names, weights.tolist(), strict=True)
    return [{"landmark": name, "weight": weight} for name, weight in pairs]


def _first_genes(
    model: Model, rank_by: NDArray[np.float64], errors: NDArray[np.float64]
) -> list[dict[str, Any]]:
    genes, copies = model.targets, model.copy_of_landmark
    r2 = None if model.expected_on is None else model.r2.get(model.expected_on)
    return [
        {
            "symbol": genes.symbols[gene],
            "ensembl": genes.ensembl[gene],
            "probes": list(genes.probes[gene]),
            "copy_of_landmark": None if copies is None else bool(copies[gene]),
            "error": float(errors[gene]),
            "R2": None if r2 is None or np.isnan(r2[gene]) else float(r2[gene]),
        }
        for gene in np.argsort(rank_by, kind="stable")[:N_NAMED].tolist()
    ]


def part_roles(parts: Parts, selected_on: str) -> dict[str, str]:
    """Say what the parts of its own study were to a model; the others were nothing to it."""
    roles = {"tr": "trained on it", selected_on: "chosen on it"}
    return roles | dict.fromkeys(parts.tests_of(selected_on), "to expect of new profiles")


def info_lines(path: Path, info: Mapping[str, Any]) -> list[str]:
    """Say what `model_info` found of `path`, a fact a line."""
    parts = Parts.from_json(info["parts"])
    method = info["method"]
    counts, record = info["counts"], info["training"]
    facts = {
        "infers": f"{counts['targets']:,} target genes from {counts['landmarks']:,} landmark genes",
        **_study(record, parts),
        **method["facts"],
        "parameters": f"{counts['parameters']:,}",
        **_holds(record),
        "weights": _weights(method["kind"], info["selected_on"], record, parts),
        **_training(record),
    }
    lines = [f"{path}: {method['title']} (model format {info['format_version']}, checksums ok)"]
    lines += [f"{name:<{INDENT}}{text}" for name, text in facts.items()]
    if not info["errors"]:
        return [*lines, "", "errors: not recorded"]
    lines += ["", "mean absolute error in standardised units, mean ± sd over target genes"]
    roles = part_roles(parts, info["selected_on"])
    width = max(10, *(len(parts.label(part)) + 2 for part in info["errors"]))
    for part, error in info["errors"].items():
        role = f"  {roles[part]}" if part in roles else ""
        lines.append(f"  {parts.label(part):<{width}}{error['mean']:.4f} ± {error['sd']:.4f}{role}")
    lines += [*_intervals(record, parts), *_named(info, "best", parts)]
    lines += _named(info, "worst", parts)
    if heaviest := info["heaviest_landmarks"]:
        told = ", ".join(f"{one['landmark']} {one['weight']:.2f}" for one in heaviest)
        lines += ["", f"landmarks that weigh most in the kernel (mean 1): {told}"]
    return lines


def told_coverage(record: Mapping[str, Any], parts: Parts) -> dict[str, list[dict[str, Any]]]:
    """Give label of a test part → its levels, of a record that has them as `dgex` writes them."""
    keys, found = ("level", "values", "genes", "profiles"), {}
    for part, of_part in (known(record, dict, "coverage") or {}).items():
        if part not in parts or not isinstance(of_part, list):
            continue
        levels = [
            one
            for one in of_part
            if isinstance(one, dict)
            and all(0 <= (known(one, int | float, key) or 0) <= 1 and key in one for key in keys)
        ]
        if levels:
            found[parts.label(part)] = levels
    return found


def _intervals(record: Mapping[str, Any], parts: Parts) -> list[str]:
    """Say what the intervals of one level cover on the tests."""
    told = told_coverage(record, parts)
    width = max([10, *(len(label) + 2 for label in told)])
    lines = [
        f"  {label:<{width}}{one['values']:.1%} of the values; of {one['genes']:.0%} "
        f"of the genes and {one['profiles']:.0%} of the profiles at least {SHOWN_LEVEL - 0.05:.0%}"
        for label, levels in told.items()
        for one in levels
        if one["level"] == SHOWN_LEVEL
    ]
    heading = f"intervals of {SHOWN_LEVEL:.0%} cover, on parts that nothing was chosen on"
    return ["", heading, *lines] if lines else []


def _study(record: Mapping[str, Any], parts: Parts) -> dict[str, str]:
    name, title = (known(record, str, "study", key) for key in ("name", "title"))
    simulated = known(record, bool, "study", "simulated")
    said = {True: "SIMULATED: expression values are made up", False: "measured", None: "not known"}
    profiles = known(record, int, "study", "profiles", "tr")
    on = "" if profiles is None else f"; trained on {profiles:,} profiles ({parts.label('tr')})"
    return {
        "study": ": ".join(text for text in (name, title) if text) or "not known",
        "data": f"{said[simulated]}{on}",
    }


def _holds(record: Mapping[str, Any]) -> dict[str, str]:
    """Say what a model leaves out, and what that costs."""
    facts = {}
    if known(record, bool, "settings", "fit", "weights_only"):
        facts["holds"] = "no training profile, only what was learnt of them"
    if cost := known(record, dict, "half_precision_cost"):
        most = max(cost.values())
        facts["stored as"] = f"float16, which costs {most:+.1e} of the error at most"
    return facts


def _weights(kind: str, selected_on: str, record: Mapping[str, Any], parts: Parts) -> str:
    of_best = "of the best epoch" if kind == Network.kind else "chosen"
    text = f"{of_best} on {parts.label(selected_on)}"
    epochs = known(record, list, "best_epochs", selected_on)
    last = known(record, int, "settings", "training", "epochs")
    if not epochs or not all(isinstance(epoch, int) for epoch in epochs):
        return text
    # Counted from 0 in the record, from 1 for people, as while training.
    of = "" if last is None else f" of {last}"
    return f"{text}: {' and '.join(str(epoch + 1) for epoch in epochs)}{of}"


def _training(record: Mapping[str, Any]) -> dict[str, str]:
    seed = known(record, int, "seeds", "training")
    seconds = known(record, int | float, "seconds")
    devices = known(record, list, "devices")
    training = [] if seed is None else [f"seed {seed}"]
    if seconds is not None:
        training.append(f"{seconds:,.1f} s")
    if devices:
        training.append(f"on {', '.join(map(str, devices))}")
    versions = [
        f"{step}: {', '.join(f'{name} {of[name]}' for name in of)}"
        for step in ("preparation", "training", "export")
        if (of := known(record, dict, "versions", step))
    ]
    facts = {"training": ", ".join(training), "versions": f"\n{'':<{INDENT}}".join(versions)}
    return {name: text for name, text in facts.items() if text}


def _named(info: Mapping[str, Any], which: str, parts: Parts) -> list[str]:
    """List the genes inferred best or worst."""
    genes = info[f"{which}_genes"]
    if not genes:
        return []
    rows = []
    for gene in genes:
        copy = "  copy of a landmark" if gene["copy_of_landmark"] else ""
        r2 = "" if gene["R2"] is None else f"  R² {gene['R2']:.2f}"
        name = gene["ensembl"] or ",".join(gene["probes"]) or "-"
        rows.append(("", gene["symbol"] or "-", name, f"{gene['error']:.4f}{r2}{copy}"))
    noun = "gene" if len(genes) == 1 else "genes"
    part = parts.label(info["expected_error_on"])
    return ["", f"{which} {len(genes)} {noun} by error on {part}", *aligned(rows, "<<<<")]
