"""``SHA256SUMS``: the checksums of what was fetched, in the form of the program sha256sum."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError
from dgex_jax.formats.lines import read_lines, write_lines
from dgex_jax.locks import locked

if TYPE_CHECKING:
    from pathlib import Path

NAME = "SHA256SUMS"
LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


def read_sums(folder: Path) -> dict[str, str]:
    """Read the checksums of a folder, by file name; none where there is no such file.

    Raises
    ------
    FormatError
        A line that is none of sha256sum's, or two for one file.
    """
    path = folder / NAME
    sums: dict[str, str] = {}
    if not path.exists():
        return sums
    for number, raw in read_lines(path) if path.stat().st_size else ():
        found = LINE.fullmatch(raw.decode(errors="replace"))
        if found is None:
            raise FormatError(f"{path}: line {number}: is not a sha256, two spaces and a name")
        if sums.setdefault(found[2], found[1].lower()) != found[1].lower():
            raise FormatError(f"{path}: line {number}: another sha256 of {found[2]!r}")
    return sums


def add_sum(folder: Path, name: str, sha256: str) -> None:
    """Note the checksum of a file, whatever was noted of it before."""
    with locked(folder / NAME):
        sums = {**read_sums(folder), name: sha256}
        write_lines(folder / NAME, (f"{value}  {file}\n" for file, value in sums.items()))
