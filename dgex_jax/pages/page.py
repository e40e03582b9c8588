"""A page: its template filled in, its tables and its pictures inside, and where it may go.

Whatever is shown is escaped, and nothing is loaded from elsewhere: the page's own policy forbids
it, as it does any script but ours.
"""

from __future__ import annotations

import io
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax import __version__
from dgex_jax.errors import DgexError
from dgex_jax.io.files import atomic_path, final_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jinja2 import Environment
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

TEMPLATES = Path(__file__).parent / "templates"
ENDING = ".html"
PIXELS_PER_INCH = 120
"""On the screen: the 96 of CSS would leave a figure's text of 7 points hard to read."""
HEIGHT = 2.4
"""Of a picture, in inches."""
FIRST = 25
"""Rows of a long table that are shown at a time, and all that a browser without scripts shows."""
MADE_UP = (
    "The expression values that this model was trained on are made up. Its errors say how it does "
    "on data of a known mechanism, nothing about biology."
)
EXPECTED_ERROR = "expected error"
"""Title of the column that genes are sorted by."""
SIMULATED = ("Simulated data", MADE_UP)
"""Heading and text of the banner."""


def environment(*folders: Path) -> Environment:
    """Return jinja2's environment of the templates in `folders` and of those that pages share."""
    _check_extra("a page")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 (optional)

    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["thousands"] = "{:,}".format
    made.globals["version"] = __version__
    return made


def render(template: str, content: dict[str, Any]) -> str:
    """Fill in one of the templates here, with the script that makes long tables searchable."""
    text = (TEMPLATES / "table.js").read_text(encoding="utf-8")
    source = b64encode(sha256(text.encode()).digest()).decode()
    script = {"text": text, "source": f"sha256-{source}"}
    return environment().get_template(template).render({**content, "script": script})


def check_page(page: Path, *others: Path) -> None:
    """Check where a page shall go, before the work that it tells of.

    Raises `DgexError` for a name that does not end in ``.html``, a place that is no file in a
    folder that is there, one of `others` (a file that is read; a folder that must hold nothing
    else), or a package that is missing.
    """
    _check_extra(page)
    if page.suffix != ENDING:
        raise DgexError(f"{page}: a page's name ends in {ENDING}")
    place = final_place(page)
    if not place.parent.is_dir():
        raise DgexError(f"{page}: can't be written: not a file in a folder that is there")
    for other in others:
        if other.is_dir() and other.resolve() in place.parents:
            raise DgexError(f"{page}: lies in {other}, which must hold nothing else")
        if place.exists() and other.exists() and place.samefile(other):
            raise DgexError(f"{page}: is the input, not to be overwritten")


@contextmanager
def written_page(page: Path) -> Iterator[Callable[[str], None]]:
    """Give what writes a page's text; the page appears when the block succeeds.

    Its place is taken first: what can't be written is known before the work. Raises `DgexError`.
    """
    with atomic_path(page) as temporary:

        def write(text: str) -> None:
            temporary.write_text(text, encoding="utf-8", newline="\n")

        yield write


def _check_extra(what: object) -> None:
    missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
    if missing:
        raise DgexError(f'{what}: needs {missing[0]}: pip install "dgex-jax[report]"')


# Pictures


@dataclass(frozen=True)
class Image:
    """A picture inside a page: a ``data:`` address and its size in CSS pixels."""

    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """A picture, what it shows for those who can't see it, and what stands below it."""

    image: Image
    alt: str
    caption: str


