"""Models, checkpoints and finished runs to flip bits in: how they are made, and read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.config import NetworkConfig, TrainingConfig
from dgex_jax.parts import PAPER
from tests.reliability.bitrot_artefact import Read, every_file, fingerprint
from tests.reliability.bitrot_studies import make_prepared

if TYPE_CHECKING:
    from dgex_jax.train.run import Progress

NETWORK = NetworkConfig(hidden_layers=1, units=5, dropout=0.1)
TRAINING = TrainingConfig(epochs=5)


def make_model(folder: Path) -> None:
    """A model of 7 landmarks and two halves, with all that a model may have."""
    from dgex_jax.methods.network import network
    from dgex_jax.model.model import Model, ModelGenes, write_model

    chance = np.random.default_rng(1)

    def genes(letter: str, n: int) -> ModelGenes:
        return ModelGenes(
            ensembl=tuple(f"ENSG{letter}{i:05d}" for i in range(n)),
            symbols=tuple(f"IFNβ {i}" for i in range(n)),
            entrez=tuple(str(780 + i) for i in range(n)),
            probes=tuple(tuple(f"{i}{k}_s_at" for k in range(i % 4)) for i in range(n)),
            mean=chance.normal(8, 3, n),
            sd=chance.uniform(1e-3, 2, n),
        )

    model = Model(
        landmarks=genes("L", 7),
        targets=genes("T", 9),
        method=network(NETWORK, [weights(chance, 7, size) for size in (4, 5)]),
        selected_on="va",
        parts=PAPER,
        quantile=np.sort(chance.normal(size=16)),
        landmark_quantile=np.sort(chance.normal(size=7)),
        errors={part: chance.uniform(size=9) for part in PAPER.evaluated},
        record={"study": {"name": "mine", "simulated": True}, "seconds": 0.1 + 0.2},
        copy_of_landmark=chance.uniform(size=9) < 0.3,
    )
    write_model(folder / "model", model)


def weights(chance: np.random.Generator, n_landmarks: int, n_targets: int) -> dict[str, Any]:
    """Weights of one half of `NETWORK`."""
    sizes = {"hidden1": (n_landmarks, NETWORK.units), "output": (NETWORK.units, n_targets)}
    return {
        name: {
            "kernel": chance.normal(size=size).astype(np.float32),
            "bias": chance.normal(size=size[1]).astype(np.float32),
        }
        for name, size in sizes.items()
    }


def read_a_model(folder: Path) -> Read:
    """As every command that takes a model."""
    from dgex_jax.model.model import read_model

    return fingerprint(read_model(folder / "model")), []


def progress(epochs: int) -> Progress:
    """How far a training might have come."""
    from dgex_jax.train.run import EpochRecord, Progress

    chance = np.random.default_rng(epochs)
    states: Any = [
        {"params": weights(chance, 7, 4), "velocity": weights(chance, 7, 4), "step": np.uint32(7)}
        for _half in range(2)
    ]
    records = [
        [EpochRecord(epoch, chance.normal(size=(2, 5)), np.float32([1e-2, 2e-2]), 0.5)]
        for epoch in range(epochs)
    ]
    return Progress(records, states)


def make_checkpoint(folder: Path) -> None:
    """The newest two checkpoints of a run."""
    from dgex_jax.train.run import Checkpoints

    for epochs in (2, 3):
        Checkpoints(folder / "checkpoint", "ab" * 32).save(progress(epochs))


def read_checkpoint(folder: Path) -> Read:
    """As a training that goes on; whichever checkpoint it finds must be as it was saved."""
    from dgex_jax.train.run import Checkpoints

    told: list[str] = []
    found = Checkpoints(folder / "checkpoint", "ab" * 32).newest(progress(1).states, told.append)
    if found is None or fingerprint(found) != fingerprint(progress(len(found.records))):
        return "another state, or none", told
    if len(found.records) != 3 and not told:
        return "an older one", told
    return "as saved", told


def newest_checkpoint(folder: Path) -> list[str]:
    """Both files of the newest."""
    return [file for file in every_file(folder) if "epoch-000002" in file]


def make_run(folder: Path) -> None:
    """A prepared study, and a run of it with made-up weights and errors."""
    import jax

    from dgex_jax.io.manifest import write_json
    from dgex_jax.prepare.prepared import open_prepared
    from dgex_jax.train.record import TrainedHalf, TrainedNetwork
    from dgex_jax.train.run import EpochRecord, RunLog, finish, run_config

    make_prepared(folder)
    chance, run = np.random.default_rng(6), folder / "run"
    run.mkdir()
    with open_prepared(folder / "prepared.h5") as study:
        sizes = [half.stop - half.start for half in study.halves]
        history = [
            EpochRecord(epoch, chance.uniform(size=(2, 5)), np.float32([1e-2, 2e-2]), 0.5)
            for epoch in range(TRAINING.epochs)
        ]
        halves = []
        for size in sizes:
            best = [weights(chance, study.n_landmarks, size) for _ in range(2)]
            by_part = dict(zip(PAPER.choosers, best, strict=True))
            halves.append(TrainedHalf(best[1], by_part, {"va": 3, "1000G": 4}))
        errors = {part: chance.uniform(size=study.n_targets) for part in PAPER.evaluated}
        config = run_config(study, NETWORK, TRAINING)
        write_json(run / "config.json", config)
        RunLog(run, sizes, PAPER, history)
        trained = TrainedNetwork(halves, errors)
        finish(run, config, study, NETWORK, TRAINING, trained, 12.5, jax.local_devices()[:1])


def read_run(folder: Path) -> Read:
    """As ``dgex train`` (not trained again), ``dgex export``, Figure 5 and the report do."""
    from dgex_jax.model.export import export_model
    from dgex_jax.parts import PAPER
    from dgex_jax.prepare.prepared import open_prepared
    from dgex_jax.train.record import is_done, load_weights, read_gene_errors
    from dgex_jax.train.run import run_config
    from reproduce.figures import read_log
    from reproduce.sources import read_run as read_record

    run = folder / "run"
    with open_prepared(folder / "prepared.h5") as study:
        if not is_done(run, run_config(study, NETWORK, TRAINING)):
            return "would be trained again", []
    log = read_log(run / "log.tsv", "GTEx")
    found = [
        export_model(run, folder / "prepared.h5"),
        load_weights(run / "best_1000G.safetensors"),
        read_gene_errors(run / "errors.tsv"),
        {name: log[name].to_numpy() for name in log},
        read_record(run, NETWORK, PAPER),
    ]
    return fingerprint(*found), []


def of_run(folder: Path) -> list[str]:
    """The files of the run, without the logs of its halves, which nothing reads again."""
    unread = ("run/log_half", "prepared")
    return [file for file in every_file(folder) if not file.startswith(unread)]


def by_name(line: str, file: str) -> bool:
    """Whether a line names the run's folder and the file in it."""
    return "/run" in line and Path(file).name in line
