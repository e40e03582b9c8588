"""The public files of the paper's data: the table of them, and what of it is sound in a folder."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.files import GZIP_MAGIC, HDF5_MAGIC, Closing, make_folder, read_head
from dgex_jax.io.hdf5 import hdf5_errors, open_hdf5
from dgex_jax.io.lines import kind_of, open_bytes, read_lines, write_lines
from dgex_jax.io.progress import Progress
from dgex_jax.prepare.genes import is_ensembl, match_ensembl, read_gene_map, strip_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dgex_jax.prepare.genes import GeneMap

Format = Literal["gctx", "gctx.gz", "gct", "geuvadis", "gene map"]
ROLES = ("geo", "gtex", "1000g", "landmarks", "targets")
"""Keys of ``[files]`` of the paper's study."""
SUMS = "SHA256SUMS"
SUMS_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
PROBE = re.compile(r".+_at")
N_SHOWN = 3
EVERY = 100
"""Of a table whose genes nobody asks for, every row of so many is read for its values."""
PIECE_BYTES = 1 << 22


@dataclass(frozen=True)
class Source:
    """A file of the paper's data, as ``sources.toml`` has it; what is not known is 0 or empty."""

    name: str  # what commands call it
    what: str  # it holds, in one line
    file: str  # its name in a user's folder
    format: Format  # what its first bytes must say, whatever its name
    kind: Literal["https", "by hand"]  # fetched from `url`, or only had on request
    url: str  # the file, or for one by hand the place it is kept at
    max_size: int  # bytes at which fetching it stops
    size: int = 0  # bytes, exactly
    about: int = 0  # bytes, as published and rounded
    sha256: str = ""
    role: str = ""  # one of `ROLES`
    profiles: int = 0
    genes: int = 0
    shape_from: str = ""  # what says how many profiles and genes
    how: str = ""  # one by hand is had: a sentence that begins with its name
    note: str = ""  # under which terms

    @property
    def by_hand(self) -> bool:
        """Whether it can't be fetched."""
        return self.kind == "by hand"


@cache
def read_sources() -> tuple[Source, ...]:
    """Read the table of sources that comes with the package."""
    text = files("dgex_jax").joinpath("sources.toml").read_text(encoding="utf-8")
    return tuple(Source(**entry) for entry in tomllib.loads(text)["source"])


def find_sources(names: Sequence[str], sources: Sequence[Source]) -> list[Source]:
    """Give the sources of some names, each once; `DgexError` names the nearest to an unknown."""
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


def shown_size(n_bytes: int) -> str:
    """Write a size as people do: ``86.6 MB``."""
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:,.1f} {name}"
    return f"{n_bytes:,} bytes"


def read_sums(folder: Path) -> dict[str, str]:
    """Read the checksums in ``SHA256SUMS`` (the form of sha256sum) by file name, if it is there.

    Raises `FormatError` at a line that is none of sha256sum's, or two for one file.
    """
    path, sums = folder / SUMS, dict[str, str]()
    for number, raw in read_lines(path) if path.exists() and path.stat().st_size else ():
        found = SUMS_LINE.fullmatch(raw.decode(errors="replace"))
        if found is None:
            raise FormatError(f"{path}: line {number}: is not a sha256, two spaces and a name")
        if sums.setdefault(found[2], found[1].lower()) != found[1].lower():
            raise FormatError(f"{path}: line {number}: another sha256 of {found[2]!r}")
    return sums


def write_template(folder: Path, sources: Sequence[Source]) -> Path:
    """Write ``study.toml`` of the paper's study into a folder (made if missing).

    Of two files for one role the one that is there is taken, else the paper's own. Raises
    `DgexError` if there is a ``study.toml``, which is never overwritten, or it can't be written.
    """
    path = folder / "study.toml"
    if path.exists() or path.is_symlink():
        raise DgexError(f"{path}: is there already and is left as it is")
    try:
        make_folder(folder)
    except OSError as error:
        raise DgexError(f"{folder}: can't be made: {error.strerror}") from error
    lines = [
        "# The paper's study. All that is not here is the paper's default (docs/study.md).\n",
        'name = "paper"\n',
        'title = "GEO arrays, GTEx and 1000 Genomes: the setting of the paper"\n\n[files]\n',
    ]
    for role in ROLES:
        of_role = [source for source in sources if source.role == role]
        there = [place for source in of_role if (place := _place_of(source, folder)) is not None]
        name, note = (there[0].name, "") if there else (of_role[0].file, "  # not there yet")
        lines.append(f'{role} = "{name}"{note}\n')
    write_lines(path, lines)
    return path


