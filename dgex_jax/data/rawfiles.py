"""A study's raw files opened together, and what can be checked before hours of work."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dgex_jax.config import GeoOnlyFiles
from dgex_jax.data.annotation import (
    ENSEMBL_FIELDS,
    Annotation,
    annotation_of,
    ensembl_text,
    field_texts,
)
from dgex_jax.data.genemap import read_gene_map, strip_version
from dgex_jax.data.genes import Selection, select_genes, select_probes
from dgex_jax.data.probelist import as_probes, read_probe_list
from dgex_jax.errors import FormatError, PreparationError
from dgex_jax.formats.gctx import Gctx
from dgex_jax.formats.h5ad import H5ad
from dgex_jax.formats.ids import check_ids
from dgex_jax.formats.opening import AnnotatedSource, Transposed, kind_of, open_expression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    import pandas as pd

    from dgex_jax.config import AnyRawFiles, PrepareConfig, RawFiles
    from dgex_jax.data.progress import Progress
    from dgex_jax.formats.expression import ExpressionSource, FloatArray
    from dgex_jax.formats.expression import Selection as Places
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
    """

    geo: ExpressionSource
    rna: Mapping[str, ExpressionSource]
    genes: Selection
    annotation: Annotation


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
    is_table = kind_of(raw.geo) == "table"
    ids = (*geo.genes, *geo.profiles) if is_table else geo.genes
    landmarks = read_probe_list(raw.landmarks, ids)
    if is_table:
        geo = _turned(geo, set(landmarks.probes).__contains__)
    _check_unique(geo)
    landmarks = as_probes(landmarks, geo)
    annotation = annotation_of(geo.gene_metadata) | landmarks.annotation
    return RawSources(geo, {}, select_probes(landmarks, geo, annotation), annotation)


def _open_five(raw: RawFiles, config: PrepareConfig, files: ExitStack) -> RawSources:
    landmarks, targets = read_gene_map(raw.landmarks), read_gene_map(raw.targets)
    wanted = {_loose(gene) for genes in (landmarks, targets) for gene in genes.ensembl}
    probes = {probe for genes in (landmarks, targets) for gene in genes.probes for probe in gene}

    def is_wanted(gene: str) -> bool:
        return _loose(gene) in wanted

    def source(path: Path, genes: GeneFilter, is_gene: Callable[[str], bool]) -> AnnotatedSource:
        opened = _opened(path, genes, config, files)
        return _turned(opened, is_gene) if kind_of(path) == "table" else opened

    geo = source(raw.geo, probes if config.duplicates == "none" else None, probes.__contains__)
    _check_unique(geo)
    rna: dict[str, ExpressionSource] = {}
    for name, path in (("GTEx", raw.gtex), ("1000G", raw.thousand_genomes)):
        found = source(path, is_wanted, is_wanted)
        check_ids(found.path, "profile", found.profiles)
        rna[name] = _by_ensembl(found, is_wanted)
    genes = select_genes(landmarks, targets, geo, rna)
    return RawSources(geo, rna, genes, annotation_of(geo.gene_metadata))


def _opened(
    path: Path, genes: GeneFilter, config: PrepareConfig, files: ExitStack
) -> AnnotatedSource:
    opened = open_expression(
        path, genes=genes, accept_wrong_dimensions=config.accept_wrong_dimensions
    )
    if isinstance(opened, Gctx | H5ad):
        files.callback(opened.close)
    return opened


def _turned(table: AnnotatedSource, is_gene: Callable[[str], bool]) -> AnnotatedSource:
    """Give a table with its genes as columns, whichever axis of the file they are on."""
    in_rows, in_columns = (sum(map(is_gene, ids)) for ids in (table.genes, table.profiles))
    if in_rows and in_columns:
        raise FormatError(
            f"{table.path}: has genes of the study in its rows ({in_rows}) and in its columns "
            f"({in_columns}): which of them are the genes can't be told"
        )
    return Transposed(table) if in_columns else table


def _check_unique(source: AnnotatedSource) -> None:
    """Raise `FormatError` for an id that comes twice: not every reader refuses it."""
    check_ids(source.path, "profile", source.profiles)
    check_ids(source.path, "gene", source.genes)


@dataclass(frozen=True)
class _Renamed:
    """A file whose genes are named by a field of its metadata."""

    base: AnnotatedSource
    genes: tuple[str, ...]

    @property
    def path(self) -> Path:
        return self.base.path

    @property
    def profiles(self) -> tuple[str, ...]:
        return self.base.profiles

    @property
    def gene_metadata(self) -> pd.DataFrame:
        return self.base.gene_metadata

    def read(self, profiles: Places = None, genes: Places = None) -> FloatArray:
        return self.base.read(profiles, genes)


def _by_ensembl(source: AnnotatedSource, is_wanted: Callable[[str], bool]) -> ExpressionSource:
    """Take the Ensembl ids of a field where those of the genes are of another kind.

    So it is in AnnData files whose ``var_names`` are symbols.
    """
    if any(map(is_wanted, source.genes)):
        return source
    texts = field_texts(source.gene_metadata, ENSEMBL_FIELDS, ensembl_text) or []
    return _Renamed(source, tuple(texts)) if any(map(is_wanted, texts)) else source


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
