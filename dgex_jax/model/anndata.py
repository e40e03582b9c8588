"""AnnData objects in and out: a model applied to one without a file, and trained on one."""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

from dgex_jax.config import NetworkConfig, PredictOptions, PrepareConfig, TrainingConfig
from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import blocks, check_ids
from dgex_jax.io.files import atomic_path, locked, make_folder, one_line, say, writing
from dgex_jax.io.h5ad import AnnDataSource, anndata_errors, import_anndata
from dgex_jax.io.hdf5 import hdf5_errors, open_hdf5
from dgex_jax.io.manifest import commit, read_json
from dgex_jax.io.progress import Progress
from dgex_jax.model.find import find_model
from dgex_jax.model.match import written_genes
from dgex_jax.model.model import DESCRIPTION, Model, checksum, read_model, write_model
from dgex_jax.model.scale import WARNING, make_plan
from dgex_jax.prepare.genes import annotation_of
from dgex_jax.prepare.prepare import prepare as make_study
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.prepare.raw import checksums
from dgex_jax.prepare.study import Study, text
from dgex_jax.rawfiles import GeoOnlyFiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.config import GeneIds, IdKind, Platform, Scale, Standardize

NAME = Path("AnnData")
"""What errors and provenance call an object that has no file."""
UNS = "dgex"
TAKEN = "input_"
"""Before the name of what the input has and the result has too."""
ROWS_AT_A_TIME = 1024

INPUT, LANDMARKS, PREPARED, RUN, MODEL = (
    *("input.h5ad", "landmarks.txt"),
    *("prepared.h5", "run", "model"),
)
CONTENT = "dgex_content"
"""Checksum in ``uns`` of the input's file, to know the same object again."""
HEADER = "probe"


def predict_anndata(
    model: Model | Path | str,
    adata: Any,
    platform: Platform = "standardized",
    *,
    standardize: Standardize | None = None,
    scale: Scale = "standardized",
    impute: bool = False,
    input_ids: IdKind | None = None,
    ids: GeneIds | None = None,
    genes: Sequence[str] | None = None,
    layer: str | None = None,
    interval: float | None = None,
    force_platform: bool = False,
) -> Any:
    """Infer the target genes of every profile of an AnnData object.

    The values are, bit for bit, those of ``dgex predict`` for the same object written as ``.h5ad``.

    Parameters
    ----------
    model
        A model, its folder, the name of one that comes with the checkout (``"human-mini"``), or
        the https address of a ``.zip``: see `find_model`.
    adata
        ``(n_obs, n_vars)`` anndata.AnnData; it is not changed. A view is taken as what it shows,
        one that is backed by a file is read in parts. Its genes are found by ``var_names`` or by a
        column of ``var`` (``gene_ids``, ``symbol`` and the like), as in files; if they are
        ``obs``, the result is turned.
    platform, standardize, scale, impute, input_ids, ids, interval, force_platform
        See `PredictOptions`.
    genes
        Give these alone, by ids of any kind; ``None`` for all.
    layer
        Take ``layers[layer]`` instead of ``X``.

    Returns
    -------
    anndata.AnnData
        ``X`` float32 ``(n_obs, n_landmarks + n_targets)``: landmarks as measured, then the inferred
        targets, or those of `genes`. ``obs``, ``obsm``, ``obsp`` and ``uns`` are copies of the
        input's; ``uns["dgex"]`` says how it was made, as in files (JSON text), with a sha256 of the
        input's values. ``var`` has the columns of the files (``source``, ``expected_error``, ids …)
        and, for the landmarks, those of the input (of its first probe, for a mean of several), with
        ``input_`` before names that are taken. With an `interval` there are ``layers["lower"]`` and
        ``layers["upper"]``; ``obs`` says how unlike training each profile is.

    Raises
    ------
    DgexError
        No AnnData object, no such layer, options that don't go together, or the genes can't be
        told or are missing, the model lacks one of `genes`, or values can't be used (see
        `make_plan`).

    Warns
    -----
    UserWarning
        Where the command prints a warning (values that hardly are what `platform` says).
    """
    # These need JAX, which the package's other names can do without.
    from dgex_jax.model.predict import (  # noqa: PLC0415
        further,
        gene_metadata,
        inferred,
        provenance,
        unlike_lines,
    )

    options = PredictOptions(
        platform,
        standardize,
        scale,
        impute,
        input_ids,
        ids,
        interval=interval,
        force_platform=force_platform,
    )
    source = _source_of(adata, layer)
    model_sha256 = None
    if not isinstance(model, Model):
        path = find_model(model)
        model, model_sha256 = read_model(path), checksum(path / DESCRIPTION)
    written = written_genes(model, ids, genes)
    plan = make_plan(model, source, options, Progress())
    for warning in plan.warnings:
        warnings.warn(warning, stacklevel=2)
    match = plan.match
    rows = slice(0, len(match.source.profiles))
    names, fields = further(model, Path(f"{NAME}.h5ad"), options)
    X = np.empty((rows.stop, len(written.places)), np.float32)
    layers = {name: np.empty_like(X) for name in names}
    held = np.empty((rows.stop, len(fields)), np.float32)
    unlike = 0
    for block in inferred(plan, rows, written.places):
        X[block.rows] = block.values
        for name, bounds in layers.items():
            bounds[block.rows] = block.bounds[name]
        if fields:
            held[block.rows] = block.fields
        unlike += block.n_unlike
    for line in unlike_lines(unlike, rows.stop):
        warnings.warn(line.removeprefix(WARNING), stacklevel=2)
    if match.profile_places is not None:
        adata = adata[:, match.profile_places] if match.turned else adata[match.profile_places]
    obs, var, obsm, obsp = (
        (adata.var, adata.obs, adata.varm, adata.varp)
        if match.turned
        else (adata.obs, adata.var, adata.obsm, adata.obsp)
    )
    uns = {key: copy.deepcopy(value) for key, value in adata.uns.items()}
    if UNS in uns:
        uns[f"{TAKEN}{UNS}"] = uns.pop(UNS)
    told = {**provenance(plan, model_sha256, _values_sha256(source)), "commit": commit()}
    uns[UNS] = json.dumps(told, sort_keys=True)
    # For each gene of the output the place of its first probe in the input, -1 without.
    places = [columns[0] if columns else -1 for columns in match.wanted]
    places += [-1] * len(model.targets)
    return import_anndata(NAME).AnnData(
        X,
        obs=_with_fields(pd.DataFrame(obs, copy=True), fields, held),
        layers=layers,
        var=_with_input(
            gene_metadata(plan, written), var, np.array(places, np.intp)[written.places]
        ),
        uns=uns,
        obsm=_copies(obsm),
        obsp=_copies(obsp),
    )


