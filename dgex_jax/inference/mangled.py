"""Gene symbols that a spreadsheet has turned into dates: ``MARCH1`` → ``1-Mar``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
NAMES = (*MONTHS, "sept", "march", "april", "june", "july", "september", "october", "december")
DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<day>\d{{1,2}})[-. ](?P<month>{'|'.join(NAMES)})",
        rf"(?P<month>{'|'.join(NAMES)})[-. ](?P<day>\d{{1,2}})",
        r"\d{4}-(?P<month>\d\d)-(?P<day>\d\d)([ T]00:00:00)?",
    )
)
FAMILIES = {
    "mar": re.compile(r"(?:MARCHF?|MARC|MTARC)(\d+)"),
    "sep": re.compile(r"(?:SEPT|SEPTIN)(\d+)"),
    "dec": re.compile(r"(?:DEC|DELEC)(\d+)"),
}
"""Families of genes that Excel takes for dates, by their older and their present names."""

Date = tuple[str, int]
"""Month, day."""


def date_of(text: str) -> Date | None:
    """Month and day of an id that is written as a date; ``None`` for any other id."""
    for pattern in DATES:
        parts = pattern.fullmatch(text.strip())
        if parts is None:
            continue
        month = parts["month"].lower()[:3]
        if month.isdigit():
            if not 1 <= int(month) <= 12:
                continue
            month = MONTHS[int(month) - 1]
        return month, int(parts["day"])
    return None


def mangled_ids(ids: Sequence[str]) -> dict[Date, str]:
    """Give the ids that are written as dates."""
    return {date: name for name in ids if (date := date_of(name)) is not None}


def date_of_symbol(symbol: str) -> Date | None:
    """Date that a spreadsheet makes of a symbol; ``None`` if it leaves the symbol alone."""
    for month, family in FAMILIES.items():
        if parts := family.fullmatch(symbol):
            return month, int(parts[1])
    return None


def mangled_hint(missing: Sequence[str], ids: Sequence[str]) -> str:
    """Say which ids of a file are dates, and which missing symbols they may have been.

    Parameters
    ----------
    missing
        Symbols of genes that were not found.
    ids
        Ids of the file's genes.

    Returns
    -------
    str
        Text to put behind an error; empty if no id is a date.
    """
    dates = mangled_ids(ids)
    if not dates:
        return ""
    shown = ", ".join(repr(name) for name in list(dates.values())[:5])
    pairs = [
        f"{symbol} may be {dates[date]!r}"
        for symbol in missing
        if (date := date_of_symbol(symbol)) is not None and date in dates
    ]
    lost = f": {'; '.join(pairs[:5])}" if pairs else ""
    return f"; a spreadsheet has turned symbols into dates ({shown}){lost}"
