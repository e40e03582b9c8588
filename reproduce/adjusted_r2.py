"""Adjusted R² of the raw landmarks and of the last hidden layer: ``--help`` tells more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pandas as pd

from reproduce.commandline import script
from reproduce.facts import published_facts
from reproduce.networks import at_rates
from reproduce.nonlinearity import HIDDEN, LANDMARKS, nonlinearity
from reproduce.product import Needs, Product
from reproduce.render import markdown_rows
from reproduce.renderlatex import plain_latex
from reproduce.simulated import data_label, preface
from reproduce.tables import write_texts

if TYPE_CHECKING:
    from dgex_jax.analysis.adjusted_r2 import Comparison
    from reproduce.workspace import Workspace


def write_adjusted_r2(space: Workspace) -> str:
    """Write the numbers of every target (CSV) and what they say (Markdown, LaTeX)."""
    found = nonlinearity(space)
    comparison, table = found.comparison, found.by_target
    reasons = "; ".join(dict.fromkeys(found.reasons.values()))
    paper = published_facts()["adjusted_r2_share_larger"]

    def share(one: Comparison) -> str:
        return f"{one.share:.2%}" if one.share is not None else f"(empty: {reasons})"

    def median(name: str) -> str:
        return f"{table[name].median():.4f}" if table[name].notna().any() else f"(empty: {reasons})"

    rows = [
        ["network (the best on GEO-va)", found.network.name],
        *([name, f"{value:,}"] for name, value in found.sizes.items()),
        ["median adjusted R² on the landmarks", median(LANDMARKS)],
        ["median adjusted R² on the last hidden layer", median(HIDDEN)],
        ["targets compared", f"{comparison.n_compared:,} of {comparison.n_targets:,}"],
        ["targets with a larger adjusted R² on the last hidden layer", share(comparison)],
        ["control: the same with initial, untrained weights", share(found.control)],
        ["the paper, on its own data", f"{paper.value}% ({paper.source}: {paper.note})"],
    ]
    title = f"Adjusted R² on GEO-tr, study {space.study.name}"
    caption = (
        f"{space.study.title}. Least squares with intercept of every target gene on the raw "
        "landmark genes, and on the activations of the last hidden layer of each half's own best "
        "network, no dropout; p is the rank of the centred design."
    )
    lines = preface(space, title, caption)
    lines += markdown_rows(["", ""], rows)
    markdown = "\n".join(lines) + "\n"
    write_texts(
        space.tables,
        "adjusted_r2",
        csv=table.assign(data=data_label(space)).to_csv(index=False, lineterminator="\n"),
        md=markdown,
        tex=plain_latex(pd.DataFrame(rows, columns=["", "value"]), f"{title}. {caption}"),
    )
    return markdown


PRODUCT = Product(
    "adjusted-r2",
    "Adjusted R² of every target gene on the landmarks and on the last hidden layer.",
    lambda study: Needs(networks=at_rates(study)),
    write_adjusted_r2,
)
main = script("reproduce.adjusted_r2", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
