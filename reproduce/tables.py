"""Tables 1 and 2: what is in them, and writing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgex_jax.data.prepared import open_prepared
from dgex_jax.formats.atomic import atomic_path
from reproduce.baselines import chosen_values
from reproduce.comparison import compare
from reproduce.grid import complete
from reproduce.papercells import PaperCells
from reproduce.render import PART_NAMES, Block, block_markdown, table_csv
from reproduce.stages import make_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reproduce.options import Options
    from reproduce.workspace import Workspace


@dataclass(frozen=True)
class TableSpec:
    """One table of the paper.

    Attributes
    ----------
    name
        Of the files, and of the published cells.
    title
        As in the paper.
    part, selected_on
        Where errors are measured, and where epochs, k, lambda and the best network are chosen.
    dropout
        The rate of its networks.
    without_copies
        Whether a second block leaves out the targets that are copies of a landmark.
    """

    name: str
    title: str
    part: str
    selected_on: str
    dropout: float
    without_copies: bool


TABLE1 = TableSpec("table1", "Table 1", "te", "va", 0.10, without_copies=False)
TABLE2 = TableSpec("table2", "Table 2", "GTEx", "1000G", 0.25, without_copies=True)


def make_tables(
    space: Workspace,
    specs: Sequence[TableSpec],
    options: Options,
    rates: Sequence[float] = (),
) -> None:
    """Train what is needed and not trained yet, write each table and show it.

    `rates` are dropout rates to train beside those of the tables.
    """
    complete(space, sorted({*(spec.dropout for spec in specs), *rates}), options)
    for spec in specs:
        print()
        print(write_table(space, spec))


def write_table(space: Workspace, spec: TableSpec) -> str:
    """Write a table as CSV and Markdown; returns the Markdown."""
    blocks = table_blocks(space, spec)
    data = "simulated" if holds_simulated(space) else "measured"
    csv, markdown = table_csv(blocks, data), table_markdown(space, spec, blocks)
    make_folder(space.tables)
    for suffix, text in (("csv", csv), ("md", markdown)):
        with atomic_path(space.tables / f"{spec.name}.{suffix}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    return markdown


def table_blocks(space: Workspace, spec: TableSpec) -> list[Block]:
    """Collect the blocks of a table: all targets, and without copies if the table has that."""
    full = compare(space, spec.dropout, spec.part, spec.selected_on, with_copies=True)
    n_copies = int(full.entries[0].errors.copy_of_landmark.sum())
    paper = PaperCells(spec.name, space.study.grid)
    blocks = [Block(f"All {len(full.genes):,} targets", full, paper)]
    if spec.without_copies:
        fewer = compare(space, spec.dropout, spec.part, spec.selected_on, with_copies=False)
        title = f"Without the {n_copies} targets that are copies of a landmark"
        if fewer.genes.any():
            blocks.append(Block(title, fewer, None))
    return blocks


def holds_simulated(space: Workspace) -> bool:
    """Whether the values are made up, as the prepared study says (not the study file alone)."""
    with open_prepared(space.prepared) as study:
        return study.simulated


SIMULATED = (
    "**Simulated data**: these figures show that the software runs the whole path; they say "
    "nothing about biology and are not comparable with the paper's."
)


def table_markdown(space: Workspace, spec: TableSpec, blocks: Sequence[Block]) -> str:
    """Write a table with what a reader must know to judge it."""
    study = space.study
    simulated = holds_simulated(space)
    label = " (simulated data)" if simulated else ""
    caption = (
        f"{study.title}. Overall error (mean over target genes of the mean absolute error, in "
        f"standardised units) ± standard deviation over the genes, on {PART_NAMES[spec.part]}; "
        f"epochs, k, lambda and the best network chosen on {PART_NAMES[spec.selected_on]}. "
        "Lowest error in bold."
    )
    lines = [f"# {spec.title} · study {study.name}{label}", "", caption, ""]
    if simulated:
        lines += [SIMULATED, ""]
    for block in blocks:
        lines += [block_markdown(block, study.grid.units), ""]
    lines.append(f"{tuning_note(space, spec)} {NOT_IN_PAPER} {paper_note(blocks)}")
    return "\n".join(lines) + "\n"


NOT_IN_PAPER = (
    "Not in the paper's tables: Mean (the mean of all profiles, 0 in standardised units) and "
    "KNN-profiles (the mean of the k profiles of GEO-tr nearest by their landmark genes)."
)


def tuning_note(space: Workspace, spec: TableSpec) -> str:
    """Say which k and lambda count in a table, and which lie at an edge of their grid."""
    sentences = []
    for method, by_part in chosen_values(space).items():
        chosen = by_part[spec.selected_on]
        name = "lambda" if "lambda" in chosen else "k"
        edge = ", at the edge of its grid" if chosen["at_edge"] else ""
        sentences.append(f"{method}: {name} = {chosen[name]:g}{edge}.")
    return " ".join(sentences)


def paper_note(blocks: Sequence[Block]) -> str:
    """Say where the paper's values come from, or that none is known."""
    if any(
        cell is not None and cell.mean is not None
        for block in blocks
        if block.paper
        for entry in block.comparison.entries
        for cell in [block.paper.find(entry.method, entry.network)[1]]
    ):
        return (
            "“paper”: the published value of the network of the same rank in depth and width, on "
            "the paper's own data (sources in tables/paper)."
        )
    return "No cell of the paper's table is known here (tables/paper)."
