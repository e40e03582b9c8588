"""Write a simulated study: the five raw files, in the formats of the real ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd

from dgex_jax.errors import StudyError
from dgex_jax.io.expression import Expression
from dgex_jax.io.files import atomic_path, make_folder
from dgex_jax.io.progress import Progress, in_order
from dgex_jax.io.writers import GctxWriter, write_gct, write_rpkm
from dgex_jax.rawfiles import AnyRawFiles, RawFiles, as_study_files
from dgex_jax.simulate.biology import (
    ProfileStreams,
    geo_samples,
    gtex_samples,
    thousand_genomes_samples,
    true_abundance,
)
from dgex_jax.simulate.platforms import (
    deposit_again,
    intensities,
    make_world,
    rpkm,
    sequenced_abundance,
)

if TYPE_CHECKING:
    from dgex_jax.io.progress import Listener, Tick
    from dgex_jax.simulate.biology import Floats, Indices
    from dgex_jax.simulate.config import SimulationConfig
    from dgex_jax.simulate.platforms import Part, World

TILE = 256
"""Profiles made at a time; fixed, as the last bits of a matrix product depend on its size."""
SOURCE = "simulated by dgex_jax.data.simulation"
"""GCTX attribute ``src``; files say this whatever the module is called today."""


def simulated_files(folder: Path) -> RawFiles:
    """Name the files that `simulate` writes into `folder`."""
    return RawFiles(
        geo=folder / "geo.gctx",
        gtex=folder / "gtex.gct.gz",
        thousand_genomes=folder / "1000g.txt.gz",
        landmarks=folder / "map_lm.txt",
        targets=folder / "map_tg.txt",
    )


def is_simulated(files: AnyRawFiles) -> bool:
    """Whether the training file says that it was simulated (GCTX attribute ``src``)."""
    try:
        with h5py.File(as_study_files(files).compendium.files[0], "r") as file:
            src = file.attrs.get("src", "")
    except OSError:
        return False
    return (src.decode("utf-8", "replace") if isinstance(src, bytes) else str(src)) == SOURCE


def simulate(
    config: SimulationConfig, folder: Path, *, progress: bool | Listener = False
) -> RawFiles:
    """Make a study's raw files, the same for the same `config`.

    `folder`, made if missing, gets ``geo.gctx`` (GCTX 1.0), ``gtex.gct.gz`` (GCT 1.2),
    ``1000g.txt.gz`` (the GEUVADIS layout), ``map_lm.txt`` and ``map_tg.txt``, each when it is
    complete. GEO is written tile by tile, so memory holds a few tiles (256 profiles each) and one
    RNA-seq table. `progress`: ``True`` for standard error; a callable gets (step, profiles done,
    profiles in all). Raises `DgexError` if a file, or the folder (`StudyError`), can't be made.
    """
    folder = Path(folder)
    try:
        make_folder(folder)
    except OSError as error:
        raise StudyError(f"{folder}: can't be made: {error.strerror}") from error
    world = make_world(config)
    report = Progress(progress)
    files, catalogue = simulated_files(folder), world.catalogue
    for path, genes, probes in (
        (files.landmarks, catalogue.landmarks, catalogue.landmark_probes),
        (files.targets, catalogue.targets, catalogue.target_probes),
    ):
        with atomic_path(path) as temporary:
            temporary.write_text(catalogue.map_text(genes, probes), encoding="utf-8")
    with report.step("simulating GEO", config.n_profiles) as tick:
        write_geo(world, files.geo, tick)
    with report.step("simulating GTEx", config.n_gtex) as tick:
        write_gct(files.gtex, _expression(world, "GTEx", files.gtex, tick))
    with report.step("simulating 1000G", config.n_1000g) as tick:
        expression = _expression(world, "1000G", files.thousand_genomes, tick)
        write_rpkm(files.thousand_genomes, expression)
    return files


def geo_block(world: World, rows: Indices) -> Floats:
    """Make some rows ``(n, n_probes)`` of the GEO file, float32, log2."""
    originals = world.deposits.source[rows]
    samples = geo_samples(world.config, world.states, world.deposits, originals)
    streams = ProfileStreams(world.config.seed, "GEO genes")
    abundance = true_abundance(samples, world.states, world.regulation, streams, originals)
    series = world.deposits.series[originals]
    values = intensities(world, samples, abundance, originals, series)
    copied = np.flatnonzero(world.deposits.is_copy[rows])
    again = values[copied]
    deposit_again(world.config, again, rows[copied])
    values[copied] = again
    return values


def write_geo(world: World, path: Path, tick: Tick) -> None:
    """Write the GEO file, in memory that does not grow with its profiles."""
    n_profiles = world.config.n_profiles
    profiles = [f"SIM_GSM{row + 1:06d}" for row in range(n_profiles)]
    # A copy stands in the series of the profile before it: it was deposited there anew.
    last_original = np.maximum.accumulate(
        np.where(world.deposits.is_copy, 0, np.arange(n_profiles))
    )
    series = world.deposits.series[world.deposits.source[last_original]]
    metadata = pd.DataFrame({"series": [f"SIM_GSE{one + 1:05d}" for one in series]}, index=profiles)
    probes = world.catalogue.probe_ids
    with GctxWriter(path, profiles, probes, profile_metadata=metadata, src=SOURCE) as writer:
        for block in in_order(partial(geo_block, world), _tiles(n_profiles)):
            writer.append(block)
            tick(len(block))


def sequenced(world: World, part: Part, tick: Tick = lambda _n: None) -> Floats:
    """Make RPKM ``(n_samples, n_genes)`` of an RNA-seq part, all of the study's genes."""
    config = world.config
    n_samples = config.n_gtex if part == "GTEx" else config.n_1000g
    draw_samples = gtex_samples if part == "GTEx" else thousand_genomes_samples
    values = np.empty((n_samples, world.catalogue.n_genes), np.float32)
    genes = ProfileStreams(config.seed, f"{part} genes")
    counts = ProfileStreams(config.seed, f"{part} counts")
    for rows in _tiles(n_samples):
        samples = draw_samples(config, world.states, rows)
        abundance = true_abundance(samples, world.states, world.regulation, genes, rows)
        seen = sequenced_abundance(world.sequencing, samples, abundance)
        values[rows] = rpkm(world, seen, counts, rows)
        tick(len(rows))
    return values


def _expression(world: World, part: Part, path: Path, tick: Tick) -> Expression:
    """Make an RNA-seq file's content, with the annotation columns of either format."""
    genes = world.gene_order(part)
    ids = tuple(world.catalogue.ensembl[gene] for gene in genes)
    symbols = [world.catalogue.symbols[gene] for gene in genes]
    fields = {
        "Description": [f"{symbol} (simulated)" for symbol in symbols],
        "Gene_Symbol": symbols,
        "Chr": ["simulated"] * len(genes),
        "Coord": [str(gene + 1) for gene in genes],
    }
    values = sequenced(world, part, tick)[:, genes]
    prefix = {"GTEx": "SIM_GTEX-", "1000G": "SIM_NA"}[part]
    profiles = tuple(f"{prefix}{row + 1:05d}" for row in range(len(values)))
    metadata = pd.DataFrame(fields, index=list(ids))
    return Expression(path, values, profiles, ids, gene_metadata=metadata)


def _tiles(n: int) -> list[Indices]:
    return [np.arange(start, min(start + TILE, n)) for start in range(0, n, TILE)]
