"""From a finished run and the prepared study it was trained on to a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax import __version__
from dgex_jax.config import NetworkConfig
from dgex_jax.errors import DgexError, FormatError, StudyError
from dgex_jax.io.files import one_line
from dgex_jax.io.hdf5 import hdf5_errors, open_hdf5
from dgex_jax.io.manifest import is_hash_of, read_json, record
from dgex_jax.methods.network import PRECISION, network
from dgex_jax.model.certainty import certainty_of, coverage_json
from dgex_jax.model.evaluate import part_scores
from dgex_jax.model.model import Model, ModelGenes, checksum
from dgex_jax.model.predict import told_device
from dgex_jax.prepare.normalize import OFFSET
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train.record import (
    CONFIG,
    DONE,
    load_weights,
    read_done,
    read_gene_errors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.methods import Fitted
    from dgex_jax.prepare.prepared import Prepared

PREPARATION = ("prepare", "settings", "random_streams", "versions", "raw_files")


def export_model(run: Path, prepared: Path, *, best: str = "va") -> Model:
    """Make a model of a finished run folder and the prepared study it was trained on.

    `best` says which best epoch's weights: that of the lowest error on which validation part.
    Its errors on the parts that `best` chose and tests on are the run's own; those on the other
    parts, which the run reports of its other weights, are computed here. Raises `DgexError` if the
    run is not there, not finished or damaged, was trained on another study, or the study lacks what
    a model needs (probes, reference quantile, means).
    """
    if not run.is_dir():
        raise FormatError(f"{run}: {'is a file, not a' if run.exists() else 'no such'} run folder")
    config, done = read_json(run / CONFIG), read_done(run)
    if config is None:
        raise FormatError(f"{run}: is no run folder: it has no {CONFIG} that can be read")
    if done is None:
        raise FormatError(f"{run}: its training is not finished: it has no {DONE}")
    if not is_hash_of(done.get("config_hash"), config):
        raise FormatError(f"{run}: {DONE} is not of the run that {CONFIG} describes")
    with open_prepared(prepared) as study:
        if study.sha256 != config.get("prepared_sha256"):
            raise DgexError(
                f"{prepared}: is not the prepared study that {run} was trained on (study "
                f"{config.get('study')!r}): its sha256 is not the one in {CONFIG}"
            )
        check_study(study, best)
        path = run / f"best_{best}.safetensors"
        halves = load_weights(path)
        method = network(_config_of(run / CONFIG, config), halves)
        if method.n_targets != study.n_targets:
            raise FormatError(
                f"{path}: infers {method.n_targets} targets, the study has {study.n_targets}"
            )
        errors, r2 = _errors(run / "errors.tsv", study, method, best)
        return model_of(study, method, best, errors, r2, _record(run, config, done, study))


def model_of(
    study: Prepared,
    method: Fitted,
    best: str,
    errors: Mapping[str, NDArray[np.float64]],
    r2: Mapping[str, NDArray[np.float64]],
    record: Mapping[str, Any],
    *,
    weights_only: bool = False,
    half_precision: bool = False,
) -> Model:
    """Make a model of a method fitted on a prepared study and chosen on its part `best`."""
    uncertainty, coverage = certainty_of(study, method, weights_only=weights_only)
    return Model(
        landmarks=_genes(study, "landmark"),
        targets=_genes(study, "target"),
        method=method,
        selected_on=best,
        quantile=study.quantile,
        landmark_quantile=study.landmark_quantile,
        errors=errors,
        r2=r2,
        uncertainty=uncertainty,
        record={**record, "coverage": coverage_json(coverage)},
        copy_of_landmark=study.copy_of_landmark,
        parts=study.parts,
        half_precision=half_precision,
    )


def check_study(study: Prepared, best: str) -> None:
    """Raise `DgexError` unless `best` is a validation part of the study, and a model can be made.

    Before the work: of an ``.npz`` nobody knows the scale of the genes.
    """
    _genes(study, "landmark")
    if best not in study.parts.choosers:
        raise DgexError(
            f"{study.path}: has no validation part {best!r} to choose on, only "
            f"{', '.join(study.parts.choosers)}"
        )


def _config_of(path: Path, content: Mapping[str, Any]) -> NetworkConfig:
    """Give the network that a JSON file describes; raises `FormatError` if it can't be used."""
    try:
        return NetworkConfig(**content["network"])
    except (KeyError, TypeError, StudyError) as error:
        raise FormatError(f"{path}: network: can't be used: {one_line(error)}") from error


