"""Make ``tests/data/v2``: small files of the formats that version 0.2 writes, to be read for ever.

    python -m tests.data.make_v2 FOLDER

`prepared.h5` of format 3 (named sets, groups), a checkpoint of format 2, models of formats 3 and 4.
Once 0.2 is out they are never made anew: a later format gets a folder of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import jax
import numpy as np

from dgex_jax import __version__
from dgex_jax.cli import main as dgex
from dgex_jax.errors import Stopped
from dgex_jax.io.gctx import Gctx
from dgex_jax.io.progress import Progress
from dgex_jax.methods.residual import ResidualConfig, fit_residual
from dgex_jax.methods.stack import StackModel
from dgex_jax.model.evaluate import evaluate, part_scores
from dgex_jax.model.export import model_of
from dgex_jax.model.fit import tables_of
from dgex_jax.model.model import read_model, write_model
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.simulate.config import SimulationConfig
from dgex_jax.simulate.write import simulate
from dgex_jax.train.arrays import load_arrays
from dgex_jax.train.devices import choose_devices
from dgex_jax.train.run import (
    CHECKPOINTS,
    Checkpoints,
    StopRequest,
    group_hash,
    run_config,
    to_arrays,
)
from dgex_jax.train.train import Conduct, first_states, train_runs
from tests.data.kept import (
    NETWORK,
    TRAINING,
    array_sums,
    checksum,
    errors_of,
    study_sums,
    weight_sums,
)

if TYPE_CHECKING:
    from dgex_jax.config import NetworkConfig
    from dgex_jax.model.model import Model
    from dgex_jax.prepare.prepared import Prepared

STUDY = """\
name = "tiny"
title = "A tiny study with named sets and groups"
[compendium]
files = "{geo}"
name = "LINCS"
split_by = "series.tsv"
landmarks = "{landmarks}"
targets = "{targets}"
[sets.Cells]
file = "{cells}"
platform = "rnaseq"
values = "rpkm"
role = "validation"
[sets.Tissues]
file = "{tissues}"
platform = "rnaseq"
values = "rpkm"
[prepare]
scale_on = "train"
"""
SIMULATION = SimulationConfig(
    seed=3,
    n_profiles=60,
    n_gtex=8,
    n_1000g=6,
    n_landmarks=7,
    n_targets=13,
    missing_landmarks=1,
    missing_targets=2,
    n_other_genes=6,
    extra_probes=20,
    shared_targets=0.1,
    n_tissues=4,
    n_regulators=8,
    n_programmes=4,
    array_noise=0.4,
)
STOPPED_AFTER = 3
METHODS = ("ridge", "knn-ge", "kernel-ridge", "learned-kernel", "sample-lasso")
RESIDUAL = ResidualConfig(hidden_layers=1, units=4, members=2, epochs=3, batch_size=10)
INTERVAL = "0.8"
MODELS = ("model", "every_method", "passed_on")


def main(folder: Path) -> None:
    """Make all of it in a new folder."""
    folder.mkdir()
    prepared = folder / "prepared.h5"
    with tempfile.TemporaryDirectory() as scratch:
        run_dgex("prepare", write_study(Path(scratch)), "-o", prepared)
        size = ("--hidden-layers", 1, "--units", 5, "--dropout", 0.1)
        training = ("--epochs", 5, "--learning-rate", 0.06, "--monitor-size", 20)
        run_dgex("train", prepared, "-o", folder / "run", *size, *training, "--batch-size", 10)
        run_dgex("export", folder / "run", prepared, "-o", folder / "model")
        for method in METHODS:
            fit = ("fit", prepared, "-o", Path(scratch) / method, "--method", method)
            run_dgex(*fit)
        own = ("--method", "kernel-ridge", "--weights-only", "--half-precision")
        run_dgex("fit", prepared, "-o", folder / "passed_on", *own)
        with open_prepared(prepared) as study:
            (devices, *_), _ = choose_devices(None, 2)
            stop(study, folder / "stopped", devices)
            write_profiles(folder / "profiles.tsv", study)
            models = [read_model(Path(scratch) / method) for method in METHODS]
            write_model(folder / "every_method", combined(study, models))
    infer(folder / "every_method", folder / "profiles.tsv", folder / "inferred.zarr")
    for left in [*folder.rglob(".*.lock"), *folder.rglob(".*.lock.json")]:
        left.unlink()
    text = json.dumps(expected(folder))
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")
    (folder / "SHA256").write_text(f"{checksum(folder)}\n", encoding="utf-8")


def run_dgex(*arguments: object) -> None:
    """Run a command, which must succeed."""
    quiet = () if arguments[0] == "export" else ("--quiet",)
    if code := dgex([*map(str, arguments), *quiet]):
        raise SystemExit(code)


def write_study(folder: Path) -> Path:
    """Simulate raw files, and write a study of them with a series for every fifth profile."""
    raw = simulate(SIMULATION, folder / "raw")
    with Gctx(raw.geo) as geo:
        series = [f"{name}\tseries {row // 5}\n" for row, name in enumerate(geo.profiles)]
    (folder / "series.tsv").write_text("".join(series), encoding="utf-8")
    text = STUDY.format(
        geo=raw.geo,
        landmarks=raw.landmarks,
        targets=raw.targets,
        cells=raw.thousand_genomes,
        tissues=raw.gtex,
    )
    (folder / "study.toml").write_text(text, encoding="utf-8")
    return folder / "study.toml"


def combined(study: Prepared, models: list[Model]) -> Model:
    """Stack one of every method: a model that holds all kinds."""
    tables = tables_of(study, "va")
    members = [one.method for one in models]
    members.append(fit_residual(tables, RESIDUAL, Progress()))
    weight = 1 / len(members)
    told = [{"kind": one.kind, "weight": weight, "settings": one.settings} for one in members]
    tensors = {
        f"{place}/{name}": values
        for place, one in enumerate(members)
        for name, values in one.tensors.items()
    }
    method = StackModel({"members": told}, tensors)
    scores = {part: part_scores(method, study, part) for part in study.parts.evaluated}
    errors = {part: one.mae for part, one in scores.items()}
    r2 = {part: one.r2 for part, one in scores.items() if part not in study.parts.choosers}
    return model_of(study, method, "va", errors, r2, models[0].record)


def stop(study: Prepared, folder: Path, devices: Any) -> None:
    """Stop the same training after some epochs."""
    request = StopRequest()

    def ask(_network: NetworkConfig, done: int, _line: str) -> None:
        if done == STOPPED_AFTER:
            request.ask(15)

    conduct = Conduct(report=ask, request=request, checkpoint_share=1.0)
    try:
        train_runs(study, [NETWORK], TRAINING, [folder], devices, conduct=conduct)
    except Stopped:
        return
    raise AssertionError("the training was not stopped")


def write_profiles(path: Path, study: Prepared) -> None:
    """Standardised landmarks of the test profiles, a line a gene."""
    X = study.X("te")
    lines = ["\t".join(["gene", *(f"profile {n + 1}" for n in range(len(X)))])]
    lines += [
        "\t".join([name, *map(repr, values.tolist())])
        for name, values in zip(study.landmarks, X.T, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def infer(model: Path, profiles: Path, output: Path) -> None:
    """Predict standardised profiles with intervals."""
    options = ("--platform", "standardized", "--interval", INTERVAL)
    run_dgex("predict", model, profiles, "-o", output, *options)


def inferred(model: Path, profiles: Path) -> dict[str, Any]:
    """Give what a model infers: genes, values and bounds."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        infer(model, profiles, output := Path(scratch) / "out.gctx")
        for name in ("values", "lower", "upper"):
            ending = ".gctx" if name == "values" else f".{name}.gctx"
            with Gctx(output.with_suffix(ending)) as file:
                found["genes"] = list(file.genes)
                found[name] = file.read().tolist()
    return found


