"""A study's raw files opened together, and what can be checked before hours of work."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dgex_jax.config import GeoOnlyFiles
from dgex_jax.data.annotation import Annotation, annotation_of
from dgex_jax.data.genemap import read_gene_map, strip_version
from dgex_jax.data.genes import Selection, select_genes, select_probes
from dgex_jax.data.looks import Watched, without_annotation, without_sample_annotation
from dgex_jax.data.names import search
from dgex_jax.data.probelist import read_probe_list
from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.formats.gctx import Gctx
from dgex_jax.formats.h5ad import H5ad
from dgex_jax.formats.ids import check_ids
from dgex_jax.formats.opening import (
    AnnotatedSource,
    Subset,
    Transposed,
    kind_of,
    notes_of,
    open_expression,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from dgex_jax.config import AnyRawFiles, IdKind, PrepareConfig, RawFiles
    from dgex_jax.data.progress import Progress
    from dgex_jax.formats.table import GeneFilter

GIB = 2**30


@dataclass(frozen=True)
class RawSources:
    """The raw files of a study, open.

    Attributes
    ----------
    geo
        The array.
    rna
        ``GTEx`` and ``1000G``; empty for a study of arrays alone.
    genes
        The genes that all platforms have, in the order of their maps.
    annotation
        What is known of the array's probes.
    notes
        What was left out of the files, and by which names genes were found, a line each.
    """

    geo: Watched
    rna: Mapping[str, Watched]
    genes: Selection
    annotation: Annotation
    notes: tuple[str, ...] = ()


def open_raw(raw: AnyRawFiles, config: PrepareConfig, files: ExitStack) -> RawSources:
    """Open the raw files and select the study's genes.

    Text files are read at once, but only the genes the study can use are kept of them.

    Parameters
    ----------
    raw, config
        The files and how to read them.
    files
        Closes the files that stay open.

    Raises
    ------
    FormatError
        A file can't be read as what it should be.
    PreparationError
        No landmark or no target is on every platform.
    """
    if isinstance(raw, GeoOnlyFiles):
        return _open_geo_only(raw, config, files)
    return _open_five(raw, config, files)


def _open_geo_only(raw: GeoOnlyFiles, config: PrepareConfig, files: ExitStack) -> RawSources:
    geo: AnnotatedSource = _opened(raw.geo, None, config, files)
    landmarks = read_probe_list(raw.landmarks, geo)
    turned = False
    if kind_of(raw.geo) in {"table", "series matrix"}:
        other = read_probe_list(raw.landmarks, Transposed(geo))
        _refuse_both(geo, landmarks.n_found, other.n_found)
        if other.n_found:
            geo, landmarks, turned = Transposed(geo), other, True
    found = [*notes_of(geo), *landmarks.notes]
    geo, left_out = without_annotation(geo, force=config.force_platform, training=True)
    found += left_out
    if turned or kind_of(raw.geo) == "h5ad":
        geo, left_out = without_sample_annotation(geo)
        found += left_out
    _check_unique(geo)
    annotation = annotation_of(geo.gene_metadata) | landmarks.annotation
    return RawSources(
        Watched(geo),
        {},
        select_probes(landmarks, geo, annotation),
        annotation,
        tuple(f"GEO: {note}" for note in found),
    )


def _open_five(raw: RawFiles, config: PrepareConfig, files: ExitStack) -> RawSources:
    landmarks, targets = read_gene_map(raw.landmarks), read_gene_map(raw.targets)
    wanted = {_loose(gene) for genes in (landmarks, targets) for gene in genes.ensembl}
    probes = {probe for genes in (landmarks, targets) for gene in genes.probes for probe in gene}
    both = _Both(
        landmarks.symbols + targets.symbols,
        landmarks.ensembl + targets.ensembl,
        landmarks.probes + targets.probes,
    )
    notes: list[str] = []

    def is_wanted(gene: str) -> bool:
        return _loose(gene) in wanted

    def source(
        name: str, path: Path, genes: GeneFilter, is_gene: Callable[[str], bool]
    ) -> AnnotatedSource:
        opened: AnnotatedSource = _opened(path, genes, config, files)
        if genes is not None and not any(map(is_gene, opened.genes)):
            # Its genes are named otherwise: all of them are needed to find out how.
            opened = _opened(path, None, config, files)
        if kind_of(path) in {"table", "series matrix"}:
            opened = _turned(opened, is_gene, both)
        left, left_out = without_annotation(opened, force=config.force_platform, training=True)
        notes.extend(f"{name}: {note}" for note in (*notes_of(opened), *left_out))
        return left

    geo = source(
        "GEO", raw.geo, probes if config.duplicates == "none" else None, probes.__contains__
    )
    _check_unique(geo)
    geo = _named(geo, both, ("probe",), probes.__contains__, notes)
    rna: dict[str, Watched] = {}
    for name, path in (("GTEx", raw.gtex), ("1000G", raw.thousand_genomes)):
        found = source(name, path, is_wanted, is_wanted)
        check_ids(found.path, "profile", found.profiles)
        rna[name] = Watched(_named(found, both, ("ensembl", "symbol"), is_wanted, notes))
    genes = select_genes(landmarks, targets, geo, rna)
    annotation = annotation_of(geo.gene_metadata)
    return RawSources(Watched(geo), rna, genes, annotation, tuple(notes))


def _opened(
    path: Path, genes: GeneFilter, config: PrepareConfig, files: ExitStack
) -> AnnotatedSource:
    opened = open_expression(
        path, genes=genes, accept_wrong_dimensions=config.accept_wrong_dimensions
    )
    if isinstance(opened, Gctx | H5ad):
        files.callback(opened.close)
    return opened


@dataclass(frozen=True)
class _Both:
    """The genes of both maps."""

    symbols: tuple[str, ...]
    ensembl: tuple[str, ...]
    probes: tuple[tuple[str, ...], ...]

    @property
    def entrez(self) -> tuple[str, ...]:
        return ("",) * len(self.symbols)


def _turned(
    table: AnnotatedSource, is_gene: Callable[[str], bool], genes: _Both
) -> AnnotatedSource:
    """Give a table with its genes as columns, whichever axis of the file they are on."""
    in_rows, in_columns = (sum(map(is_gene, ids)) for ids in (table.genes, table.profiles))
    if not in_rows and not in_columns:
        kinds: tuple[IdKind, ...] = ("probe", "ensembl", "symbol")
        sides = (table, Transposed(table))
        in_rows, in_columns = (
            search(kinds, genes, side.genes, side.gene_metadata)[0].count for side in sides
        )
        # By other names a few are found by chance.
        if 10 * min(in_rows, in_columns) < max(in_rows, in_columns):
            return Transposed(table) if in_columns > in_rows else table
    _refuse_both(table, in_rows, in_columns)
    return Transposed(table) if in_columns else table


def _refuse_both(table: AnnotatedSource, in_rows: int, in_columns: int) -> None:
    if in_rows and in_columns:
        raise FormatError(
            f"{table.path}: has genes of the study in its rows ({in_rows}) and in its columns "
            f"({in_columns}): which of them are the genes can't be told"
        )


def _check_unique(source: AnnotatedSource) -> None:
    """Raise `FormatError` for an id that comes twice: not every reader refuses it."""
    check_ids(source.path, "profile", source.profiles)
    check_ids(source.path, "gene", source.genes)


def _named(
    source: AnnotatedSource,
    genes: _Both,
    kinds: tuple[IdKind, ...],
    is_gene: Callable[[str], bool],
    notes: list[str],
) -> AnnotatedSource:
    """Name the genes of a file by the first kind, where another way finds far more of them.

    So it is in AnnData files whose ``var_names`` are symbols, and where ids are composite.
    """
    by_ids = sum(map(is_gene, source.genes))
    found = search(kinds, genes, source.genes, source.gene_metadata)[0]
    if 2 * by_ids >= found.count:
        return source
    names = list(source.genes)
    wanted = genes.ensembl if kinds[0] == "ensembl" else genes.probes
    if found.kind == kinds[0]:
        names = [name.strip() for name in found.names.texts]
    else:
        for places, gene in zip(found.columns, wanted, strict=True):
            for place in places:
                names[place] = str(gene)
    if found.duplicates:
        first = found.duplicates[0]
        raise FormatError(
            f"{source.path}: rows {first.first!r} and {first.second!r} are the same gene"
        )
    notes.append(f"{source.path.name}: {found.count} genes found {found.by}")
    if found.renamed:
        pairs = ", ".join(f"{symbol} as {name}" for symbol, name in found.renamed.items())
        notes.append(
            f"{source.path.name}: {len(found.renamed)} of them by another symbol (HGNC): {pairs}"
        )
    return Subset(source, names=tuple(names))


def _loose(gene: str) -> str:
    """Write an Ensembl id so that all spellings of a gene, and its Y copy, become one.

    Which of them is meant is decided later, by `match_ensembl`; here nothing may be lost.
    """
    plain = strip_version(gene).removesuffix("_PAR_Y")
    return f"ENSG0{plain[5:]}" if plain.startswith("ENSGR") else plain


def refuse_overwriting(raw: AnyRawFiles, output: Path) -> None:
    """Raise `PreparationError` if `output` is one of the raw files."""
    for path in asdict(raw).values():
        if path.exists() and output.exists() and path.samefile(output):
            raise PreparationError(f"{output}: is a raw file of the study, not to be overwritten")


def check_room(folder: Path, n_profiles: int, n_probes: int, n_genes: int) -> None:
    """Raise `PreparationError` if scratch files and output don't fit on the disk of `folder`.

    Parameters
    ----------
    folder
        Where the scratch files are to be.
    n_profiles, n_probes, n_genes
        GEO profiles, probes stored of each (four bytes), genes of the study (two bytes as a rank
        and four as a value; the RNA-seq sets are small beside GEO).
    """
    needed = n_profiles * (4 * n_probes + 6 * n_genes)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise PreparationError(
            f"{folder.parent}: preparing needs about {needed / GIB:.1f} GiB there, "
            f"{free / GIB:.1f} GiB are free"
        )


def checksums(raw: AnyRawFiles, progress: Progress) -> dict[str, dict[str, str]]:
    """Name and sha256 of each raw file, by its role."""
    sums = {}
    with progress.step("checksums of the raw files", len(asdict(raw)), unit="files") as tick:
        for role, path in asdict(raw).items():
            with path.open("rb") as file:
                sums[role] = {
                    "name": path.name,
                    "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
                }
            tick(1)
    return sums
