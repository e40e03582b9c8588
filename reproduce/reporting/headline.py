"""The main result in a few lines: the chosen network against every other method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgex_jax.config import PART_NAMES
from reproduce.tables import TABLES, table_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reproduce.render import Block
    from reproduce.tables import TableSpec
    from reproduce.workspace import Workspace


@dataclass(frozen=True)
class Headline:
    """One block of a table, of its networks only the one chosen on the validation part.

    Attributes
    ----------
    table, part, targets
        Where it stands, the data set, and which targets count.
    network, selected_on
        The chosen network, and where it was chosen.
    errors
        Method → overall error; the network is the last.
    gains
        Baseline → by which share the network's error is lower, and in what share of the genes.
    """

    table: str
    part: str
    targets: str
    network: str
    selected_on: str
    errors: Mapping[str, float]
    gains: Mapping[str, tuple[float, float]]

    @property
    def lowest(self) -> float:
        """The lowest error."""
        return min(self.errors.values())


def headlines(space: Workspace, names: Sequence[str]) -> list[Headline]:
    """Read the headlines of some of `tables.TABLES` from a workspace that has their results."""
    specs = [TABLES[name] for name in names]
    return [_headline(spec, block) for spec in specs for block in table_blocks(space, spec)]


def _headline(spec: TableSpec, block: Block) -> Headline:
    comparison = block.comparison
    best = comparison.best_network()
    if best.network is None:
        raise AssertionError("the best network is a network")
    shown = [entry for entry in comparison.entries if entry.network is None or entry is best]
    return Headline(
        table=spec.title,
        part=PART_NAMES[spec.part],
        targets=block.title,
        network=best.network.name,
        selected_on=PART_NAMES[spec.selected_on],
        errors={
            entry.network.name if entry.network else entry.method: comparison.overall(entry).mean
            for entry in shown
        },
        gains={
            method: (comparison.improvement(best, method), comparison.share_better(best, method))
            for method in ("LR", "KNN-GE")
        },
    )
