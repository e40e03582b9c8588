"""Products made with a record of what they wrote, and of what (`steprecord`)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dgex_jax.training.record import DONE
from reproduce.baselines import METHODS
from reproduce.figures import SUFFIXES as FIGURE_SUFFIXES
from reproduce.reporting.repeat import read_study_file
from reproduce.steprecord import inputs_of, write_step
from reproduce.variants import departure_network, departure_space

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reproduce.product import Needs, Product
    from reproduce.workspace import Workspace

TABLE_SUFFIXES = ("csv", "md", "tex")
RUN_INPUTS = (DONE, "errors.tsv", "log.tsv")
PRECISION = "float64"
"""Of tables and figures: they are computed of the numbers in text files."""


def make_product(space: Workspace, product: Product) -> str:
    """Make a product, and write down what it wrote and of what; returns what to show."""
    # As they are now: what changes while it is made counts as changed.
    inputs = inputs_of(space, paths_needed(space, product.needs(space.study)))
    text = product.make(space)
    write_step(space, product.name, files_of(space, product), inputs, PRECISION)
    return text


def record_report(
    space: Workspace, report: Path, products: Sequence[Product], needs: Needs
) -> None:
    """Write down what a report was made of: its exhibits, the runs, the study file."""
    paths = [path for product in products for path in files_of(space, product)]
    inputs = inputs_of(space, [*paths, *paths_needed(space, needs)])
    study = hashlib.sha256(read_study_file(space.path).encode()).hexdigest()
    # Where it lies is nobody's business, so it has a name alone.
    inputs["study file"] = {"name": space.path.name, "sha256": study}
    write_step(space, "report", [report], inputs, PRECISION)


def files_of(space: Workspace, product: Product) -> list[Path]:
    """List the files of a product; a figure that was not drawn has none."""
    is_figure = product.name.startswith("figure")
    folder, suffixes = (
        (space.figures, FIGURE_SUFFIXES) if is_figure else (space.tables, TABLE_SUFFIXES)
    )
    stem = product.name.replace("-", "_")
    paths = [folder / f"{stem}.{suffix}" for suffix in suffixes]
    return [path for path in paths if path.is_file()]


def paths_needed(space: Workspace, needs: Needs) -> list[Path]:
    """List what a product with such needs may read.

    Of a run its weights are left out, which are large: ``done.json`` has their checksum.
    """
    paths = [space.prepared] if needs.prepared else []
    paths += [space.baselines / f"{method}.tsv" for method in needs.methods]
    if set(METHODS) <= set(needs.methods):
        # What was tuned is said below a table of all methods.
        paths.append(space.baselines / "chosen.json")
    folders = [space.run(network) for network in needs.networks]
    folders += [
        departure_space(space, name).run(departure_network(space.study))
        for name in needs.departures
    ]
    return paths + [folder / name for folder in folders for name in RUN_INPUTS]
