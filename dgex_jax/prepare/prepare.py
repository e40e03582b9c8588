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
    from dgex_jax.prepare.genes import Selection, StudyGenes
    from dgex_jax.prepare.normalize import RowStore, Rule
    from dgex_jax.prepare.raw import RawFile, RawSources
    from dgex_jax.rawfiles import AnyRawFiles

    _Scale = tuple[NDArray[np.float64], NDArray[np.float64]]
    """Means and standard deviations of genes."""

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
    def by_rank(self) -> bool:
        return self.rule in ("original", "quantile")

    @property
    def columns(self) -> dict[str, slice]:
        """Landmarks, then targets, as they stand in a file that has both."""
        n_landmarks = len(self.genes.landmarks)
        return {X: slice(0, n_landmarks), Y: slice(n_landmarks, len(self.genes.all_genes))}


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
    except (OSError, RuntimeError) as error:
        # Of a file that can't be written HDF5 says that it can't be closed, and hides the cause.
        hidden = error.__context__
        cause = hidden if isinstance(hidden, OSError) else error
        raise PreparationError(f"{output}: can't be prepared: {one_line(cause)}") from error


def _write(file: h5py.File, job: _Job) -> PrepareReport:
    """Run every step but the opening of the files and write all datasets."""
    n_read = len(job.sources.compendium.profiles)
    job, left_out = _filtered(job)
    sources = job.sources
    sets = {name: _normalise_set(job, name) for name in sources.sets}
    found = _normalise_compendium(job)
    notes, warnings = [*sources.notes, *left_out], []
    for raw in sources.files():
        note, more = raw.verdict(force=job.config.force_platform)
        notes += note
        warnings += more
    order, genes = found.target_order, job.genes
    if order is not None:
        genes = genes.taken(order)
    _write_genes(file, genes, sources)
    quantiles = _quantiles(job, found)
    file["quantile"], file["landmark_quantile"] = found.quantile, quantiles[X]
    name, values = sources.parts.compendium, [_ordered(found.values, order)]
    training = _write_values(job, file, COMPENDIUM, name, values, found.order, found.fitted_on)
    _write_groups(file, sources, found)
    for name, sides in sets.items():
        values = [_ordered(_with_quantile(one, found.quantile, quantiles), order) for one in sides]
        everyone = np.arange(len(sides[0].profiles))
        given = training if sources.sets[name].settings.standardize == "training" else None
        _write_values(job, file, SETS.format(name), name, values, everyone, everyone, given)
    for part, rows in found.sizes.slices.items():
        file[f"{COMPENDIUM}/split/{part}"] = np.arange(rows.start, rows.stop)
    counts = _counts(sources, found, genes, n_read)
    for name, (first, *_) in sets.items():
        counts[count_key(name, "profiles")] = len(first.profiles)
        counts[count_key(name, "indices_clipped")] = first.n_clipped
    file.create_group("report").attrs.update(counts)
    sizes, both_lists = found.sizes._asdict(), (genes.dropped, genes.partial)
    return PrepareReport(
        job.output, sources.parts, counts, sizes, *both_lists, tuple(notes), tuple(warnings)
    )


def _counts(
    sources: RawSources, found: _Compendium, genes: Selection, n_read: int
) -> dict[str, int]:
    """Count profiles of the compendium and genes; what nobody counted is left out."""
    counts = {
        count_key(sources.parts.compendium, name): n
        for name, n in (
            ("profiles_read", n_read),
            ("profiles_kept", len(found.order)),
            ("close_pairs", found.duplicates.n_close),
            ("close_pairs_straddling_clusters", found.duplicates.n_straddling),
        )
    }
    counts |= {
        "groups": None if sources.groups is None else len(set(sources.groups[found.rows])),
        "landmarks": len(genes.landmarks),
        "targets": len(genes.targets),
        "targets_copying_a_landmark": int(genes.copy_of_landmark.sum()),
        "genes_dropped": len(genes.dropped),
        "genes_with_missing_probes": len(genes.partial),
    }
    return {name: n for name, n in counts.items() if n is not None}


def _ordered(values: Normalised, target_order: NDArray[np.intp] | None) -> Normalised:
    """Read the targets in another order: ranks, once made, don't depend on that of the genes."""
    if target_order is None or Y not in values.columns:
        return values
    targets = np.arange(values.stored.n_columns)[values.columns[Y]][target_order]
    return replace(values, columns={**values.columns, Y: targets})


