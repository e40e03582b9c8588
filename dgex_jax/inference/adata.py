"""AnnData objects in and out: a trained model applied without a file."""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgex_jax.data.progress import Progress
from dgex_jax.data.ranking import blocks_of
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.formats.anndata_source import AnnDataSource
from dgex_jax.formats.h5ad import import_anndata
from dgex_jax.inference.model import Model
from dgex_jax.inference.modelfile import read_model
from dgex_jax.inference.modelfolder import DESCRIPTION
from dgex_jax.inference.modeljson import file_sha256
from dgex_jax.inference.options import PredictOptions
from dgex_jax.inference.plan import make_plan
from dgex_jax.provenance import commit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dgex_jax.config import IdKind, Platform
    from dgex_jax.formats.opening import AnnotatedSource
    from dgex_jax.inference.options import Scale, Standardize
    from dgex_jax.inference.plan import Plan

NAME = Path("AnnData")
"""What errors and provenance call an object that has no file."""
UNS = "dgex"
INPUT = "input_"
"""Before the name of what the input has and the result has too."""
ROWS_AT_A_TIME = 1024


def predict_anndata(
    model: Model | Path | str,
    adata: Any,
    platform: Platform = "standardized",
    *,
    standardize: Standardize | None = None,
    scale: Scale = "standardized",
    impute: bool = False,
    ids: IdKind | None = None,
    layer: str | None = None,
    force_platform: bool = False,
) -> Any:
    """Infer the target genes of every profile of an AnnData object.

    The values are, bit for bit, those of ``dgex predict`` for the same object written as ``.h5ad``.

    Parameters
    ----------
    model
        A model or its folder.
    adata
        ``(n_obs, n_vars)`` anndata.AnnData; it is not changed. A view is taken as what it shows,
        one that is backed by a file is read in parts. Its genes are found by ``var_names`` or by a
        column of ``var`` (``gene_ids``, ``symbol`` and the like), as in files; if they are
        ``obs``, the result is turned.
    platform, standardize, scale, impute, ids, force_platform
        See `PredictOptions`.
    layer
        Take ``layers[layer]`` instead of ``X``.

    Returns
    -------
    anndata.AnnData
        ``X`` float32 ``(n_obs, n_landmarks + n_targets)``: landmarks as measured, then the inferred
        targets. ``obs``, ``obsm``, ``obsp`` and ``uns`` are copies of the input's; ``uns["dgex"]``
        says how it was made, as in files (JSON text), with a sha256 of the input's values. ``var``
        has the columns of the files (``source``, ``expected_error``, ids …) and, for the landmarks,
        those of the input (of its first probe, for a mean of several), with ``input_`` before names
        that are taken.

    Raises
    ------
    DgexError
        No AnnData object, no such layer, options that don't go together, or the genes can't be
        told or are missing, or values can't be used (see `make_plan`).

    Warns
    -----
    UserWarning
        Where the command prints a warning (values that hardly are what `platform` says).
    """
    # The network of these modules needs JAX.
    from dgex_jax.inference.network import Network  # noqa: PLC0415
    from dgex_jax.inference.outputgenes import output_genes  # noqa: PLC0415
    from dgex_jax.inference.predict import inferred  # noqa: PLC0415
    from dgex_jax.inference.provenance import provenance  # noqa: PLC0415

    options = PredictOptions(
        platform, standardize, scale, impute, ids, force_platform=force_platform
    )
    source = source_of(adata, layer)
    model, model_sha256 = _read(model)
    plan = make_plan(model, source, options, Progress())
    for text in plan.warnings:
        warnings.warn(text, stacklevel=2)
    names, genes = output_genes(plan)
    n_profiles = len(plan.match.source.profiles)
    X = np.empty((n_profiles, len(names)), np.float32)
    start = 0
    for block in inferred(plan, Network(model), slice(0, n_profiles)):
        X[start : start + len(block)] = block
        start += len(block)
    turned, places = plan.match.turned, plan.match.profile_places
    if places is not None:
        adata = adata[:, places] if turned else adata[places]
    obs, var, obsm, obsp = (
        (adata.var, adata.obs, adata.varm, adata.varp)
        if turned
        else (adata.obs, adata.var, adata.obsm, adata.obsp)
    )
    uns = {key: copy.deepcopy(value) for key, value in adata.uns.items()}
    if UNS in uns:
        uns[f"{INPUT}{UNS}"] = uns.pop(UNS)
    told = {**provenance(plan, model_sha256, values_sha256(source)), "commit": commit()}
    uns[UNS] = json.dumps(told, sort_keys=True)
    return import_anndata(NAME).AnnData(
        X,
        obs=pd.DataFrame(obs, copy=True),
        var=_with_input(genes, var, _first_columns(plan)),
        uns=uns,
        obsm=_copies(obsm),
        obsp=_copies(obsp),
    )


