"""Tables 1, 2 and S2 to S5: the errors of every method, collected, laid out and written."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dgex_jax.parts import PAPER
from dgex_jax.prepare.prepared import open_prepared
from dgex_jax.scores import Overall, overall, relative_improvement, share_better
from dgex_jax.train.record import GeneErrors, read_gene_errors
from reproduce.baselines import LINCS, chosen_values, methods_of, note_on_weights
from reproduce.paper import PaperCells, paper_sentence
from reproduce.stages import make_folder
from reproduce.workspace import Needs, Product, at_rates, places, products_at
from reproduce.written import rounded_csv, write_table_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig
    from dgex_jax.parts import Parts
    from dgex_jax.prepare.study import Study
    from reproduce.workspace import Workspace

SIMULATED = (
    "**Simulated data**: these figures show that the software runs the whole path; they say "
    "nothing about biology and are not comparable with the paper's."
)
NOT_IN_PAPER = (
    "Not in the paper's tables: Mean (the mean of all profiles, 0 in standardised units) and "
    "KNN-profiles (the mean of the k profiles of {} nearest by their landmark genes)."
)
REFERENCES = ("LR", "KNN-GE")
"""The baselines whose error each network's is compared with, as in the paper's text."""

SUFFIXES = ("csv", "md", "tex")
COLUMNS = (
    "targets",
    "method",
    "hidden_layers",
    "units",
    "dropout",
    "mean",
    "sd",
    "improvement_over_LR",
    "improvement_over_KNN-GE",
    "share_better_than_LR",
    "share_better_than_KNN-GE",
    "chosen",
    "paper_name",
    "paper_mean",
    "paper_sd",
    "paper_source",
    "data",
)
GAINS = (
    "network",
    "lower error than LR by",
    "better than LR in",
    "lower error than KNN-GE by",
    "better than KNN-GE in",
)
TEX = {"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "±": r"$\pm$", "√": r"$\surd$"}
ESCAPES = str.maketrans(TEX | {"\N{MULTIPLICATION SIGN}": r"$\times$"})
LATEX_NEEDS = r"% needs \usepackage{booktabs}"


@dataclass(frozen=True)
class Entry:
    """One method's errors per gene; `network` is ``None`` for a baseline."""

    method: str
    network: NetworkConfig | None
    errors: GeneErrors


@dataclass(frozen=True)
class Comparison:
    """All methods on one part.

    - `parts`: of the study.
    - `part`: where the errors are measured, of `Parts.evaluated`.
    - `entries`: baselines first, then networks.
    - `genes`: ``(n_targets,)`` bool: the targets that count.
    """

    parts: Parts
    part: str
    entries: Sequence[Entry]
    genes: NDArray[np.bool_]

    @property
    def selected_on(self) -> str:
        """The validation part, where networks, k, lambda and epochs are chosen."""
        return self.parts.chooser_of(self.part)

    def known(self, *entries: Entry) -> NDArray[np.bool_]:
        """Those of the genes that count in which all these entries have an error."""
        errors = [entry.errors.mae[self.part] for entry in entries]
        return self.genes & ~np.isnan(errors).any(axis=0)

    def overall(self, entry: Entry, genes: NDArray[np.bool_] | None = None) -> Overall:
        """Mean and sd over the genes that count (or `genes`) in which it has an error."""
        chosen = self.known(entry) if genes is None else genes
        return overall(entry.errors.mae[self.part][chosen])

    @property
    def lowest(self) -> float:
        """The lowest overall error of methods that have one in every gene that counts."""
        return min(self.overall(entry).mean for entry in self.entries if self.is_whole(entry))

    def is_whole(self, entry: Entry) -> bool:
        """Whether an entry has an error in every gene that counts."""
        return bool((self.known(entry) == self.genes).all())

    def best_network(self) -> Entry:
        """Return the network with the lowest overall error on the validation part, all targets."""
        networks = [entry for entry in self.entries if entry.network is not None]
        return min(networks, key=lambda one: overall(one.errors.mae[self.selected_on]).mean)

    def improvement(self, entry: Entry, method: str) -> float:
        """Relative improvement of an entry over a baseline, in the genes that both have."""
        reference = self._baseline(method)
        genes = self.known(entry, reference)
        ours, theirs = (self.overall(one, genes).mean for one in (entry, reference))
        return relative_improvement(theirs, ours)

    def share_better(self, entry: Entry, method: str) -> float:
        """Share of the genes that both have in which an entry has the strictly smaller error."""
        reference = self._baseline(method)
        genes = self.known(entry, reference)
        ours, theirs = (one.errors.mae[self.part][genes] for one in (entry, reference))
        return share_better(ours, theirs)

    @property
    def rivals(self) -> tuple[str, ...]:
        """The baselines that the best network is compared with in words."""
        return (*REFERENCES, *(one.method for one in self.entries if one.method == LINCS))

    def without_copies(self) -> Comparison:
        """Return the same for the targets that are no copies of a landmark."""
        return replace(self, genes=~self.entries[0].errors.copy_of_landmark)

    def _baseline(self, method: str) -> Entry:
        return next(entry for entry in self.entries if entry.method == method)


