"""Every product in the order of the paper; each is made with a record of what it wrote."""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import TYPE_CHECKING

from dgex_jax.train.record import DONE
from reproduce import analyses, figures, variants
from reproduce.baselines import METHODS
from reproduce.settings import TABLE_S1
from reproduce.sources import read_study_file
from reproduce.stages import inputs_of, write_step
from reproduce.tables import FORMS, SUFFIXES, table_products
from reproduce.variants import departure_network, departure_space

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dgex_jax.parts import Parts
    from reproduce.workspace import Needs, Product, Workspace

RUN_INPUTS = (DONE, "errors.tsv", "log.tsv")
PRECISION = "float64"
"""Of tables and figures: they are computed of the numbers in text files."""


def groups_of(parts: Parts) -> dict[str, tuple[Product, ...]]:
    """Return every product of a study with these parts: ``tables``, ``figures``, ``analyses``."""
    tables = [table_products(parts, form) for form in FORMS]
    return {
        "tables": tuple(chain(*tables[:2], [TABLE_S1], *tables[2:])),
        "figures": (*figures.figures_of(parts), *analyses.FIGURES),
        "analyses": (*analyses.ANALYSES, variants.PRODUCT),
    }


def products_of(parts: Parts, target: str = "") -> list[Product]:
    """Return every product of a study with these parts, or those of one of the targets."""
    every = [one for group in groups_of(parts).values() for one in group]
    return [one for one in every if target in ("", one.target)]


def make_product(space: Workspace, product: Product) -> str:
    """Make a product, and write down what it wrote and of what; returns what to show."""
    # As they are now: what changes while it is made counts as changed.
    inputs = inputs_of(space, _paths_needed(space, product.needs(space.study)))
    text = product.make(space)
    write_step(space, product.name, files_of(space, product), inputs, PRECISION)
    return text


def record_report(
    space: Workspace, report: Path, products: Sequence[Product], needs: Needs
) -> None:
    """Write down what a report was made of: its exhibits, the runs, the study file."""
    paths = [path for product in products for path in files_of(space, product)]
    inputs = inputs_of(space, [*paths, *_paths_needed(space, needs)])
    study = hashlib.sha256(read_study_file(space.path).encode()).hexdigest()
    # Where it lies is nobody's business, so it has a name alone.
    inputs["study file"] = {"name": space.path.name, "sha256": study}
    write_step(space, "report", [report], inputs, PRECISION)


def is_drawn(product: Product) -> bool:
    """Whether a product is a figure."""
    return product.name.startswith("figure")


def files_of(space: Workspace, product: Product) -> list[Path]:
    """List the files of a product, which are not there for a figure that was not drawn."""
    folder, suffixes = space.tables, SUFFIXES
    if is_drawn(product):
        folder, suffixes = space.figures, figures.SUFFIXES
    # Names of sets stay as they are.
    stem = product.name if product.of else product.name.replace("-", "_")
    return [folder / f"{stem}.{suffix}" for suffix in suffixes]


def _paths_needed(space: Workspace, needs: Needs) -> list[Path]:
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
