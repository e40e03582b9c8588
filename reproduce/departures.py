"""Departures from the original, measured: ``python -m reproduce.departures --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pandas as pd

from dgex_jax.analysis.errors import overall
from dgex_jax.config import EVALUATED, PART_NAMES
from reproduce.commandline import script
from reproduce.product import Needs, Product
from reproduce.render import markdown_rows
from reproduce.renderlatex import plain_latex
from reproduce.simulated import data_label, preface
from reproduce.tables import write_texts
from reproduce.variants import (
    DEPARTURES,
    departure_needs,
    departure_network,
    departures_of,
    measured_departures,
)

if TYPE_CHECKING:
    from dgex_jax.data.study import Study
    from reproduce.workspace import Workspace


def write_departures(space: Workspace) -> str:
    """Write the table as CSV, Markdown and LaTeX; returns the Markdown."""
    measured = measured_departures(space)
    network = departure_network(space.study)
    overalls = {
        one.name: {part: overall(one.errors[part]).mean for part in EVALUATED} for one in measured
    }
    default = overalls["default"]
    rows, texts = [], []
    for one in measured:
        ours = overalls[one.name]
        departure = DEPARTURES.get(one.name)
        option = departure.option if departure else ""
        changes = departure.changes if departure else "the study as it is"
        rows.append(
            {"departure": one.name, "option": option.replace("`", ""), "changes": changes}
            | {PART_NAMES[part]: repr(ours[part]) for part in EVALUATED}
            | {"data": data_label(space)}
        )
        texts.append([changes, option, *(_cell(ours[p], default[p]) for p in EVALUATED)])
    header = ["what changes", "option", *(PART_NAMES[part] for part in EVALUATED)]
    title = f"Departures from the original, study {space.study.name}"
    caption = (
        f"{space.study.title}. Overall error (mean absolute error in standardised units) of "
        f"{network.name}, in brackets the difference from the study as it is. Scaling on GEO-tr "
        "alone changes the units the errors are measured in."
    )
    lines = preface(space, title, caption)
    lines += markdown_rows(header, texts)
    markdown = "\n".join(lines) + "\n"
    plain = pd.DataFrame([[cell.replace("`", "") for cell in row] for row in texts], columns=header)
    write_texts(
        space.tables,
        "departures",
        csv=pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"),
        md=markdown,
        tex=plain_latex(plain, f"{title}. {caption}"),
    )
    return markdown


def _cell(ours: float, default: float) -> str:
    return f"{ours:.4f}" if ours == default else f"{ours:.4f} ({ours - default:+.4f})"


def needs(study: Study) -> Needs:
    """Need the default network and a way to each departure."""
    return departure_needs(study) | Needs(departures=departures_of(study))


PRODUCT = Product(
    "departures",
    "Departures from the original, each measured with one network.",
    needs,
    write_departures,
)
main = script("reproduce.departures", PRODUCT)

if __name__ == "__main__":
    sys.exit(main())