def compare(
    space: Workspace,
    networks: Sequence[NetworkConfig],
    part: str,
    methods: Sequence[str],
) -> Comparison:
    """Read the errors of methods and networks from a workspace where all of them are there."""
    entries = [
        Entry(method, None, read_gene_errors(space.baselines / f"{method}.tsv"))
        for method in methods
    ]
    entries += [
        Entry("D-GEX", one, read_gene_errors(space.run(one) / "errors.tsv")) for one in networks
    ]
    genes = np.ones_like(entries[0].errors.copy_of_landmark)
    return Comparison(space.study.parts, part, entries, genes)


def best_of(space: Workspace, networks: Sequence[NetworkConfig], selected_on: str) -> NetworkConfig:
    """Return the network with the lowest overall error on a validation part, all targets.

    Of equal errors the first counts.
    """

    def error(network: NetworkConfig) -> float:
        mae = read_gene_errors(space.run(network) / "errors.tsv").mae[selected_on]
        return overall(mae).mean

    return min(networks, key=error)


@dataclass(frozen=True)
class Block:
    """One comparison of a table.

    - `title`: which targets count, in words.
    - `comparison`: the numbers.
    - `paper`: the published cells beside them; ``None`` where the paper has no such figures.
    """

    title: str
    comparison: Comparison
    paper: PaperCells | None


@dataclass(frozen=True)
class TableSpec:
    """One table of overall errors.

    - `part`, `name`, `title`: where errors are measured; of the files; as in the paper.
    - `rates`: the dropout rates of its networks; ``None`` for all rates of the study.
    - `paper`: the file of ``tables/paper`` with published cells of it, if there are any.
    """

    part: str
    name: str
    title: str
    rates: tuple[float, ...] | None
    paper: str | None

    def product(self, parts: Parts) -> Product:
        """Return the table as a product of a study with these parts."""
        rates = "every dropout rate" if self.rates is None else f"{self.rates[0]:.0%} dropout"

        def needs(study: Study) -> Needs:
            methods = methods_of(study, self.part)
            return Needs(methods=methods, networks=at_rates(study, self.rates))

        return Product(
            self.name,
            f"{self.title}: overall errors on {parts.label(self.part)}, D-GEX with {rates}.",
            needs,
            partial(write_table, spec=self),
        )


FORMS: dict[str, tuple[str, tuple[float, ...] | None, str | None]] = {
    "table1": ("te", (0.10,), "table1"),
    "table2": ("test", (0.25,), "table2"),
    "tableS2": ("va", None, None),
    # The complete Tables 1 and 2: their published cells stand in these as well.
    "tableS3": ("te", None, "table1"),
    "tableS4": ("validation", None, None),
    "tableS5": ("test", None, "table2"),
}
"""Table → where it is measured (`places`), rates, and its file of published cells."""


def tables_of(parts: Parts) -> dict[str, TableSpec]:
    """Return every table of a study with these parts, by name; published cells of the paper's."""
    return {
        name: TableSpec(part, name, title, rates, paper if parts == PAPER else None)
        for form, (where, rates, paper) in FORMS.items()
        for part, name, title in places(parts, where, form)
    }


def table_products(parts: Parts, form: str) -> tuple[Product, ...]:
    """Return the products of one of `FORMS`."""
    specs = tables_of(parts)
    return products_at(parts, FORMS[form][0], form, lambda _, name, __: specs[name].product(parts))


def write_table(space: Workspace, spec: TableSpec) -> str:
    """Write a table as CSV, Markdown and LaTeX; returns the Markdown."""
    study, blocks = space.study, table_blocks(space, spec)
    parts = study.parts
    caption = (
        f"{study.title}. Overall error (mean over target genes of the mean absolute error, "
        f"in standardised units) ± standard deviation over the genes, on {parts.label(spec.part)}; "
        f"epochs, k, lambda and the best network chosen on "
        f"{parts.label(parts.chooser_of(spec.part))}. "
        "Lowest error in bold."
    )
    simulated = holds_simulated(space)
    lines = preface(f"{spec.title} · study {study.name}", caption, simulated=simulated)
    for block in blocks:
        lines += [_block_markdown(block, study.grid.units), ""]
    notes = [_tuning_note(space, spec), _note_on_weights(space, blocks[0].comparison)]
    notes.append(NOT_IN_PAPER.format(parts.label("tr")))
    if parts == PAPER:
        notes += [paper_sentence(spec.part), _sources(blocks)]
    lines.append(" ".join(note for note in notes if note))
    markdown = "\n".join(lines) + "\n"
    heading = f"{spec.title}, study {study.name}. {caption}"
    make_folder(space.tables)
    write_table_files(
        space.tables,
        spec.name,
        csv=_table_csv(blocks, data_label(space)),
        md=markdown,
        tex=_table_latex(space, blocks, heading),
    )
    return markdown


