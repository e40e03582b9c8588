"""The public files of data to train on: the table of them, and what of it is sound in a folder."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
import zipfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

import numpy as np

from dgex_jax.errors import DgexError, FormatError
from dgex_jax.io.expression import FiniteCheck, blocks, listed
from dgex_jax.io.files import GZIP_MAGIC, HDF5_MAGIC, Closing, make_folder, read_head
from dgex_jax.io.hdf5 import hdf5_errors, open_hdf5
from dgex_jax.io.lines import kind_of, open_bytes, read_lines, write_lines
from dgex_jax.io.progress import Progress
from dgex_jax.io.table import check_width, split_text
from dgex_jax.prepare.genes import is_ensembl, match_ensembl, read_gene_map, strip_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dgex_jax.prepare.genes import GeneMap

Format = Literal["gctx", "weights", "gct", "geuvadis", "gene map", "table", "zip"]
ROLES = ("geo", "gtex", "1000g", "landmarks", "targets")
"""Keys of ``[files]`` of the paper's study."""
HDF5_FORMATS = {"gctx", "weights"}
SUMS = "SHA256SUMS"
SUMS_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
PROBE = re.compile(r".+_at")
N_SHOWN = 3
EVERY = 100
"""Of a table whose genes nobody asks for, every row of so many is read for its values."""
PIECE_BYTES = 1 << 22
BLOCK_VALUES = 1 << 24
"""Values of a block of profiles, where all of a file is read."""


@dataclass(frozen=True)
class Source:
    """A file, as ``sources.toml`` has it; what is not known is 0 or empty.

    Sizes are of what is fetched, the sha256 of what is kept: two files where it is `packed`.
    """

    name: str  # what commands call it
    what: str  # it holds, in one line
    file: str  # its name in a user's folder, unpacked where `url` is that of it with ``.gz``
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
    entrez: bool = False  # its genes are Entrez ids and all its values finite
    columns: tuple[str, ...] = ()  # that a table must have
    group: str = ""  # what commands call it together with others
    how: str = ""  # one by hand is had: a sentence that begins with its name
    note: str = ""  # under which terms

    @property
    def by_hand(self) -> bool:
        """Whether it can't be fetched."""
        return self.kind == "by hand"

    @property
    def packed(self) -> bool:
        """Whether it comes gzip-compressed and is unpacked here."""
        return self.url.endswith(f"/{self.file}.gz")

    @property
    def arrives(self) -> str:
        """The name of the file that is fetched."""
        return f"{self.file}.gz" if self.packed else self.file

    @property
    def unpacked_size(self) -> int:
        """Bytes of its values once unpacked, as float32; 0 where their number isn't known."""
        return 4 * self.profiles * self.genes if self.packed else 0

    @property
    def looked_through(self) -> bool:
        """Whether all of its content is compared with what is known of it."""
        return self.entrez or self.format == "table"


