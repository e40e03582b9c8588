"""A study's raw files opened together, and what can be checked before hours of work."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dgex_jax.config import ALIKE
from dgex_jax.errors import FormatError, PreparationError, StudyError
from dgex_jax.io.archs4 import Archs4
from dgex_jax.io.expression import (
    Genes,
    View,
    check_ids,
    notes_of,
    transposed,
)
from dgex_jax.io.lines import kind_of
from dgex_jax.io.manifest import file_sha256
from dgex_jax.io.open import open_input
from dgex_jax.prepare.genes import (
    Annotation,
    Selection,
    annotation_of,
    ensembl_key,
    is_gene_map,
    read_gene_map,
    select_genes,
)
from dgex_jax.prepare.joined import Joined
from dgex_jax.prepare.looks import Watched, without_annotation, without_sample_annotation
from dgex_jax.prepare.names import search
from dgex_jax.prepare.normalize import LogScale
from dgex_jax.prepare.pairs import read_pairs
from dgex_jax.prepare.probelist import landmark_file, read_probe_list, select_probes
from dgex_jax.prepare.rows import GeneMeans, genes_of_rows, select
from dgex_jax.prepare.samples import groups_of
from dgex_jax.prepare.samples import select as select_samples
from dgex_jax.rawfiles import (
    Compendium,
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
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import ExitStack

    import numpy as np
    from numpy.typing import NDArray

    from dgex_jax.config import IdKind, Normalize, PrepareConfig, SetPlatform, Values
    from dgex_jax.io.expression import AnnotatedSource, ExpressionSource, FloatArray
    from dgex_jax.io.expression import Selection as Chosen
    from dgex_jax.io.progress import Progress
    from dgex_jax.parts import Parts
    from dgex_jax.prepare.genes import GeneMap
    from dgex_jax.rawfiles import AnyRawFiles

    Opener = Callable[[Path, SetPlatform], AnnotatedSource]

GIB = 2**30


class RawFile:
    """A raw file of a study as it is read: looked at, and on a log scale.

    `name` is for people; `path`, `profiles` and `genes` are those of the file.
    """

    def __init__(
        self,
        name: str,
        base: AnnotatedSource,
        platform: SetPlatform,
        values: Values,
        rule: Normalize,
    ) -> None:
        self.name, self.base = name, base
        self.platform, self.values, self.rule = platform, values, rule
        self.path, self.profiles, self.genes = base.path, base.profiles, base.genes
        self.gene_metadata = base.gene_metadata
        self._watched = Watched(base)
        self._source = self._logs(self._watched)

    def _logs(self, source: ExpressionSource) -> ExpressionSource:
        if self.values in ("log2", "log1p"):
            return source
        return LogScale(source, per_million=self.rule == "log_cpm")

    @property
    def unwatched(self) -> ExpressionSource:
        """The same, to be read before."""
        return self._logs(self.base)

    def read(self, profiles: Chosen = None, genes: Chosen = None) -> FloatArray:
        """Read the next profiles, always the same genes of them."""
        return self._source.read(profiles, genes)

    def taken(self, profiles: NDArray[np.intp]) -> RawFile:
        """Return some of the profiles."""
        base = View(self.base, profile_places=profiles)
        return RawFile(self.name, base, self.platform, self.values, self.rule)

    def verdict(self, *, force: bool) -> tuple[list[str], list[str]]:
        """Judge what was read: notes and warnings; raises `FormatError` (see `Watched.verdict`)."""
        # The original takes values of any scale, by their ranks.
        said = None if self.rule == "original" else self.values
        note, warnings = self._watched.verdict(ALIKE[self.platform][0], said, force=force)
        if self.values == "counts" and self.rule == "quantile":
            warnings.append("counts know no lengths: ranks between genes depend on them")
        return [f"{self.name}: {note}"] * bool(note), [f"{self.name}: {one}" for one in warnings]


@dataclass(frozen=True)
class RawSet:
    """A set, open: the file of its landmarks, and that of its targets if it is another."""

    settings: OtherSet
    landmarks: RawFile
    truth: RawFile | None = None

    @property
    def sides(self) -> tuple[AnnotatedSource, AnnotatedSource]:
        """Give the file of the landmarks and that of the targets, mostly the same."""
        return self.landmarks.base, (self.truth or self.landmarks).base


@dataclass(frozen=True)
class RawSources:
    """The raw files of a study, open, and the genes that all platforms have."""

    parts: Parts
    compendium: RawFile
    sets: Mapping[str, RawSet]
    genes: Selection
    gene_ids: IdKind
    annotation: Annotation
    """What is known of the compendium's rows."""
    notes: tuple[str, ...]
    """What was left out of the files, and by which names genes were found, a line each."""
    file_names: tuple[str, ...] | None = None
    """Of each profile of the compendium its file, if there are several."""
    group_names: tuple[str, ...] | None = None
    """Of each profile what it is split by, as written."""
    groups: NDArray[np.intp] | None = None
    """Of each profile the number of its group ``(n_profiles,)``."""

    def files(self) -> Iterator[RawFile]:
        """Give every file."""
        yield self.compendium
        for one in self.sets.values():
            yield one.landmarks
            if one.truth is not None:
                yield one.truth

    def taken(self, profiles: NDArray[np.intp]) -> RawSources:
        """Return some profiles of the compendium."""

        def some(texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if texts is None else tuple(texts[place] for place in profiles.tolist())

        return replace(
            self,
            compendium=self.compendium.taken(profiles),
            file_names=some(self.file_names),
            group_names=some(self.group_names),
            groups=None if self.groups is None else self.groups[profiles],
        )


def open_raw(raw: AnyRawFiles, config: PrepareConfig, files: ExitStack) -> RawSources:
    """Open the raw files and select the study's genes; `files` closes those that stay open.

    Text files are read at once; where a map says the genes, only those the study can use are kept
    of them. Raises `FormatError` for a file that can't be read as what it should be,
    `PreparationError` if no landmark or no target is on every platform.
    """
    opening = _Opening(as_study_files(raw), normalization(raw, config), config, files)
    if isinstance(raw, GeoOnlyFiles):
        return opening.by_probes(raw.landmarks)
    if isinstance(raw, RawFiles):
        return opening.by_maps(read_gene_map(raw.landmarks), read_gene_map(raw.targets))
    lists = (raw.compendium.landmarks, raw.compendium.targets)
    maps = [one for one in lists if isinstance(one, Path) and is_gene_map(one)]
    return opening.by_maps(*map(read_gene_map, maps)) if len(maps) == 2 else opening.by_rows()


@dataclass
class _Opening:
    """Opens a compendium and its sets: each file, then the genes that all have, then the whole."""

    raw: StudyFiles
    rule: Normalize
    config: PrepareConfig
    files: ExitStack
    notes: list[str] = field(default_factory=list)

    def by_probes(self, landmarks: Path) -> RawSources:
        """Open an array alone; the genes are its probes."""
        compendium = self.raw.compendium
        (path,) = compendium.files
        geo = self._by_list(path, self._open(path), landmarks, compendium.name)
        found = read_probe_list(landmarks, geo)
        self._note(compendium.name, found.notes)
        annotation = annotation_of(geo.gene_metadata) | found.annotation
        return self._opened(geo, {}, select_probes(found, geo, annotation), "probe", annotation)

    def by_rows(self) -> RawSources:
        """Open all files; the genes are the rows of the compendium, by any id."""
        compendium = self.raw.compendium
        listed_in = compendium.landmarks
        if not isinstance(listed_in, Path):
            listed_in = landmark_file(listed_in)
        files = [
            self._by_list(path, self._chosen(path, self._open(path)), listed_in, path.name)
            for path in compendium.files
        ]
        source = self._joined(files)
        rows = genes_of_rows(source, compendium.genes)
        self._note(compendium.name, rows.notes)
        sets = self._sets(lambda path, platform: self._by_genes(path, platform, rows.genes))
        sides = {name: one.sides for name, one in sets.items()}
        genes = select(rows, listed_in, compendium.targets, sides, source.path)
        self.notes += genes.notes
        return self._opened(source, sets, genes, rows.id_kind, rows.annotation)

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
        files = [self._by_map(path, both, training=True) for path in compendium.files]
        source = self._joined(files)
        sets = self._sets(lambda path, _platform: self._by_map(path, both, training=False))
        sides = {name: one.sides for name, one in sets.items()}
        genes = select_genes(landmarks, targets, source, sides)
        return self._opened(source, sets, genes, "ensembl", annotation_of(source.gene_metadata))

    def _note(self, name: str, notes: Sequence[str]) -> None:
        self.notes += [f"{name}: {note}" for note in notes]

    def _open(self, path: Path, genes: Callable[[str], bool] | None = None) -> AnnotatedSource:
        trusting = self.config.accept_wrong_dimensions
        return open_input(path, self.files, genes=genes, accept_wrong_dimensions=trusting)

    def _chosen(self, path: Path, source: AnnotatedSource) -> AnnotatedSource:
        """Choose the samples of an ARCHS4 file; of another none can be asked for."""
        compendium = self.raw.compendium
        if isinstance(source, Archs4):
            chosen, notes = select_samples(source, compendium, self.config.seed)
            self._note(path.name, notes)
            return chosen
        options = ("samples", "sample", "single_cell")
        asked = [one for one in options if getattr(compendium, one) != getattr(Compendium, one)]
        if asked:
            raise FormatError(f"{path}: {', '.join(asked)}: is no ARCHS4 file to choose from")
        return source

    def _cleaned(
        self,
        path: Path,
        source: AnnotatedSource,
        turn: Callable[[AnnotatedSource], AnnotatedSource],
        name: str,
    ) -> AnnotatedSource:
        """Turn a file that may have its genes in its columns; leave out annotation of genes."""
        if kind_of(path) in {"table", "series matrix"}:
            source = turn(source)
        force = self.config.force_platform
        source, left_out = without_annotation(source, force=force, training=True)
        self._note(name, [*notes_of(source), *left_out])
        return source

    def _by_list(
        self, path: Path, source: AnnotatedSource, landmarks: Path, name: str
    ) -> AnnotatedSource:
        """Clean a file of the compendium, in which listed landmarks are looked for."""

        def turn(table: AnnotatedSource) -> AnnotatedSource:
            both = (table, transposed(table))
            return _turned(table, *(read_probe_list(landmarks, one).n_found for one in both))

        source = self._cleaned(path, source, turn, name)
        if kind_of(path) == "h5ad" or (isinstance(source, View) and source.turned):
            source, left_out = without_sample_annotation(source)
            self._note(name, left_out)
        return _checked(source)

    def _by_genes(self, path: Path, platform: SetPlatform, genes: Genes) -> AnnotatedSource:
        """Open a file of a set, in which genes are looked for; probes are averaged by gene."""
        opened = self._open(path)
        source = self._cleaned(path, opened, lambda table: _by_search(table, genes), path.name)
        check_ids(source.path, "profile", source.profiles)
        if platform == "rnaseq":
            return source
        compendium = self.raw.compendium
        rows = genes_of_rows(source, compendium.genes if platform == compendium.platform else None)
        if rows.id_kind == "probe" or all(len(of_gene) == 1 for of_gene in rows.columns):
            return source
        self._note(path.name, rows.notes)
        return GeneMeans(source, rows)

    def _by_map(self, path: Path, both: Genes, *, training: bool) -> AnnotatedSource:
        """Open a file in which genes of the maps are looked for; text keeps only those."""
        kinds: tuple[IdKind, ...] = ("probe",) if training else ("ensembl", "symbol")
        probes = {probe for of_gene in both.probes for probe in of_gene}
        ensembl = set(map(ensembl_key, both.ensembl))

        def is_gene(name: str) -> bool:
            return name in probes if training else ensembl_key(name) in ensembl

        def turn(table: AnnotatedSource) -> AnnotatedSource:
            in_rows, in_columns = (sum(map(is_gene, ids)) for ids in (table.genes, table.profiles))
            if in_rows or in_columns:
                return _turned(table, in_rows, in_columns)
            return _by_search(table, both)

        # A million reads are those of all genes, and duplicates are sought by all probes.
        every = self.rule == "log_cpm" or (training and self.config.duplicates != "none")
        source = self._open(path, None if every else is_gene)
        if not every and not any(map(is_gene, source.genes)):
            # Its genes are named otherwise: all of them are needed to find out how.
            source = self._open(path)
        if training:
            source = _checked(self._cleaned(path, self._chosen(path, source), turn, path.name))
        else:
            source = self._cleaned(path, source, turn, path.name)
            check_ids(source.path, "profile", source.profiles)
        return _named(source, both, kinds, is_gene, self.notes)

    def _joined(self, files: Sequence[AnnotatedSource]) -> AnnotatedSource:
        """Join the files of the compendium."""
        if len(files) == 1:
            return files[0]
        joined = Joined(files)
        self.notes += [note for note in joined.notes if note not in self.notes]
        if self.rule == "log_cpm" and any(len(one.genes) > len(joined.genes) for one in files):
            self.notes.append("counts are per million of the genes that all files have")
        return joined

    def _sets(self, opened: Opener) -> dict[str, RawSet]:
        return {name: self._set(name, one, opened) for name, one in self.raw.sets.items()}

    def _set(self, name: str, one: OtherSet, opened: Opener) -> RawSet:
        if one.file is not None:
            # Dense ranks need no logarithms, and corrected RPKM below 0 have none.
            ranked = self.rule == "original" and one.platform == "rnaseq"
            source, values = opened(one.file, one.platform), "log2" if ranked else one.values
            return RawSet(one, RawFile(name, source, one.platform, values, self.rule))
        if one.landmarks is None or one.truth is None:
            raise AssertionError("a set is one file, or two")
        of_truth = one.truth_platform or one.platform
        landmarks, truth = opened(one.landmarks, one.platform), opened(one.truth, of_truth)
        paths = (one.landmarks, one.truth)
        pairs = read_pairs(one.pairs, landmarks.profiles, truth.profiles, paths)
        self._note(name, pairs.notes)
        inputs = View(landmarks, profile_places=pairs.landmarks)
        outputs = View(truth, profile_places=pairs.truth)
        return RawSet(
            one,
            RawFile(f"{name} (landmarks)", inputs, one.platform, one.values, self.rule),
            RawFile(f"{name} (truth)", outputs, of_truth, one.of_truth, self.rule),
        )

    def _opened(
        self,
        source: AnnotatedSource,
        sets: Mapping[str, RawSet],
        genes: Selection,
        gene_ids: IdKind,
        annotation: Annotation,
    ) -> RawSources:
        """Give all that is open, and what the profiles of the compendium are split by."""
        compendium = self.raw.compendium
        names, numbers, notes = groups_of(source, compendium.split_by)
        self.notes += notes
        files = source.profile_metadata["file"] if isinstance(source, Joined) else None
        return RawSources(
            parts_of(self.raw),
            RawFile(compendium.name, source, compendium.platform, compendium.values, self.rule),
            sets,
            genes,
            gene_ids,
            annotation,
            tuple(self.notes),
            file_names=None if files is None else tuple(map(str, files)),
            group_names=names,
            groups=numbers,
        )


def _by_search(table: AnnotatedSource, genes: Genes) -> AnnotatedSource:
    """Give a table with its genes as columns: the axis on which most are found, by any name."""
    kinds: tuple[IdKind, ...] = ("probe", "ensembl", "symbol")
    in_rows, in_columns = (
        search(kinds, genes, side.genes, side.gene_metadata)[0].count
        for side in (table, transposed(table))
    )
    # By other names a few are found by chance.
    if 10 * min(in_rows, in_columns) < max(in_rows, in_columns):
        return transposed(table) if in_columns > in_rows else table
    return _turned(table, in_rows, in_columns)


def _turned(table: AnnotatedSource, in_rows: int, in_columns: int) -> AnnotatedSource:
    """Give a table with its genes as columns, of which one axis of the file has some."""
    if in_rows and in_columns:
        raise FormatError(
            f"{table.path}: has genes of the study in its rows ({in_rows}) and in its columns "
            f"({in_columns}): which of them are the genes can't be told"
        )
    return transposed(table) if in_columns else table


def _checked(source: AnnotatedSource) -> AnnotatedSource:
    """Raise `FormatError` for an id that comes twice: not every reader refuses it."""
    check_ids(source.path, "profile", source.profiles)
    check_ids(source.path, "gene", source.genes)
    return source


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
