"""Hypothesis strategies of what valid files hold. The tests are the same every time."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.fuzz.tables import BOM, Table

if TYPE_CHECKING:
    from pathlib import Path

QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""For `make test`; `tests/stress/fuzz.py` is for the large numbers."""

LETTERS = st.characters(codec="utf-8", exclude_characters="\t\n\r\0", exclude_categories=["Cs"])
ODD = (
    "NA",
    "nan",
    "-666",
    '"a"',
    "a,b",
    "'",
    "#1.2",
    " a",
    "1e5",
    "\ufeffx",
    "\x85",
    "\u2028",
    "é",
)
TEXT = st.one_of(st.sampled_from(ODD), st.text(LETTERS, min_size=1, max_size=12))
"""Ids and annotation as text formats hold them."""

DOUBLES = st.floats(allow_nan=False, allow_infinity=True).filter(lambda x: x != -666)
SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=True).filter(lambda x: x != -666)
SPECIAL = (0.0, -0.0, 1e-300, 5e-324, 1.7976931348623157e308, 123456789012345.0, 0.1 + 0.2, -1.0)


def unpadded(text: str) -> bool:
    """Whether HDF5's padding leaves a text as it is."""
    return not text.endswith(" ")


def stripped(text: str) -> bool:
    """Whether white space around an id is none of it."""
    return text == text.strip() and text != ""


@st.composite
def expression(
    draw: Any, ids: Any = TEXT, numbers: Any = DOUBLES, fields: Any = TEXT, gaps: bool = True
) -> Table:
    """One profile or several, one gene or several; fields of text for both."""
    profiles = draw(st.lists(ids, min_size=1, max_size=4, unique=True))
    genes = draw(st.lists(ids, min_size=1, max_size=5, unique=True))
    cell = st.one_of(numbers, st.sampled_from(SPECIAL)) if numbers is DOUBLES else numbers
    if gaps:
        cell = st.one_of(cell, st.just(float("nan")))
    n = len(profiles) * len(genes)
    values = np.array(draw(st.lists(cell, min_size=n, max_size=n)))
    return Table(
        tuple(profiles),
        tuple(genes),
        values.reshape(len(profiles), len(genes)),
        draw(annotation(len(profiles), fields)),
        draw(annotation(len(genes), fields)),
    )


def annotation(n: int, texts: Any) -> Any:
    """Up to two fields of text."""
    names = st.sampled_from(["symbol", "a b", "dose µM", "Description", "x,y"])
    return st.dictionaries(names, st.lists(texts, min_size=n, max_size=n), max_size=2)


@st.composite
def dress(draw: Any) -> tuple[bool, bool, bool, bool]:
    """Whether a text has Windows line ends, a byte order mark, an end, and is inside gzip."""
    return tuple(draw(st.booleans()) for _ in range(4))


def put(path: Path, content: bytes, dressing: tuple[bool, bool, bool, bool]) -> Path:
    """Write a text, dressed."""
    windows, mark, ended, packed = dressing
    if not ended:
        content = content.removesuffix(b"\n")
    if windows:
        content = content.replace(b"\n", b"\r\n")
    if mark:
        content = BOM + content
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


@st.composite
def gene_map(draw: Any) -> list[tuple[str, str, list[str]]]:
    """Genes with one probe or several."""
    plain = TEXT.filter(stripped)
    ids = draw(st.lists(plain, min_size=1, max_size=6, unique=True))
    probe = plain.filter(lambda text: "," not in text)
    probes = st.lists(probe, min_size=1, max_size=4, unique=True)
    return [(draw(plain), gene, draw(probes)) for gene in ids]
