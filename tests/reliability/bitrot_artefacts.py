"""All that bits are flipped in: how it is made, read, and told from something else.

Outputs are small but have all that a large one has: several runs of profiles, or shards.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import warnings
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pandas as pd

from dgex_jax.config import NetworkConfig, PrepareConfig, TrainingConfig
from dgex_jax.io import partial
from dgex_jax.io.h5ad import H5adWriter
from dgex_jax.io.partial import Resume
from dgex_jax.io.writers import GctxWriter
from dgex_jax.parts import PAPER
from dgex_jax.simulate.write import simulated_files
from tests.reliability.commands import draw_run, draw_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dgex_jax.train.run import Progress

GOLDEN = Path(__file__).parents[1] / "golden"
NETWORK = NetworkConfig(hidden_layers=1, units=5, dropout=0.1)
TRAINING = TrainingConfig(epochs=5)
N, GENES, UNIT = 700, 30, 256
VALUES = np.random.default_rng(3).normal(size=(N, GENES)).astype(np.float32)
JOB = {"options": {"scale": "reference", "impute": False}, "input": "ab12"}

Read = tuple[str, list[str]]
Region = tuple[str, int, int]


def by_path(line: str, file: str) -> bool:
    """Whether a line names a file, or the one it is the manifest of."""
    return file in line or f"{Path(file).with_suffix('')}." in line


def every_file(folder: Path) -> list[str]:
    """All files with content."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size
    )


@dataclasses.dataclass(frozen=True)
class Artefact:
    """Something the product writes and reads back.

    - `name`: as in the table, and the folder it lies in.
    - `make`: fills an empty folder.
    - `read`: reads all of it as the product does: a digest of what came of that, and what the user
      was told.
    - `files`: relative paths in the folder that bits are flipped in.
    - `places`: further regions (file, first byte, end) that flips must go to.
    - `names`: whether a line tells the user which file it is about.
    - `foreign`: read by others' software, whose errors are not ours to word.
    - `changes`: reading changes the folder.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Read]
    files: Callable[[Path], list[str]] = every_file
    places: Callable[[Path], list[Region]] = lambda _folder: []
    names: Callable[[str, str], bool] = by_path
    foreign: bool = False
    changes: bool = False


def fingerprint(*values: Any) -> str:
    """Digest of values to the last bit, names, types and shapes included."""
    digest = hashlib.sha256()
    _feed(digest, values)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype.str}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, dict):
        digest.update(f"{len(value)} keys".encode())
        for key in value:
            _feed(digest, key)
            _feed(digest, value[key])
    elif isinstance(value, list | tuple | np.ndarray):
        digest.update(f"{len(value)} values".encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(f"{type(value).__name__} {value!r};".encode())


def make_prepared(folder: Path) -> None:
    """All five parts, from the recorded raw files."""
    from dgex_jax.prepare.prepare import prepare

    raw = simulated_files(GOLDEN / "preprocess")
    config = PrepareConfig(duplicates="none")
    prepare(raw, folder / "prepared.h5", config, name="made", title="A made study", simulated=True)


def make_npz(folder: Path) -> None:
    """A study of another's making."""
    chance = np.random.default_rng(4)
    arrays = {}
    for place, part in enumerate(("tr", "va", "te", "1000G", "GTEx")):
        n = 30 + place
        arrays |= {f"X_{part}": chance.normal(size=(n, 6)), f"Y_{part}": chance.normal(size=(n, 8))}
    np.savez_compressed(folder / "prepared.npz", **arrays)