# What a folder has


@dataclass(frozen=True)
class Finding:
    """What was found of one source: the state of its file, and one line without its name."""

    source: Source
    state: Literal["missing", "sound", "not sound"]
    text: str

    @property
    def line(self) -> str:
        """The finding in one line."""
        return f"{self.state:9s} {self.source.name}: {self.text}"


def check_folder(
    folder: Path, sources: Sequence[Source], progress: Progress | None = None
) -> Iterator[Finding]:
    """Look at each file of some sources that is in a folder; nothing is written.

    Yields a finding for each source, as soon as it is known; `progress` is told of every megabyte
    read for a checksum. Raises `DgexError` for no such folder, none of the files in it, or a
    ``SHA256SUMS`` that can't be read.
    """
    if not folder.is_dir():
        raise DgexError(f"{folder}: no such folder")
    places = {source.name: _place_of(source, folder) for source in sources}
    if not any(places.values()):
        raise DgexError(f"{folder}: has none of the files that dgex download --list names")
    sums, maps = read_sums(folder), {}
    for source in sources:
        # A map that is not sound gets a finding of its own.
        with suppress(DgexError):
            if source.format == "gene map" and (path := places[source.name]) is not None:
                maps[source.role] = read_gene_map(path)
    for source in sources:
        path, partial = places[source.name], folder / f"{source.file}.partial"
        if path is None:
            size = f"{partial.stat().st_size:,} bytes of it" if partial.exists() else ""
            kept = f" ({size} are in {partial.name})" if size else ""
            yield Finding(source, "missing", f"{source.file}{kept}")
            continue
        try:
            yield _look_at(path, source, sums, maps, progress or Progress())
        except (DgexError, OSError, MemoryError) as error:
            text = " ".join(str(error).split()) or "not enough memory"
            yield Finding(source, "not sound", text)


def study_line(findings: Sequence[Finding]) -> str:
    """Say which files the paper's study still lacks."""
    sound = {found.source.role for found in findings if found.state == "sound"}
    lacking = [role for role in ROLES if role not in sound]
    if lacking:
        return f"the paper's study still needs: {', '.join(lacking)}"
    return "the paper's study has all it needs"


def require_complete(path: Path, wanted: Format) -> None:
    """Read as much of a file as tells whether it is complete.

    HDF5 knows its length, gzip has a length and a checksum at its end (so all of it is read);
    unpacked text has neither. Raises `FormatError` if it is something else (a server's web page,
    say), truncated or damaged.
    """
    if wanted == "gene map":
        read_gene_map(path)
        return
    head, inside = read_head(path), b""
    if wanted == "gctx.gz":
        inside = HDF5_MAGIC
        if head[:2] != GZIP_MAGIC:
            raise FormatError(f"{path}: is no gzip file: it begins with {head!r}")
    elif (found := kind_of(path)) != wanted:
        raise FormatError(f"{path}: is no {wanted} file but {found}: it begins with {head!r}")
    if wanted == "gctx":
        with hdf5_errors(path):
            open_hdf5(path).close()
    elif head[:2] == GZIP_MAGIC:
        with open_bytes(path) as file:
            if (head := file.read(len(inside))) != inside:
                raise FormatError(f"{path}: is no packed HDF5 file: it begins with {head!r}")
            while file.read(PIECE_BYTES):
                pass


def _place_of(source: Source, folder: Path) -> Path | None:
    """Where a source is in a folder, as fetched or unpacked; ``None`` if it isn't."""
    places = (folder / name for name in (source.file, source.file.removesuffix(".gz")))
    return next((place for place in places if place.exists()), None)


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
    text, faults = _look_into(path, source, maps)
    checksum = f"sha256 {sha256}"
    if known is None:
        checksum += " (none is known)"
    elif known == sha256:
        checksum = f"sha256 as {says}"
    else:
        faults.insert(0, f"its sha256 is not {known} ({says})")
    text = "; ".join([path.name, text, checksum, *(f"BUT {fault}" for fault in faults)])
    return Finding(source, "not sound" if faults else "sound", text)


