"""Which study, and where its outputs go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dgex_jax.data.study import Study, read_study
from dgex_jax.errors import StudyError

STUDIES = Path(__file__).parent / "studies"
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Workspace:
    """A study and its folders.

    Attributes
    ----------
    study
        What the study file says.
    results
        Raw files (if simulated), the prepared study, runs and baselines.
    tables
        The tables.
    """

    study: Study
    results: Path
    tables: Path

    @property
    def prepared(self) -> Path:
        """The prepared study."""
        return self.results / "prepared.h5"

    @property
    def baselines(self) -> Path:
        """Errors of the methods D-GEX is compared with."""
        return self.results / "baselines"

    def run(self, hidden_layers: int, units: int, dropout: float) -> Path:
        """Return the run folder of one network."""
        return self.results / "runs" / f"{dropout * 100:g}pct-{units}x{hidden_layers}"


def open_workspace(study: str, out: Path | None) -> Workspace:
    """Find a study by its name (a file of ``reproduce/studies``) or its path.

    Without `out` the outputs go to ``results/<study>/`` and ``tables/<study>/`` of the checkout;
    with it everything goes under ``<out>/<study>/``.
    """
    path = Path(study) if study.endswith(".toml") else STUDIES / f"{study}.toml"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in STUDIES.glob("*.toml")))
        raise StudyError(f"{study}: no such study; a name ({known}) or a path ending in .toml")
    content = read_study(path)
    if out is None:
        return Workspace(content, ROOT / "results" / content.name, ROOT / "tables" / content.name)
    return Workspace(content, out / content.name, out / content.name / "tables")
