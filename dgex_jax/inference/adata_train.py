"""A model trained on an AnnData object, by way of the files that the commands make."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

from dgex_jax.config import GeoOnlyFiles, NetworkConfig, PrepareConfig, TrainingConfig
from dgex_jax.data.annotation import annotation_of
from dgex_jax.data.prepare import prepare as make_study
from dgex_jax.data.prepared import open_prepared
from dgex_jax.data.progress import Progress
from dgex_jax.data.rawfiles import checksums
from dgex_jax.data.study import Study, text
from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import atomic_path, make_folder
from dgex_jax.formats.h5ad import anndata_errors, import_anndata
from dgex_jax.formats.hdf5_errors import hdf5_errors
from dgex_jax.formats.ids import check_ids
from dgex_jax.inference.adata import NAME, source_of, values_sha256
from dgex_jax.inference.modelfile import read_model, write_model
from dgex_jax.locks import locked, say
from dgex_jax.training.record import DONE, read_json
from dgex_jax.training.stopping import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from dgex_jax.formats.anndata_source import AnnDataSource
    from dgex_jax.inference.model import Model

INPUT, LANDMARKS, PREPARED, RUN, MODEL = (
    *("input.h5ad", "landmarks.txt"),
    *("prepared.h5", "run", "model"),
)
CONTENT = "dgex_content"
"""Checksum in ``uns`` of the input's file, to know the same object again."""
HEADER = "probe"


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
    ``dgex train`` and ``dgex export``, and their files are kept. The same call again goes on where
    it was stopped (Ctrl-C ends the epoch and saves it first), or gives the model that is there.

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
    source = source_of(adata, layer)
    for kind, ids in (("profile", source.profiles), ("gene", source.genes)):
        check_ids(NAME, f"{kind} ({'obs' if kind == 'profile' else 'var'}_names)", ids)
    listed = "".join(f"{gene}\n" for gene in (HEADER, *landmark_genes(source, landmarks)))
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
        _write_landmarks(listed, folder / LANDMARKS, overwrite=overwrite)
        _prepare(study, folder, simulated=simulated, overwrite=overwrite, progress=progress)
        _train(
            folder,
            network or NetworkConfig(),
            training or TrainingConfig(),
            overwrite=overwrite,
            progress=progress,
        )
        return _export(folder, overwrite=overwrite)


def landmark_genes(
    source: AnnDataSource, landmarks: str | Sequence[str] | ArrayLike
) -> tuple[str, ...]:
    """Give the ids of the landmarks, in the order of ``var`` or of the list.

    Raises
    ------
    DgexError
        No such column, a column or an array that is not boolean or of another length, ids that are
        not there or come twice, no landmark, or ids that a list can't hold.
    """
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
        found = _listed(source, chosen)
    else:
        raise DgexError(f"{NAME}: {what} must be boolean, not {chosen.dtype}")
    if not found:
        raise DgexError(f"{NAME}: no gene is a landmark")
    for gene in found:
        if gene != gene.strip() or set(gene) & set("\t\r\n"):
            raise DgexError(f"{NAME}: gene id {gene!r} has white space that a list can't hold")
    return found


def _listed(source: AnnDataSource, chosen: NDArray[Any]) -> tuple[str, ...]:
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
    told = json.dumps([source.profiles, source.genes, columns, values_sha256(source)])
    content = hashlib.sha256(told.encode()).hexdigest()
    if path.exists():
        with hdf5_errors(path), h5py.File(path, "r", locking="best-effort") as file:
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


def _write_landmarks(listed: str, path: Path, *, overwrite: bool) -> None:
    content = listed.encode()
    try:
        if path.exists():
            if path.read_bytes() == content:
                return
            _refuse_other(path, "other landmarks", overwrite)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise DgexError(f"{path}: can't be written: {one_line(error)}") from error


def _refuse_other(path: Path, what: str, overwrite: bool) -> None:
    if not overwrite:
        raise DgexError(f"{path}: holds {what}; choose another folder, or overwrite=True")


def _prepare(
    study: Study, folder: Path, *, simulated: bool, overwrite: bool, progress: bool
) -> None:
    """Prepare the study, unless that is done."""
    raw, path = GeoOnlyFiles(folder / INPUT, folder / LANDMARKS), folder / PREPARED
    settings = study.preparation_settings()
    if path.exists():
        wanted = [simulated, settings, checksums(raw, Progress())]
        with hdf5_errors(path), h5py.File(path, "r", locking="best-effort") as file:
            known = file.attrs
            found = [
                bool(known.get("simulated")),
                *(json.loads(known.get(name, "null")) for name in ("settings", "raw_files")),
            ]
        if found == wanted:
            return
        _refuse_other(path, "another study", overwrite)
    make_study(
        raw,
        path,
        study.prepare,
        name=study.name,
        title=study.title,
        simulated=simulated,
        settings=settings,
        progress=progress,
    )


def _train(
    folder: Path,
    network: NetworkConfig,
    training: TrainingConfig,
    *,
    overwrite: bool,
    progress: bool,
) -> None:
    """Train the network, unless that is done, from its newest checkpoint if there is one."""
    # These need JAX, which the package's other names can do without.
    from dgex_jax.training.devices import choose_devices, share_cpu  # noqa: PLC0415
    from dgex_jax.training.run import Conduct, train_runs  # noqa: PLC0415

    share_cpu(training.halves)
    (devices, *_), _ = choose_devices(None, training.halves)

    def report(_network: NetworkConfig, _done: int, line: str) -> None:
        if progress:
            say(line)

    with open_prepared(folder / PREPARED) as prepared, stop_on_signals() as request:
        conduct = Conduct(report, overwrite=overwrite, request=request)
        train_runs(prepared, [network], training, [folder / RUN], devices, conduct=conduct)


def _export(folder: Path, *, overwrite: bool) -> Model:
    """Make the model of the run, unless it is there."""
    from dgex_jax.inference.export import export_model  # noqa: PLC0415

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
