"""What the paper found, in sentences to stand below our figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reproduce.facts import published_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reproduce.render import Block

PREFIXES = {"te": "geo", "GTEx": "gtex"}
"""Of the facts about each part; nothing is known of the validation parts."""


def paper_sentence(part: str) -> str:
    """Say how the paper's best network did on a part; empty where that is not known."""
    if part not in PREFIXES:
        return ""
    facts, prefix = published_facts(), PREFIXES[part]
    found = [
        f"{facts[f'{prefix}_improvement_over_{key}'].value}% lower overall error than {method} "
        f"(better in {facts[f'{prefix}_share_better_than_{key}'].value}% of genes)"
        for method, key in (("LR", "lr"), ("KNN-GE", "knn_ge"))
    ]
    best = facts[f"{prefix}_best_network"]
    return f"The paper, on its own data: {best.value}, with {' and '.join(found)} ({best.source})."


def paper_note(blocks: Sequence[Block]) -> str:
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
