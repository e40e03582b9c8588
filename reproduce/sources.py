"""What a study's results were made of, and what it takes to repeat them."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py

from dgex_jax.errors import FormatError
from dgex_jax.io.expression import listed
from dgex_jax.io.files import one_line
from dgex_jax.io.hdf5 import hdf5_errors
from dgex_jax.io.manifest import read_json, software_versions
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.train.pylearn2 import BATCH_SEED, MONITOR_SEED
from dgex_jax.train.record import DONE, check_result
from reproduce.variants import departure_space
from reproduce.workspace import STUDIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dgex_jax.config import NetworkConfig
    from dgex_jax.parts import Parts
    from reproduce.workspace import Workspace


GENES_NAMED = 8

ROLES = {
    "geo": "GEO profiles",
    "gtex": "GTEx profiles",
    "thousand_genomes": "1000G profiles",
    "landmarks": "map of the landmark genes",
    "targets": "map of the target genes",
}
"""The raw files, in the order of a study file."""


@dataclass(frozen=True)
class MissingGenes:
    """Genes of one map that a study lacks for one cause."""

    role: str
    cause: str
    symbols: tuple[str, ...]

    @property
    def named(self) -> str:
        """The first of them by symbol."""
        return listed(self.symbols, GENES_NAMED)


@dataclass(frozen=True)
class Preparation:
    """What a prepared study says of itself.

    `profiles` are counted by part, `counts` by what the preparation counted, `streams` are random
    choice → number of its stream; `raw_files` have role, name and sha256, `partial` the symbol and
    the missing probes of genes that lack some.
    """

    title: str
    simulated: bool
    sha256: str
    n_landmarks: int
    n_targets: int
    profiles: Mapping[str, int]
    counts: Mapping[str, int]
    settings: Mapping[str, Any]
    seed: int
    streams: Mapping[str, int]
    versions: Mapping[str, str]
    raw_files: Sequence[tuple[str, str, str]]
    dropped: Sequence[MissingGenes]
    partial: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class TrainedRun:
    """What a run folder says of one trained network.

    `seconds` is the time of all epochs of all networks that trained together with it, at the
    dropout rates `side_by_side` (empty if it trained alone); `best` is the best epoch of each half
    by validation part, counted from 0.
    """

    network: NetworkConfig
    seconds: float
    side_by_side: tuple[float, ...]
    best: Mapping[str, tuple[int, ...]]
    devices: tuple[str, ...]
    versions: Mapping[str, str]


def read_preparation(path: Path) -> Preparation:
    """Read what a prepared study (``prepared.h5``) says of itself.

    Raises `FormatError`: it is missing, damaged, or lacks one of these pieces.
    """
    with open_prepared(path) as study:
        title, simulated, sha256 = study.title, study.simulated, study.sha256
        n_landmarks, n_targets = study.n_landmarks, study.n_targets
        profiles = {part: study.n_profiles(part) for part in study.parts}
    with hdf5_errors(path), h5py.File(path, "r", locking="best-effort") as file:
        raw, settings = _json(path, file, "raw_files"), _json(path, file, "prepare")
        return Preparation(
            title=title,
            simulated=simulated,
            sha256=sha256,
            n_landmarks=n_landmarks,
            n_targets=n_targets,
            profiles=profiles,
            counts={name: int(count) for name, count in file["report"].attrs.items()},
            settings=settings,
            seed=int(settings["seed"]),
            streams=_json(path, file, "random_streams"),
            versions=_json(path, file, "versions"),
            raw_files=[(role, one["name"], one["sha256"]) for role, one in raw.items()],
            dropped=_dropped(file),
            partial=list(
                zip(
                    _texts(file, "partial/symbol"),
                    _texts(file, "partial/missing_probes"),
                    strict=True,
                )
            ),
        )


def _json(path: Path, file: h5py.File, name: str) -> dict[str, Any]:
    try:
        content = json.loads(file.attrs[name])
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise FormatError(f"{path}: its attribute {name} is no JSON object")
    return content


def _texts(file: h5py.File, name: str) -> list[str]:
    return [text.decode() for text in file[name][:].tolist()]


def _dropped(file: h5py.File) -> list[MissingGenes]:
    genes = list(
        zip(
            *(_texts(file, f"dropped/{field}") for field in ("role", "cause", "symbol")),
            strict=True,
        )
    )
    kinds = Counter((role, cause) for role, cause, _ in genes)
    return [
        MissingGenes(*kind, tuple(symbol for *one, symbol in genes if tuple(one) == kind))
        for kind in sorted(kinds)
    ]


def read_run(folder: Path, network: NetworkConfig, parts: Parts) -> TrainedRun:
    """Read what a run folder says of its network, of a study with these parts.

    Raises `FormatError`: ``done.json`` or ``config.json`` is missing or damaged.
    """
    done, config = read_record(folder / DONE), read_record(folder / "config.json")
    try:
        return TrainedRun(
            network=network,
            seconds=float(done["seconds"]),
            side_by_side=tuple(map(float, config.get("side_by_side", ()))),
            best={part: tuple(map(int, done[f"best_{part}_epochs"])) for part in parts.choosers},
            devices=tuple(map(str, done["devices"])),
            versions={"python": str(done["python"])} | dict(config["versions"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{folder}: its {DONE} or config.json is damaged ({error!r}); remove the folder"
        ) from error


def read_record(path: Path) -> dict[str, Any]:
    """Read the JSON object of a finished run.

    Raises `FormatError`: there is none that can be read, or it is not the one of the finished run.
    """
    content = read_json(path)
    if content is None:
        raise FormatError(f"{path}: is missing or no JSON object; remove {path.parent}")
    # Of done.json its own checksum, of config.json the one in there.
    check_result(path)
    return content


def seconds_of_all(runs: Sequence[TrainedRun]) -> float:
    """Add the times of runs up, that of networks trained side by side once."""
    together: dict[tuple[object, ...], float] = {}
    for run in runs:
        one = run.network
        alone = () if run.side_by_side else (one.dropout,)
        together[one.hidden_layers, one.units, run.side_by_side, alone] = run.seconds
    return sum(together.values())


def version_table(
    preparation: Preparation, runs: Sequence[TrainedRun]
) -> list[tuple[str, str, str, str]]:
    """List each program with its versions in the preparation, in the training, and now.

    Several versions are joined by commas; empty where none is recorded.
    """
    trained: dict[str, set[str]] = {}
    for run in runs:
        for name, one in run.versions.items():
            trained.setdefault(name.replace("_", "-"), set()).add(str(one))
    prepared = {name.replace("_", "-"): one for name, one in preparation.versions.items()}
    now = {name.replace("_", "-"): one for name, one in software_versions().items()}
    return [
        (name, prepared.get(name, ""), ", ".join(sorted(trained.get(name, ()))), now.get(name, ""))
        for name in dict.fromkeys([*now, *prepared, *sorted(trained)])
    ]


def read_study_file(path: Path) -> str:
    """Return the text of a study file.

    Raises `FormatError`: it can't be read any more.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: can't be read: {one_line(error)}") from error


