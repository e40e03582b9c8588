"""Figure 4 of the paper for one study: ``python -m reproduce.figure4 --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reproduce.commandline import script
from reproduce.figures import best_errors, best_network_needs, note, write_figure
from reproduce.plots.genewise import draw
from reproduce.product import Product

if TYPE_CHECKING:
    from reproduce.workspace import Workspace


def write(space: Workspace) -> str:
    """Write the figure."""
    network, table = best_errors(space, "GTEx", "1000G")
    figure = draw(
        table,
        network.name,
        ("LR", "KNN-GE"),
        "MAE on GTEx-te (standardised units)",
        copies=True,
        note=note(space),
    )
    return write_figure(space, "figure4", figure, table)


PRODUCT = Product(
    "figure4",
    "Figure 4: the best network on GTEx-te, gene by gene, against LR and KNN-GE.",
    best_network_needs,
    write,
)
main = script("reproduce.figure4", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