@cache
def read_sources() -> tuple[Source, ...]:
    """Read the table of sources that comes with the package."""
    text = files("dgex_jax").joinpath("sources.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)["source"]
    return tuple(Source(**{**one, "columns": tuple(one.get("columns", ()))}) for one in entries)


def find_sources(names: Sequence[str], sources: Sequence[Source]) -> list[Source]:
    """Give the sources of some names or groups, each once.

    Raises `DgexError` with the nearest name to an unknown one.
    """
    known = {source.name: [source] for source in sources}
    for source in sources:
        if source.group:
            known.setdefault(source.group, []).append(source)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise DgexError(
                f"{name!r} is no source; the nearest is {near!r} (dgex download --list has all)"
            )
    return list(dict.fromkeys(source for name in names for source in known[name]))


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
        place += ", unpacked here" if source.packed else ""
        place += f"; one of the group {source.group}" if source.group else ""
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
        "# The paper's study; what is not here is the paper's default (docs/reference/study.md).\n",
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
    """Say which files each study still lacks of which something is there; the paper's if none."""
    sound = [found.source for found in findings if found.state == "sound"]
    have = {source.role for source in sound} | {source.name for source in sound}
    paper = "the paper's study"
    needs = {paper: list(ROLES)}
    for found in findings:
        if found.source.group:
            needs.setdefault(found.source.group, []).append(found.source.name)
    said = []
    for study in [one for one in needs if not have.isdisjoint(needs[one])] or [paper]:
        lacking = [name for name in needs[study] if name not in have]
        still = f"still needs: {', '.join(lacking)}" if lacking else "has all it needs"
        said.append(f"{study} {still}")
    return "\n".join(said)


def require_complete(path: Path, wanted: Format) -> None:
    """Read as much of a file as tells whether it is complete.

    HDF5 knows its length, a zip archive has a table at its end, gzip has a length and a checksum at
    its end (so all of it is read); unpacked text has neither. Raises `FormatError` if it is
    something else (a server's web page, say), truncated or damaged.
    """
    if wanted == "gene map":
        read_gene_map(path)
        return
    if wanted == "zip":
        if not zipfile.is_zipfile(path):
            raise FormatError(f"{path}: is no zip archive: it begins with {read_head(path)!r}")
        return
    _require_kind(path, wanted)
    if wanted in HDF5_FORMATS:
        with hdf5_errors(path):
            open_hdf5(path).close()
    elif read_head(path)[:2] == GZIP_MAGIC:
        for _ in unpacked(path, wanted):
            pass


def unpacked(path: Path, wanted: Format) -> Iterator[bytes]:
    """Give what a gzip file holds, piece by piece, to its checksum.

    Raises `FormatError` if it is no gzip file, truncated or damaged, or holds no HDF5 file where
    that is wanted.
    """
    if (head := read_head(path))[:2] != GZIP_MAGIC:
        raise FormatError(f"{path}: is no gzip file: it begins with {head!r}")
    inside = HDF5_MAGIC if wanted in HDF5_FORMATS else b""
    with open_bytes(path) as file:
        if (head := file.peek(len(inside))[: len(inside)]) != inside:
            raise FormatError(f"{path}: is no packed HDF5 file: it begins with {head!r}")
        while piece := file.read(PIECE_BYTES):
            yield piece


def _require_kind(path: Path, wanted: Format) -> None:
    kind = "gctx" if wanted == "weights" else wanted
    if (found := kind_of(path)) != kind:
        head = read_head(path)
        raise FormatError(f"{path}: is no {kind} file but {found}: it begins with {head!r}")


def _place_of(source: Source, folder: Path) -> Path | None:
    """Where a source is in a folder, as fetched or unpacked; ``None`` if it isn't."""
    names = (source.file, source.arrives, source.file.removesuffix(".gz"))
    places = (folder / name for name in names)
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
    text, faults = _look_into(path, source, maps, progress)
    checksum = f"sha256 {sha256}"
    if known is None:
        checksum += " (none is known)"
    elif known == sha256:
        checksum = f"sha256 as {says}"
    else:
        faults.insert(0, f"its sha256 is not {known} ({says})")
    text = "; ".join([path.name, text, checksum, *(f"BUT {fault}" for fault in faults)])
    return Finding(source, "not sound" if faults else "sound", text)


def _look_into(
    path: Path, source: Source, maps: Mapping[str, GeneMap], progress: Progress
) -> tuple[str, list[str]]:
    """Say what a file holds, and what keeps a study from using it as what it should be."""
    if source.format == "gene map":
        genes = read_gene_map(path)
        first = ", ".join(genes.symbols[:N_SHOWN])
        return f"{len(genes):,} genes ({first}, …)", _other_shape(source, 0, len(genes))
    if source.packed and path.name == source.arrives:
        for _ in unpacked(path, source.format):
            pass
        how = f"dgex download {source.name} -o {path.parent} unpacks it"
        return f"gzip-compressed, complete; {how}", []
    _require_kind(path, source.format)
    if source.looked_through:
        return look_through(path, source, progress)
    return _look_into_expression(path, source, maps)


def look_through(path: Path, source: Source, progress: Progress) -> tuple[str, list[str]]:
    """Read all of a file that is `looked_through`: what it holds, and what is other than known.

    Raises `FormatError` if it can't be read as what it should be.
    """
    # They import pandas, which is not needed to list sources.
    from dgex_jax.baselines.weights import ENTREZ_ID, read_weights  # noqa: PLC0415
    from dgex_jax.io.gctx import Gctx  # noqa: PLC0415

    if source.format == "table":
        return _look_into_table(path, source)
    if source.format == "weights":
        weights = read_weights(path)
        shape = len(weights.landmarks) + 1, len(weights.targets)
        text = f"{shape[0] - 1:,} landmarks and the intercept {weights.intercept_id!r}"
        return f"{text} x {shape[1]:,} genes", _other_shape(source, *shape)
    with Gctx(path) as file:
        n_profiles, n_genes = len(file.profiles), len(file.genes)
        faults = _other_shape(source, n_profiles, n_genes)
        strange = [gene for gene in file.genes if not ENTREZ_ID.fullmatch(gene)]
        if strange:
            faults.append(f"{len(strange):,} row ids are no Entrez ids ({listed(strange, 3)})")
        check, low, high = FiniteCheck(path, file.genes), np.inf, -np.inf
        with progress.step(f"{path.name}: values", n_profiles) as tick:
            for rows in blocks(n_profiles, max(1, BLOCK_VALUES // n_genes)):
                values = file.read(rows)
                check.add(values, file.profiles[rows])
                low = np.fmin(low, np.fmin.reduce(values, axis=None))
                high = np.fmax(high, np.fmax.reduce(values, axis=None))
                tick(len(values))
        if check.n_missing or check.n_infinite:
            faults.append(f"{check.n_missing:,} missing and {check.n_infinite:,} infinite values")
        ids = f"{', '.join(file.genes[:N_SHOWN])}, …; profiles {file.profiles[0]}, …"
    text = f"{n_profiles:,} profiles x {n_genes:,} genes ({ids}); values {low:.4g} to {high:.4g}"
    return text, faults


def _look_into_table(path: Path, source: Source) -> tuple[str, list[str]]:
    lines = read_lines(path)
    header = split_text(next(lines, (1, b""))[1])
    n_rows = 0
    for line in lines:
        check_width(path, line, len(header))
        n_rows += 1
    faults = [f"it has no column {name!r}" for name in source.columns if name not in header]
    if not n_rows:
        faults.append("it has no rows")
    return f"{n_rows:,} rows of {listed(header)}", faults


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
    columns = "landmarks with the intercept" if source.format == "weights" else "profiles"
    pairs = ((columns, n_profiles, source.profiles), ("genes", n_genes, source.genes))
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
