"""A comparison as CSV (one line a method) and as Markdown (the paper's layout)."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reproduce.comparison import Comparison, Entry
    from reproduce.papercells import PaperCells

PART_NAMES = {"va": "GEO-va", "te": "GEO-te", "1000G": "1000G-va", "GTEx": "GTEx-te"}

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
    """Lay one block out as the paper does: baselines, then depths (down) by widths (across)."""
    comparison = block.comparison
    smallest = min(comparison.overall(entry).mean for entry in comparison.entries)

    def cell(entry: Entry) -> str:
        ours = comparison.overall(entry)
        text = f"{ours.mean:.4f} ± {ours.sd:.4f}"
        if ours.mean == smallest:
            text = f"**{text}**"
        published = block.paper.find(entry.method, entry.network)[1] if block.paper else None
        return f"{text} (paper {published.mean:.4f})" if published and published.mean else text

    lines = [
        f"### {block.title}",
        "",
        f"| | {' | '.join(f'{units} units' for units in widths)} |",
        "|---" * (len(widths) + 1) + "|",
    ]
    by_shape: dict[int, list[Entry]] = {}
    for entry in comparison.entries:
        if entry.network is None:
            lines.append(f"| {entry.method} | {cell(entry)} |" + " |" * (len(widths) - 1))
        else:
            by_shape.setdefault(entry.network.hidden_layers, []).append(entry)
    for layers, entries in by_shape.items():
        label = f"D-GEX-{entries[0].network.dropout:.0%}" if entries[0].network else ""
        depth = f"{layers} hidden layer{'s' if layers > 1 else ''}"
        lines.append(f"| {label}, {depth} | {' | '.join(map(cell, entries))} |")
    return "\n".join([*lines, "", _best_sentence(comparison)])


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
