"""Which genes an output lists, and what it says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgex_jax.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dgex_jax.config import Platform
    from dgex_jax.inference.model import Model, ModelGenes
    from dgex_jax.inference.plan import Plan

INFERRED = ":inferred"
"""Added to the id of a target that is a landmark's as well: ids of a file are unique."""


def output_genes(plan: Plan) -> tuple[tuple[str, ...], pd.DataFrame]:
    """List the genes of an output: landmarks, then targets, in the model's order.

    Returns
    -------
    ids
        Unique ids: Ensembl where the model has them, else probes, else symbols. A target that has
        a landmark's id gets ``:inferred`` behind it.
    metadata
        A line each: ``source`` (measured, imputed or inferred), ``expected_error`` (mean absolute
        error of the inferred on `expected_part`, in the units of the output; missing where there
        is none), the ids known, and ``mae_…`` of every part in standardised units.
    """
    model, scale = plan.model, plan.options.scale
    ids = _ids(model)
    source = np.array(["measured"] * len(model.landmarks) + ["inferred"] * len(model.targets))
    source[list(plan.match.missing)] = "imputed"
    columns: dict[str, Any] = {"source": source.astype(object)}
    part = expected_part(model, plan.options.platform)
    if part is not None:
        error = model.errors[part]
        units = model.targets.sd if scale == "reference" else 1.0
        columns["expected_error"] = _of_targets(model, error * units)
    for name in ("symbols", "ensembl", "entrez"):
        texts = [*getattr(model.landmarks, name), *getattr(model.targets, name)]
        if any(texts):
            columns[name.removesuffix("s")] = np.array(texts, dtype=object)
    probes = [",".join(of_gene) for of_gene in (*model.landmarks.probes, *model.targets.probes)]
    if any(probes):
        columns["probes"] = np.array(probes, dtype=object)
    for part, errors in model.errors.items():
        columns[f"mae_{part}"] = _of_targets(model, errors)
    return ids, pd.DataFrame(columns, index=pd.Index(ids, dtype=object))


def expected_part(model: Model, platform: Platform) -> str | None:
    """Part whose errors are those to expect: the test set of the same platform, if it is known."""
    part = "GTEx" if platform == "rnaseq" else "te"
    return part if part in model.errors else model.expected_on


def _of_targets(model: Model, values: Any) -> Any:
    return np.concatenate([np.full(len(model.landmarks), np.nan), values])


def _ids(model: Model) -> tuple[str, ...]:
    def candidates(genes: ModelGenes) -> list[tuple[str, ...]]:
        probes = tuple(",".join(of_gene) for of_gene in genes.probes)
        return [genes.ensembl, probes, genes.symbols, genes.entrez]

    for landmarks, targets in zip(
        candidates(model.landmarks), candidates(model.targets), strict=True
    ):
        if all(_unique(ids) for ids in (landmarks, targets)):
            known = set(landmarks)
            return (*landmarks, *(f"{id_}{INFERRED}" if id_ in known else id_ for id_ in targets))
    raise FormatError("the model's genes have no ids that are unique")


def _unique(ids: Sequence[str]) -> bool:
    return "" not in ids and len(set(ids)) == len(ids)
