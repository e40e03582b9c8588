"""Raw files and the prepared study of a workspace, each made once."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from dgex_jax import __version__
from dgex_jax.config import RawFiles
from dgex_jax.data.prepare import prepare
from dgex_jax.data.prepared_write import FORMAT_VERSION
from dgex_jax.data.simulation.write import is_simulated, simulate, simulated_files
from dgex_jax.errors import DgexError
from dgex_jax.formats import atomic
from dgex_jax.training.record import is_done, mark_done

if TYPE_CHECKING:
    from pathlib import Path

    from reproduce.workspace import Workspace


def make_folder(folder: Path) -> None:
    """Make a folder for outputs.

    Raises
    ------
    DgexError
        It can't be made.
    """
    try:
        atomic.make_folder(folder)
    except OSError as error:
        raise DgexError(f"{folder}: can't be made: {error.strerror}") from error


def raw_files(space: Workspace) -> RawFiles:
    """Return the study's raw files; those of a simulated study are made first, once."""
    study = space.study
    if study.simulation is None:
        return real_files(space)
    make_folder(space.raw)
    if has_raw_files(space):
        return simulated_files(space.raw)
    print(f"simulating raw files of study {study.name!r} in {space.raw}", flush=True)
    files = simulate(study.simulation, space.raw, progress=True)
    mark_done(space.raw, simulation_config(space))
    return files


def real_files(space: Workspace) -> RawFiles:
    """Return the files that the study names."""
    if not isinstance(space.study.files, RawFiles):
        raise AssertionError("a study has real or simulated files, and all five")  # noqa: TRY004
    return space.study.files


def simulation_config(space: Workspace) -> dict[str, Any]:
    """Everything that decides what simulated files hold."""
    if space.study.simulation is None:
        raise AssertionError("the study is simulated")
    return {"simulation": dataclasses.asdict(space.study.simulation), "dgex_jax": __version__}


def has_raw_files(space: Workspace) -> bool:
    """Whether the raw files of a simulated study are made."""
    return is_done(space.raw, simulation_config(space)) and all(
        path.is_file() for path in paths(simulated_files(space.raw))
    )


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


def preparation_config(space: Workspace, files: RawFiles) -> dict[str, Any]:
    """Everything that decides what the prepared study holds."""
    return {
        "settings": space.study.preparation_settings(),
        "files": identity(files),
        "format_version": FORMAT_VERSION,
        "dgex_jax": __version__,
    }


def is_prepared(space: Workspace) -> bool:
    """Whether the prepared study is there and made of the raw files as they are now."""
    if space.study.simulation is None:
        files = real_files(space)
    elif has_raw_files(space):
        files = simulated_files(space.raw)
    else:
        return False
    config = preparation_config(space, files)
    return space.prepared.is_file() and is_done(preparation_folder(space), config)


def preparation_folder(space: Workspace) -> Path:
    """Return where it is noted what the prepared study was made of."""
    return space.prepared.parent / "preparation"


def prepared_study(space: Workspace) -> Path:
    """Return the prepared study, made of the raw files if it is not there or they changed."""
    study, output = space.study, space.prepared
    files = raw_files(space)
    make_folder(space.prepared.parent)
    if is_prepared(space):
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
    lines = [*report.lines(), *(f"warning: {text}" for text in report.warnings)]
    print("\n".join(f"  {line}" for line in lines), flush=True)
    folder = preparation_folder(space)
    make_folder(folder)
    mark_done(folder, preparation_config(space, files), counts=report.counts())
    return output
