"""Figure 2 of the paper for one study: ``python -m reproduce.figure2 --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reproduce.commandline import script
from reproduce.figures import best_errors, best_network_needs, note, write_figure
from reproduce.plots.densities import density_table, draw
from reproduce.product import Product

if TYPE_CHECKING:
    from reproduce.workspace import Workspace


def write(space: Workspace) -> str:
    """Write the figure."""
    network, errors = best_errors(space, "te", "va")
    table = density_table({name: errors[name] for name in ("LR", "KNN-GE", network.name)})
    return write_figure(space, "figure2", draw(table, "GEO-te", note(space)), table)


PRODUCT = Product(
    "figure2",
    "Figure 2: density of the errors per gene on GEO-te.",
    best_network_needs,
    write,
)
main = script("reproduce.figure2", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
