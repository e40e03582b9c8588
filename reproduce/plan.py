"""What a command would do, without doing it (``--dry-run``, ``make -n``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reproduce.grid import PREPARE, SIMULATE, missing_steps
from reproduce.variants import departure_needs, departure_space

if TYPE_CHECKING:
    from reproduce.product import Needs
    from reproduce.workspace import Workspace


def plan(space: Workspace, needs: Needs) -> list[str]:
    """List the steps that are not done yet, a line each; empty if everything is there.

    Raises
    ------
    DgexError
        A raw file can't be read.
    """
    lines = missing_steps(space, needs)
    for name in needs.departures:
        ours = departure_space(space, name)
        # Raw files are shared, and the prepared study where the departure is one of training.
        shared = {SIMULATE, PREPARE} if ours.prepared == space.prepared else {SIMULATE}
        steps = missing_steps(ours, departure_needs(space.study))
        lines += [f"departure {name}: {step}" for step in steps if step not in shared]
    return lines
