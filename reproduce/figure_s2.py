"""Figure S2 of the paper for one study: ``python -m reproduce.figure_s2 --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reproduce.commandline import script
from reproduce.figures import leave_out, note, write_figure
from reproduce.networks import at_rates
from reproduce.nonlinearity import HIDDEN, LANDMARKS, nonlinearity
from reproduce.plots.genewise import draw
from reproduce.product import Needs, Product

if TYPE_CHECKING:
    from reproduce.workspace import Workspace


def write(space: Workspace) -> str:
    """Write the figure, where there are numbers on both axes."""
    found = nonlinearity(space)
    if not found.comparison.n_compared:
        return leave_out(space, "figureS2", "; ".join(dict.fromkeys(found.reasons.values())))
    ours, other = f"last hidden layer of {found.network.name}", "raw landmark genes"
    table = found.by_target[["target", "symbol", HIDDEN, LANDMARKS]].rename(
        columns={HIDDEN: ours, LANDMARKS: other}
    )
    figure = draw(table, ours, [other], "adjusted R² on GEO-tr", larger=True, note=note(space))
    return write_figure(space, "figureS2", figure, table)


PRODUCT = Product(
    "figureS2",
    "Figure S2: adjusted R² on the last hidden layer against that on the landmarks.",
    lambda study: Needs(networks=at_rates(study)),
    write,
)
main = script("reproduce.figure_s2", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
