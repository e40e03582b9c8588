"""A study's raw files opened together, and what can be checked before hours of work."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dgex_jax.config import GeoOnlyFiles
from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.io.expression import AnnotatedSource, Genes, View, check_ids, notes_of, transposed
from dgex_jax.io.lines import kind_of
from dgex_jax.io.manifest import file_sha256
from dgex_jax.io.open import open_input
from dgex_jax.prepare.genes import (
    Annotation,
    Selection,
    annotation_of,
    ensembl_key,
    read_gene_map,
    select_genes,
)
from dgex_jax.prepare.looks import Watched, without_annotation, without_sample_annotation
from dgex_jax.prepare.names import search
from dgex_jax.prepare.probelist import read_probe_list, select_probes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from dgex_jax.config import AnyRawFiles, IdKind, PrepareConfig, RawFiles
    from dgex_jax.io.expression import GeneFilter
    from dgex_jax.io.progress import Progress

GIB = 2**30


@dataclass(frozen=True)
class RawSources:
    """The raw files of a study, open, and the genes that all platforms have."""

    geo: Watched
    rna: Mapping[str, Watched]
    """``GTEx`` and ``1000G``; empty for a study of arrays alone."""
    genes: Selection
    annotation: Annotation
    """What is known of the array's probes."""
    notes: tuple[str, ...]
    """What was left out of the files, and by which names genes were found, a line each."""


def open_raw(raw: AnyRawFiles, config: PrepareConfig, files: ExitStack) -> RawSources:
    """Open the raw files and select the study's genes; `files` closes those that stay open.

    Text files are read at once, but only the genes the study can use are kept of them. Raises
    `FormatError` for a file that can't be read as what it should be, `PreparationError` if no
    landmark or no target is on every platform.
    """
    if isinstance(raw, GeoOnlyFiles):
        return _open_geo_only(raw, config, files)
    return _open_five(raw, config, files)


def _open_geo_only(raw: GeoOnlyFiles, config: PrepareConfig, files: ExitStack) -> RawSources:
    geo = open_input(raw.geo, files, accept_wrong_dimensions=config.accept_wrong_dimensions)
    landmarks = read_probe_list(raw.landmarks, geo)
    turned = False
    if _may_be_turned(raw.geo):
        other = read_probe_list(raw.landmarks, transposed(geo))
        _refuse_both(geo, landmarks.n_found, other.n_found)
        if other.n_found:
            geo, landmarks, turned = transposed(geo), other, True
    found = [*notes_of(geo), *landmarks.notes]
    geo, left_out = without_annotation(geo, force=config.force_platform, training=True)
    found += left_out
    if turned or kind_of(raw.geo) == "h5ad":
        geo, left_out = without_sample_annotation(geo)
        found += left_out
    _check_unique(geo)
    annotation = annotation_of(geo.gene_metadata) | landmarks.annotation
    genes = select_probes(landmarks, geo, annotation)
    return RawSources(Watched(geo), {}, genes, annotation, tuple(f"GEO: {note}" for note in found))


