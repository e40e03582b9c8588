"""Inferred profiles as files: which genes they list, and in which format they are written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.gct_stream import GctWriter
from dgex_jax.formats.gctx import GctxWriter
from dgex_jax.formats.h5ad_write import H5adWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from dgex_jax.formats.expression import FloatArray
    from dgex_jax.inference.model import Model, ModelGenes
    from dgex_jax.inference.options import Platform
    from dgex_jax.inference.plan import Plan

GCT, GCTX, H5AD = (".gct", ".gct.gz"), (".gctx",), (".h5ad",)
WHITESPACE = re.compile(r"[\t\r\n\0]+")
INFERRED = ":inferred"
"""Added to the id of a target that is a landmark's as well: ids of a file are unique."""


class ProfileWriter(Protocol):
    """What every output takes."""

    def append(self, block: FloatArray) -> None:
        """Add the next profiles ``(n, n_genes)``."""


def check_output(output: Path, input_path: Path) -> None:
    """Check where results shall go, before hours of work.

    Raises
    ------
    DgexError
        Another ending than those that can be written, not a file in a folder that is there, or
        the input itself.
    """
    if not output.name.endswith((*GCTX, *GCT, *H5AD)):
        raise DgexError(f"{output}: the output ends in .gctx, .gct, .gct.gz or .h5ad")
    if not output.parent.is_dir() or (output.exists() and not output.is_file()):
        raise DgexError(f"{output}: can't be written: not a file in a folder that is there")
    if output.exists() and input_path.exists() and output.samefile(input_path):
        raise DgexError(f"{output}: is the input, not to be overwritten")


def open_output(
    output: Path,
    profiles: Sequence[str],
    genes: Sequence[str],
    *,
    profile_metadata: pd.DataFrame,
    gene_metadata: pd.DataFrame,
    provenance: Mapping[str, Any],
) -> AbstractContextManager[ProfileWriter]:
    """Give a writer for the format that the name of `output` ends in.

    Parameters
    ----------
    output
        The file; it appears under its name when all profiles have arrived.
    profiles, genes
        Ids, in the order of the values to come.
    profile_metadata, gene_metadata
        One line an id.
    provenance
        JSON values: a root attribute of GCTX, ``uns["dgex"]`` of AnnData; GCT has no place for it
        but profile fields (the checksums and the options).
    """
    profile_metadata = carried(profile_metadata)
    if output.name.endswith(GCT):
        described = _described(profile_metadata, profiles, provenance)
        return GctWriter(output, profiles, genes, described, gene_metadata)
    if output.name.endswith(H5AD):
        return H5adWriter(output, profiles, genes, profile_metadata, gene_metadata, provenance)
    return GctxWriter(
        output,
        profiles,
        genes,
        profile_metadata=profile_metadata,
        gene_metadata=gene_metadata,
        src=provenance["made_by"],
        attributes={"provenance": provenance},
    )


def carried(metadata: pd.DataFrame) -> pd.DataFrame:
    """Give profile metadata that every format can hold.

    Fields called ``id`` (LINCS files have one beside the ids themselves) become ``input_id``,
    slashes in names underscores, tabs and line ends in texts spaces.
    """
    names: list[str] = []
    for field in metadata.columns:
        plain = WHITESPACE.sub(" ", str(field)).replace("/", "_").strip()
        name = f"input_{plain}" if plain in {"", ".", "id"} else plain
        while name in names:
            name += "_"
        names.append(name)
    clean = metadata.set_axis(pd.Index(names, dtype=object), axis=1)
    for place, name in enumerate(names):
        column = clean.iloc[:, place]
        if column.dtype == object or pd.api.types.is_string_dtype(column.dtype):
            texts = [WHITESPACE.sub(" ", x) if isinstance(x, str) else x for x in column]
            clean[name] = pd.Series(texts, index=clean.index, dtype=object)
    return clean


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


def _described(
    metadata: pd.DataFrame, profiles: Sequence[str], provenance: Mapping[str, Any]
) -> pd.DataFrame:
    model = provenance["model"]
    simulated = " (trained on simulated data)" if model["simulated"] else ""
    options = ", ".join(f"{key} {value}" for key, value in provenance["options"].items())
    told = {
        "dgex_model": f"{model['network']} {model['sha256'] or 'from memory'}{simulated}",
        "dgex_input": provenance["input"]["sha256"],
        "dgex_options": f"{options}; {provenance['mapping']}; {provenance['made_by']}",
    }
    described = metadata.copy() if len(metadata.columns) else pd.DataFrame(index=list(profiles))
    for name, text in told.items():
        described[name] = text
    return described
