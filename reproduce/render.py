"""A comparison as CSV (one line a method) and as Markdown (the paper's layout)."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgex_jax.config import PART_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reproduce.comparison import Comparison, Entry
    from reproduce.papercells import PaperCells

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


@dataclass(frozen=True)
class Block:
    """One comparison of a table.

    Attributes
    ----------
    title
        Which targets count, in words.
    comparison
        The numbers.
    paper
        The published cells beside them; ``None`` where the paper has no such figures.
    """

    title: str
    comparison: Comparison
    paper: PaperCells | None


def table_csv(blocks: Sequence[Block], data: str) -> str:
    """Write all blocks below one header; `data` says what the expression values are."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for block in blocks:
        best = block.comparison.best_network()
        for entry in block.comparison.entries:
            writer.writerow(_csv_row(block, entry, is_chosen=entry is best) | {"data": data})
    return text.getvalue()


def _csv_row(block: Block, entry: Entry, *, is_chosen: bool) -> dict[str, object]:
    comparison, network = block.comparison, entry.network
    ours = comparison.overall(entry)
    row: dict[str, object] = {
        "targets": block.title,
        "method": entry.method,
        "mean": repr(ours.mean),
        "sd": repr(ours.sd),
        "chosen": int(is_chosen),
    }
    if network is not None:
        row |= {
            "hidden_layers": network.hidden_layers,
            "units": network.units,
            "dropout": network.dropout,
        }
        for method in ("LR", "KNN-GE"):
            row[f"improvement_over_{method}"] = repr(comparison.improvement(entry, method))
            row[f"share_better_than_{method}"] = repr(comparison.share_better(entry, method))
    if block.paper is not None:
        name, cell = block.paper.find(entry.method, network)
        if cell is not None and cell.mean is not None:
            row |= {
                "paper_name": name,
                "paper_mean": cell.mean,
                "paper_sd": "" if cell.sd is None else cell.sd,
                "paper_source": cell.source,
            }
    return row


def block_markdown(block: Block, widths: Sequence[int]) -> str:
    """Lay one block out as the paper does, and below it how each network compares."""
    header = ["", *(f"{units} units" for units in widths)]
    lines = [
        f"### {block.title}",
        "",
        *markdown_rows(header, layout(block, widths, bold="**{}**".format)),
        "",
        _best_sentence(block.comparison),
        "",
        *markdown_rows(GAINS, gains(block.comparison)),
    ]
    return "\n".join(lines)


def markdown_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Write a table of texts as lines of Markdown."""
    head = "|".join(f" {name} " if name else " " for name in header)
    return [f"|{head}|", "|---" * len(header) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


GAINS = (
    "network",
    "lower error than LR by",
    "better than LR in",
    "lower error than KNN-GE by",
    "better than KNN-GE in",
)


def layout(
    block: Block, widths: Sequence[int], bold: Callable[[str], str], plus_minus: str = " ± "
) -> list[list[str]]:
    """Lay the errors out as the paper does: methods and depths down, widths across.

    Returns
    -------
    list
        Rows: the label and a cell for each width. `bold` marks the lowest error.
    """
    comparison = block.comparison
    smallest = min(comparison.overall(entry).mean for entry in comparison.entries)

    def cell(entry: Entry) -> str:
        ours = comparison.overall(entry)
        text = f"{ours.mean:.4f}{plus_minus}{ours.sd:.4f}"
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


def gains(comparison: Comparison) -> list[list[str]]:
    """List for each network what it gains over LR and over KNN-GE, and in how many genes."""
    return [
        [
            entry.network.name,
            *(
                text
                for method in ("LR", "KNN-GE")
                for text in (
                    f"{comparison.improvement(entry, method):.2%}",
                    f"{comparison.share_better(entry, method):.2%}",
                )
            ),
        ]
        for entry in comparison.entries
        if entry.network is not None
    ]


def _best_sentence(comparison: Comparison) -> str:
    best = comparison.best_network()
    if best.network is None:
        raise AssertionError("the best network is a network")
    parts = []
    for method in ("LR", "KNN-GE"):
        gain = comparison.improvement(best, method)
        word = "lower" if gain >= 0 else "higher"
        share = comparison.share_better(best, method)
        parts.append(
            f"{abs(gain):.2%} {word} overall error than {method} (better in {share:.2%} of genes)"
        )
    return (
        f"Network chosen on {PART_NAMES[comparison.selected_on]}: {best.network.name}, with "
        f"{' and '.join(parts)} on {PART_NAMES[comparison.part]}."
    )
