"""A model for people: what it infers, of what, how well, and how it came about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.config import CHOSEN_PARTS, PART_NAMES, NetworkConfig
from dgex_jax.inference.modelfile import read_model
from dgex_jax.inference.modelfolder import DESCRIPTION
from dgex_jax.inference.modeljson import read_description

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dgex_jax.inference.model import Model

N_NAMED = 10
INDENT = 12


def model_info(path: Path) -> dict[str, Any]:
    """Content of ``model.json``, and what can be said of the other files, as JSON values.

    Returns
    -------
    dict
        To ``model.json`` are added ``checksums`` (``ok``, or nothing is returned), ``errors``
        (part → mean over targets and standard deviation, ddof 0), ``expected_error_on`` (the part
        no choice was made on) and, by their errors on it, ``best_genes`` and ``worst_genes``: ten
        each, equal errors in the model's order.

    Raises
    ------
    FormatError
        See `modelfile.read_model`.
    """
    model = read_model(path)
    part = model.expected_on
    errors = np.zeros(0) if part is None else model.errors[part]
    return {
        **read_description(path / DESCRIPTION).content,
        "checksums": "ok",
        "errors": {
            part: {"mean": float(values.mean()), "sd": float(values.std())}
            for part, values in model.errors.items()
        },
        "expected_error_on": part,
        "best_genes": _first_genes(model, errors, errors),
        "worst_genes": _first_genes(model, -errors, errors),
    }


def _first_genes(
    model: Model, rank_by: np.ndarray[Any, Any], errors: np.ndarray[Any, Any]
) -> list[dict[str, Any]]:
    genes, copies = model.targets, model.copy_of_landmark
    return [
        {
            "symbol": genes.symbols[gene],
            "ensembl": genes.ensembl[gene],
            "probes": list(genes.probes[gene]),
            "copy_of_landmark": None if copies is None else bool(copies[gene]),
            "error": float(errors[gene]),
        }
        for gene in np.argsort(rank_by, kind="stable")[:N_NAMED].tolist()
    ]


def info_lines(path: Path, info: Mapping[str, Any]) -> list[str]:
    """Say what `model_info` found of `path`, a fact a line."""
    network = NetworkConfig(**info["network"])
    counts, record = info["counts"], info["training"]
    facts = {
        "infers": f"{counts['targets']:,} target genes from {counts['landmarks']:,} landmark genes",
        **_study(record),
        "network": f"{_some(network.hidden_layers, 'hidden layer')} of {network.units:,} units, "
        f"dropout {network.dropout:.4g}; {_halves(info['half_sizes'])}",
        "parameters": f"{counts['parameters']:,}",
        "weights": _weights(info["selected_on"], record),
        **_training(record),
        **_versions(record),
    }
    lines = [f"{path}: {network.name} (model format {info['format_version']}, checksums ok)"]
    lines += [f"{name:<{INDENT}}{text}" for name, text in facts.items()]
    return [*lines, *_errors(info), *_genes(info, "best"), *_genes(info, "worst")]


def _study(record: Mapping[str, Any]) -> dict[str, str]:
    name, title = (_known(record, str, "study", key) for key in ("name", "title"))
    simulated = _known(record, bool, "study", "simulated")
    said = {True: "SIMULATED: expression values are made up", False: "measured", None: "not known"}
    facts = {"study": ": ".join(text for text in (name, title) if text) or "not known"}
    facts["data"] = said[simulated]
    profiles = _known(record, int, "study", "profiles", "tr")
    if profiles is not None:
        facts["data"] += f"; trained on {profiles:,} profiles ({PART_NAMES['tr']})"
    return facts


def _halves(sizes: Sequence[int]) -> str:
    if len(sizes) == 1:
        return "one network for all targets"
    return f"a network for each half of the targets ({' + '.join(f'{size:,}' for size in sizes)})"


def _weights(selected_on: str, record: Mapping[str, Any]) -> str:
    text = f"of the best epoch on {PART_NAMES[CHOSEN_PARTS[selected_on][0]]}"
    epochs = _known(record, list, "best_epochs", selected_on)
    last = _known(record, int, "settings", "training", "epochs")
    if not epochs or not all(isinstance(epoch, int) for epoch in epochs):
        return text
    # Counted from 0 in the record, from 1 for people, as while training.
    return f"{text}: {' and '.join(str(epoch + 1) for epoch in epochs)}" + (
        f" of {last}" if last is not None else ""
    )


def _training(record: Mapping[str, Any]) -> dict[str, str]:
    seed = _known(record, int, "seeds", "training")
    seconds = _known(record, int | float, "seconds")
    devices = _known(record, list, "devices")
    facts = [] if seed is None else [f"seed {seed}"]
    if seconds is not None:
        facts.append(f"{seconds:,.1f} s")
    if devices:
        facts.append(f"on {', '.join(map(str, devices))}")
    return {"training": ", ".join(facts)} if facts else {}


def _versions(record: Mapping[str, Any]) -> dict[str, str]:
    lines = []
    for step in ("preparation", "training", "export"):
        versions = _known(record, dict, "versions", step)
        if versions:
            lines.append(f"{step}: " + ", ".join(f"{name} {versions[name]}" for name in versions))
    return {"versions": f"\n{'':<{INDENT}}".join(lines)} if lines else {}


def _errors(info: Mapping[str, Any]) -> list[str]:
    if not info["errors"]:
        return ["", "errors: not recorded"]
    roles = dict.fromkeys(info["errors"], "")
    chosen, expected = CHOSEN_PARTS[info["selected_on"]]
    roles |= {chosen: "  the best epoch was chosen on it", expected: "  to expect of new profiles"}
    lines = ["", "mean absolute error in standardised units, mean ± sd over target genes"]
    return lines + [
        f"  {PART_NAMES[part]:<10}{error['mean']:.4f} ± {error['sd']:.4f}{roles[part]}"
        for part, error in info["errors"].items()
    ]


def _genes(info: Mapping[str, Any], which: str) -> list[str]:
    genes = info[f"{which}_genes"]
    if not genes:
        return []
    rows = [
        (gene["symbol"] or "-", gene["ensembl"] or ",".join(gene["probes"]) or "-", gene["error"])
        for gene in genes
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    copies = ["  copy of a landmark" if gene["copy_of_landmark"] else "" for gene in genes]
    return [
        "",
        f"{which} {_some(len(genes), 'gene')} by error on {PART_NAMES[info['expected_error_on']]}",
        *(
            f"  {symbol:<{widths[0]}}  {name:<{widths[1]}}  {error:.4f}{copy}"
            for (symbol, name, error), copy in zip(rows, copies, strict=True)
        ),
    ]


def _some(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _known(record: Mapping[str, Any], kind: Any, *keys: str) -> Any:
    """Return an entry of the record, ``None`` if it is missing or of another kind.

    Only `record`'s author decides what it holds; a summary must not fail on it.
    """
    value: Any = record
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    if isinstance(value, bool) and kind is not bool:
        return None
    return value if isinstance(value, kind) else None