def _open_five(raw: RawFiles, config: PrepareConfig, files: ExitStack) -> RawSources:
    landmarks, targets = read_gene_map(raw.landmarks), read_gene_map(raw.targets)
    both = Genes(
        landmarks.ensembl + targets.ensembl,
        landmarks.symbols + targets.symbols,
        ("",) * (len(landmarks) + len(targets)),
        landmarks.probes + targets.probes,
    )
    wanted = set(map(ensembl_key, both.ensembl))
    probes = {probe for of_gene in both.probes for probe in of_gene}
    notes: list[str] = []

    def is_wanted(gene: str) -> bool:
        return ensembl_key(gene) in wanted

    def source(
        name: str, path: Path, genes: GeneFilter, is_gene: Callable[[str], bool]
    ) -> AnnotatedSource:
        trusting = config.accept_wrong_dimensions
        opened = open_input(path, files, genes=genes, accept_wrong_dimensions=trusting)
        if genes is not None and not any(map(is_gene, opened.genes)):
            # Its genes are named otherwise: all of them are needed to find out how.
            opened = open_input(path, files, accept_wrong_dimensions=trusting)
        if _may_be_turned(path):
            opened = _turned(opened, is_gene, both)
        left, left_out = without_annotation(opened, force=config.force_platform, training=True)
        notes.extend(f"{name}: {note}" for note in (*notes_of(opened), *left_out))
        if name == "GEO":
            _check_unique(left)
            return _named(left, both, ("probe",), is_gene, notes)
        check_ids(left.path, "profile", left.profiles)
        return _named(left, both, ("ensembl", "symbol"), is_gene, notes)

    kept = probes if config.duplicates == "none" else None
    geo = source("GEO", raw.geo, kept, probes.__contains__)
    rna = {
        name: Watched(source(name, path, is_wanted, is_wanted))
        for name, path in (("GTEx", raw.gtex), ("1000G", raw.thousand_genomes))
    }
    genes = select_genes(landmarks, targets, geo, rna)
    return RawSources(Watched(geo), rna, genes, annotation_of(geo.gene_metadata), tuple(notes))


def _may_be_turned(path: Path) -> bool:
    """Whether a file is of a kind that has its genes in its rows or in its columns."""
    return kind_of(path) in {"table", "series matrix"}


def _turned(
    table: AnnotatedSource, is_gene: Callable[[str], bool], genes: Genes
) -> AnnotatedSource:
    """Give a table with its genes as columns, whichever axis of the file they are on."""
    in_rows, in_columns = (sum(map(is_gene, ids)) for ids in (table.genes, table.profiles))
    if not in_rows and not in_columns:
        kinds: tuple[IdKind, ...] = ("probe", "ensembl", "symbol")
        in_rows, in_columns = (
            search(kinds, genes, side.genes, side.gene_metadata)[0].count
            for side in (table, transposed(table))
        )
        # By other names a few are found by chance.
        if 10 * min(in_rows, in_columns) < max(in_rows, in_columns):
            return transposed(table) if in_columns > in_rows else table
    _refuse_both(table, in_rows, in_columns)
    return transposed(table) if in_columns else table


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
    genes: Genes,
    kinds: tuple[IdKind, ...],
    is_gene: Callable[[str], bool],
    notes: list[str],
) -> AnnotatedSource:
    """Name the genes of a file by the first kind, where another way finds far more of them.

    So it is in AnnData files whose ``var_names`` are symbols, and where ids are composite.
    """
    found = search(kinds, genes, source.genes, source.gene_metadata)[0]
    if 2 * sum(map(is_gene, source.genes)) >= found.count:
        return source
    names = list(source.genes)
    if found.kind == kinds[0]:
        names = [name.strip() for name in found.names.texts]
    else:
        # By symbols, of an RNA-seq file: `select_genes` looks for Ensembl ids.
        for places, gene in zip(found.columns, genes.ensembl, strict=True):
            for place in places:
                names[place] = gene
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
    return View(source, names=tuple(names))


def refuse_overwriting(raw: AnyRawFiles, output: Path) -> None:
    """Raise `PreparationError` if `output` is one of the raw files."""
    for path in asdict(raw).values():
        if path.exists() and output.exists() and path.samefile(output):
            raise PreparationError(f"{output}: is a raw file of the study, not to be overwritten")


def check_room(folder: Path, n_profiles: int, n_probes: int, n_genes: int) -> None:
    """Raise `PreparationError` if scratch files and output don't fit on the disk of `folder`.

    Of each GEO profile, probes take four bytes, genes two as a rank and four as a value; the
    RNA-seq sets are small beside GEO.
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
            sums[role] = {"name": path.name, "sha256": file_sha256(path)}
            tick(1)
    return sums
