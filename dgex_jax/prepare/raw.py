"""A study's raw files opened together, and what can be checked before hours of work."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.errors import FormatError, PreparationError, StudyError
from dgex_jax.io.archs4 import Archs4
from dgex_jax.io.expression import (
    Genes,
    View,
    check_ids,
    listed,
    notes_of,
    transposed,
)
from dgex_jax.io.lines import kind_of, read_cells
from dgex_jax.io.manifest import file_sha256
from dgex_jax.io.open import open_input
from dgex_jax.parts import ARRAYS_ALONE
from dgex_jax.prepare.genes import (
    Annotation,
    Selection,
    annotation_of,
    ensembl_key,
    is_gene_map,
    read_gene_map,
    select_genes,
    symbol_text,
)
from dgex_jax.prepare.joined import Joined
from dgex_jax.prepare.looks import without_annotation, without_sample_annotation
from dgex_jax.prepare.names import search
from dgex_jax.prepare.opened import RawFile, RawSet, RawSources
from dgex_jax.prepare.pairs import read_pairs
from dgex_jax.prepare.probelist import landmark_file, read_probe_list, select_probes
from dgex_jax.prepare.rows import GeneMeans, genes_of_rows, select
from dgex_jax.prepare.samples import select as select_samples
from dgex_jax.prepare.split import SEPARATORS, ids_of_cell, linked_groups
from dgex_jax.rawfiles import (
    GeoOnlyFiles,
    OtherSet,
    RawFiles,
    StudyFiles,
    as_study_files,
    normalization,
    parts_of,
    paths_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import ExitStack

    import numpy as np
    from numpy.typing import NDArray

    from dgex_jax.config import IdKind, Normalize, PrepareConfig, SetPlatform, Values
    from dgex_jax.io.expression import AnnotatedSource, GeneFilter
    from dgex_jax.io.progress import Progress
    from dgex_jax.prepare.genes import GeneMap
    from dgex_jax.prepare.prepared import GeneIds
    from dgex_jax.rawfiles import AnyRawFiles

GIB = 2**30
SERIES = re.compile(r"[A-Z]{3,4}\d+|E-[A-Z]+-\d+")
"""The accession of a series (GSE, SRP, E-MTAB); of these several may be in one cell."""


def open_raw(raw: AnyRawFiles, config: PrepareConfig, files: ExitStack) -> RawSources:
    """Open the raw files and select the study's genes; `files` closes those that stay open.

    Text files are read at once; where a map says the genes, only those the study can use are kept
    of them. Raises `FormatError` for a file that can't be read as what it should be,
    `PreparationError` if no landmark or no target is on every platform.
    """
    if isinstance(raw, GeoOnlyFiles):
        return _open_geo_only(raw, config, files)
    rule = normalization(raw, config)
    if isinstance(raw, RawFiles):
        opening = _Opening(as_study_files(raw), rule, config, files)
        return opening.by_maps(read_gene_map(raw.landmarks), read_gene_map(raw.targets))
    return _Opening(raw, rule, config, files).sources()


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
    name = ARRAYS_ALONE.compendium
    return RawSources(
        ARRAYS_ALONE,
        RawFile(name, geo, "array", "log2", normalization(raw, config)),
        {},
        genes,
        "probe",
        annotation,
        tuple(f"{name}: {note}" for note in found),
    )


@dataclass
class _Opening:
    """Opens a compendium and its sets."""

    raw: StudyFiles
    rule: Normalize
    config: PrepareConfig
    files: ExitStack

    def __post_init__(self) -> None:
        self.notes: list[str] = []

    def sources(self) -> RawSources:
        """Open all files; the genes are those of two maps, or the rows of the compendium."""
        landmarks, targets = self.raw.compendium.landmarks, self.raw.compendium.targets
        maps = [one for one in (landmarks, targets) if isinstance(one, Path) and is_gene_map(one)]
        if len(maps) == 2:
            return self.by_maps(*map(read_gene_map, maps))
        return self._by_rows()

    def _by_rows(self) -> RawSources:
        """Open all files; the genes are the rows of the compendium, by any id."""
        compendium = self.raw.compendium
        listed_in = compendium.landmarks
        if not isinstance(listed_in, Path):
            listed_in = landmark_file(listed_in)
        files = [self._training_file(path, listed_in) for path in compendium.files]
        source = self._joined(files)
        rows = genes_of_rows(source, compendium.genes)
        self.notes += [f"{compendium.name}: {note}" for note in rows.notes]

        def opened(path: Path, platform: SetPlatform) -> AnnotatedSource:
            return self._set_file(path, platform, rows.genes)

        training = self._file(compendium.name, source, compendium.platform, compendium.values)
        sets = {name: self._set(name, one, opened) for name, one in self.raw.sets.items()}
        files_of = {name: one.landmarks.base for name, one in sets.items()}
        truths = {name: one.truth.base for name, one in sets.items() if one.truth is not None}
        genes = select(rows, listed_in, compendium.targets, files_of, training.path, truths)
        self.notes += genes.notes
        return self._opened(training, sets, genes, rows.id_kind, rows.annotation, source)

    def _joined(self, files: Sequence[AnnotatedSource]) -> AnnotatedSource:
        """Join the files of the compendium."""
        if len(files) == 1:
            return files[0]
        joined = Joined(files)
        self.notes += [note for note in joined.notes if note not in self.notes]
        if self.rule == "log_cpm" and any(len(one.genes) > len(joined.genes) for one in files):
            self.notes.append("counts are per million of the genes that all files have")
        return joined

    def _chosen(self, path: Path, source: AnnotatedSource) -> AnnotatedSource:
        """Choose the samples of an ARCHS4 file; of another none can be asked for."""
        compendium = self.raw.compendium
        if isinstance(source, Archs4):
            chosen, notes = select_samples(source, compendium, self.config.seed)
            self.notes += [f"{path.name}: {note}" for note in notes]
            return chosen
        asked = [
            one.name
            for one in fields(compendium)
            if one.name in ("samples", "sample", "single_cell")
            and getattr(compendium, one.name) != one.default
        ]
        if asked:
            raise FormatError(f"{path}: {', '.join(asked)}: is no ARCHS4 file to choose from")
        return source

    def _training_file(self, path: Path, landmarks: Path) -> AnnotatedSource:
        """Open a file of the compendium; of ARCHS4 only the samples asked for."""
        trusting = self.config.accept_wrong_dimensions
        source: AnnotatedSource = open_input(path, self.files, accept_wrong_dimensions=trusting)
        source = self._chosen(path, source)
        turned = False
        if _may_be_turned(path):
            in_rows, in_columns = (
                read_probe_list(landmarks, side).n_found for side in (source, transposed(source))
            )
            _refuse_both(source, in_rows, in_columns)
            if in_columns:
                source, turned = transposed(source), True
        source, left_out = without_annotation(
            source, force=self.config.force_platform, training=True
        )
        if turned or kind_of(path) == "h5ad":
            source, more = without_sample_annotation(source)
            left_out += more
        self.notes += [f"{path.name}: {note}" for note in (*notes_of(source), *left_out)]
        _check_unique(source)
        return source

    def _set_file(self, path: Path, platform: SetPlatform, genes: Genes) -> AnnotatedSource:
        """Open a file of a set, in which genes are looked for; probes are averaged by gene."""
        trusting = self.config.accept_wrong_dimensions
        source = open_input(path, self.files, accept_wrong_dimensions=trusting)
        if _may_be_turned(path):
            source = _turned(source, lambda _gene: False, genes)
        left, left_out = without_annotation(source, force=self.config.force_platform, training=True)
        self.notes += [f"{path.name}: {note}" for note in (*notes_of(source), *left_out)]
        check_ids(left.path, "profile", left.profiles)
        if platform == "rnaseq":
            return left
        compendium = self.raw.compendium
        rows = genes_of_rows(left, compendium.genes if platform == compendium.platform else None)
        if rows.id_kind == "probe" or all(len(of_gene) == 1 for of_gene in rows.columns):
            return left
        self.notes += [f"{path.name}: {note}" for note in rows.notes]
        return GeneMeans(left, rows)

    def _opened(
        self,
        training: RawFile,
        sets: Mapping[str, RawSet],
        genes: Selection,
        gene_ids: GeneIds,
        annotation: Annotation,
        source: AnnotatedSource,
    ) -> RawSources:
        groups = self._groups(source)
        files = source.profile_metadata["file"] if isinstance(source, Joined) else None
        return RawSources(
            parts_of(self.raw),
            training,
            sets,
            genes,
            gene_ids,
            annotation,
            tuple(self.notes),
            file_names=None if files is None else tuple(map(str, files)),
            group_names=groups,
            groups=None if groups is None else _numbered(groups),
        )

    def by_maps(self, landmarks: GeneMap, targets: GeneMap) -> RawSources:
        """Open all files; the genes are those of two maps."""
        compendium = self.raw.compendium
        if compendium.genes is not None:
            raise StudyError(
                "compendium.genes: landmarks and targets are maps, which say the genes"
            )
        both = Genes(
            landmarks.ensembl + targets.ensembl,
            landmarks.symbols + targets.symbols,
            ("",) * (len(landmarks) + len(targets)),
            landmarks.probes + targets.probes,
        )
        wanted = set(map(ensembl_key, both.ensembl))
        probes = {probe for of_gene in both.probes for probe in of_gene}

        def is_wanted(gene: str) -> bool:
            return ensembl_key(gene) in wanted

        def opened(path: Path, _platform: SetPlatform) -> AnnotatedSource:
            return self._by_map(path, is_wanted, is_wanted, both, ("ensembl", "symbol"))

        kept = probes if self.config.duplicates == "none" else None
        found = [
            self._by_map(path, kept, probes.__contains__, both, ("probe",), unique=True)
            for path in compendium.files
        ]
        source = self._joined(found)
        training = self._file(compendium.name, source, compendium.platform, compendium.values)
        sets = {name: self._set(name, one, opened) for name, one in self.raw.sets.items()}
        sides = {name: one.sides for name, one in sets.items()}
        genes = select_genes(landmarks, targets, training, sides)
        annotation = annotation_of(training.gene_metadata)
        return self._opened(training, sets, genes, "ensembl", annotation, source)

    def _groups(self, source: AnnotatedSource) -> tuple[str, ...] | None:
        """Read what the profiles are split by: a field of their annotation, or a file."""
        by = self.raw.compendium.split_by
        if by is None:
            return None
        if isinstance(by, Path):
            found = _group_of(by)
            names = [found.get(profile, "") for profile in source.profiles]
            where = f"{by}"
        else:
            metadata = source.profile_metadata
            if by not in metadata.columns:
                there = ", ".join(map(str, metadata.columns)) or "none"
                raise FormatError(
                    f"{source.path}: its profiles have no field {by!r} to split by (there: {there})"
                )
            names = [symbol_text(text) for text in metadata[by]]
            where = f"the field {by!r} of {source.path.name}"
        alone = [name for name, group in zip(source.profiles, names, strict=True) if not group]
        if len(alone) == len(names):
            raise FormatError(f"{source.path}: no profile has a group by {where}")
        if alone:
            text = f"{len(alone):,} profiles have no group by {where}, each is one of its own"
            self.notes.append(f"{text}: {listed(alone, 3)}")
        return tuple(names)

    def _file(
        self, name: str, source: AnnotatedSource, platform: SetPlatform, values: Values
    ) -> RawFile:
        return RawFile(name, source, platform, values, self.rule)

    def _set(
        self, name: str, one: OtherSet, opened: Callable[[Path, SetPlatform], AnnotatedSource]
    ) -> RawSet:
        if one.file is not None:
            # Dense ranks need no logarithms, and corrected RPKM below 0 have none.
            ranked = self.rule == "original" and one.platform == "rnaseq"
            values = "log2" if ranked else one.values
            source = opened(one.file, one.platform)
            return RawSet(one, self._file(name, source, one.platform, values))
        if one.landmarks is None or one.truth is None:
            raise AssertionError("a set is one file, or two")
        of_truth = one.truth_platform or one.platform
        landmarks, truth = opened(one.landmarks, one.platform), opened(one.truth, of_truth)
        pairs = read_pairs(
            one.pairs, landmarks.profiles, truth.profiles, (one.landmarks, one.truth)
        )
        self.notes += [f"{name}: {note}" for note in pairs.notes]
        return RawSet(
            one,
            self._file(
                f"{name} (landmarks)",
                View(landmarks, profile_places=pairs.landmarks),
                one.platform,
                one.values,
            ),
            self._file(
                f"{name} (truth)",
                View(truth, profile_places=pairs.truth),
                of_truth,
                one.of_truth,
            ),
        )

    def _by_map(
        self,
        path: Path,
        genes: GeneFilter,
        is_gene: Callable[[str], bool],
        both: Genes,
        kinds: tuple[IdKind, ...],
        *,
        unique: bool = False,
    ) -> AnnotatedSource:
        """Open a file in which genes of the maps are looked for; text keeps only those."""
        trusting = self.config.accept_wrong_dimensions
        if self.rule == "log_cpm":
            genes = None  # a million reads are those of all genes
        opened = open_input(path, self.files, genes=genes, accept_wrong_dimensions=trusting)
        if genes is not None and not any(map(is_gene, opened.genes)):
            # Its genes are named otherwise: all of them are needed to find out how.
            opened = open_input(path, self.files, accept_wrong_dimensions=trusting)
        if unique:
            opened = self._chosen(path, opened)
        if _may_be_turned(path):
            opened = _turned(opened, is_gene, both)
        left, left_out = without_annotation(opened, force=self.config.force_platform, training=True)
        self.notes += [f"{path.name}: {note}" for note in (*notes_of(opened), *left_out)]
        if unique:
            _check_unique(left)
        else:
            check_ids(left.path, "profile", left.profiles)
        return _named(left, both, kinds, is_gene, self.notes)


def _numbered(groups: Sequence[str]) -> NDArray[np.intp]:
    """Give each profile the number of its group; those that share one of several series are one."""
    cells = []
    for name in groups:
        ids = ids_of_cell(name.replace(" ", ","))
        several = bool(ids) and all(map(SERIES.fullmatch, ids))
        cells.append(",".join(ids) if several else SEPARATORS.sub("\0", name))
    return linked_groups(cells)


def _group_of(path: Path) -> dict[str, str]:
    """Read a file of two columns: profile and group."""
    groups: dict[str, str] = {}
    for number, cells in read_cells(path):
        if len(cells) != 2:
            raise FormatError(
                f"{path}: line {number}: {len(cells)} columns, not 2 (profile and group)"
            )
        profile, group = cells
        if groups.setdefault(profile, group) != group:
            raise FormatError(f"{path}: line {number}: profile {profile!r} has two groups")
    return groups


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
    for path in paths_of(raw).values():
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
    with progress.step("checksums of the raw files", len(paths_of(raw)), unit="files") as tick:
        for role, path in paths_of(raw).items():
            sums[role] = {"name": path.name, "sha256": file_sha256(path)}
            tick(1)
    return sums
