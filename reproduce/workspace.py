"""Which study, and where its outputs go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.config import GeoOnlyFiles
from dgex_jax.data.study import Study, read_study
from dgex_jax.errors import StudyError

if TYPE_CHECKING:
    from dgex_jax.config import NetworkConfig

STUDIES = Path(__file__).parent / "studies"
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Workspace:
    """A study and its folders.

    Attributes
    ----------
    study
        What the study file says.
    path
        The study file.
    results
        Runs, baselines, analyses, departures, the report.
    raw
        Raw files, if they are simulated.
    prepared
        The prepared study.
    tables, figures
        What is made of them.
    """

    study: Study
    path: Path
    results: Path
    raw: Path
    prepared: Path
    tables: Path
    figures: Path

    @property
    def baselines(self) -> Path:
        """Errors of the methods D-GEX is compared with."""
        return self.results / "baselines"

    @property
    def analyses(self) -> Path:
        """What the two analyses computed."""
        return self.results / "analyses"

    def run(self, network: NetworkConfig) -> Path:
        """Return the run folder of one network."""
        name = f"{network.dropout * 100:g}pct-{network.units}x{network.hidden_layers}"
        return self.results / "runs" / name


def open_workspace(study: str, out: Path | None) -> Workspace:
    """Find a study by its name (a file of ``reproduce/studies``) or its path.

    Without `out` the outputs go to ``results/<study>/``, ``tables/<study>/`` and
    ``figures/<study>/`` of the checkout; with it everything goes under ``<out>/<study>/``.
    """
    path = Path(study) if study.endswith(".toml") else STUDIES / f"{study}.toml"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in STUDIES.glob("*.toml")))
        raise StudyError(f"{study}: no such study; a name ({known}) or a path ending in .toml")
    content = read_study(path)
    if isinstance(content.files, GeoOnlyFiles):
        raise StudyError(
            f"{path}: is a study of arrays alone; tables and figures compare platforms: give "
            "files.gtex, files.1000g and files.targets, or use dgex prepare and dgex train"
        )
    if out is None:
        results = ROOT / "results" / content.name
        tables, figures = (ROOT / kind / content.name for kind in ("tables", "figures"))
    else:
        results = out / content.name
        tables, figures = results / "tables", results / "figures"
    raw, prepared = results / "raw", results / "prepared.h5"
    return Workspace(content, path, results, raw, prepared, tables, figures)
