"""The published value that stands beside a cell of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reproduce.published import PublishedCell, published

if TYPE_CHECKING:
    from dgex_jax.config import GridConfig, NetworkConfig

PAPER_UNITS = (3000, 6000, 9000)


class PaperCells:
    """Published cells of one table, found for a study's networks.

    A study with other widths than the paper's, but as many, is put beside them by rank: its
    narrowest networks beside the 3,000 units and so on. The depth and the dropout rate must agree.
    """

    def __init__(self, table: str, grid: GridConfig) -> None:
        self._cells = published(table)
        self._units = (
            dict(zip(grid.units, PAPER_UNITS, strict=True))
            if len(grid.units) == len(PAPER_UNITS)
            else {}
        )

    def find(self, method: str, network: NetworkConfig | None) -> tuple[str, PublishedCell | None]:
        """Return the paper's name for the method or network, and its cell if it has one."""
        if network is None:
            return method, self._cells.get((method, None, None, None))
        units = self._units.get(network.units)
        if units is None:
            return "", None
        key = ("D-GEX", network.hidden_layers, units, network.dropout)
        cell = self._cells.get(key)
        name = f"D-GEX-{network.dropout:.0%}-{units}x{network.hidden_layers}"
        return (name if cell else ""), cell
