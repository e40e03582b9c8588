"""Raw files to one prepared study (paper section 2.1; the order of steps is the original's)."""

from __future__ import annotations

import json
import platform
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import h5py
import numpy as np

import dgex_jax
from dgex_jax.errors import PreparationError
from dgex_jax.io.files import Unchanged, atomic_path, one_line, temporary_folder
from dgex_jax.io.hdf5 import encode_fixed, seal_hdf5
from dgex_jax.io.manifest import drop_sidecar, record, write_sidecar
from dgex_jax.io.progress import Progress
from dgex_jax.prepare.duplicates import Duplicates, find_duplicates
from dgex_jax.prepare.normalize import (
    Normalised,
    ProbeMeans,
    RowSum,
    mean_and_deviation,
    normalise_compendium,
    normalise_set,
    read_blocks,
    standardise,
    store_profiles,
)
from dgex_jax.prepare.prepared import COMPENDIUM, FORMAT_VERSION, SETS
from dgex_jax.prepare.raw import (
    check_room,
    checksums,
    open_raw,
    refuse_overwriting,
)
from dgex_jax.prepare.report import PrepareReport, count_key
from dgex_jax.prepare.split import (
    STREAMS,
    SplitSizes,
    clustered_order,
    half_slices,
    sampled_profiles,
    shuffled,
    split_groups,
    split_sizes,
)
from dgex_jax.prepare.study import rules_of
from dgex_jax.rawfiles import check_rules, normalization, paths_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.config import Normalize, PrepareConfig
    from dgex_jax.io.progress import Listener
    from dgex_jax.parts import Parts
    from dgex_jax.prepare.genes import Selection, StudyGenes
    from dgex_jax.prepare.normalize import RowStore, Rule
    from dgex_jax.prepare.raw import RawFile, RawSources
    from dgex_jax.rawfiles import AnyRawFiles

CHUNK_BYTES = 1 << 20
ROWS_WRITTEN = 256
"""Writes are runs of whole chunks in file order, without a clock: the same bytes for any block."""
X, Y = "X", "Y"


@dataclass(frozen=True)
class _Job:
    """What every step of one preparation works with."""

    sources: RawSources
    genes: Selection
    config: PrepareConfig
    rule: Normalize
    output: Path
    scratch: Path
    progress: Progress

    @property
    def parts(self) -> Parts:
        return self.sources.parts

    @property
    def n_landmarks(self) -> int:
        return len(self.genes.landmarks)


@dataclass(frozen=True)
class _Side:
    """Normalised values of one file, and the columns of X, of Y, or of both in them."""

    values: Normalised
    columns: Mapping[str, slice]


@dataclass(frozen=True)
class _Compendium:
    """The compendium without duplicates, normalised in file order, and the order to store it in."""

    values: Normalised
    quantile: NDArray[np.float64]
    duplicates: Duplicates
    sizes: SplitSizes
    order: NDArray[np.intp]
    fitted_on: NDArray[np.intp]
    rows: NDArray[np.intp]
    """Those of the file that were kept."""
    target_order: NDArray[np.intp] | None
    """That of the targets by clusters; ``None`` if they stay as they are."""