def _with_fields(obs: pd.DataFrame, names: Sequence[str], held: NDArray[Any]) -> pd.DataFrame:
    """Add fields of each profile, as the writers of files do."""
    taken = {name: f"{TAKEN}{name}" for name in names if name in obs.columns}
    obs = obs.rename(columns=taken)
    for name, values in zip(names, held.T, strict=True):
        obs[name] = values.copy()
    return obs


def _source_of(adata: Any, layer: str | None) -> AnnDataSource:
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


def _values_sha256(source: AnnDataSource) -> str:
    """Checksum of all values, profile by profile, float32 or float64 as they are read."""
    digest = hashlib.sha256()
    for rows in blocks(len(source.profiles), ROWS_AT_A_TIME):
        digest.update(np.ascontiguousarray(source.read(rows)).data)
    return digest.hexdigest()


def _with_input(genes: pd.DataFrame, var: pd.DataFrame, places: NDArray[np.intp]) -> pd.DataFrame:
    """Add the input's columns of ``var`` to those of the output, missing where it has no gene."""
    joined = genes.copy()
    for number, field in enumerate(var.columns):
        name = str(field)
        while name in joined.columns:
            name = f"{TAKEN}{name}"
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


def train_anndata(
    adata: Any,
    folder: Path | str,
    landmarks: str | Sequence[str] | ArrayLike,
    *,
    network: NetworkConfig | None = None,
    training: TrainingConfig | None = None,
    prepare: PrepareConfig | None = None,
    name: str = "anndata",
    layer: str | None = None,
    simulated: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Model:
    """Train a network on the profiles of an AnnData object, from some of its genes to all others.

    The steps and results are those of ``dgex prepare --geo input.h5ad --landmarks landmarks.txt``,
    ``dgex train`` and ``dgex export``, and their files are kept. The same call again resumes what
    was stopped (Ctrl-C ends the epoch and saves it first), or gives the model that is there.

    Parameters
    ----------
    adata
        ``(n_obs, n_vars)`` anndata.AnnData, log scale; a view or one backed by a file as well. What
        columns of ``var`` say of the genes (``symbol``, ``gene_ids``, ``entrez_id`` and the like:
        `annotation.SYMBOL_FIELDS` …) goes into the model.
    folder
        Where the files go; made if missing: ``input.h5ad`` (values, ids and what is known of the
        genes), ``landmarks.txt``, ``prepared.h5``, ``run/`` and ``model/``, the folder that ``dgex
        predict`` takes.
    landmarks
        Which genes are landmarks: the name of a boolean column of ``var``, ``var_names``, or a
        boolean array ``(n_vars,)``. All others are targets.
    network, training, prepare
        Architecture, training and preparation; ``None`` for the paper's.
    name
        Of the study, kept in the model.
    layer
        Take ``layers[layer]`` instead of ``X``.
    simulated
        The values are made up; the model and all it makes say so.
    overwrite
        Replace what another training has left in `folder`.
    progress
        Show progress on standard error.

    Returns
    -------
    Model
        With the weights of the best epoch on GEO-va, as written to ``model/``.

    Raises
    ------
    DgexError
        No AnnData object, ids that come twice, landmarks that can't be told, values that are
        missing, too few profiles, or `folder` holds another training.
    Stopped
        On SIGINT or SIGTERM, after a checkpoint.
    """
    folder = Path(folder)
    source = _source_of(adata, layer)
    for kind, ids in (("profile", source.profiles), ("gene", source.genes)):
        check_ids(NAME, f"{kind} ({'obs' if kind == 'profile' else 'var'}_names)", ids)
    chosen = "".join(f"{gene}\n" for gene in (HEADER, *_landmark_genes(source, landmarks)))
    study = Study(
        name=text({"name": name}, "name"),
        title=name,
        files=None,
        simulation=None,
        prepare=prepare or PrepareConfig(),
    )
    with locked(folder):
        try:
            make_folder(folder)
        except OSError as error:
            raise DgexError(f"{folder}: can't be made: {one_line(error)}") from error
        _write_input(source, folder / INPUT, overwrite=overwrite)
        _write_landmarks(chosen.encode(), folder / LANDMARKS, overwrite=overwrite)
        _prepare(study, folder, simulated=simulated, overwrite=overwrite, progress=progress)
        return _train(
            folder,
            network or NetworkConfig(),
            training or TrainingConfig(),
            overwrite=overwrite,
            progress=progress,
        )


def _landmark_genes(
    source: AnnDataSource, landmarks: str | Sequence[str] | ArrayLike
) -> tuple[str, ...]:
    """Give the ids of the landmarks, in the order of ``var`` or of the list."""
    var, what = source.gene_metadata, "landmarks"
    if isinstance(landmarks, str):
        if landmarks not in var.columns:
            raise DgexError(f"{NAME}: var has no column {landmarks!r} to tell the landmarks")
        landmarks, what = var[landmarks].to_numpy(), f"column {landmarks!r} of var"
    chosen = np.asarray(landmarks)
    if chosen.dtype == object and all(isinstance(one, bool | np.bool_) for one in chosen.flat):
        chosen = chosen.astype(bool)
    if chosen.dtype == bool:
        if chosen.shape != (len(source.genes),):
            raise DgexError(f"{NAME}: {what} of shape {chosen.shape} for {len(source.genes)} genes")
        found = tuple(source.genes[place] for place in np.flatnonzero(chosen))
    elif what == "landmarks":
        found = _named_genes(source, chosen)
    else:
        raise DgexError(f"{NAME}: {what} must be boolean, not {chosen.dtype}")
    if not found:
        raise DgexError(f"{NAME}: no gene is a landmark")
    for gene in found:
        if gene != gene.strip() or set(gene) & set("\t\r\n"):
            raise DgexError(f"{NAME}: gene id {gene!r} has white space that a list can't hold")
    return found


def _named_genes(source: AnnDataSource, chosen: NDArray[Any]) -> tuple[str, ...]:
    if chosen.ndim != 1 or not all(isinstance(one, str) for one in chosen):
        raise DgexError(f"{NAME}: landmarks are a column of var, var_names, or a boolean array")
    wanted = tuple(map(str, chosen))
    check_ids(NAME, "landmark", wanted)
    known = set(source.genes)
    missing = [gene for gene in wanted if gene not in known]
    if missing:
        raise DgexError(
            f"{NAME}: {len(missing)} of {len(wanted)} landmarks are not in var_names, the first is "
            f"{missing[0]!r}"
        )
    return wanted


def _refuse_other(path: Path, what: str, overwrite: bool) -> None:
    if not overwrite:
        raise DgexError(f"{path}: holds {what}; choose another folder, or overwrite=True")


def _write_input(source: AnnDataSource, path: Path, *, overwrite: bool) -> None:
    """Write values, ids and what is known of the genes, unless they are there already."""
    annotation = annotation_of(source.gene_metadata)
    columns = {
        name: [of_genes.get(gene, "") for gene in source.genes]
        for name, of_genes in (
            ("symbol", annotation.symbols),
            ("ensembl", annotation.ensembl),
            ("entrez_id", annotation.entrez),
        )
        if of_genes
    }
    told = json.dumps([source.profiles, source.genes, columns, _values_sha256(source)])
    content = hashlib.sha256(told.encode()).hexdigest()

    if path.exists():
        with hdf5_errors(path), open_hdf5(path) as file:
            known = file.get(f"uns/{CONTENT}")
            if isinstance(known, h5py.Dataset) and known.asstr()[()] == content:
                return
        _refuse_other(path, "other profiles or genes", overwrite)
    X = source.X
    if isinstance(X, h5py.Dataset):
        X = X[()]
    elif hasattr(X, "to_memory"):
        X = X.to_memory()
    with atomic_path(path) as temporary, anndata_errors(path, "can't be written"):
        index = pd.Index(list(source.genes), dtype=object)
        made = import_anndata(NAME).AnnData(
            X,
            obs=pd.DataFrame(index=pd.Index(list(source.profiles), dtype=object)),
            var=pd.DataFrame(columns, index=index, dtype=object),
            uns={CONTENT: content},
        )
        made.write_h5ad(temporary)


def _write_landmarks(content: bytes, path: Path, *, overwrite: bool) -> None:
    with writing(path):
        if path.exists():
            if path.read_bytes() == content:
                return
            _refuse_other(path, "other landmarks", overwrite)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)