def picture(draw: Callable[[Axes], object], alt: str, caption: str) -> Picture:
    """Draw on new axes, in the style of all figures: the same numbers give the same bytes."""
    from matplotlib import rc_context  # noqa: PLC0415 (optional)
    from matplotlib.figure import Figure  # noqa: PLC0415

    from dgex_jax.plots.style import SINGLE_COLUMN, in_style  # noqa: PLC0415

    held = io.BytesIO()
    with in_style(), rc_context({"svg.hashsalt": "dgex", "svg.fonttype": "path"}):
        figure = Figure(figsize=(SINGLE_COLUMN, HEIGHT), layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(held, format="svg", metadata={"Date": None})
    address = f"data:image/svg+xml;base64,{b64encode(held.getvalue()).decode()}"
    size = (round(inches * PIXELS_PER_INCH) for inches in (SINGLE_COLUMN, HEIGHT))
    return Picture(Image(address, *size), alt, caption)


# Tables


@dataclass(frozen=True)
class Head:
    """A column: its title; of numbers (aligned to the right), of checksums, or else of text.

    `digits` behind the decimal point are those of numbers in a `LongTable`, ``None`` of text.
    """

    title: str
    number: bool = False
    hash: bool = False
    digits: int | None = None


@dataclass(frozen=True)
class Table:
    """A table of texts; `label` says what it is of, for those who can't see it."""

    label: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[str]]


def table(label: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Make a table of text; a title that begins with ``#`` is that of numbers, ``=`` of sums."""
    kinds = {"#": {"number": True}, "=": {"hash": True}}
    made = [Head(one.lstrip("#="), **kinds.get(one[:1], {})) for one in heads]
    return Table(label, made, rows)


@dataclass(frozen=True)
class LongTable:
    """A table that is searched, sorted and leafed through; its rows are sorted by `sorted_by`.

    Cells are texts, and numbers or ``None`` in columns with digits. `noun` is what the rows are.
    Rows that are `low`, called `below`, can be looked at alone, and so can the others, `above`.
    """

    label: str
    hint: str
    noun: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[str | float | None]]
    sorted_by: int
    low: Sequence[bool] = ()
    below: str = ""
    above: str = ""
    descending: bool = False

    @property
    def first(self) -> list[list[str]]:
        """The cells that are there without scripts."""
        return [
            [_written(cell, head) for cell, head in zip(row, self.heads, strict=True)]
            for row in self.rows[:FIRST]
        ]

    @property
    def shown(self) -> str:
        """Say how many these are."""
        return f"1 to {min(FIRST, len(self.rows)):,} of {len(self.rows):,} {self.noun}"

    @property
    def data(self) -> dict[str, Any]:
        """All of it, as JSON values; numbers as they are written."""
        digits = [head.digits for head in self.heads]
        return {
            "heads": [asdict(one) for one in self.heads],
            "rows": [
                [_rounded(*one) for one in zip(row, digits, strict=True)] for row in self.rows
            ],
            "size": FIRST,
            "noun": self.noun,
            "sorted": self.sorted_by,
            "sign": -1 if self.descending else 1,
            "low": list(self.low),
        }


def genes_by_error(
    label: str,
    noun: str,
    columns: Mapping[Head, Sequence[Any] | NDArray[Any]],
    errors: NDArray[np.float64] | None,
    limit: float,
) -> LongTable:
    """Make a table of genes, those of the smallest `errors` first; below `limit` one is trusted."""
    n = len(next(iter(columns.values())))
    order = np.arange(n) if errors is None else np.argsort(errors, kind="stable")
    cells = [np.array(one, dtype=object)[order].tolist() for one in columns.values()]
    titles = [head.title for head in columns]
    return LongTable(
        label,
        "symbol or id",
        noun,
        list(columns),
        list(zip(*cells, strict=True)),
        titles.index(EXPECTED_ERROR) if EXPECTED_ERROR in titles else 0,
        () if errors is None else (errors[order] < limit).tolist(),
        f"to trust: below {limit:g}",
        f"the others: {limit:g} or more",
    )


def number(value: float | None, digits: int = 4) -> str:
    """Write a number with so many digits; nothing for none, and for NaN."""
    return "" if value is None or value != value else f"{value:.{digits}f}"  # noqa: PLR0124


def _written(cell: Any, head: Head) -> str:
    return str(cell or "") if head.digits is None else number(cell, head.digits)


def _rounded(cell: Any, digits: int | None) -> Any:
    if digits is None:
        return cell
    written = number(cell, digits)
    return float(written) if written else None