def leading_comment(study_file: str) -> str:
    """Return the comment at the top of a study file, which describes it; empty if it has none."""
    lines = []
    for line in study_file.lstrip("\ufeff\n").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return " ".join(filter(None, lines))


def checksums(
    space: Workspace, preparation: Preparation, study_file: str, departures: Sequence[str]
) -> list[tuple[str, str, str]]:
    """List what was read: what it is, its name, and its sha256 (hexadecimal).

    The raw files' are those of the moment they were prepared, as the prepared study holds them.
    """
    rows = [
        (ROLES.get(role, role), name, sha256)
        for role, name, sha256 in sorted(
            preparation.raw_files, key=lambda one: [*ROLES, one[0]].index(one[0])
        )
    ]
    digest = hashlib.sha256(study_file.encode()).hexdigest()
    rows += [
        ("study file", space.path.name, digest),
        ("prepared study", space.prepared.name, preparation.sha256),
    ]
    for name in departures:
        path = departure_space(space, name).prepared
        if path != space.prepared:
            with open_prepared(path) as study:
                place = path.relative_to(space.results).as_posix()
                rows.append((f"prepared study of the departure {name}", place, study.sha256))
    return rows


def seeds(space: Workspace, preparation: Preparation) -> list[tuple[str, str, str]]:
    """List the random choices: what is drawn, the seed's key in the study file, the seed."""
    study, rows = space.study, []
    if study.simulation is not None:
        rows.append(("the raw files", "simulate.seed", f"{study.simulation.seed}"))
    rows += [
        (f"preparation: {name}", "prepare.seed and its stream", f"{[preparation.seed, stream]}")
        for name, stream in sorted(preparation.streams.items(), key=lambda one: one[1])
    ]
    return [
        *rows,
        ("initial weights and dropout masks", "training.seed", f"{study.training.seed}"),
        ("order of the batches", "the original's", f"{list(BATCH_SEED)}"),
        ("monitored profiles", "the original's", f"{MONITOR_SEED}"),
    ]


def commands(space: Workspace) -> list[str]:
    """Give the commands that make all of it again; each of them does alone.

    Folders of this machine are left out: a study file stands by its name, another place for the
    outputs as ``DIR``.
    """
    built_in = space.path.parent == STUDIES
    name = shlex.quote(space.path.stem if built_in else space.path.name)
    elsewhere = space.tables.parent == space.results
    return [
        f"make STUDY={name}{' OUT=DIR' if elsewhere else ''}",
        f"python -m reproduce.all --study {name}{' --out DIR' if elsewhere else ''}",
    ]
