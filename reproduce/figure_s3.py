"""Figure S3 of the paper for one study: ``python -m reproduce.figure_s3 --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reproduce.commandline import script
from reproduce.figures import leave_out, note, write_figure
from reproduce.hubs import hub_analysis
from reproduce.networks import hub_network
from reproduce.plots.weight_map import draw
from reproduce.product import Needs, Product

if TYPE_CHECKING:
    from reproduce.workspace import Workspace


def write(space: Workspace) -> str:
    """Write the map, where any weight is kept."""
    analysis = hub_analysis(space)
    table = analysis.connections()
    if table.empty:
        return leave_out(
            space, "figureS3", f"no weight of {analysis.network.name} lies far enough from its mean"
        )
    n_landmarks, n_hidden = analysis.W_in.shape
    hubs = [hub.unit for hub in analysis.found.hubs]
    n_targets = analysis.W_out.shape[1]
    figure = draw(table, n_landmarks, n_hidden, n_targets, hubs, note(space))
    return write_figure(space, "figureS3", figure, table)


PRODUCT = Product(
    "figureS3",
    "Figure S3: the map of the major weights.",
    lambda study: Needs(networks=(hub_network(study),)),
    write,
)
main = script("reproduce.figure_s3", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
