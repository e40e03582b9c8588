"""Figure 5 of the paper for one study: ``python -m reproduce.figure5 --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pandas as pd

from dgex_jax.analysis.errors import overall
from dgex_jax.errors import FormatError
from dgex_jax.training.geneerrors import read_gene_errors
from dgex_jax.training.record import check_result
from reproduce.commandline import script
from reproduce.figures import note, write_figure
from reproduce.networks import widest
from reproduce.plots.epochs import draw
from reproduce.product import Needs, Product

if TYPE_CHECKING:
    from pathlib import Path

    from dgex_jax.config import NetworkConfig
    from dgex_jax.data.study import Study
    from reproduce.workspace import Workspace

HIDDEN_LAYERS = 2


def networks(study: Study) -> tuple[NetworkConfig, ...]:
    """Return the widest network of two hidden layers at every rate of the study."""
    return widest(study, HIDDEN_LAYERS, study.grid.dropout)


def write(space: Workspace) -> str:
    """Write the figure."""
    columns: dict[str, pd.Series[float]] = {}
    for network in networks(space.study):
        log = read_log(space.run(network) / "log.tsv")
        columns |= {"epoch": log["epoch"], f"{network.dropout:g}": log["MAE_GTEx"]}
    table = pd.DataFrame(columns).rename(
        columns={f"{one.dropout:g}": f"{one.dropout:.0%}" for one in networks(space.study)}
    )
    table["LR"] = overall(read_gene_errors(space.baselines / "LR.tsv").mae["GTEx"]).mean
    name = f"D-GEX-{network.units}x{network.hidden_layers}"
    return write_figure(space, "figure5", draw(table, name, "GTEx-te", note=note(space)), table)


def read_log(path: Path) -> pd.DataFrame:
    """Read the log of a run.

    Raises
    ------
    FormatError
        It is missing, is no log, or is not the one of its finished run.
    """
    try:
        log = pd.read_csv(path, sep="\t")[["epoch", "MAE_GTEx"]]
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"{path}: is no log of a run ({error})") from error
    check_result(path)
    return log


PRODUCT = Product(
    "figure5",
    "Figure 5: overall error on GTEx-te by epoch, for each dropout rate of one architecture.",
    lambda study: Needs(methods=("LR",), networks=networks(study)),
    write,
)
main = script("reproduce.figure5", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