def read_prepared(folder: Path) -> Read:
    """As training does, and everything else that a study can be asked for."""
    from dgex_jax.model.export import preparation
    from dgex_jax.prepare.prepared import open_prepared

    (path,) = (folder / file for file in studies(folder))
    with open_prepared(path) as study:
        parts = {part: (study.X(part), study.Y(part)) for part in study.parts}
        about = [study.name, study.title, study.simulated, study.gene_ids, study.halves]
        about += [study.landmarks, study.landmark_symbols, study.landmark_ensembl]
        about += [study.targets, study.symbols, study.target_ensembl, study.copy_of_landmark]
        if path.suffix == ".h5":
            about += [study.landmark_probes, study.target_probes, study.landmark_entrez]
            about += [study.target_entrez, study.quantile, study.landmark_quantile]
            about += [study.scaling(part, kind) for part in study.parts for kind in "XY"]
    if path.suffix != ".h5":
        # An .npz has no name of its own: it is called after its file.
        return fingerprint(parts, about), []
    # What else it says of its making (models take it over).
    return fingerprint(parts, about, preparation(path)), []


def studies(folder: Path) -> list[str]:
    """The study, without what lies beside it."""
    return [file for file in every_file(folder) if file in {"prepared.h5", "prepared.npz"}]


def outside_chunks(folder: Path) -> list[Region]:
    """Runs of bytes in which no values lie: names, attributes and the tables of HDF5."""
    import h5py

    path = folder / "prepared.h5"
    chunks: list[tuple[int, int]] = []
    with h5py.File(path) as file:
        for dataset in (
            file[f"{group}/{kind}"]
            for group in ("compendium", "sets/1000G", "sets/GTEx")
            for kind in "XY"
        ):
            for n in range(dataset.id.get_num_chunks()):
                chunk = dataset.id.get_chunk_info(n)
                chunks.append((chunk.byte_offset, chunk.byte_offset + chunk.size))
    bounds = [0, *(place for chunk in sorted(chunks) for place in chunk), path.stat().st_size]
    gaps = zip(bounds[::2], bounds[1::2], strict=True)
    return [("prepared.h5", start, stop) for start, stop in gaps for _ in range(4)]


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
        method=network(NETWORK, [draw_weights(chance, 7, NETWORK.units, size) for size in (4, 5)]),
        selected_on="va",
        parts=PAPER,
        quantile=np.sort(chance.normal(size=16)),
        landmark_quantile=np.sort(chance.normal(size=7)),
        errors={part: chance.uniform(size=9) for part in PAPER.evaluated},
        record={"study": {"name": "mine", "simulated": True}, "seconds": 0.1 + 0.2},
        copy_of_landmark=chance.uniform(size=9) < 0.3,
    )
    write_model(folder / "model", model)


def read_a_model(folder: Path) -> Read:
    """As every command that takes a model."""
    from dgex_jax.model.model import read_model

    return fingerprint(read_model(folder / "model")), []


