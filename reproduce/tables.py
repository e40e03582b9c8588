"""Tables 1, 2 and S2 to S5: what is in them, and writing them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from dgex_jax.config import PART_NAMES
from dgex_jax.formats.atomic import atomic_path
from reproduce.baselines import METHODS, chosen_values
from reproduce.comparison import compare
from reproduce.networks import at_rates
from reproduce.papercells import PaperCells
from reproduce.papernotes import paper_note, paper_sentence
from reproduce.product import Needs, Product
from reproduce.render import Block, block_markdown, table_csv
from reproduce.renderlatex import table_latex
from reproduce.simulated import data_label, holds_simulated, preface
from reproduce.stages import make_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dgex_jax.data.study import Study
    from reproduce.workspace import Workspace


@dataclass(frozen=True)
class TableSpec:
    """One table of overall errors.

    Attributes
    ----------
    name
        Of the files.
    title
        As in the paper.
    part, selected_on
        Where errors are measured, and where epochs, k, lambda and the best network are chosen.
    rates
        The dropout rates of its networks; ``None`` for all rates of the study.
    without_copies
        Whether a second block leaves out the targets that are copies of a landmark.
    paper
        The file of ``tables/paper`` with published cells of it.
    """

    name: str
    title: str
    part: str
    selected_on: str
    rates: tuple[float, ...] | None
    without_copies: bool
    paper: str | None

    @property
    def description(self) -> str:
        """The table in a line."""
        rates = "every dropout rate" if self.rates is None else f"{self.rates[0]:.0%} dropout"
        return f"{self.title}: overall errors on {PART_NAMES[self.part]}, D-GEX with {rates}."


TABLES = {
    spec.name: spec
    for spec in (
        TableSpec("table1", "Table 1", "te", "va", (0.10,), False, "table1"),
        TableSpec("table2", "Table 2", "GTEx", "1000G", (0.25,), True, "table2"),
        TableSpec("tableS2", "Table S2", "va", "va", None, False, None),
        # The complete Tables 1 and 2: their published cells stand in these as well.
        TableSpec("tableS3", "Table S3", "te", "va", None, False, "table1"),
        TableSpec("tableS4", "Table S4", "1000G", "1000G", None, True, None),
        TableSpec("tableS5", "Table S5", "GTEx", "1000G", None, True, "table2"),
    )
}


def table_product(name: str) -> Product:
    """Return the product of one of `TABLES`."""
    spec = TABLES[name]

    def needs(study: Study) -> Needs:
        return Needs(methods=METHODS, networks=at_rates(study, spec.rates))

    return Product(name, spec.description, needs, partial(write_table, spec=spec))


def write_table(space: Workspace, spec: TableSpec) -> str:
    """Write a table as CSV, Markdown and LaTeX; returns the Markdown."""
    blocks = table_blocks(space, spec)
    simulated = holds_simulated(space)
    markdown = table_markdown(space, spec, blocks)
    heading = f"{spec.title}, study {space.study.name}. {caption(space, spec)}"
    write_texts(
        space.tables,
        spec.name,
        csv=table_csv(blocks, data_label(space)),
        md=markdown,
        tex=table_latex(blocks, space.study.grid.units, heading, simulated=simulated),
    )
    return markdown


def write_texts(folder: Path, name: str, **texts: str) -> None:
    """Write the forms of one table, each atomically; the keyword is the suffix."""
    make_folder(folder)
    for suffix, text in texts.items():
        with atomic_path(folder / f"{name}.{suffix}") as temporary:
            temporary.write_text(text, encoding="utf-8")


def table_blocks(space: Workspace, spec: TableSpec) -> list[Block]:
    """Collect the blocks of a table: all targets, and without copies if the table has that."""
    networks = at_rates(space.study, spec.rates)
    full = compare(space, networks, spec.part, spec.selected_on)
    paper = PaperCells(spec.paper, space.study.grid) if spec.paper else None
    blocks = [Block(f"All {len(full.genes):,} targets", full, paper)]
    n_copies = int((~full.without_copies().genes).sum())
    if spec.without_copies and 0 < n_copies < len(full.genes):
        title = f"Without the {n_copies} targets that are copies of a landmark"
        blocks.append(Block(title, full.without_copies(), None))
    return blocks


def caption(space: Workspace, spec: TableSpec) -> str:
    """Say what the figures of a table are."""
    return (
        f"{space.study.title}. Overall error (mean over target genes of the mean absolute error, "
        f"in standardised units) ± standard deviation over the genes, on {PART_NAMES[spec.part]}; "
        f"epochs, k, lambda and the best network chosen on {PART_NAMES[spec.selected_on]}. "
        "Lowest error in bold."
    )


def table_markdown(space: Workspace, spec: TableSpec, blocks: Sequence[Block]) -> str:
    """Write a table with what a reader must know to judge it."""
    study = space.study
    lines = preface(space, f"{spec.title} · study {study.name}", caption(space, spec))
    for block in blocks:
        lines += [block_markdown(block, study.grid.units), ""]
    notes = [tuning_note(space, spec), NOT_IN_PAPER, paper_sentence(spec.part), paper_note(blocks)]
    lines.append(" ".join(note for note in notes if note))
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
