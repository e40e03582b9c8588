"""Tables, figures and analyses of a study, ready to stand in its report."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from matplotlib.image import imread

from dgex_jax.errors import FormatError
from dgex_jax.formats.access import one_line
from reproduce.figures import SUFFIXES as FIGURE_SUFFIXES
from reproduce.plots.style import DPI
from reproduce.products import FIGURES
from reproduce.reporting.markup import to_html

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reproduce.product import Product
    from reproduce.workspace import Workspace

TABLE_SUFFIXES = ("md", "csv", "tex")
PIXELS_PER_INCH = 120
"""On the screen: the 96 of CSS would leave a figure's text of 7 points hard to read."""


@dataclass(frozen=True)
class Image:
    """A picture inside the report: a ``data:`` address and its size in CSS pixels."""

    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Exhibit:
    """One product as the report shows it.

    Attributes
    ----------
    name
        Of the product; the report's anchor.
    title
        In a line, without the full stop.
    html
        Tables and text; empty for a figure.
    image
        The picture; ``None`` for a table, and for a figure that was not drawn.
    reason
        Why a figure was not drawn.
    links
        File name and relative address of each file with the same content.
    """

    name: str
    title: str
    html: str = ""
    image: Image | None = None
    reason: str = ""
    links: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """The short name, as in ``Table 1``: the title up to its colon, comma or "of"."""
        return re.split(r":|,| of ", self.title, maxsplit=1)[0]


def exhibit(space: Workspace, product: Product, text: str) -> Exhibit:
    """Make the exhibit of a product that was made.

    Parameters
    ----------
    space
        The study, its files written.
    product
        Which.
    text
        What the product returned to show.

    Raises
    ------
    FormatError
        A file of it is missing, or its picture is damaged.
    """
    title = product.title.rstrip(".")
    stem = product.name.replace("-", "_")
    if product not in FIGURES:
        links = _links(space, space.tables / stem, TABLE_SUFFIXES)
        return Exhibit(product.name, title, html=to_html(text, title), links=links)
    start, _, reason = text.partition(": not drawn: ")
    if start == product.name and reason:
        return Exhibit(product.name, title, reason=reason)
    links = _links(space, space.figures / stem, FIGURE_SUFFIXES)
    image = read_image(space.figures / f"{stem}.png")
    return Exhibit(product.name, title, image=image, links=links)


def exhibits(
    space: Workspace, products: tuple[Product, ...], texts: Mapping[str, str]
) -> list[Exhibit]:
    """Make the exhibits of those products that were made, in order."""
    return [exhibit(space, one, texts[one.name]) for one in products if one.name in texts]


def read_image(path: Path) -> Image:
    """Read a PNG of `DPI` dots to an inch, the bytes as they are.

    Raises
    ------
    FormatError
        It is missing or damaged.
    """
    try:
        data = path.read_bytes()
        height, width = imread(path, format="png").shape[:2]
    # Pillow calls a file that is no PNG a SyntaxError.
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise FormatError(f"{path}: can't be read as PNG: {one_line(error)}") from error
    return Image(
        f"data:image/png;base64,{b64encode(data).decode()}",
        round(width * PIXELS_PER_INCH / DPI),
        round(height * PIXELS_PER_INCH / DPI),
    )


def _links(space: Workspace, stem: Path, suffixes: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found = []
    for suffix in suffixes:
        path = stem.with_name(f"{stem.name}.{suffix}")
        if not path.is_file():
            raise FormatError(f"{path}: is missing, so that the report can't name it")
        relative = os.path.relpath(path, space.results).replace(os.sep, "/")
        found.append((path.name, quote(relative)))
    return tuple(found)
