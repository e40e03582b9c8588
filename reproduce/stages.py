"""Raw files and the prepared study of a workspace, each made once; the records of what was made.

Each step of a reproduction leaves ``results/<study>/provenance/<step>.json``: what it wrote, of
what. A file a step, so that processes that make different things don't meet. Runs and prepared
studies say the same of themselves (``done.json``, ``prepared.h5.provenance.json``).
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io import files as atomic
from dgex_jax.io.files import one_line
from dgex_jax.io.manifest import known_sha256, record, write_record
from dgex_jax.prepare.of_study import prepare_study
from dgex_jax.prepare.prepared import FORMAT_VERSION, open_prepared
from dgex_jax.rawfiles import AnyRawFiles, StudyFiles, paths_of
from dgex_jax.simulate.write import simulate, simulated_files
from dgex_jax.train.record import is_done, mark_done

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reproduce.workspace import Workspace

Inputs = dict[str, dict[str, str]]

SAME_FORMATS = (2, FORMAT_VERSION)
"""Format versions that hold the same of a study by `[files]`, so that nothing is done again."""


def make_folder(folder: Path) -> None:
    """Make a folder for outputs, or raise `DgexError`."""
    try:
        atomic.make_folder(folder)
    except OSError as error:
        raise DgexError(f"{folder}: can't be made: {error.strerror}") from error


def raw_files(space: Workspace) -> AnyRawFiles:
    """Return the study's raw files; those of a simulated study are made first, once."""
    study = space.study
    if study.files is not None:
        return study.files
    if study.simulation is None:
        raise AssertionError("a study has files, or makes them")
    make_folder(space.raw)
    if has_raw_files(space):
        return simulated_files(space.raw)
    print(f"simulating raw files of study {study.name!r} in {space.raw}", flush=True)
    files = simulate(study.simulation, space.raw, progress=True)
    mark_done(space.raw, _simulation_config(space))
    return files


def has_raw_files(space: Workspace) -> bool:
    """Whether the raw files of a simulated study are made."""
    return is_done(space.raw, _simulation_config(space)) and all(
        path.is_file() for path in paths_of(simulated_files(space.raw)).values()
    )


def beyond_config(space: Workspace) -> dict[str, Any]:
    """Everything in the study file that the comparison beyond the paper depends on."""
    study = space.study
    return {
        "study": study.preparation_settings(),
        "training": dataclasses.asdict(study.training),
        "baselines": dataclasses.asdict(study.baselines) | {"weights": None},
        "grid": dataclasses.asdict(study.grid),
    }


def identity(paths: Iterable[Path]) -> dict[str, Any]:
    """Describe files well enough to notice that one was changed, without reading them.

    Raises `DgexError`: one is not there, or can't be read.
    """
    described = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise DgexError(f"{path}: can't be read: {error.strerror}") from error
        described[str(path.resolve())] = [status.st_size, status.st_mtime_ns]
    return described


def is_prepared(space: Workspace) -> bool:
    """Whether the prepared study is there and made of the raw files as they are now."""
    files: AnyRawFiles
    if space.study.files is not None:
        files = space.study.files
    elif has_raw_files(space):
        files = simulated_files(space.raw)
    else:
        return False
    config, folder = _preparation_config(space, files), _preparation_folder(space)
    if not space.prepared.is_file():
        return False
    formats = (FORMAT_VERSION,) if isinstance(files, StudyFiles) else SAME_FORMATS
    configs = [config | {"format_version": one} for one in formats]
    if any(is_done(folder, one) for one in configs):
        return True
    # The first versions hashed the study's name and title as well, which the file has recorded.
    try:
        with open_prepared(space.prepared) as study:
            recorded = dict(study.settings)
    except FormatError:
        return False
    known = space.study.is_prepared_by(recorded)
    return known and any(is_done(folder, one | {"settings": recorded}) for one in configs)


def prepared_study(space: Workspace) -> Path:
    """Return the prepared study, made of the raw files if it is not there or they changed."""
    study, output = space.study, space.prepared
    files = raw_files(space)
    make_folder(space.prepared.parent)
    if is_prepared(space):
        return output
    print(f"preparing study {study.name!r}", flush=True)
    report = prepare_study(study, output, raw=files, progress=True)
    lines = [*report.lines(), *(f"warning: {text}" for text in report.warnings)]
    print("\n".join(f"  {line}" for line in lines), flush=True)
    folder = _preparation_folder(space)
    make_folder(folder)
    mark_done(folder, _preparation_config(space, files), counts=report.counts)
    return output


def _simulation_config(space: Workspace) -> dict[str, Any]:
    if space.study.simulation is None:
        raise AssertionError("the study is simulated")
    return {"simulation": dataclasses.asdict(space.study.simulation)}


def _preparation_config(space: Workspace, files: AnyRawFiles) -> dict[str, Any]:
    return {
        "settings": space.study.preparation_settings(),
        "files": identity(paths_of(files).values()),
        "format_version": FORMAT_VERSION,
    }


def _preparation_folder(space: Workspace) -> Path:
    return space.prepared.parent / "preparation"


def inputs_of(space: Workspace, paths: Iterable[Path]) -> Inputs:
    """Name (relative to the results) and checksum of the files that are there, by name.

    Raises `DgexError`: one can't be read.
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
    """Write the record of one step: the `files` that it wrote and that are there, of `inputs`.

    Raises `DgexError`: a file can't be read, or the disk refuses the record.
    """
    folder = space.results / "provenance"
    make_folder(folder)
    study = space.study
    seeds = {"prepare": study.prepare.seed, "training": study.training.seed}
    if study.simulation is not None:
        seeds["simulate"] = study.simulation.seed
    made = record(f"reproduce {step}", precision=precision, inputs=inputs, seeds=seeds)
    sums = {name: one["sha256"] for name, one in inputs_of(space, files).items()}
    write_record(folder / f"{step}.json", made, sums)
