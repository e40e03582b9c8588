"""Raw files to one prepared study (paper section 2.1; the order of steps is the original's)."""

from __future__ import annotations

import json
import platform
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
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
    ProbeMeans,
    Ranked,
    RowSum,
    mean_and_deviation,
    rank_geo,
    rank_rna,
    standardise,
    store_profiles,
)
from dgex_jax.prepare.prepared import DATA_SETS, FORMAT_VERSION
from dgex_jax.prepare.raw import RawSources, check_room, checksums, open_raw, refuse_overwriting
from dgex_jax.prepare.split import (
    STREAMS,
    SplitSizes,
    clustered_order,
    half_slices,
    sampled_profiles,
    shuffled,
    split_sizes,
)
from dgex_jax.prepare.study import rules_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dgex_jax.config import AnyRawFiles, Platform, PrepareConfig
    from dgex_jax.io.progress import Listener
    from dgex_jax.prepare.genes import LostGene, Selection, StudyGenes
    from dgex_jax.prepare.normalize import RowStore

N_GENES_NAMED = 5
CHUNK_BYTES = 1 << 20
ROWS_WRITTEN = 256
"""Every write is a run of whole chunks in file order and no clock is asked: the same study gives
the same file, byte for byte, whatever the block size."""


@dataclass(frozen=True)
class PrepareReport:
    """What a preparation did."""

    output: Path
    counts: Mapping[str, int]
    """Every count by name; those that were not made are left out."""
    split: Mapping[str, int]
    """Profiles of GEO in ``train``, ``validation`` and ``test``."""
    dropped: tuple[LostGene, ...]
    partial: tuple[LostGene, ...]
    notes: tuple[str, ...]
    """What the raw files were taken for and what was left out of them."""
    warnings: tuple[str, ...]
    """What a user should look at."""

    def lines(self) -> list[str]:
        """Return a summary for people, a fact a line."""
        counts = self.counts
        kept, read = counts["geo_profiles_kept"], counts["geo_profiles_read"]
        split = ", ".join(f"{n:,} {name}" for name, n in self.split.items())
        lines = [f"GEO: {kept:,} of {read:,} profiles kept ({split})", *self.notes]
        lines.append(self._duplicates())
        genes = f"{counts['landmarks']:,} landmarks, {counts['targets']:,} targets"
        if "gtex_profiles" in counts:
            gtex, kg = counts["gtex_profiles"], counts["1000g_profiles"]
            copies = "targets that copy a landmark in GTEx and 1000G (same Ensembl id)"
            lines.append(f"GTEx: {gtex:,} profiles; 1000G: {kg:,} profiles")
            lines += [f"genes: {genes}", f"{copies}: {counts['targets_copying_a_landmark']:,}"]
        else:
            lines.append("no RNA-seq: a study of arrays alone, its genes are probes")
            lines.append(f"probes: {genes}")
        for (role, cause), n in sorted(Counter((g.role, g.cause) for g in self.dropped).items()):
            names = [
                gene.symbol or ",".join(gene.probes)
                for gene in self.dropped
                if (gene.role, gene.cause) == (role, cause)
            ]
            shown = ", ".join(names[:N_GENES_NAMED])
            more = f" and {n - N_GENES_NAMED:,} more" if n > N_GENES_NAMED else ""
            lines.append(f"dropped: {n:,} {role}{'' if n == 1 else 's'} {cause}: {shown}{more}")
        for gene in self.partial:
            probes = ", ".join(gene.probes)
            lines.append(f"{gene.role} {gene.symbol} ({gene.ensembl}) lacks {probes}: mean of rest")
        for name in ("GTEx", "1000G"):
            if clipped := counts.get(f"{name.lower()}_indices_clipped"):
                lines.append(f"{name}: {clipped:,} values with quantile index -1, clipped to 0")
        return [*lines, f"written: {self.output}"]

    def _duplicates(self) -> str:
        if "geo_close_pairs" not in self.counts:
            return "duplicates: not looked for"
        text = f"duplicates: {self.counts['geo_close_pairs']:,} close pairs"
        if (n := self.counts.get("geo_close_pairs_straddling_clusters")) is not None:
            text += f", {n:,} of them split by clustering and not compared"
        return text


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
    """GEO after duplicates are gone: ranks in file order, and the orders to store them in."""

    ranked: Ranked
    quantile: NDArray[np.float64]
    duplicates: Duplicates
    sizes: SplitSizes
    order: NDArray[np.intp]
    fitted_on: NDArray[np.intp]
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
    `output` is replaced only on success and the same, byte for byte, for every block size; its
    sidecar has its checksum and those of the raw files. It records `name`, `title`, whether values
    are `simulated`, and `settings` (`Study.preparation_settings`). `progress`: ``True`` for
    standard error; a callable gets (step, profiles done, profiles in all).

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
        genes = sources.genes.taken(
            shuffled(config.seed, "targets", len(sources.genes.targets)),
            shuffled(config.seed, "landmarks", len(sources.genes.landmarks)),
        )
        with h5py.File(temporary, "w") as file:
            report = _write(file, _Job(sources, genes, config, output, scratch, show))
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
                    "gene_ids": "ensembl" if sources.rna else "probe",
                    "data_sets": [one for one in DATA_SETS if one == "GEO" or one in sources.rna],
                    "settings": dict(settings or {}),
                    "prepare": rules_of(config),
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


