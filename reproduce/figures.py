"""Writing a figure, and the errors that several figures are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from dgex_jax.config import PART_NAMES
from dgex_jax.data.prepared import open_prepared
from dgex_jax.training.geneerrors import read_gene_errors
from reproduce.comparison import best_of
from reproduce.networks import at_rates
from reproduce.plots.genewise import COPY_COLUMN, draw
from reproduce.plots.style import save
from reproduce.product import Needs, Product
from reproduce.simulated import data_label, holds_simulated
from reproduce.stages import make_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from dgex_jax.config import NetworkConfig
    from dgex_jax.data.study import Study
    from reproduce.workspace import Workspace

SUFFIXES = ("png", "pdf", "csv")


def write_figure(space: Workspace, name: str, figure: Figure, table: pd.DataFrame) -> str:
    """Write a figure as PNG and PDF, and its numbers as CSV; returns what to show."""
    make_folder(space.figures)
    save(figure, table.assign(data=data_label(space)), space.figures, name)
    return f"{space.figures / name}.png (.pdf, .csv)"


def leave_out(space: Workspace, name: str, reason: str) -> str:
    """Remove an older figure where there is none to draw; returns what to show."""
    for suffix in SUFFIXES:
        (space.figures / f"{name}.{suffix}").unlink(missing_ok=True)
    return f"{name}: not drawn: {reason}"


def note(space: Workspace) -> str | None:
    """Return the stamp of a figure of made-up values."""
    return "simulated data" if holds_simulated(space) else None


def best_network_needs(study: Study) -> Needs:
    """Need every network, to choose the best of all rates, with LR and KNN-GE beside it."""
    return Needs(methods=("LR", "KNN-GE"), networks=at_rates(study))


def best_errors(
    space: Workspace, part: str, selected_on: str, methods: Sequence[str] = ("LR", "KNN-GE")
) -> tuple[NetworkConfig, pd.DataFrame]:
    """Return the best network of all rates, and a table of errors per gene.

    The table has a column ``target``, ``symbol``, ``copy_of_landmark``, one for each method, and
    one named as the network.
    """
    network = best_of(space, at_rates(space.study), selected_on)
    with open_prepared(space.prepared) as study:
        table = pd.DataFrame({"target": study.targets, "symbol": study.symbols})
    paths = {method: space.baselines / f"{method}.tsv" for method in methods}
    paths[network.name] = space.run(network) / "errors.tsv"
    errors = {name: read_gene_errors(path) for name, path in paths.items()}
    table[COPY_COLUMN] = errors[network.name].copy_of_landmark.astype(int)
    for name, one in errors.items():
        table[name] = one.mae[part]
    return network, table


def genewise_product(name: str, part: str, selected_on: str, *, copies: bool) -> Product:
    """Return the figure of the best network against LR and KNN-GE on a part, gene by gene.

    `copies` marks the targets that are copies of a landmark, which matter on RNA-seq.
    """

    def write(space: Workspace) -> str:
        network, table = best_errors(space, part, selected_on)
        quantity = f"MAE on {PART_NAMES[part]} (standardised units)"
        figure = draw(
            table, network.name, ("LR", "KNN-GE"), quantity, copies=copies, note=note(space)
        )
        return write_figure(space, name, figure, table)

    title = (
        f"{name.replace('figure', 'Figure ')}: the best network on {PART_NAMES[part]}, gene by "
        "gene, against LR and KNN-GE."
    )
    return Product(name, title, best_network_needs, write)
