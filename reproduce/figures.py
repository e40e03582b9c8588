"""Figures 1 to 5 and S1: the numbers that are drawn, and writing them beside the picture."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import pandas as pd

from dgex_jax.config import NetworkConfig
from dgex_jax.errors import FormatError
from dgex_jax.parts import PAPER
from dgex_jax.plots.by_gene import density_table
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.scores import overall
from dgex_jax.train.pylearn2 import layer_names
from dgex_jax.train.record import ERROR, check_result, read_gene_errors
from dgex_jax.train.train import build_model
from reproduce.plots.lines import draw_architectures, draw_densities, draw_epochs
from reproduce.plots.network import draw_network, network_table
from reproduce.plots.panels import COPY_COLUMN, draw_genewise
from reproduce.plots.style import save
from reproduce.stages import make_folder
from reproduce.tables import REFERENCES, best_of, compare, data_label, holds_simulated
from reproduce.workspace import Needs, Product, at_rates, products_at, widest

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from dgex_jax.config import TrainingConfig
    from dgex_jax.parts import Parts
    from dgex_jax.prepare.study import Study
    from reproduce.workspace import Workspace

SUFFIXES = ("png", "pdf", "csv")
FIGURE1_RATES = (0.1,)


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


def best_errors(space: Workspace, part: str) -> tuple[NetworkConfig, pd.DataFrame]:
    """Return the best network of all rates, and a table of errors per gene on a part.

    It is chosen on the validation part that belongs to it. The table has a column ``target``,
    ``symbol``, ``copy_of_landmark``, one for LR and for KNN-GE, and one named as the network.
    """
    selected_on = space.study.parts.chooser_of(part)
    network = best_of(space, at_rates(space.study), selected_on)
    with open_prepared(space.prepared) as study:
        table = pd.DataFrame({"target": study.targets, "symbol": study.symbols})
    paths = {method: space.baselines / f"{method}.tsv" for method in REFERENCES}
    paths[network.name] = space.run(network) / "errors.tsv"
    errors = {name: read_gene_errors(path) for name, path in paths.items()}
    table[COPY_COLUMN] = errors[network.name].copy_of_landmark.astype(int)
    for name, one in errors.items():
        table[name] = one.mae[part]
    return network, table


def _best_network_needs(study: Study) -> Needs:
    """Need every network, to choose the best of all rates, with LR and KNN-GE beside it."""
    return Needs(methods=REFERENCES, networks=at_rates(study))


def _write_figure1(space: Workspace) -> str:
    networks = at_rates(space.study, FIGURE1_RATES)
    comparison = compare(space, networks, "te", REFERENCES)
    rows = [
        {"method": entry.method}
        | (asdict(entry.network) if entry.network else {})
        | asdict(comparison.overall(entry))
        for entry in comparison.entries
    ]
    columns = ["method", "hidden_layers", "units", "dropout", "mean", "sd"]
    table = pd.DataFrame(rows, columns=columns).astype({"hidden_layers": "Int64", "units": "Int64"})
    figure = draw_architectures(table, space.study.parts.label("te"), note(space))
    return write_figure(space, "figure1", figure, table)


def _write_figure2(space: Workspace) -> str:
    network, errors = best_errors(space, "te")
    table = density_table({name: errors[name] for name in (*REFERENCES, network.name)})
    figure = draw_densities(table, space.study.parts.label("te"), note(space))
    return write_figure(space, "figure2", figure, table)


def _genewise(parts: Parts, part: str, name: str, title: str) -> Product:
    """Return the figure of the best network against LR and KNN-GE on a part, gene by gene.

    Marked are targets that are copies of a landmark, where they repeat it: not on arrays.
    """
    label, copies = parts.label(part), parts.platform_of(part) != "array"

    def write(space: Workspace) -> str:
        network, table = best_errors(space, part)
        quantity = f"MAE on {label} (standardised units)"
        figure = draw_genewise(
            table, network.name, REFERENCES, quantity, copies=copies, note=note(space)
        )
        return write_figure(space, name, figure, table)

    told = f"{title}: the best network on {label}, gene by gene, against LR and KNN-GE."
    return Product(name, told, _best_network_needs, write)


def _figure5_networks(study: Study) -> tuple[NetworkConfig, ...]:
    return widest(study, 2, study.grid.dropout)


def _by_epoch(parts: Parts, part: str, name: str, title: str) -> Product:
    """Return the figure of the error on a part by epoch, for each dropout rate."""
    label = parts.label(part)

    def write(space: Workspace) -> str:
        networks = _figure5_networks(space.study)
        columns: dict[str, pd.Series[float]] = {}
        for network in networks:
            log = read_log(space.run(network) / "log.tsv", part)
            columns |= {"epoch": log["epoch"], f"{network.dropout:.0%}": log[f"{ERROR}{part}"]}
        table = pd.DataFrame(columns)
        table["LR"] = overall(read_gene_errors(space.baselines / "LR.tsv").mae[part]).mean
        architecture = f"D-GEX-{networks[0].units}x{networks[0].hidden_layers}"
        figure = draw_epochs(table, architecture, label, note=note(space))
        return write_figure(space, name, figure, table)

    papers = " (the paper shows its best one on 1000G-va)" if parts == PAPER else ""
    told = (
        f"{title}: overall error on {label} by epoch, for each dropout rate of the widest network "
        f"with two hidden layers{papers}."
    )
    return Product(
        name,
        told,
        lambda study: Needs(methods=("LR",), networks=_figure5_networks(study)),
        write,
    )


def read_log(path: Path, part: str) -> pd.DataFrame:
    """Read epoch (the first is 0) and error on a part from the log of a finished run.

    Raises `FormatError`: it is missing, is no log, or is not the one of its finished run.
    """
    try:
        log = pd.read_csv(path, sep="\t")[["epoch", f"{ERROR}{part}"]]
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"{path}: is no log of a run ({error})") from error
    check_result(path)
    return log


def _write_figure_s1(space: Workspace) -> str:
    grid, training = space.study.grid, space.study.training
    network = NetworkConfig(max(grid.hidden_layers), max(grid.units), max(grid.dropout))
    with open_prepared(space.prepared) as study:
        n_landmarks = study.n_landmarks
        halves = study.halves if training.halves == 2 else (slice(0, study.n_targets),)
        targets = [one.stop - one.start for one in halves]
    sizes = [layer_sizes(network, training, n_landmarks, one) for one in targets]
    table = network_table(sizes[0][0], sizes[0][1:-1], [one[-1] for one in sizes])
    return write_figure(space, "figureS1", draw_network(table, note=note(space)), table)


def layer_sizes(
    network: NetworkConfig, training: TrainingConfig, n_landmarks: int, n_targets: int
) -> list[int]:
    """Read the sizes of the layers, input and output among them, off the model's own parameters."""
    model = build_model(network, training, n_targets)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, n_landmarks)))["params"]
    kernels = [shapes[name]["kernel"].shape for name in layer_names(len(shapes))]
    return [kernels[0][0], *(int(kernel[1]) for kernel in kernels)]


def figures_of(parts: Parts) -> tuple[Product, ...]:
    """Return Figures 1 to 5 and S1 of a study with these parts."""
    tested = parts.label("te")
    return (
        Product(
            "figure1",
            f"Figure 1: overall error on {tested} by architecture, 10% dropout.",
            lambda study: Needs(methods=REFERENCES, networks=at_rates(study, FIGURE1_RATES)),
            _write_figure1,
        ),
        Product(
            "figure2",
            f"Figure 2: density of the errors per gene on {tested}.",
            _best_network_needs,
            _write_figure2,
        ),
        *products_at(parts, "te", "figure3", partial(_genewise, parts)),
        *products_at(parts, "test", "figure4", partial(_genewise, parts)),
        *products_at(parts, "test", "figure5", partial(_by_epoch, parts)),
        Product(
            "figureS1",
            "Figure S1: the architecture of the largest network.",
            lambda _study: Needs(),
            _write_figure_s1,
        ),
    )