def prepare(
    raw: AnyRawFiles,
    output: Path,
    config: PrepareConfig,
    *,
    name: str,
    title: str,
    simulated: bool,
    settings: Mapping[str, object] | None = None,
    source: str = "",
    licence: str = "",
    progress: bool | Listener = False,
) -> PrepareReport:
    """Make one prepared study of its raw files.

    The compendium (GEO): drop duplicates, average probes, quantile-normalise; the sets (GTEx and
    1000G): map each sample's ranks on the compendium's reference quantile; standardise each gene in
    each data set with that data set's own mean and deviation; shuffle and split. With
    ``scale_on="train"`` the quantile and the compendium's means and deviations come from its
    training part alone (also the quantile that the sets are mapped on); the sets keep statistics of
    their own, as the paper scales every data set by itself. With ``partition="clustered"`` only the
    order of the targets is another. Arrays alone (paper section 3.4): the same steps without sets,
    genes are probes. Studies by ``[compendium]``: docs/reference/study.md.

    Memory is bounded by `config.block_size` profiles and a few thousand more for clustering; probes
    and ranks go to a scratch folder beside `output`, removed at the end, also on an error. `output`
    is replaced only on success and the same, byte for byte, for every block size; its sidecar has
    its checksum and those of the raw files. It records all texts, whether values are `simulated`,
    and `settings` (`Study.preparation_settings`). `progress`: ``True`` for standard error; a
    callable gets (step, profiles done, profiles in all).

    Raises
    ------
    FormatError
        A raw file can't be read, or needed values are missing (how many, and the first place).
    StudyError
        The files can't be prepared as `config` says.
    PreparationError
        The files don't make a study: no gene on all platforms, too few profiles, no room on disk.
    """
    show, facts = Progress(progress), {"source": source, "licence": licence}
    check_rules(raw, config)
    refuse_overwriting(raw, output)
    with (
        atomic_path(output) as temporary,
        _disk_errors(output),
        ExitStack() as files,
        temporary_folder(temporary.with_name(f"{output.name}.scratch")) as scratch,
    ):
        unchanged = [Unchanged.of(path) for path in paths_of(raw).values()]
        rule = normalization(raw, config)
        sources = open_raw(raw, config, files)
        genes = sources.genes.taken(
            shuffled(config.seed, "targets", len(sources.genes.targets)),
            shuffled(config.seed, "landmarks", len(sources.genes.landmarks)),
        )
        with h5py.File(temporary, "w") as file:
            report = _write(file, _Job(sources, genes, config, rule, output, scratch, show))
            for one in unchanged:
                one.check()
            sums = checksums(raw, show)
            # The checksums must be those of the values that were read.
            for one in unchanged:
                one.check()
            _write_attributes(
                file,
                {
                    "study": name,
                    "title": title,
                    "simulated": simulated,
                    "gene_ids": sources.gene_ids,
                    "parts": sources.parts.to_json(),
                    "settings": dict(settings or {}),
                    "prepare": rules_of(config)
                    | {"normalize": rule, "values": sources.compendium.values},
                    "random_streams": STREAMS,
                    "raw_files": sums,
                    **{key: text for key, text in facts.items() if text},
                },
            )
        seal_hdf5(temporary)
        drop_sidecar(output)
    # Not in the file: its checksum decides which runs are of it, and another commit may not.
    made = record(
        "dgex prepare",
        precision="float64, stored as float32",
        inputs=sums,
        seeds={"seed": config.seed, "random_streams": dict(STREAMS)},
    )
    made |= {"notes": list(report.notes), "warnings": list(report.warnings)}
    write_sidecar(output, made)
    return report