def _prepare(
    study: Study, folder: Path, *, simulated: bool, overwrite: bool, progress: bool
) -> None:
    """Prepare the study, unless that is done."""
    raw, path = GeoOnlyFiles(folder / INPUT, folder / LANDMARKS), folder / PREPARED
    if path.exists():
        with hdf5_errors(path), open_hdf5(path) as file:
            recorded, sums = (
                json.loads(file.attrs.get(name, "{}")) for name in ("settings", "raw_files")
            )
            told = file.attrs.get("study"), bool(file.attrs.get("simulated"))
        if (
            told == (study.name, simulated)
            and study.is_prepared_by(recorded)
            and sums == checksums(raw, Progress())
        ):
            return
        _refuse_other(path, "another study", overwrite)
    make_study(
        raw,
        path,
        study.prepare,
        name=study.name,
        title=study.title,
        simulated=simulated,
        settings=study.preparation_settings(),
        progress=progress,
    )


def _train(
    folder: Path,
    network: NetworkConfig,
    training: TrainingConfig,
    *,
    overwrite: bool,
    progress: bool,
) -> Model:
    """Train the network from its newest checkpoint, and export it, unless that is done."""
    # These need JAX.
    from dgex_jax.model.export import export_model  # noqa: PLC0415
    from dgex_jax.train.devices import choose_devices, share_cpu  # noqa: PLC0415
    from dgex_jax.train.record import DONE  # noqa: PLC0415
    from dgex_jax.train.run import stop_on_signals  # noqa: PLC0415
    from dgex_jax.train.train import Conduct, train_runs  # noqa: PLC0415

    share_cpu(training.halves)
    (devices, *_), _ = choose_devices(None, training.halves)

    def report(_network: NetworkConfig, _done: int, line: str) -> None:
        if progress:
            say(line)

    with open_prepared(folder / PREPARED) as prepared, stop_on_signals() as request:
        conduct = Conduct(report, overwrite=overwrite, request=request)
        train_runs(prepared, [network], training, [folder / RUN], devices, conduct=conduct)
    path = folder / MODEL
    if path.exists():
        there = read_model(path)
        done = read_json(folder / RUN / DONE) or {}
        if there.record.get("config_hash") == done.get("config_hash"):
            return there
        _refuse_other(path, "another model", overwrite)
    model = export_model(folder / RUN, folder / PREPARED)
    write_model(path, model, overwrite=overwrite)
    return model
