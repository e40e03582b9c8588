"""What it takes to repeat a study: its file, its inputs' checksums, its seeds, the commands."""

from __future__ import annotations

import hashlib
import shlex
from typing import TYPE_CHECKING

from dgex_jax.data.prepared import open_prepared
from dgex_jax.errors import FormatError
from dgex_jax.formats.access import one_line
from dgex_jax.training.pylearn2 import BATCH_SEED, MONITOR_SEED
from reproduce.variants import departure_space
from reproduce.workspace import STUDIES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reproduce.reporting.provenance import Preparation
    from reproduce.workspace import Workspace

ROLES = {
    "geo": "GEO profiles",
    "gtex": "GTEx profiles",
    "thousand_genomes": "1000G profiles",
    "landmarks": "map of the landmark genes",
    "targets": "map of the target genes",
}
"""The raw files, in the order of a study file."""


def read_study_file(path: Path) -> str:
    """Return the text of a study file.

    Raises
    ------
    FormatError
        It can't be read any more.
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
