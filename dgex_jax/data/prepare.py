"""Raw files to one prepared study (paper section 2.1; the order of steps is the original's)."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import h5py
import numpy as np

from dgex_jax.data.duplicates import Duplicates, find_duplicates
from dgex_jax.data.normalize import ProbeMeans
from dgex_jax.data.partition import clustered_order, sampled_profiles
from dgex_jax.data.prepared_write import (
    DATA_SETS,
    write_attributes,
    write_genes,
    write_values,
)
from dgex_jax.data.progress import Progress
from dgex_jax.data.ranking import (
    Ranked,
    landmark_quantile,
    rank_geo,
    rank_rna,
    store_profiles,
)
from dgex_jax.data.rawfiles import RawSources, check_room, checksums, open_raw, refuse_overwriting
from dgex_jax.data.report import PrepareReport
from dgex_jax.data.split import SplitSizes, half_slices, shuffled, split_sizes
from dgex_jax.data.streams import STREAMS
from dgex_jax.errors import PreparationError
from dgex_jax.formats.access import one_line
from dgex_jax.formats.atomic import atomic_path
from dgex_jax.formats.hdf5_seal import seal_hdf5
from dgex_jax.formats.temporary import temporary_folder
from dgex_jax.formats.unchanged import Unchanged
from dgex_jax.provenance import drop_sidecar, record, write_sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.config import AnyRawFiles, Platform, PrepareConfig
    from dgex_jax.data.genes import Selection
    from dgex_jax.data.progress import Listener
    from dgex_jax.data.rowstore import RowStore

NO_SETTINGS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True)
class _Job:
    """What every step of one preparation works with."""

    sources: RawSources
    genes: Selection
    config: PrepareConfig
    output: Path
    scratch: Path
    progress: Progress


@dataclass(frozen=True)
class _Geo:
    """GEO after duplicates are gone: ranks in file order, and the orders to store them in.

    `target_order` is that of the targets by clusters, ``None`` if they stay as they are.
    """

    ranked: Ranked
    quantile: NDArray[np.float64]
    duplicates: Duplicates
    sizes: SplitSizes
    order: NDArray[np.intp]
    fitted_on: NDArray[np.intp]
    target_order: NDArray[np.intp] | None


def prepare(
    raw: AnyRawFiles,
    output: Path,
    config: PrepareConfig,
    *,
    name: str,
    title: str,
    simulated: bool,
    settings: Mapping[str, object] = NO_SETTINGS,
    progress: bool | Listener = False,
) -> PrepareReport:
    """Make one prepared study of its raw files.

    GEO: drop duplicates, average probes, quantile-normalise; GTEx and 1000G: map each sample's
    dense ranks on GEO's reference quantile; standardise each gene in each data set with that data
    set's own mean and deviation; shuffle and split. With ``scale_on="train"`` the quantile and
    GEO's means and deviations come from GEO-tr alone (also the quantile that GTEx and 1000G are
    mapped on); the two RNA-seq sets keep statistics of their own, as the paper scales every data
    set by itself. With ``partition="clustered"`` only the order of the targets is another.
    A study of arrays alone (paper section 3.4) takes the same steps without RNA-seq: its genes are
    all probes of the array.

    Memory is bounded by `config.block_size` profiles and a few thousand more for clustering;
    probes and ranks go to a scratch folder beside `output`, removed at the end, also on an error.
    The file is the same, byte for byte, for every block size. Beside it lies its checksum, with
    those of the raw files (`provenance.sidecar`).

    Parameters
    ----------
    raw
        The five files, or the two of a study of arrays alone.
    output
        Where ``prepared.h5`` shall be; its folder must be there. Replaced only on success.
    config
        How to prepare.
    name, title
        The study, kept with the file.
    simulated
        Whether the expression values are made up.
    settings
        Kept with the file as JSON.
    progress
        ``True``: on standard error; a callable gets (step, profiles done, profiles in all).

    Returns
    -------
    PrepareReport
        What was kept, dropped and clipped.

    Raises
    ------
    FormatError
        A raw file can't be read, or needed values are missing (how many, and the first place).
    PreparationError
        The files don't make a study: no gene on all platforms, too few profiles, no room on disk.
    """
    show = Progress(progress)
    refuse_overwriting(raw, output)
    with (
        atomic_path(output) as temporary,
        _disk_errors(output),
        ExitStack() as files,
        temporary_folder(temporary.with_name(f"{output.name}.scratch")) as scratch,
    ):
        unchanged = [Unchanged.of(path) for path in asdict(raw).values()]
        sources = open_raw(raw, config, files)
        genes = _shuffled_genes(sources.genes, config.seed)
        with h5py.File(temporary, "w") as file:
            report = _write(file, _Job(sources, genes, config, output, scratch, show))
            for one in unchanged:
                one.check()
            sums = checksums(raw, show)
            # The checksums must be those of the values that were read.
            for one in unchanged:
                one.check()
            write_attributes(
                file,
                {
                    "study": name,
                    "title": title,
                    "simulated": simulated,
                    "gene_ids": "ensembl" if sources.rna else "probe",
                    "data_sets": [
                        name for name in DATA_SETS if name == "GEO" or name in sources.rna
                    ],
                    "settings": dict(settings),
                    "prepare": {
                        "duplicates": config.duplicates,
                        "scale_on": config.scale_on,
                        "partition": config.partition,
                        "seed": config.seed,
                        "accept_wrong_dimensions": config.accept_wrong_dimensions,
                        **({"force_platform": True} if config.force_platform else {}),
                    },
                    "random_streams": STREAMS,
                    "raw_files": sums,
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


def _shuffled_genes(genes: Selection, seed: int) -> Selection:
    return genes.shuffled(
        shuffled(seed, "landmarks", len(genes.landmarks)),
        shuffled(seed, "targets", len(genes.targets)),
    )


def _write(file: h5py.File, job: _Job) -> PrepareReport:
    """Run every step but the opening of the files and write all datasets."""
    genes, block_size = job.genes, job.config.block_size
    n_landmarks = len(genes.landmarks)
    rna = {name: _rank_rna(job, name) for name in job.sources.rna}
    geo = _rank_geo(job)
    notes, warnings = _looked_at(job)
    if geo.target_order is not None:
        # Ranks don't depend on the order of the genes: the columns are only read in another one.
        genes = genes.with_targets(geo.target_order)
        columns = np.concatenate([np.arange(n_landmarks), n_landmarks + geo.target_order])
        rna = {name: replace(ranked, columns=columns) for name, ranked in rna.items()}
        geo = replace(geo, ranked=replace(geo.ranked, columns=columns))
    halves = half_slices(len(genes.targets))
    write_genes(file, genes, job.sources.geo.genes, job.sources.annotation, halves)
    file["quantile"] = geo.quantile
    train = np.sort(geo.order[: geo.sizes.train])
    with job.progress.step("quantile of the landmarks", len(train)) as tick:
        file["landmark_quantile"] = landmark_quantile(
            geo.ranked, geo.quantile, train, n_landmarks, block_size=block_size, tick=tick
        )
    everyone = {name: np.arange(len(ranked.profiles)) for name, ranked in rna.items()}
    for name, ranked, order, fitted_on in (
        ("GEO", geo.ranked, geo.order, geo.fitted_on),
        *((name, rna[name], everyone[name], everyone[name]) for name in rna),
    ):
        write_values(
            file,
            name,
            ranked,
            geo.quantile,
            n_landmarks=n_landmarks,
            order=order,
            fitted_on=fitted_on,
            block_size=block_size,
            progress=job.progress,
        )
    for part, rows in geo.sizes.slices.items():
        file[f"GEO/split/{part}"] = np.arange(rows.start, rows.stop)
    report = PrepareReport(
        output=job.output,
        profiles={"GEO": len(job.sources.geo.profiles)}
        | {name: len(ranked.profiles) for name, ranked in rna.items()},
        n_kept=len(geo.order),
        n_close_pairs=geo.duplicates.n_close,
        n_straddling=geo.duplicates.n_straddling,
        split={part: rows.stop - rows.start for part, rows in geo.sizes.slices.items()},
        n_landmarks=n_landmarks,
        n_targets=len(genes.targets),
        n_copies=int(genes.copy_of_landmark.sum()),
        n_clipped={name: ranked.n_clipped for name, ranked in rna.items()},
        dropped=genes.dropped,
        partial=genes.partial,
        notes=notes,
        warnings=warnings,
    )
    file.create_group("report").attrs.update(report.counts())
    return report


def _looked_at(job: _Job) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Say what the values of the raw files were taken for, and what a user should look at."""
    notes, warnings = list(job.sources.notes), []
    named = {"GEO": job.sources.geo, **job.sources.rna}
    for name, source in named.items():
        platform: Platform = "microarray" if name == "GEO" else "rnaseq"
        note, more = source.verdict(platform, force=job.config.force_platform)
        notes += [f"{name}: {note}"] if note else []
        warnings += [f"{name}: {text}" for text in more]
    return tuple(notes), tuple(warnings)