def expected(folder: Path) -> dict[str, Any]:
    """What was written: checksums of what is read to the bit, numbers of what is computed."""
    with open_prepared(folder / "prepared.h5") as study:
        config = run_config(study, NETWORK, TRAINING)
        like = first_states(load_arrays(study, 2), [NETWORK], TRAINING)
        place = folder / "stopped" / CHECKPOINTS
        saved = Checkpoints(place, group_hash([config])).newest(like, fail)
        prepared = study_sums(study)
        groups = {part: study.groups(part).tolist() for part in ("tr", "va", "te")}  # type: ignore[union-attr]
        models = {name: read_model(folder / name) for name in MODELS}
        errors = {
            name: {part: one.every.mae.mean for part, one in evaluate(model, study).parts.items()}
            for name, model in models.items()
        }
    assert saved is not None
    log = (folder / "run" / "log.tsv").read_text(encoding="utf-8").splitlines()
    return {
        "versions": {
            "dgex_jax": __version__,
            "python": sys.version.split()[0],
            **{one.__name__: one.__version__ for one in (np, h5py, jax)},
        },
        "prepared": prepared,
        "groups": groups,
        "weights": weight_sums(folder / "run"),
        "gene_errors": errors_of(folder / "run"),
        "checkpoint": {
            "group_hash": group_hash([config]),
            "epochs": len(saved.records),
            "arrays": array_sums(to_arrays(saved)),
        },
        "last_epoch": dict(zip(log[0].split("\t"), log[-1].split("\t"), strict=True)),
        "tensors": {name: array_sums(one.method.tensors) for name, one in models.items()},
        "evaluation": errors,
        "inferred": {name: inferred(folder / name, folder / "profiles.tsv") for name in MODELS},
    }


def fail(line: str) -> None:
    """Refuse what is not whole."""
    raise AssertionError(line)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
