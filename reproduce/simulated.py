"""Saying, wherever a figure is shown, that the data behind it are made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgex_jax.data.prepared import open_prepared

if TYPE_CHECKING:
    from reproduce.workspace import Workspace

SIMULATED = (
    "**Simulated data**: these figures show that the software runs the whole path; they say "
    "nothing about biology and are not comparable with the paper's."
)


def holds_simulated(space: Workspace) -> bool:
    """Whether the values are made up, as the prepared study says (not the study file alone)."""
    with open_prepared(space.prepared) as study:
        return study.simulated


def data_label(space: Workspace) -> str:
    """Name the kind of values for a column of a table: ``simulated`` or ``measured``."""
    return "simulated" if holds_simulated(space) else "measured"


def preface(space: Workspace, title: str, caption: str) -> list[str]:
    """Begin a Markdown file: heading, caption, and a warning where the data are made up."""
    if not holds_simulated(space):
        return [f"# {title}", "", caption, ""]
    return [f"# {title} (simulated data)", "", caption, "", SIMULATED, ""]
