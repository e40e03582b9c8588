"""The table of sources: what each file is, where it is, and what is known of it."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Format = Literal["gctx", "gctx.gz", "gct", "geuvadis", "gene map"]


@dataclass(frozen=True)
class Source:
    """A file of the paper's data.

    Attributes
    ----------
    name
        What commands call it.
    what
        What it holds, in one line.
    file
        Its name in a user's folder.
    format
        What its first bytes must say, whatever its name.
    kind
        ``https``: fetched from `url`. ``by hand``: only had on request.
    url
        The file, or for one by hand the place it is kept at.
    max_size
        Bytes at which fetching it stops.
    size, about
        Bytes: exactly, or as published and rounded. 0 if not known.
    sha256
        Empty if not known.
    role
        Its key in ``[files]`` of the paper's study; empty if it has none.
    profiles, genes
        Expected; 0 if not known.
    shape_from
        What says so.
    how
        How one by hand is had: a sentence that begins with its name.
    note
        Under which terms.
    """

    name: str
    what: str
    file: str
    format: Format
    kind: Literal["https", "by hand"]
    url: str
    max_size: int
    size: int = 0
    about: int = 0
    sha256: str = ""
    role: str = ""
    profiles: int = 0
    genes: int = 0
    shape_from: str = ""
    how: str = ""
    note: str = ""

    @property
    def by_hand(self) -> bool:
        """Whether it can't be fetched."""
        return self.kind == "by hand"

    @property
    def unpacked(self) -> str:
        """Name of the file when a user has unpacked it; the same where it is not packed."""
        return self.file.removesuffix(".gz")


@cache
def read_sources() -> tuple[Source, ...]:
    """Read the table that comes with the package."""
    text = files(__package__).joinpath("sources.toml").read_text(encoding="utf-8")
    return tuple(Source(**entry) for entry in tomllib.loads(text)["source"])


def find_sources(names: Sequence[str], sources: Sequence[Source]) -> list[Source]:
    """Give the sources of some names, each once.

    Raises
    ------
    DgexError
        A name that is none (the nearest is named).
    """
    known = {source.name: source for source in sources}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise DgexError(
                f"{name!r} is no source; the nearest is {near!r} (dgex download --list has all)"
            )
    return [known[name] for name in dict.fromkeys(names)]


def refuse_by_hand(sources: Sequence[Source], folder: Path) -> None:
    """Raise `DgexError` with how to get it, if one of some files can't be fetched."""
    for source in sources:
        if source.by_hand:
            raise DgexError(
                f"{source.name} {source.how}; put {source.file} into {folder}, then "
                f"dgex download --check {folder}"
            )


def shown_size(n_bytes: int) -> str:
    """Write a size as people do: ``86.6 MB``."""
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:,.1f} {name}"
    return f"{n_bytes:,} bytes"


def list_lines(sources: Sequence[Source]) -> list[str]:
    """Say of each source all that is known of it."""
    lines = []
    for source in sources:
        size = f"about {shown_size(source.about)}" if source.about else "size not known"
        if source.size:
            size = f"{source.size:,} bytes"
        checksum = f"sha256 {source.sha256}" if source.sha256 else "sha256 not published"
        place = source.how if source.by_hand else f"fetched from {source.url}"
        lines += [
            f"{source.name}: {source.what}",
            *(f"    {line}" for line in (source.file, f"{size}; {checksum}", place, source.note)),
        ]
    return [*lines, "The addresses are as published; the tests of this package reach none of them."]