@contextmanager
def _disk_errors(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PreparationError(f"{output}: can't be prepared: {one_line(error)}") from error


def _write(file: h5py.File, job: _Job) -> PrepareReport:
    """Run every step but the opening of the files and write all datasets."""
    n_read = len(job.sources.compendium.profiles)
    job, left_out = _filtered(job)
    genes, sources, n_landmarks = job.genes, job.sources, job.n_landmarks
    sets = {name: _normalise_set(job, name) for name in sources.sets}
    found = _normalise_compendium(job)
    notes, warnings = [*sources.notes, *left_out], []
    for raw in sources.files():
        note, more = raw.verdict(force=job.config.force_platform)
        notes += note
        warnings += more
    if found.target_order is not None:
        # Ranks don't depend on the order of the genes: the columns are only read in another one.
        genes = genes.taken(found.target_order)
        columns = np.concatenate([np.arange(n_landmarks), n_landmarks + found.target_order])
        sets = {
            name: [
                one
                if Y not in one.columns
                else _reordered(one, columns if X in one.columns else found.target_order)
                for one in sides
            ]
            for name, sides in sets.items()
        }
        found = replace(found, values=replace(found.values, columns=columns))
    _write_genes(file, genes, sources)
    train = np.sort(found.order[: found.sizes.train])
    quantiles = _quantiles(job, found, train)
    file["quantile"], file["landmark_quantile"] = found.quantile, quantiles[X]
    every = _Side(found.values, _both(len(genes.all_genes), n_landmarks))
    training = _write_values(
        job, file, COMPENDIUM, sources.parts.compendium, [every], found.order, found.fitted_on
    )
    _write_groups(file, sources, found)
    for name, sides in sets.items():
        own = [replace(one, values=_with_quantile(one, found.quantile, quantiles)) for one in sides]
        everyone = np.arange(len(own[0].values.profiles))
        given = training if sources.sets[name].settings.standardize == "training" else None
        _write_values(job, file, SETS.format(name), name, own, everyone, everyone, given)
    for part, rows in found.sizes.slices.items():
        file[f"{COMPENDIUM}/split/{part}"] = np.arange(rows.start, rows.stop)
    compendium = sources.parts.compendium
    counts: dict[str, int | None] = {
        count_key(compendium, "profiles_read"): n_read,
        count_key(compendium, "profiles_kept"): len(found.order),
        count_key(compendium, "close_pairs"): found.duplicates.n_close,
        count_key(compendium, "close_pairs_straddling_clusters"): found.duplicates.n_straddling,
        "groups": None if sources.groups is None else len(set(sources.groups[found.rows])),
        "landmarks": n_landmarks,
        "targets": len(genes.targets),
        "targets_copying_a_landmark": int(genes.copy_of_landmark.sum()),
        "genes_dropped": len(genes.dropped),
        "genes_with_missing_probes": len(genes.partial),
    }
    for name, (first, *_) in sets.items():
        counts[count_key(name, "profiles")] = len(first.values.profiles)
        counts[count_key(name, "indices_clipped")] = first.values.n_clipped
    made = {name: count for name, count in counts.items() if count is not None}
    file.create_group("report").attrs.update(made)
    sizes, both_lists = found.sizes._asdict(), (genes.dropped, genes.partial)
    return PrepareReport(
        job.output, job.parts, made, sizes, *both_lists, tuple(notes), tuple(warnings)
    )


def _both(n_genes: int, n_landmarks: int) -> dict[str, slice]:
    return {X: slice(0, n_landmarks), Y: slice(n_landmarks, n_genes)}


def _reordered(side: _Side, columns: NDArray[np.intp]) -> _Side:
    return replace(side, values=replace(side.values, columns=columns))


def _with_quantile(
    side: _Side, every: NDArray[np.float64], alone: Mapping[str, NDArray[np.float64]]
) -> Normalised:
    """Give ranks their quantile: that of all genes, or of the landmarks or targets alone."""
    if side.values.stored.dtype.kind == "f":
        return side.values
    return replace(
        side.values, quantile=every if len(side.columns) > 1 else alone[min(side.columns)]
    )


def _filtered(job: _Job) -> tuple[_Job, list[str]]:
    """Leave out profiles with few genes and genes that are mostly 0, by one pass of their own."""
    config, source, genes = job.config, job.sources.compendium, job.genes.all_genes
    if config.min_genes == 0 and config.max_zero_share == 1:
        return job, []
    used = np.unique(np.concatenate([np.array(columns) for columns in genes.probes]))
    means = ProbeMeans([np.searchsorted(used, columns).tolist() for columns in genes.probes])
    rich, zeros = [], np.zeros(len(genes), dtype=np.intp)
    with job.progress.step("looking for empty profiles and genes", len(source.profiles)) as tick:
        for block in read_blocks(source.unwatched, used, block_size=config.block_size, tick=tick):
            above = means(block) > 0
            enough = above.sum(axis=1) >= config.min_genes
            rich.append(enough)
            zeros += (~above[enough]).sum(axis=0)
    kept = np.flatnonzero(np.concatenate(rich))
    notes = []
    if len(kept) < len(source.profiles):
        text = f"profiles with fewer than {config.min_genes:,} genes above 0 left out"
        notes.append(f"{job.parts.compendium}: {len(source.profiles) - len(kept):,} {text}")
    if not len(kept):
        raise PreparationError(
            f"{source.path}: no profile has {config.min_genes:,} genes above 0 (min_genes)"
        )
    stays = zeros <= config.max_zero_share * len(kept)
    cause = f"zero in more than {config.max_zero_share:.0%} of the profiles"
    selected = job.genes.without(~stays, cause)
    if not len(selected.landmarks) or not len(selected.targets):
        raise PreparationError(f"{source.path}: no landmark or no target is left: {cause}")
    return replace(job, genes=selected, sources=job.sources.taken(kept)), notes


def _normalise_set(job: _Job, name: str) -> list[_Side]:
    """Normalise a set: its one file, or the two of its landmarks and of its targets."""
    raw, genes = job.sources.sets[name], job.genes
    rule: Rule = "values" if job.rule in ("none", "log_cpm") else "ranks"
    if job.rule == "original" and raw.settings.platform == "rnaseq":
        rule = "dense"

    def normalised(file: RawFile, of: StudyGenes, kind: str) -> Normalised:
        with job.progress.step(f"reading {file.name}", len(file.profiles)) as tick:
            return normalise_set(
                file,
                of.columns[name],
                job.scratch / f"set {name}{kind}",
                rule,
                block_size=job.config.block_size,
                tick=tick,
            )

    if raw.truth is None:
        both = _both(len(genes.all_genes), job.n_landmarks)
        return [_Side(normalised(raw.landmarks, genes.all_genes, ""), both)]
    return [
        _Side(normalised(raw.landmarks, genes.landmarks, X), {X: slice(0, job.n_landmarks)}),
        _Side(normalised(raw.truth, genes.targets, Y), {Y: slice(0, len(genes.targets))}),
    ]


def _normalise_compendium(job: _Job) -> _Compendium:
    """Store the probes, drop duplicates, decide the split, and rank the profiles that stay."""
    config, progress, name = job.config, job.progress, job.parts.compendium
    source, genes = job.sources.compendium, job.genes.all_genes
    used = np.unique(np.concatenate([np.array(columns) for columns in genes.probes]))
    # Duplicates are decided on all probes of the array; without that search, genes are enough.
    stored = used if config.duplicates == "none" else np.arange(len(source.genes))
    check_room(job.scratch, len(source.profiles), len(stored), len(genes))
    with progress.step(f"reading {name}", len(source.profiles)) as tick:
        probes = store_profiles(
            source, stored, job.scratch / "probes", block_size=config.block_size, tick=tick
        )
    duplicates = find_duplicates(probes, config.duplicates, seed=config.seed, progress=progress)
    rows = np.flatnonzero(duplicates.kept)
    if job.sources.groups is None:
        sizes, order = split_sizes(len(rows)), shuffled(config.seed, "profiles", len(rows))
    else:
        groups = np.unique(job.sources.groups[rows], return_inverse=True)[1]
        order, sizes = split_groups(groups, config.seed)
    reference = np.ones(len(rows), dtype=bool)
    if config.scale_on == "train":
        reference[order[sizes.train :]] = False
    means = ProbeMeans([np.searchsorted(stored, columns).tolist() for columns in genes.probes])
    target_order = None
    if config.partition == "clustered":
        target_order = _cluster_targets(job, probes, rows[order[: sizes.train]], means)
    by_rank = job.rule in ("original", "quantile")
    with progress.step(f"ranking {name}", len(rows)) as tick:
        values, quantile = normalise_compendium(
            probes,
            rows,
            means,
            reference,
            job.scratch / "genes",
            n_genes=len(genes),
            by_rank=by_rank,
            block_size=config.block_size,
            tick=tick,
        )
    kept = tuple(source.profiles[row] for row in rows)
    normalised = Normalised(kept, values, quantile if by_rank else None)
    fitted_on = np.flatnonzero(reference)
    return _Compendium(
        normalised, quantile, duplicates, sizes, order, fitted_on, rows, target_order
    )


def _quantiles(
    job: _Job, found: _Compendium, train: NDArray[np.intp]
) -> dict[str, NDArray[np.float64]]:
    """Means over training of the sorted normalised values of landmarks, and of targets.

    The latter only where a set's targets are ranked by themselves.
    """
    n_landmarks, n_genes = job.n_landmarks, len(job.genes.all_genes)
    kinds = _both(n_genes, n_landmarks)
    if all(one.truth is None for one in job.sources.sets.values()):
        del kinds[Y]
    quantiles = {}
    for kind, columns in kinds.items():
        total = RowSum(columns.stop - columns.start)
        name = "landmarks" if kind == X else "targets"
        with job.progress.step(f"quantile of the {name}", len(train)) as tick:
            for block in found.values.values(train, job.config.block_size, columns):
                total.add(np.sort(block, axis=1))
                tick(len(block))
        quantiles[kind] = total.mean()
    return quantiles


def _cluster_targets(
    job: _Job, probes: RowStore, train: NDArray[np.intp], means: ProbeMeans
) -> NDArray[np.intp]:
    """Order the targets by clusters of their expression in profiles of training.

    These profiles are normalised by themselves: the study's quantile may know the test set.
    """
    chosen = np.sort(train[sampled_profiles(len(train), job.config.seed)])
    n_landmarks, n_targets = len(job.genes.landmarks), len(job.genes.targets)
    by_rank = job.rule in ("original", "quantile")
    with job.progress.step("ranking a sample of training", len(chosen)) as tick:
        stored, quantile = normalise_compendium(
            probes,
            chosen,
            means,
            np.ones(len(chosen), dtype=bool),
            job.scratch / "sample",
            n_genes=n_landmarks + n_targets,
            by_rank=by_rank,
            block_size=job.config.block_size,
            tick=tick,
        )
    with job.progress.step("clustering targets", n_targets, unit="targets") as tick:
        values = stored.read(slice(None))[:, n_landmarks:]
        values = quantile[values] if by_rank else values.astype(np.float64)
        order = clustered_order(values, job.config.seed)
        tick(n_targets)
    return order


def _write_genes(file: h5py.File, genes: Selection, sources: RawSources) -> None:
    """Write ids, gene information, the dropped and the partial genes."""
    _write_role(file, "landmark", genes.landmarks, sources)
    _write_role(file, "target", genes.targets, sources)
    half = np.zeros(len(genes.targets), dtype=np.uint8)
    for number, columns in enumerate(half_slices(len(genes.targets)), start=1):
        half[columns] = number
    file["target_info/half"] = half
    file["target_info/copy_of_landmark"] = genes.copy_of_landmark
    for field in ("role", "symbol", "ensembl", "cause"):
        _write_texts(file, f"dropped/{field}", [getattr(gene, field) for gene in genes.dropped])
    _write_texts(file, "dropped/probes", [",".join(gene.probes) for gene in genes.dropped])
    for field in ("role", "symbol", "ensembl"):
        _write_texts(file, f"partial/{field}", [getattr(gene, field) for gene in genes.partial])
    missing = [",".join(gene.probes) for gene in genes.partial]
    _write_texts(file, "partial/missing_probes", missing)


def _write_role(file: h5py.File, role: str, genes: StudyGenes, sources: RawSources) -> None:
    """Write the ids of the landmarks or of the targets and what is known of them."""
    probes, annotation = sources.compendium.genes, sources.annotation
    averaged = [[probes[column] for column in columns] for columns in genes.probes]

    def common(ids: Mapping[str, str]) -> list[str]:
        """For each gene the one id that its probes have; empty if they have none or two."""
        found = [{ids[probe] for probe in names if probe in ids} for names in averaged]
        return [one.pop() if len(one) == 1 else "" for one in found]

    _write_texts(file, f"{role}s", genes.ids)
    _write_texts(file, f"{role}_info/symbol", genes.symbols)
    _write_texts(file, f"{role}_info/probes", [",".join(names) for names in averaged])
    _write_texts(file, f"{role}_info/entrez", common(annotation.entrez))
    if annotation.ensembl:
        _write_texts(file, f"{role}_info/ensembl", common(annotation.ensembl))


def _write_groups(file: h5py.File, sources: RawSources, found: _Compendium) -> None:
    """Write of each profile of the compendium which file and which group it is of."""
    rows = found.rows[found.order]
    for name, texts in (("file", sources.file_names), ("group", sources.group_names)):
        if texts is not None:
            _write_texts(file, f"{COMPENDIUM}/{name}", [texts[row] for row in rows])


def _write_values(
    job: _Job,
    file: h5py.File,
    place: str,
    name: str,
    sides: Sequence[_Side],
    order: NDArray[np.intp],
    fitted_on: NDArray[np.intp],
    given: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]] | None = None,
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Standardise one data set gene by gene and write its group `place`.

    The rows of the `sides` are stored in `order`; those in `fitted_on`, ascending, give the means
    and deviations, unless others are `given`. Returns these, of X and of Y.
    """
    group, used = file.create_group(place), {}
    for number, side in enumerate(sides):
        profiles = [side.values.profiles[row] for row in order]
        _write_texts(group, "truth" if number else "profiles", profiles)
        if given is None:
            mean, deviation = _statistics(job, name, side, fitted_on)
        else:
            mean, deviation = (np.concatenate([given[k][n] for k in side.columns]) for n in (0, 1))
        for kind, columns in side.columns.items():
            used[kind] = mean[columns], deviation[columns]
            group[f"{kind}_mean"], group[f"{kind}_sd"] = used[kind]
            width = columns.stop - columns.start
            group.create_dataset(
                kind,
                (len(order), width),
                np.float32,
                chunks=(chunk_rows(len(order), width), width),
                fletcher32=True,
            )
        with job.progress.step(f"writing {name}", len(order)) as tick:
            start = 0
            for block in side.values.values(order, ROWS_WRITTEN):
                scaled = standardise(block, mean, deviation).astype(np.float32)
                for kind, columns in side.columns.items():
                    group[kind][start : start + len(block)] = scaled[:, columns]
                start += len(block)
                tick(len(block))
    return used


def _statistics(
    job: _Job, name: str, side: _Side, fitted_on: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n_genes = side.values.stored.n_columns
    with job.progress.step(f"means of {name}", 2 * len(fitted_on)) as tick:

        def read() -> Iterator[NDArray[np.float64]]:
            for block in side.values.values(fitted_on, job.config.block_size):
                yield block
                tick(len(block))

        mean, deviation = mean_and_deviation(read, n_genes)
    if not np.isfinite(deviation).all():
        n_bad = int(np.count_nonzero(~np.isfinite(deviation)))
        raise PreparationError(
            f"{name}: {n_bad} of {n_genes} genes have no standard deviation in float64: "
            "normalised values beyond 1e150 can't be squared"
        )
    return mean, deviation


def chunk_rows(n_rows: int, n_columns: int) -> int:
    """Rows of a chunk: about 1 MB, a divisor of the rows written at a time."""
    rows = min(ROWS_WRITTEN, max(1, CHUNK_BYTES // (4 * n_columns)))
    return min(1 << (rows.bit_length() - 1), n_rows)


def _write_attributes(file: h5py.File, attributes: Mapping[str, object]) -> None:
    """Write root attributes: text, numbers and truth values as they are, mappings as JSON.

    With sorted keys; what JSON lacks (paths) becomes text.
    """
    versions = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "scikit-learn": version("scikit-learn"),
        "dgex_jax": dgex_jax.__version__,
    }
    for name, value in (
        {"format_version": FORMAT_VERSION, "versions": versions} | dict(attributes)
    ).items():
        plain = isinstance(value, str | bool | int | float)
        file.attrs[name] = value if plain else json.dumps(value, sort_keys=True, default=str)


def _write_texts(group: h5py.Group, name: str, texts: Sequence[str]) -> None:
    group[name] = encode_fixed(texts)
