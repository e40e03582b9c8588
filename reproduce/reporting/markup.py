"""Markdown of tables and analyses as HTML for the report."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markdown_it.token import Token

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMERIC = re.compile(r"(?:[-+]?\d\S*(?: ± \d\S*)?(?: \(\S+\)| \(paper \S+\)| of \d\S*)?)?")
"""A cell that is a number, a share, a count, or nothing: it is never broken over lines."""

DEEPEST = 4


@cache
def parser() -> MarkdownIt:
    """Return the parser: tables, no HTML of the text's own, and no images, which load files."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def to_html(markdown: str, label: str) -> str:
    """Turn the Markdown of one product into HTML that stands below a heading of level 3.

    The first heading is left out, since the report has its own; others become level 4. Tables lie
    in containers that scroll by themselves, and columns of numbers are set as such.

    Parameters
    ----------
    markdown
        The text. HTML in it is shown, not obeyed.
    label
        What the tables are of, for those who can't see them.
    """
    tokens = parser().parse(markdown)
    if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1":
        tokens = tokens[3:]
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{DEEPEST}"
    return str(parser().renderer.render(_contained(tokens, label), parser().options, {}))


def _contained(tokens: Sequence[Token], label: str) -> list[Token]:
    """Put every table in a container, and mark its cells."""
    result: list[Token] = []
    start = 0
    for token in tokens:
        if token.type == "table_open":
            start = len(result)
            box = Token("scroll_open", "div", 1, block=True)
            # Reached by keyboard, or else what lies to the right can't be.
            box.attrs = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": label}
            result.append(box)
        result.append(token)
        if token.type == "table_close":
            result[start:] = _marked(result[start:])
            result.append(Token("scroll_close", "div", -1, block=True))
    return result


def _marked(tokens: list[Token]) -> list[Token]:
    """Mark headers of columns and rows, and columns of numbers; leave out a header of nothing."""
    rows: list[list[int]] = []
    for place, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(place)
    texts = [[tokens[place + 1].content.replace("**", "") for place in row] for row in rows]
    columns = list(zip(*texts[1:], strict=True)) or [()] * len(texts[0])
    looks = [[] if number == 0 else _look(column) for number, column in enumerate(columns)]
    for number, row in enumerate(rows):
        for column, place in enumerate(row):
            # A header without text would be read out as one.
            header = bool(texts[number][column]) and (number == 0 or column == 0)
            tokens[place].tag = tokens[place + 2].tag = "th" if header else "td"
            if header:
                tokens[place].attrs["scope"] = "col" if number == 0 else "row"
            short = ["short"] if number == 0 and " " not in texts[0][column] else []
            if classes := " ".join([*looks[column], *short]):
                tokens[place].attrs["class"] = classes
    if any(texts[0]):
        return tokens
    kinds = [token.type for token in tokens]
    return tokens[: kinds.index("thead_open")] + tokens[kinds.index("thead_close") + 1 :]


def _look(cells: Sequence[str]) -> list[str]:
    """Name the classes of a column's cells."""
    if not any(cells) or not all(map(NUMERIC.fullmatch, cells)):
        return []
    return ["number"] if any(" " in cell for cell in cells) else ["number", "right"]
