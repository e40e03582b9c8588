"""The weight hubs of a one-layer network: ``python -m reproduce.weight_hubs --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reproduce.commandline import script
from reproduce.hubs import IN_SD, OUT_SD, hub_analysis
from reproduce.networks import hub_network
from reproduce.product import Needs, Product
from reproduce.render import markdown_rows
from reproduce.renderlatex import plain_latex
from reproduce.simulated import data_label, preface
from reproduce.tables import write_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.analysis.weight_hubs import WeightHubs
    from reproduce.hubs import HubAnalysis
    from reproduce.workspace import Workspace

GENES_SHOWN = 8
DEGREES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def write_weight_hubs(space: Workspace) -> str:
    """Write every hub with its genes (CSV) and what the weights show (Markdown, LaTeX)."""
    analysis = hub_analysis(space)
    figures = observed(analysis.found)
    title = f"Weight hubs, study {space.study.name}"
    caption = (
        f"{space.study.title}. {analysis.network.name}, first half of the targets, weights best on "
        f"GEO-va. Kept: input weights more than {IN_SD:g} standard deviations from the mean of "
        f"their input unit, output weights more than {OUT_SD:g} from that of their output unit. "
        "Hubs: the 1% of hidden units with the most kept output connections, at least 5."
    )
    lines = preface(space, title, caption)
    lines += markdown_rows(["figure", "here", "the paper's words (section 3.3)"], figures)
    lines += [
        "",
        *markdown_rows(SPREAD_COLUMNS, spread(analysis.found)),
    ]
    if analysis.found.hubs:
        lines += ["", *markdown_rows(HUB_COLUMNS, shown_hubs(analysis))]
        lines += ["", f"Genes: the {GENES_SHOWN} with the largest weights; all of them in the CSV."]
    else:
        lines += ["", nothing_kept(analysis)]
    markdown = "\n".join(lines) + "\n"
    write_texts(
        space.tables,
        "weight_hubs",
        csv=hub_table(analysis)
        .assign(data=data_label(space))
        .to_csv(index=False, lineterminator="\n"),
        md=markdown,
        tex=plain_latex(
            pd.DataFrame(figures, columns=["figure", "here", "the paper"]), f"{title}. {caption}"
        ),
    )
    return markdown


def nothing_kept(analysis: HubAnalysis) -> str:
    """Say why there is no hub and no map."""
    return (
        f"No output weight lies more than {OUT_SD:g} standard deviations from its mean: there are "
        f"no hubs. (Of {analysis.network.units} weights none can lie further than "
        f"{np.sqrt(analysis.network.units - 1):.1f}.)"
    )


def observed(found: WeightHubs) -> list[list[str]]:
    """List the figures that test what the paper observed."""

    def share(value: float | None) -> str:
        return "(empty: nothing is kept)" if value is None else f"{value:.1%}"

    n_in, n_out = found.kept_in.size, found.kept_out.size
    return [
        ["input weights kept", f"{found.n_kept_in:,} of {n_in:,}", "“so sparse”"],
        ["output weights kept", f"{found.n_kept_out:,} of {n_out:,}", "“similar patterns”"],
        ["landmarks with a kept connection", share(found.share_landmarks_connected), "“most”"],
        ["targets with a kept connection", share(found.share_targets_connected), "“most”"],
        [
            "hidden units without any",
            share(found.share_units_unconnected),
            "“only a sparse number” have connections",
        ],
        [
            f"output connections held by the hubs ({len(found.hubs)})",
            share(found.share_held_by_hubs),
            "“dominated by a few hidden units”",
        ],
        [
            "hubs with output connections of one sign",
            share(found.share_hubs_of_one_sign),
            "“lots of the hub units”",
        ],
    ]


def spread(found: WeightHubs) -> list[list[str]]:
    """Count hidden units by their degree."""
    rows = []
    for low, high in zip(DEGREES, [*DEGREES[1:], None], strict=True):

        def count(degree: NDArray[np.intp], low: int = low, high: int | None = high) -> int:
            inside = degree >= low
            return int((inside if high is None else inside & (degree < high)).sum())

        name = f"{low}+" if high is None else f"{low}" if high == low + 1 else f"{low}-{high - 1}"
        counts = [count(found.in_degree), count(found.out_degree)]
        rows.append([name, *(f"{one}" for one in counts)])
    while rows and rows[-1][1:] == ["0", "0"]:
        rows.pop()
    return rows


SPREAD_COLUMNS = ("kept connections", "hidden units by input", "hidden units by output")

HUB_COLUMNS = (
    "hub (hidden unit)",
    "output connections",
    "positive",
    "input connections",
    "landmark genes",
    "target genes",
)


def hub_table(analysis: HubAnalysis) -> pd.DataFrame:
    """Return a row a hub, with all its genes, those of the largest weights first."""
    return pd.DataFrame(
        [
            {
                "unit": hub.unit,
                "output_connections": hub.out_degree,
                "share_positive": hub.share_positive,
                "of_one_sign": int(hub.of_one_sign),
                "input_connections": hub.in_degree,
                "landmark_genes": ";".join(analysis.landmarks[int(g)] for g in hub.landmarks),
                "target_genes": ";".join(analysis.targets[int(g)] for g in hub.targets),
            }
            for hub in analysis.found.hubs
        ],
        columns=[
            "unit",
            "output_connections",
            "share_positive",
            "of_one_sign",
            "input_connections",
            "landmark_genes",
            "target_genes",
        ],
    )


def shown_hubs(analysis: HubAnalysis) -> list[list[str]]:
    """List the hubs for reading: the genes with the largest weights alone."""

    def shown(genes: str) -> str:
        names = genes.split(";") if genes else []
        more = len(names) - GENES_SHOWN
        return ", ".join(names[:GENES_SHOWN]) + (f" and {more} more" if more > 0 else "")

    return [
        [
            f"{hub['unit']}",
            f"{hub['output_connections']}",
            f"{hub['share_positive']:.1%}",
            f"{hub['input_connections']}",
            shown(str(hub["landmark_genes"])),
            shown(str(hub["target_genes"])),
        ]
        for hub in hub_table(analysis).to_dict("records")
    ]


PRODUCT = Product(
    "weight-hubs",
    "Weight hubs: the major weights of a network with one hidden layer.",
    lambda study: Needs(networks=(hub_network(study),)),
    write_weight_hubs,
)
main = script("reproduce.weight_hubs", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