def _with_quantile(
    values: Normalised, every: NDArray[np.float64], alone: Mapping[str, NDArray[np.float64]]
) -> Normalised:
    """Give ranks their quantile: that of all genes, or of the landmarks or targets alone."""
    if values.stored.dtype.kind == "f":
        return values
    quantile = every if len(values.columns) > 1 else alone[min(values.columns)]
    return replace(values, quantile=quantile)


def _filtered(job: _Job) -> tuple[_Job, list[str]]:
    """Leave out profiles with few genes and genes that are mostly 0, by one pass of their own."""
    config, source, genes = job.config, job.sources.compendium, job.genes.all_genes
    if config.min_genes == 0 and config.max_zero_share == 1:
        return job, []
    used = genes.probe_columns
    means = ProbeMeans(genes.probes, used)
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
        notes.append(f"{job.sources.parts.compendium}: {len(source.profiles) - len(kept):,} {text}")
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


def _normalise_set(job: _Job, name: str) -> list[Normalised]:
    """Normalise a set: its one file, or the two of its landmarks and of its targets."""
    raw, genes = job.sources.sets[name], job.genes
    rule: Rule = "ranks" if job.by_rank else "values"
    if job.rule == "original" and raw.settings.platform == "rnaseq":
        rule = "dense"

    def normalised(file: RawFile, of: StudyGenes, columns: Mapping[str, slice]) -> Normalised:
        with job.progress.step(f"reading {file.name}", len(file.profiles)) as tick:
            values = normalise_set(
                file,
                of.columns[name],
                job.scratch / f"set {name} {''.join(columns)}",
                rule,
                block_size=job.config.block_size,
                tick=tick,
            )
        return replace(values, columns=columns)

    if raw.truth is None:
        return [normalised(raw.landmarks, genes.all_genes, job.columns)]
    return [
        normalised(raw.landmarks, genes.landmarks, {X: slice(None)}),
        normalised(raw.truth, genes.targets, {Y: slice(None)}),
    ]


def _normalise_compendium(job: _Job) -> _Compendium:
    """Store the probes, drop duplicates, decide the split, and rank the profiles that stay."""
    config, progress, name = job.config, job.progress, job.sources.parts.compendium
    source, genes = job.sources.compendium, job.genes.all_genes
    # Duplicates are decided on all probes of the array; without that search, genes are enough.
    every = config.duplicates != "none"
    stored = np.arange(len(source.genes)) if every else genes.probe_columns
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
    means = ProbeMeans(genes.probes, stored)
    target_order = None
    if config.partition == "clustered":
        target_order = _cluster_targets(job, probes, rows[order[: sizes.train]], means)
    values, quantile = _ranked(job, name, probes, rows, means, reference)
    fitted_on = np.flatnonzero(reference)
    return _Compendium(values, quantile, duplicates, sizes, order, fitted_on, rows, target_order)


def _ranked(
    job: _Job,
    what: str,
    probes: RowStore,
    rows: NDArray[np.intp],
    means: ProbeMeans,
    reference: NDArray[np.bool_],
) -> tuple[Normalised, NDArray[np.float64]]:
    """Normalise profiles of the compendium; gives their quantile also where values stay."""
    with job.progress.step(f"ranking {what}", len(rows)) as tick:
        stored, quantile = normalise_compendium(
            probes,
            rows,
            means,
            reference,
            job.scratch / f"ranks of {what}",
            by_rank=job.by_rank,
            block_size=job.config.block_size,
            tick=tick,
        )
    kept = tuple(job.sources.compendium.profiles[row] for row in rows)
    of_ranks = quantile if job.by_rank else None
    return Normalised(kept, stored, of_ranks, columns=job.columns), quantile


def _cluster_targets(
    job: _Job, probes: RowStore, train: NDArray[np.intp], means: ProbeMeans
) -> NDArray[np.intp]:
    """Order the targets by clusters of their expression in profiles of training.

    These profiles are normalised by themselves: the study's quantile may know the test set.
    """
    chosen = np.sort(train[sampled_profiles(len(train), job.config.seed)])
    everyone = np.ones(len(chosen), dtype=bool)
    sample, _ = _ranked(job, "a sample of training", probes, chosen, means, everyone)
    n_targets = len(job.genes.targets)
    with job.progress.step("clustering targets", n_targets, unit="targets") as tick:
        (values,) = sample.values(np.arange(len(chosen)), len(chosen), job.columns[Y])
        order = clustered_order(values, job.config.seed)
        tick(n_targets)
    return order