def _genes(study: Prepared, role: str) -> ModelGenes:
    mean, deviation = study.scaling("tr", "X" if role == "landmark" else "Y")
    return ModelGenes(
        ensembl=getattr(study, f"{role}_ensembl"),
        symbols=study.landmark_symbols if role == "landmark" else study.symbols,
        entrez=getattr(study, f"{role}_entrez"),
        probes=getattr(study, f"{role}_probes"),
        mean=mean,
        sd=deviation + OFFSET,
    )


def _errors(
    path: Path, study: Prepared, method: Fitted, best: str
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """MAE of these weights on every part, ``(n_targets,)`` float64, and R² on the tests."""
    reported = read_gene_errors(path).mae
    errors, r2 = {}, {}
    for part in study.parts.evaluated:
        # The run's other parts are of its other best epochs.
        own = study.parts.chooser_of(part) == best
        if own and part not in reported:
            raise FormatError(f"{path}: has no errors on {part}")
        tests = part not in study.parts.choosers
        scores = None if own and not tests else part_scores(method, study, part)
        mae = reported[part] if own or scores is None else scores.mae
        if mae.shape != (study.n_targets,):
            raise FormatError(f"{path}: has {len(mae)} targets, the study {study.n_targets}")
        errors[part] = mae
        if tests and scores is not None:
            r2[part] = scores.r2
    return errors, r2


def _record(
    run: Path, config: dict[str, Any], done: dict[str, Any], study: Prepared
) -> dict[str, Any]:
    training = config.get("training", {})
    inputs = {
        "run": {"name": f"{run.resolve().name}/{DONE}", "sha256": checksum(run / DONE)},
        "prepared": {"name": study.path.name, "sha256": study.sha256},
    }
    versions = {
        "training": {**config.get("versions", {}), "python": done.get("python")},
        "export": {"dgex_jax": __version__, "numpy": np.__version__},
    }
    return {
        **study_record(study, {"training": training}, training.get("seed"), versions),
        "side_by_side": config.get("side_by_side", []),
        "config_hash": done["config_hash"],
        # Counted from 0, as in the run's log.
        "best_epochs": {
            best: done[f"best_{best}_epochs"]
            for best in study.parts.choosers
            if f"best_{best}_epochs" in done
        },
        "seconds": done.get("seconds"),
        "devices": done.get("devices"),
        "provenance": {
            "training": done.get("provenance"),
            "export": record(
                "dgex export", precision=PRECISION, inputs=inputs, device=told_device()
            ),
        },
    }


def study_record(
    study: Prepared,
    settings: Mapping[str, Any],
    seed: int | None,
    versions: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Say of which study a model is and how that was made, then with what it was trained."""
    made = preparation(study.path)
    return {
        "study": {
            "name": study.name,
            "title": study.title,
            "simulated": study.simulated,
            **{key: text for key in ("source", "licence") if (text := getattr(study, key))},
            "gene_ids": study.gene_ids,
            "profiles": {part: study.n_profiles(part) for part in study.parts},
            "prepared_sha256": study.sha256,
            "raw_files": made.get("raw_files", {}),
        },
        "settings": {
            "study": made.get("settings", {}),
            "prepare": made.get("prepare", {}),
            **settings,
        },
        "seeds": {"preparation": made.get("random_streams", {}), "training": seed},
        "versions": {"preparation": made.get("versions", {}), **versions},
    }


def preparation(path: Path) -> dict[str, Any]:
    """Read what a prepared study says of its own making."""
    with hdf5_errors(path), open_hdf5(path) as file:
        texts = {name: str(file.attrs[name]) for name in PREPARATION if name in file.attrs}
    try:
        return {name: json.loads(text) for name, text in texts.items()}
    except ValueError as error:
        raise FormatError(f"{path}: an attribute of it is no JSON: {error}") from error
