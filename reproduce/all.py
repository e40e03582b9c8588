"""All tables, figures and analyses of one study: ``python -m reproduce.all --help``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reproduce.commandline import fulfil, possible, run_script, show_plan
from reproduce.manifest import make_product, record_report
from reproduce.products import ANALYSES, FIGURES, TABLES
from reproduce.reporting.report import write_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reproduce.options import Options
    from reproduce.workspace import Workspace

SHOWN = ("table1", "table2")
"""The main results are shown, last of all; the others are written."""


def make(space: Workspace, options: Options, *, dry: bool) -> None:
    """Make everything that the study's networks allow, and the report of it."""
    products, needs, left_out = possible((*TABLES, *FIGURES, *ANALYSES), space)
    if dry:
        show_plan(space, needs)
        return
    fulfil(space, needs, options)
    texts = {product.name: make_product(space, product) for product in products}
    report = write_report(space, [product.name for product in products], texts, left_out)
    record_report(space, report, products, needs)
    for name in SHOWN:
        if name in texts:
            print(f"\n{texts[name]}")
    for text in texts.values():
        if "not drawn" in text:
            print(text)
    print(f"tables: {space.tables}\nfigures: {space.figures}\nreport: {report}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make everything."""
    return run_script(
        "reproduce.all",
        "Everything the paper shows, for one study: from raw files to tables, figures, analyses "
        "and a report.",
        make,
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
