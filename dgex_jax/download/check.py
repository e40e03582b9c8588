"""What of the paper's data is in a folder, and whether it is sound."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dgex_jax.data.genemap import read_gene_map
from dgex_jax.data.progress import Progress
from dgex_jax.download.content import look_into
from dgex_jax.download.sums import read_sums
from dgex_jax.errors import DgexError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dgex_jax.data.genemap import GeneMap
    from dgex_jax.download.sources import Source

MEGABYTE = 10**6
ROLES = ("geo", "gtex", "1000g", "landmarks", "targets")


@dataclass(frozen=True)
class Finding:
    """What was found of one source.

    Attributes
    ----------
    source
        Which.
    state
        Of its file.
    text
        One line, without the name.
    """

    source: Source
    state: Literal["missing", "sound", "not sound"]
    text: str

    @property
    def line(self) -> str:
        """The finding in one line."""
        return f"{self.state:9s} {self.source.name}: {self.text}"


def place_of(source: Source, folder: Path) -> Path | None:
    """Where a source is in a folder, as fetched or unpacked; ``None`` if it isn't."""
    places = (folder / name for name in dict.fromkeys((source.file, source.unpacked)))
    return next((place for place in places if place.exists()), None)


def check_folder(
    folder: Path, sources: Sequence[Source], progress: Progress | None = None
) -> Iterator[Finding]:
    """Look at each file of some sources that is in a folder; nothing is written.

    Parameters
    ----------
    folder, sources
        Where, and what may be there.
    progress
        Told of every megabyte read for a checksum (default: nobody is).

    Yields
    ------
    Finding
        One for each source, as soon as it is known.

    Raises
    ------
    DgexError
        No such folder, none of the files in it, or a ``SHA256SUMS`` that can't be read.
    """
    if not folder.is_dir():
        raise DgexError(f"{folder}: no such folder")
    if all(place_of(source, folder) is None for source in sources):
        raise DgexError(f"{folder}: has none of the files that dgex download --list names")
    sums = read_sums(folder)
    maps = _maps(folder, sources)
    for source in sources:
        path = place_of(source, folder)
        if path is None:
            yield Finding(source, "missing", _missing_text(source, folder))
            continue
        try:
            yield _look_at(path, source, sums, maps, progress or Progress())
        except (DgexError, OSError, MemoryError) as error:
            yield Finding(source, "not sound", " ".join(f"{error}".split()) or "not enough memory")


def study_line(findings: Sequence[Finding]) -> str:
    """Say which files the paper's study still lacks."""
    sound = {found.source.role for found in findings if found.state == "sound"}
    lacking = [role for role in ROLES if role not in sound]
    if lacking:
        return f"the paper's study still needs: {', '.join(lacking)}"
    return "the paper's study has all it needs"


def _missing_text(source: Source, folder: Path) -> str:
    partial = folder / f"{source.file}.partial"
    if partial.exists():
        return f"{source.file} ({partial.stat().st_size:,} bytes of it are in {partial.name})"
    return source.file


def _maps(folder: Path, sources: Sequence[Source]) -> dict[str, GeneMap]:
    """Read the gene maps that are there and sound; those that are not get a line of their own."""
    maps = {}
    for source in sources:
        path = place_of(source, folder)
        if source.format == "gene map" and path is not None:
            try:
                maps[source.role] = read_gene_map(path)
            except DgexError:
                continue
    return maps


def _sha256(path: Path, progress: Progress) -> str:
    digest = hashlib.sha256()
    total = -(-path.stat().st_size // MEGABYTE)
    with path.open("rb") as file, progress.step(f"{path.name}: sha256", total, unit="MB") as tick:
        while piece := file.read(MEGABYTE):
            digest.update(piece)
            tick(1)
    return digest.hexdigest()


def _look_at(
    path: Path,
    source: Source,
    sums: Mapping[str, str],
    maps: Mapping[str, GeneMap],
    progress: Progress,
) -> Finding:
    sha256 = _sha256(path, progress)
    published = source.sha256 if path.name == source.file else ""
    known, says = (published, "published") if published else (sums.get(path.name), "SHA256SUMS")
    faults = []
    if known is None:
        checksum = f"sha256 {sha256} (none is known)"
    elif known == sha256:
        checksum = f"sha256 as {says}"
    else:
        checksum = f"sha256 {sha256}"
        faults.append(f"its sha256 is not {known} ({says})")
    content = look_into(path, source, maps)
    faults += content.faults
    text = "; ".join([path.name, content.text, checksum, *(f"BUT {fault}" for fault in faults)])
    return Finding(source, "not sound" if faults else "sound", text)
