"""Figure 1 of the paper for one study: ``python -m reproduce.figure1 --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pandas as pd

from reproduce.commandline import script
from reproduce.comparison import compare
from reproduce.figures import note, write_figure
from reproduce.networks import at_rates
from reproduce.plots.architectures import draw
from reproduce.product import Needs, Product

if TYPE_CHECKING:
    from dgex_jax.data.study import Study
    from reproduce.workspace import Workspace

METHODS = ("LR", "KNN-GE")
RATES = (0.1,)


def needs(study: Study) -> Needs:
    """Need what Table 1 shows, as far as it is drawn."""
    return Needs(methods=METHODS, networks=at_rates(study, RATES))


def write(space: Workspace) -> str:
    """Write the figure."""
    comparison = compare(space, at_rates(space.study, RATES), "te", "va", METHODS)
    table = pd.DataFrame(
        [
            {
                "method": entry.method,
                "hidden_layers": entry.network.hidden_layers if entry.network else None,
                "units": entry.network.units if entry.network else None,
                "dropout": entry.network.dropout if entry.network else None,
                "mean": comparison.overall(entry).mean,
                "sd": comparison.overall(entry).sd,
            }
            for entry in comparison.entries
        ]
    ).astype({"hidden_layers": "Int64", "units": "Int64"})
    return write_figure(space, "figure1", draw(table, "GEO-te", note(space)), table)


PRODUCT = Product(
    "figure1", "Figure 1: overall error on GEO-te by architecture, 10% dropout.", needs, write
)
main = script("reproduce.figure1", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
