"""A table of overall errors as LaTeX (with the packages booktabs and inputenc)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reproduce.render import GAINS, gains, layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reproduce.render import Block

TEX = {"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "±": r"$\pm$", "√": r"$\surd$"}
ESCAPES = str.maketrans(TEX | {"\N{MULTIPLICATION SIGN}": r"$\times$"})

NEEDS = r"% needs \usepackage{booktabs}"


def table_latex(
    blocks: Sequence[Block], widths: Sequence[int], caption: str, *, simulated: bool
) -> str:
    """Write each block as two ``tabular``: the errors, and what each network gains."""
    said = "Simulated data: not comparable with the paper's. " if simulated else ""
    parts = [NEEDS]
    for block in blocks:
        title = f"{block.title}. {said}{caption}".translate(ESCAPES)
        errors = pd.DataFrame(
            layout(block, widths, bold=r"\textbf{{{}}}".format),
            columns=["", *(f"{units} units" for units in widths)],
        )
        gained = pd.DataFrame(gains(block.comparison), columns=list(GAINS))
        parts += [_tabular(errors, title), _tabular(gained, title.partition(".")[0] + ".")]
    return "\n".join(parts)


def plain_latex(table: pd.DataFrame, caption: str) -> str:
    """Write a table of texts as one ``tabular``."""
    return NEEDS + "\n" + _tabular(table, caption.translate(ESCAPES))


def _tabular(table: pd.DataFrame, caption: str) -> str:
    escaped = table.map(lambda text: text.translate(ESCAPES))
    style = escaped.style.hide(axis="index")
    latex: str = style.to_latex(
        column_format="l" * table.shape[1],
        hrules=True,
        caption=caption,
        position="htbp",
        position_float="centering",
    )
    return latex
