"""A study file's prepared study, its raw files simulated first where the study is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgex_jax.errors import StudyError
from dgex_jax.prepare.prepare import prepare
from dgex_jax.simulate.write import is_simulated, simulate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dgex_jax.prepare.report import PrepareReport
    from dgex_jax.prepare.study import Study
    from dgex_jax.rawfiles import AnyRawFiles, RawFiles


def prepare_study(
    study: Study,
    output: Path,
    *,
    raw: AnyRawFiles | None = None,
    progress: bool = False,
    report: Callable[[str], object] = print,
) -> PrepareReport:
    """Prepare a study into `output`; raises as `prepare`, before a simulation where it can.

    `raw` are its files where they are made already; else those of a simulated study are made beside
    the output, and `report` gets a line that says so.
    """
    raw = raw or study.files or _simulate_beside(output, study, progress, report)
    return prepare(
        raw,
        output,
        study.prepare,
        name=study.name,
        title=study.title,
        source=study.source,
        licence=study.licence,
        # Files of `dgex simulate` stay simulated, whatever study names them.
        simulated=study.simulated or is_simulated(raw),
        settings=study.preparation_settings(),
        progress=progress,
    )


def _simulate_beside(
    output: Path, study: Study, progress: bool, report: Callable[[str], object]
) -> RawFiles:
    """Make the raw files of a simulated study in the folder ``<output>.raw``."""
    if study.simulation is None:
        raise AssertionError("a study has real or simulated files")
    if output.is_dir() or not output.parent.is_dir():
        # Before the simulation, which would make the folder and leave its files there.
        raise StudyError(f"{output}: can't be written: not a file in a folder that is there")
    folder = output.with_name(f"{output.name}.raw")
    report(f"simulating raw files of study {study.name!r} in {folder}")
    return simulate(study.simulation, folder, progress=progress)