def _look_into(path: Path, source: Source, maps: Mapping[str, GeneMap]) -> tuple[str, list[str]]:
    """Say what a file holds, and what keeps a study from using it as what it should be."""
    if source.format == "gene map":
        genes = read_gene_map(path)
        first = ", ".join(genes.symbols[:N_SHOWN])
        return f"{len(genes):,} genes ({first}, …)", _other_shape(source, 0, len(genes))
    if source.format == "gctx.gz" and path.name == source.file:
        require_complete(path, source.format)
        return "gzip-compressed GCTX, complete; unpack it before use (gunzip)", []
    wanted = "gctx" if source.format == "gctx.gz" else source.format
    if (found := kind_of(path)) != wanted:
        raise FormatError(f"{path}: is no {wanted} file but {found}")
    return _look_into_expression(path, source, maps)


def _look_into_expression(
    path: Path, source: Source, maps: Mapping[str, GeneMap]
) -> tuple[str, list[str]]:
    """Read of GCTX the first, middle and last profile, of a table the study's genes.

    Of a table every hundredth row where no gene maps are there.
    """
    # It imports pandas, which is not needed to list sources.
    from dgex_jax.io.open import open_expression  # noqa: PLC0415

    wanted = {gene for genes in maps.values() for gene in genes.ensembl}
    wanted |= {probe for genes in maps.values() for probes in genes.probes for probe in probes}
    rows: list[str] = []

    def is_kept(gene: str) -> bool:
        rows.append(gene)
        if not maps:
            return len(rows) % EVERY == 1
        return gene in wanted or strip_version(gene) in wanted

    with ExitStack() as files:
        opened = open_expression(path, genes=is_kept)
        if isinstance(opened, Closing):
            files.enter_context(opened)
            rows = list(opened.genes)
            n = len(opened.profiles)
            values = opened.read(np.unique(np.array([0, n // 2, n - 1])))
        else:
            values = opened.read()
    kind, profiles = _id_kind(rows), opened.profiles
    ids = f"{', '.join(rows[:N_SHOWN])}, …; profiles {profiles[0]}, …"
    parts = [f"{len(profiles):,} profiles x {len(rows):,} {kind}s ({ids})"]
    faults = _other_shape(source, len(profiles), len(rows))
    known = values[np.isfinite(values)]
    if known.size:
        missing = values.size - known.size
        holes = f", {missing:,} of {values.size:,} missing" if missing else ""
        parts.append(f"values {known.min():.4g} to {known.max():.4g}{holes}")
    else:
        parts.append("no values")
        faults.append("it has no values")
    there = set(rows)
    for role, genes in maps.items() if source.role else ():
        if kind == "Ensembl gene":
            found = int((match_ensembl(genes.ensembl, rows) >= 0).sum())
        else:
            found = sum(not there.isdisjoint(probes) for probes in genes.probes)
        parts.append(f"{found:,} of {len(genes):,} {role}")
        if not found:
            faults.append(f"none of the {role} is in it")
    return "; ".join(parts), faults


def _id_kind(ids: Sequence[str]) -> str:
    kinds: dict[str, Callable[[str], object]] = {
        "Ensembl gene": is_ensembl,
        "probe": PROBE.fullmatch,
        "Entrez gene": str.isdigit,
    }
    for name, test in kinds.items():
        if sum(bool(test(one)) for one in ids) * 2 > len(ids):
            return name
    return "gene"


def _other_shape(source: Source, n_profiles: int, n_genes: int) -> list[str]:
    pairs = (("profiles", n_profiles, source.profiles), ("genes", n_genes, source.genes))
    other = [f"{wanted:,} {name}" for name, n, wanted in pairs if wanted and n != wanted]
    return [f"not the {' and '.join(other)} of {source.shape_from}"] if other else []


def _sha256(path: Path, progress: Progress) -> str:
    digest, megabyte = hashlib.sha256(), 10**6
    total = -(-path.stat().st_size // megabyte)
    step = progress.step(f"{path.name}: sha256", total, unit="MB")
    with path.open("rb") as file, step as tick:
        while piece := file.read(megabyte):
            digest.update(piece)
            tick(1)
    return digest.hexdigest()