def source_of(adata: Any, layer: str | None = None) -> AnnDataSource:
    """Give the values of an AnnData object as an `AnnotatedSource`.

    Raises
    ------
    DgexError
        It is none.
    FormatError
        It has no ``X`` or no such layer, or that holds no numbers.
    """
    if not isinstance(adata, import_anndata(NAME).AnnData):
        raise DgexError(f"needs an AnnData object, not a {type(adata).__name__}")
    if layer is not None and layer not in adata.layers:
        # Newer versions of anndata list X among them, as None.
        known = ", ".join(repr(name) for name in adata.layers if name is not None) or "none"
        raise FormatError(f"{NAME}: has no layer {layer!r}; its layers: {known}")
    X = adata.X if layer is None else adata.layers[layer]
    if X is None:
        raise FormatError(f"{NAME}: has no X")
    return AnnDataSource(NAME, X, adata.obs, adata.var)


def values_sha256(source: AnnotatedSource) -> str:
    """Checksum of all values, profile by profile, float32 or float64 as they are read."""
    digest = hashlib.sha256()
    for rows in blocks_of(len(source.profiles), ROWS_AT_A_TIME):
        digest.update(np.ascontiguousarray(source.read(rows)).data)
    return digest.hexdigest()


def _read(model: Model | Path | str) -> tuple[Model, str | None]:
    if isinstance(model, Model):
        return model, None
    return read_model(model), file_sha256(Path(model) / DESCRIPTION)


def _first_columns(plan: Plan) -> NDArray[np.intp]:
    """For each gene of the output the place of its first probe in the input, -1 without."""
    landmarks = [columns[0] if columns else -1 for columns in plan.match.landmarks]
    return np.array(landmarks + [-1] * len(plan.model.targets), dtype=np.intp)


def _with_input(genes: pd.DataFrame, var: pd.DataFrame, places: NDArray[np.intp]) -> pd.DataFrame:
    """Add the input's columns of ``var`` to those of the output, missing where it has no gene."""
    joined = genes.copy()
    for number, field in enumerate(var.columns):
        name = str(field)
        while name in joined.columns:
            name = f"{INPUT}{name}"
        joined[name] = _taken(var.iloc[:, number], places)
    return joined


def _taken(column: pd.Series[Any], places: NDArray[np.intp]) -> Any:
    """Take values of a column, in a dtype that knows missing ones and that files can hold."""
    is_text = pd.api.types.is_string_dtype(column.dtype) and all(
        isinstance(value, str) or pd.isna(value) for value in column
    )
    if is_text:
        texts = ["" if pd.isna(value) else value for value in column]
        return np.array([*texts, ""], dtype=object)[places]
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub":
        column = column.convert_dtypes()
    return column.array.take(places, allow_fill=True)


def _copies(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Copy what an axis is annotated with; parts of a view become arrays of their own."""
    return {
        key: np.array(value) if isinstance(value, np.ndarray) else value.copy()
        for key, value in arrays.items()
    }