def _quantiles(job: _Job, found: _Compendium) -> dict[str, NDArray[np.float64]]:
    """Means over training of the sorted normalised values of landmarks, and of targets.

    The latter only where a set's targets are ranked by themselves.
    """
    train = np.sort(found.order[: found.sizes.train])
    kinds = {X: "landmarks", Y: "targets"}
    if all(one.truth is None for one in job.sources.sets.values()):
        del kinds[Y]
    quantiles = {}
    for kind, name in kinds.items():
        columns = job.columns[kind]
        total = RowSum(columns.stop - columns.start)
        with job.progress.step(f"quantile of the {name}", len(train)) as tick:
            for block in found.values.values(train, job.config.block_size, columns):
                total.add(np.sort(block, axis=1))
                tick(len(block))
        quantiles[kind] = total.mean()
    return quantiles


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
        file[f"dropped/{field}"] = encode_fixed([getattr(gene, field) for gene in genes.dropped])
    file["dropped/probes"] = encode_fixed([",".join(gene.probes) for gene in genes.dropped])
    for field in ("role", "symbol", "ensembl"):
        file[f"partial/{field}"] = encode_fixed([getattr(gene, field) for gene in genes.partial])
    missing = [",".join(gene.probes) for gene in genes.partial]
    file["partial/missing_probes"] = encode_fixed(missing)


def _write_role(file: h5py.File, role: str, genes: StudyGenes, sources: RawSources) -> None:
    """Write the ids of the landmarks or of the targets and what is known of them."""
    probes, annotation = sources.compendium.genes, sources.annotation
    averaged = [[probes[column] for column in columns] for columns in genes.probes]

    def common(ids: Mapping[str, str]) -> list[str]:
        """For each gene the one id that its probes have; empty if they have none or two."""
        found = [{ids[probe] for probe in names if probe in ids} for names in averaged]
        return [one.pop() if len(one) == 1 else "" for one in found]

    file[f"{role}s"] = encode_fixed(genes.ids)
    file[f"{role}_info/symbol"] = encode_fixed(genes.symbols)
    file[f"{role}_info/probes"] = encode_fixed([",".join(names) for names in averaged])
    file[f"{role}_info/entrez"] = encode_fixed(common(annotation.entrez))
    if annotation.ensembl:
        file[f"{role}_info/ensembl"] = encode_fixed(common(annotation.ensembl))


def _write_groups(file: h5py.File, sources: RawSources, found: _Compendium) -> None:
    """Write of each profile of the compendium which file and which group it is of."""
    rows = found.rows[found.order]
    for name, texts in (("file", sources.file_names), ("group", sources.group_names)):
        if texts is not None:
            file[f"{COMPENDIUM}/{name}"] = encode_fixed([texts[row] for row in rows])


def _write_values(
    job: _Job,
    file: h5py.File,
    place: str,
    name: str,
    sides: Sequence[Normalised],
    order: NDArray[np.intp],
    fitted_on: NDArray[np.intp],
    given: Mapping[str, _Scale] | None = None,
) -> dict[str, _Scale]:
    """Standardise one data set gene by gene and write its group `place`.

    The rows of the `sides` are stored in `order`; those in `fitted_on`, ascending, give the means
    and deviations, unless others are `given`. Returns these, of X and of Y.
    """
    group, used = file.create_group(place), {}
    for number, side in enumerate(sides):
        profiles = [side.profiles[row] for row in order]
        group["truth" if number else "profiles"] = encode_fixed(profiles)
        if given is None:
            mean, deviation = _statistics(job, name, side, fitted_on)
        else:
            mean, deviation = np.empty((2, side.stored.n_columns))
            for kind, columns in side.columns.items():
                mean[columns], deviation[columns] = given[kind]
        for kind, columns in side.columns.items():
            used[kind] = mean[columns], deviation[columns]
            group[f"{kind}_mean"], group[f"{kind}_sd"] = used[kind]
            shape = len(order), len(mean[columns])
            chunks = chunk_rows(*shape), shape[1]
            group.create_dataset(kind, shape, np.float32, chunks=chunks, fletcher32=True)
        with job.progress.step(f"writing {name}", len(order)) as tick:
            start = 0
            for block in side.values(order, ROWS_WRITTEN):
                scaled = standardise(block, mean, deviation).astype(np.float32)
                for kind, columns in side.columns.items():
                    group[kind][start : start + len(block)] = scaled[:, columns]
                start += len(block)
                tick(len(block))
    return used


def _statistics(job: _Job, name: str, side: Normalised, fitted_on: NDArray[np.intp]) -> _Scale:
    n_genes = side.stored.n_columns
    with job.progress.step(f"means of {name}", 2 * len(fitted_on)) as tick:

        def read() -> Iterator[NDArray[np.float64]]:
            for block in side.values(fitted_on, job.config.block_size):
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
