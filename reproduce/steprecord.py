"""What a step of a reproduction wrote, and of what: ``results/<study>/provenance/<step>.json``.

A file a step, so that processes that make different things don't meet, and a target alone leaves
the records of the others as they are. Names in them are relative to the results folder. Runs and
prepared studies say the same of themselves (``done.json``, ``prepared.h5.provenance.json``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dgex_jax.errors import DgexError
from dgex_jax.formats.access import one_line
from dgex_jax.provenance import known_sha256, record, write_record
from reproduce.stages import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reproduce.workspace import Workspace

FOLDER = "provenance"
Inputs = dict[str, dict[str, str]]


def inputs_of(space: Workspace, paths: Iterable[Path]) -> Inputs:
    """Name (relative to the results) and checksum of the files that are there, by name.

    Raises
    ------
    DgexError
        One can't be read.
    """
    found = {}
    for path in paths:
        name = os.path.relpath(path, space.results).replace(os.sep, "/")
        try:
            found[name] = {"name": name, "sha256": known_sha256(path)}
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DgexError(f"{path}: can't be read: {one_line(error)}") from error
    return found


def write_step(
    space: Workspace, step: str, files: Iterable[Path], inputs: Inputs, precision: str
) -> None:
    """Write the record of one step; nothing is written where it says so already.

    Parameters
    ----------
    space
        The study and its folders.
    step
        Its name.
    files
        What it wrote; those that are not there are left out.
    inputs
        Of what (`inputs_of`).
    precision
        Of the numbers it was computed in.

    Raises
    ------
    DgexError
        A file can't be read, or the disk refuses the record.
    """
    folder = space.results / FOLDER
    make_folder(folder)
    study = space.study
    seeds = {"prepare": study.prepare.seed, "training": study.training.seed}
    if study.simulation is not None:
        seeds["simulate"] = study.simulation.seed
    made = record(f"reproduce {step}", precision=precision, inputs=inputs, seeds=seeds)
    sums = {name: one["sha256"] for name, one in inputs_of(space, files).items()}
    write_record(folder / f"{step}.json", made, sums)