def _rank_rna(job: _Job, name: str) -> Ranked:
    source = job.sources.rna[name]
    with job.progress.step(f"reading {name}", len(source.profiles)) as tick:
        return rank_rna(
            source,
            job.genes.all_genes.columns[name],
            job.scratch / name,
            block_size=job.config.block_size,
            tick=tick,
            see=source.see,
        )


def _rank_geo(job: _Job) -> _Geo:
    """Store the probes, drop duplicates, decide the split, and rank the profiles that stay."""
    config, progress = job.config, job.progress
    source, genes = job.sources.geo, job.genes.all_genes
    used = np.unique(np.concatenate([np.array(columns) for columns in genes.probes]))
    # Duplicates are decided on all probes of the array; without that search, genes are enough.
    stored = used if config.duplicates == "none" else np.arange(len(source.genes))
    check_room(job.scratch, len(source.profiles), len(stored), len(genes))
    with progress.step("reading GEO", len(source.profiles)) as tick:
        probes = store_profiles(
            source,
            stored,
            job.scratch / "probes",
            block_size=config.block_size,
            tick=tick,
            see=source.see,
        )
    duplicates = find_duplicates(probes, config.duplicates, seed=config.seed, progress=progress)
    rows = np.flatnonzero(duplicates.kept)
    sizes = split_sizes(len(rows))
    order = shuffled(config.seed, "profiles", len(rows))
    reference = np.ones(len(rows), dtype=bool)
    if config.scale_on == "train":
        reference[order[sizes.train :]] = False
    means = ProbeMeans([np.searchsorted(stored, columns).tolist() for columns in genes.probes])
    target_order = None
    if config.partition == "clustered":
        target_order = _cluster_targets(job, probes, rows[order[: sizes.train]], means)
    with progress.step("ranking GEO", len(rows)) as tick:
        ranks, quantile = rank_geo(
            probes,
            rows,
            means,
            reference,
            job.scratch / "GEO",
            n_genes=len(genes),
            block_size=config.block_size,
            tick=tick,
        )
    ranked = Ranked(tuple(source.profiles[row] for row in rows), ranks)
    return _Geo(ranked, quantile, duplicates, sizes, order, np.flatnonzero(reference), target_order)


def _cluster_targets(
    job: _Job, probes: RowStore, train: NDArray[np.intp], means: ProbeMeans
) -> NDArray[np.intp]:
    """Order the targets by clusters of their expression in profiles of GEO-tr.

    These profiles are normalised by themselves: the study's quantile may know the test set.
    """
    chosen = np.sort(train[sampled_profiles(len(train), job.config.seed)])
    n_landmarks, n_targets = len(job.genes.landmarks), len(job.genes.targets)
    with job.progress.step("ranking a sample of GEO-tr", len(chosen)) as tick:
        ranks, quantile = rank_geo(
            probes,
            chosen,
            means,
            np.ones(len(chosen), dtype=bool),
            job.scratch / "sample",
            n_genes=n_landmarks + n_targets,
            block_size=job.config.block_size,
            tick=tick,
        )
    with job.progress.step("clustering targets", n_targets, unit="targets") as tick:
        values = quantile[ranks.read(slice(None))[:, n_landmarks:]]
        order = clustered_order(values, job.config.seed)
        tick(n_targets)
    return order