def progress(epochs: int) -> Progress:
    """How far a training might have come."""
    from dgex_jax.train.run import EpochRecord, Progress

    chance = np.random.default_rng(epochs)

    def drawn() -> dict[str, Any]:
        return draw_weights(chance, 7, NETWORK.units, 4)

    states: Any = [
        {"params": drawn(), "velocity": drawn(), "step": np.uint32(7)} for _half in range(2)
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
    make_prepared(folder)
    draw_run(folder / "run", folder / "prepared.h5", NETWORK, TRAINING)


def read_run(folder: Path) -> Read:
    """As ``dgex train`` (not trained again), ``dgex export``, Figure 5 and the report do."""
    from dgex_jax.model.export import export_model
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


def zarr_writer(path: Path, report: Callable[[str], None]) -> Any:
    """Three shards."""
    from dgex_jax.io.zarr import ZarrWriter

    profiles, genes = [f"p{n}" for n in range(N)], [f"g{n}" for n in range(GENES)]
    return ZarrWriter(
        path,
        profiles,
        genes,
        pd.DataFrame({"tissue": np.resize(["liver", "brain"], N)}, index=profiles, dtype=object),
        pd.DataFrame({"mae": VALUES[0].astype(np.float64)}, index=genes),
        {"made_by": "a test"},
        job=JOB,
        profiles_per_shard=UNIT,
        report=report,
    )


def file_writer(path: Path, report: Callable[[str], None]) -> GctxWriter | H5adWriter:
    """One file that goes on where it stopped."""
    resume = Resume(JOB, UNIT, report)
    profiles, genes = [f"p{n}" for n in range(N)], [f"g{n}" for n in range(GENES)]
    about = pd.DataFrame({"tissue": np.resize(["liver", "brain"], N)}, index=profiles, dtype=object)
    if path.suffix == ".gctx":
        return GctxWriter(path, profiles, genes, profile_metadata=about, resume=resume)
    return H5adWriter(path, profiles, genes, about, pd.DataFrame(index=genes), {}, resume)


@contextmanager
def quick_writing() -> Iterator[None]:
    """Runs of `UNIT` profiles, and no waiting for the disk."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(partial, "RUN_BYTES", 4 * GENES * UNIT))
        stack.enter_context(patch.object(os, "fsync", lambda _descriptor: None))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


def fill(path: Path, report: Callable[[str], None], stop: int = N) -> None:
    """Write what is pending; a `stop` before the end is an interruption."""
    writer = zarr_writer if path.suffix == ".zarr" else file_writer
    with quick_writing(), suppress(InterruptedError), writer(path, report) as file:
        for run in file.pending():
            for start in range(run.start, run.stop, 100):
                if start >= stop:
                    raise InterruptedError
                file.append(VALUES[start : min(start + 100, run.stop)])


def nobody(_line: str) -> None:
    """Nobody listens."""


def read_output(path: Path, told: list[str]) -> Read:
    """All bytes of a finished output, a file or a folder."""
    if path.is_dir():
        contents = {file: (path / file).read_bytes() for file in every_file(path)}
    else:
        contents = {path.name: path.read_bytes()}
    return fingerprint(contents), told


def interrupted(name: str) -> Artefact:
    """A file or store that stopped behind two of three runs, and goes on."""

    def read(folder: Path) -> Read:
        told: list[str] = []
        fill(folder / name, told.append)
        # That it goes on is no word about damage.
        usual = f"{name}: resumes at profile {2 * UNIT} of {N}"
        return read_output(folder / name, [line for line in told if not line.endswith(usual)])

    return Artefact(
        f"{name}.partial",
        lambda folder: fill(folder / name, nobody, 2 * UNIT + 1),
        read,
        names=lambda line, _file: name in line,
        files=lambda folder: [file for file in every_file(folder) if ".lock" not in file],
        changes=True,
    )


def read_checked_store(folder: Path) -> Read:
    """Checked by us, then read by anndata."""
    from dgex_jax.io.zarr import check_zarr

    check_zarr(folder / "a.zarr")
    return read_store(folder)


def read_store(folder: Path) -> Read:
    """By anndata alone."""
    import anndata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = anndata.read_zarr(folder / "a.zarr")
        frames = [
            (list(frame.index), {name: list(frame[name]) for name in frame})
            for frame in (data.obs, data.var)
        ]
    return fingerprint(np.asarray(data.X), frames, str(data.uns)), []


def make_store(folder: Path) -> None:
    """A finished store."""
    fill(folder / "a.zarr", nobody)


def shards(folder: Path) -> list[str]:
    """The files of values."""
    return [file for file in every_file(folder) if file.startswith("a.zarr/X/c.")]


ARTEFACTS = {
    artefact.name: artefact
    for artefact in (
        Artefact("model folder", make_model, read_a_model),
        Artefact("checkpoint", make_checkpoint, read_checkpoint, newest_checkpoint),
        Artefact("finished run", make_run, read_run, of_run, names=by_name),
        Artefact("prepared.h5", make_prepared, read_prepared, studies, outside_chunks),
        Artefact("prepared.npz", make_npz, read_prepared),
        Artefact("zarr store, checked", make_store, read_checked_store),
        Artefact("zarr values, by anndata alone", make_store, read_store, shards, foreign=True),
        interrupted("a.gctx"),
        interrupted("a.h5ad"),
        interrupted("a.zarr"),
    )
}