def _write(file: h5py.File, job: _Job) -> PrepareReport:
    """Run every step but the opening of the files and write all datasets."""
    genes, block_size = job.genes, job.config.block_size
    n_landmarks = len(genes.landmarks)
    rna = {}
    for name, source in job.sources.rna.items():
        columns = genes.all_genes.columns[name]
        with job.progress.step(f"reading {name}", len(source.profiles)) as tick:
            rna[name] = rank_rna(
                source, columns, job.scratch / name, block_size=block_size, tick=tick
            )
    geo = _rank_geo(job)
    notes, warnings = list(job.sources.notes), []
    for name, source in {"GEO": job.sources.geo, **job.sources.rna}.items():
        of: Platform = "microarray" if name == "GEO" else "rnaseq"
        note, more = source.verdict(of, force=job.config.force_platform)
        notes += [f"{name}: {note}"] if note else []
        warnings += [f"{name}: {text}" for text in more]
    if geo.target_order is not None:
        # Ranks don't depend on the order of the genes: the columns are only read in another one.
        genes = genes.taken(geo.target_order)
        columns = np.concatenate([np.arange(n_landmarks), n_landmarks + geo.target_order])
        rna = {name: replace(ranked, columns=columns) for name, ranked in rna.items()}
        geo = replace(geo, ranked=replace(geo.ranked, columns=columns))
    _write_genes(file, genes, job.sources)
    file["quantile"] = geo.quantile
    train = np.sort(geo.order[: geo.sizes.train])
    # That of the landmarks alone, on the scale of the normalised values of all genes.
    sorted_landmarks = RowSum(n_landmarks)
    with job.progress.step("quantile of the landmarks", len(train)) as tick:
        for block in geo.ranked.values(geo.quantile, train, block_size, n_landmarks):
            sorted_landmarks.add(np.sort(block, axis=1))
            tick(len(block))
    file["landmark_quantile"] = sorted_landmarks.mean()
    everyone = {name: np.arange(len(ranked.profiles)) for name, ranked in rna.items()}
    for name, ranked, order, fitted_on in (
        ("GEO", geo.ranked, geo.order, geo.fitted_on),
        *((name, rna[name], everyone[name], everyone[name]) for name in rna),
    ):
        _write_values(job, file, name, ranked, geo.quantile, order, fitted_on)
    for part, rows in geo.sizes.slices.items():
        file[f"GEO/split/{part}"] = np.arange(rows.start, rows.stop)
    counts = {
        "geo_profiles_read": len(job.sources.geo.profiles),
        "geo_profiles_kept": len(geo.order),
        "geo_close_pairs": geo.duplicates.n_close,
        "geo_close_pairs_straddling_clusters": geo.duplicates.n_straddling,
        **{f"{name.lower()}_profiles": len(ranked.profiles) for name, ranked in rna.items()},
        "landmarks": n_landmarks,
        "targets": len(genes.targets),
        "targets_copying_a_landmark": int(genes.copy_of_landmark.sum()),
        **{f"{name.lower()}_indices_clipped": ranked.n_clipped for name, ranked in rna.items()},
        "genes_dropped": len(genes.dropped),
        "genes_with_missing_probes": len(genes.partial),
    }
    made = {name: count for name, count in counts.items() if count is not None}
    file.create_group("report").attrs.update(made)
    sizes, both = geo.sizes._asdict(), (genes.dropped, genes.partial)
    return PrepareReport(job.output, made, sizes, *both, tuple(notes), tuple(warnings))


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
            source, stored, job.scratch / "probes", block_size=config.block_size, tick=tick
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
    probes, annotation = sources.geo.genes, sources.annotation
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


def _write_values(
    job: _Job,
    file: h5py.File,
    name: str,
    ranked: Ranked,
    quantile: NDArray[np.float64],
    order: NDArray[np.intp],
    fitted_on: NDArray[np.intp],
) -> None:
    """Standardise one data set gene by gene and write its group `name`.

    The rows of `ranked` (landmarks, then targets) are stored in `order`; those in `fitted_on`,
    ascending, give the means and deviations.
    """
    n_landmarks, n_genes = len(job.genes.landmarks), ranked.ranks.n_columns
    with job.progress.step(f"means of {name}", 2 * len(fitted_on)) as tick:

        def blocks() -> Iterator[NDArray[np.float64]]:
            for block in ranked.values(quantile, fitted_on, job.config.block_size):
                yield block
                tick(len(block))

        mean, deviation = mean_and_deviation(blocks, n_genes)
    if not np.isfinite(deviation).all():
        n_bad = int(np.count_nonzero(~np.isfinite(deviation)))
        raise PreparationError(
            f"{name}: {n_bad} of {n_genes} genes have no standard deviation in float64: "
            "normalised values beyond 1e150 can't be squared"
        )
    group = file.create_group(name)
    _write_texts(group, "profiles", [ranked.profiles[row] for row in order])
    parts = {"X": slice(0, n_landmarks), "Y": slice(n_landmarks, n_genes)}
    for kind, columns in parts.items():
        group[f"{kind}_mean"], group[f"{kind}_sd"] = mean[columns], deviation[columns]
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
        for block in ranked.values(quantile, order, ROWS_WRITTEN):
            scaled = standardise(block, mean, deviation).astype(np.float32)
            for kind, columns in parts.items():
                group[kind][start : start + len(block)] = scaled[:, columns]
            start += len(block)
            tick(len(block))


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
