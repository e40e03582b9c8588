"""Raw files and the prepared study of a workspace, each made once."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from dgex_jax import __version__
from dgex_jax.data.prepare import prepare
from dgex_jax.data.simulation.write import is_simulated, simulate, simulated_files
from dgex_jax.errors import DgexError
from dgex_jax.training.record import is_done, mark_done

if TYPE_CHECKING:
    from pathlib import Path

    from dgex_jax.config import RawFiles
    from reproduce.workspace import Workspace


def make_folder(folder: Path) -> None:
    """Make a folder for outputs.

    Raises
    ------
    DgexError
        It can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DgexError(f"{folder}: can't be made: {error.strerror}") from error


def raw_files(space: Workspace) -> RawFiles:
    """Return the study's raw files; those of a simulated study are made first, once."""
    study = space.study
    if study.simulation is None:
        if study.files is None:
            raise AssertionError("a study has real or simulated files")
        return study.files
    folder = space.results / "raw"
    make_folder(folder)
    config = {"simulation": dataclasses.asdict(study.simulation), "dgex_jax": __version__}
    files = simulated_files(folder)
    if not (is_done(folder, config) and all(path.is_file() for path in paths(files))):
        print(f"simulating raw files of study {study.name!r} in {folder}", flush=True)
        files = simulate(study.simulation, folder, progress=True)
        mark_done(folder, config)
    return files


def paths(files: RawFiles) -> list[Path]:
    """List the five files."""
    return [getattr(files, field.name) for field in dataclasses.fields(files)]


def identity(files: RawFiles) -> dict[str, Any]:
    """Describe the raw files well enough to notice that one was changed, without reading them."""
    described = {}
    for path in paths(files):
        try:
            status = path.stat()
        except OSError as error:
            raise DgexError(f"{path}: can't be read: {error.strerror}") from error
        described[str(path.resolve())] = [status.st_size, status.st_mtime_ns]
    return described


def prepared_study(space: Workspace) -> Path:
    """Return the prepared study, made of the raw files if it is not there or they changed."""
    study, output = space.study, space.prepared
    files = raw_files(space)
    config = {
        "settings": study.preparation_settings(),
        "files": identity(files),
        "dgex_jax": __version__,
    }
    make_folder(space.results)
    folder = space.results / "preparation"
    if output.is_file() and is_done(folder, config):
        return output
    print(f"preparing study {study.name!r}", flush=True)
    report = prepare(
        files,
        output,
        study.prepare,
        name=study.name,
        title=study.title,
        # Files of `dgex simulate` stay simulated, whatever study names them.
        simulated=study.simulated or is_simulated(files),
        settings=study.preparation_settings(),
        progress=True,
    )
    print("\n".join(f"  {line}" for line in report.lines()), flush=True)
    make_folder(folder)
    mark_done(folder, config, counts=report.counts())
    return output