def table_blocks(space: Workspace, spec: TableSpec) -> list[Block]:
    """Collect the blocks of a table: all targets, and without copies if the table has that."""
    networks = at_rates(space.study, spec.rates)
    full = compare(space, networks, spec.part, methods_of(space.study, spec.part))
    paper = PaperCells(spec.paper, space.study.grid) if spec.paper else None
    blocks = [Block(f"All {len(full.genes):,} targets", full, paper)]
    n_copies = int((~full.without_copies().genes).sum())
    # On an array they are other probes; elsewhere they repeat an input.
    copies_repeat = full.parts.platform_of(spec.part) != "array"
    if copies_repeat and 0 < n_copies < len(full.genes):
        title = f"Without the {n_copies} targets that are copies of a landmark"
        blocks.append(Block(title, full.without_copies(), None))
    return blocks


def write_plain(
    space: Workspace,
    name: str,
    table: pd.DataFrame,
    markdown: Sequence[str],
    latex: pd.DataFrame,
    caption: str,
) -> str:
    """Write a table of another kind: its numbers as CSV, its lines of Markdown, texts as LaTeX."""
    text = "\n".join(markdown) + "\n"
    tex = f"{LATEX_NEEDS}\n{_tabular(latex, caption.translate(ESCAPES))}"
    make_folder(space.tables)
    write_table_files(space.tables, name, csv=rounded_csv(table), md=text, tex=tex)
    return text


def data_label(space: Workspace) -> str:
    """Name the kind of values for a column of a table: ``simulated`` or ``measured``."""
    return "simulated" if holds_simulated(space) else "measured"


def holds_simulated(space: Workspace) -> bool:
    """Whether the values are made up, as the prepared study says (not the study file alone)."""
    with open_prepared(space.prepared) as study:
        return study.simulated


def preface(title: str, caption: str, *, simulated: bool) -> list[str]:
    """Begin a Markdown file: heading, caption, and a warning where the data are made up."""
    if not simulated:
        return [f"# {title}", "", caption, ""]
    return [f"# {title} (simulated data)", "", caption, "", SIMULATED, ""]


def markdown_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Write a table of texts as lines of Markdown."""
    head = "|".join(f" {name} " if name else " " for name in header)
    return [f"|{head}|", "|---" * len(header) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def _table_csv(blocks: Sequence[Block], data: str) -> str:
    rows = []
    for block in blocks:
        best = block.comparison.best_network()
        rows += [
            _csv_row(block, entry) | {"chosen": int(entry is best), "data": data}
            for entry in block.comparison.entries
        ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return rounded_csv(table.astype({"hidden_layers": "Int64", "units": "Int64"}))


def _csv_row(block: Block, entry: Entry) -> dict[str, object]:
    comparison, network = block.comparison, entry.network
    ours = comparison.overall(entry)
    row: dict[str, object] = {
        "targets": block.title,
        "method": entry.method,
        "mean": ours.mean,
        "sd": ours.sd,
    }
    if network is not None:
        row |= asdict(network)
        for method in REFERENCES:
            row[f"improvement_over_{method}"] = comparison.improvement(entry, method)
            row[f"share_better_than_{method}"] = comparison.share_better(entry, method)
    if block.paper is not None:
        name, cell = block.paper.find(entry.method, network)
        if cell is not None and cell.mean is not None:
            row |= {
                "paper_name": name,
                "paper_mean": cell.mean,
                "paper_sd": cell.sd,
                "paper_source": cell.source,
            }
    return row


def _block_markdown(block: Block, widths: Sequence[int]) -> str:
    """Lay one block out as the paper does, and below it how each network compares."""
    header = ["", *(f"{units} units" for units in widths)]
    lines = [
        f"### {block.title}",
        "",
        *markdown_rows(header, _layout(block, widths, bold="**{}**".format)),
        "",
        _best_sentence(block.comparison),
        "",
        *markdown_rows(GAINS, _gains(block.comparison)),
    ]
    return "\n".join(lines)


def _table_latex(space: Workspace, blocks: Sequence[Block], caption: str) -> str:
    """Write each block as two ``tabular``: the errors, and what each network gains."""
    widths = space.study.grid.units
    said = "Simulated data: not comparable with the paper's. " if holds_simulated(space) else ""
    parts = [LATEX_NEEDS]
    for block in blocks:
        title = f"{block.title}. {said}{caption}".translate(ESCAPES)
        errors = pd.DataFrame(
            _layout(block, widths, bold=r"\textbf{{{}}}".format),
            columns=["", *(f"{units} units" for units in widths)],
        )
        gained = pd.DataFrame(_gains(block.comparison), columns=list(GAINS))
        parts += [_tabular(errors, title), _tabular(gained, title.partition(".")[0] + ".")]
    return "\n".join(parts)


def _tabular(table: pd.DataFrame, caption: str) -> str:
    escaped = table.map(lambda text: text.translate(ESCAPES))
    latex: str = escaped.style.hide(axis="index").to_latex(
        column_format="l" * table.shape[1],
        hrules=True,
        caption=caption,
        position="htbp",
        position_float="centering",
    )
    return latex


def _layout(block: Block, widths: Sequence[int], bold: Callable[[str], str]) -> list[list[str]]:
    """Lay the errors out as the paper does: methods and depths down, widths across."""
    comparison = block.comparison
    smallest = comparison.lowest

    def cell(entry: Entry) -> str:
        ours = comparison.overall(entry)
        text = f"{ours.mean:.4f} ± {ours.sd:.4f}"
        if ours.mean == smallest:
            text = bold(text)
        published = block.paper.find(entry.method, entry.network)[1] if block.paper else None
        return f"{text} (paper {published.mean:.4f})" if published and published.mean else text

    rows: list[list[str]] = []
    by_depth: dict[str, list[str]] = {}
    for entry in comparison.entries:
        if entry.network is None:
            rows.append([entry.method, cell(entry)] + [""] * (len(widths) - 1))
            continue
        depth = entry.network.hidden_layers
        family = entry.network.name.rpartition("-")[0]
        label = f"{family}, {depth} hidden layer{'s' if depth > 1 else ''}"
        by_depth.setdefault(label, [label]).append(cell(entry))
    return rows + list(by_depth.values())


def _gains(comparison: Comparison) -> list[list[str]]:
    """List for each network what it gains over LR and over KNN-GE, and in how many genes."""
    rows = []
    for entry in comparison.entries:
        if entry.network is not None:
            row = [entry.network.name]
            for method in REFERENCES:
                row.append(f"{comparison.improvement(entry, method):.2%}")
                row.append(f"{comparison.share_better(entry, method):.2%}")
            rows.append(row)
    return rows


def _best_sentence(comparison: Comparison) -> str:
    best = comparison.best_network()
    if best.network is None:
        raise AssertionError("the best network is a network")
    parts = []
    for method in comparison.rivals:
        gain = comparison.improvement(best, method)
        word = "lower" if gain >= 0 else "higher"
        share = comparison.share_better(best, method)
        parts.append(
            f"{abs(gain):.2%} {word} overall error than {method} (better in {share:.2%} of genes)"
        )
    return (
        f"Network chosen on {comparison.parts.label(comparison.selected_on)}: "
        f"{best.network.name}, with {', '.join(parts[:-1])} and {parts[-1]} on "
        f"{comparison.parts.label(comparison.part)}."
    )


def _sources(blocks: Sequence[Block]) -> str:
    """Say where the published cells come from, or that none is known."""
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


def _tuning_note(space: Workspace, spec: TableSpec) -> str:
    """Say which k and lambda count in a table, and which lie at an edge of their grid."""
    sentences = []
    for method, by_part in chosen_values(space).items():
        chosen = by_part[space.study.parts.chooser_of(spec.part)]
        name = "lambda" if "lambda" in chosen else "k"
        edge = ", at the edge of its grid" if chosen["at_edge"] else ""
        sentences.append(f"{method}: {name} = {chosen[name]:g}{edge}.")
    return " ".join(sentences)


def _note_on_weights(space: Workspace, comparison: Comparison) -> str:
    """Say what LINCS' weights are measured on, and in how many targets."""
    said = [note_on_weights(space)] if space.study.baselines.weights is not None else []
    for entry in comparison.entries:
        if entry.method == LINCS:
            known, every = int(comparison.known(entry).sum()), len(comparison.genes)
            alone = "" if known == every else ", compared in these alone"
            said.append(f"{LINCS}: {known:,} of {every:,} targets{alone}.")
    return " ".join(said)
