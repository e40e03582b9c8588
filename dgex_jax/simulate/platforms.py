"""Simulated genes, maps and probes, and what a microarray and sequencing make of abundance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from dgex_jax.simulate.biology import (
    LIBRARY_FACTORS,
    PROBE_FACTORS,
    Deposits,
    ProfileStreams,
    Regulation,
    Samples,
    States,
    make_deposits,
    make_regulation,
    make_states,
    stream,
)

if TYPE_CHECKING:
    from dgex_jax.simulate.biology import Doubles, Floats, Indices, Mask
    from dgex_jax.simulate.config import SimulationConfig

Part = Literal["GTEx", "1000G"]
"""The RNA-seq files."""

FIRST_ENSEMBL_NUMBER = 90_000_000_001
"""Far above any number Ensembl has given out, so no simulated gene is taken for a real one."""
MOST_PROBES = 13
"""The most probes a gene of the original's target map has."""
PROBE_SUFFIXES = ("_at", "_s_at", "_x_at")
PROBE_SUFFIX_SHARES = (0.66, 0.24, 0.10)

LOWEST, HIGHEST = 4.0, 15.0
"""Log2 of the scanner's dark level and of its full scale: the range of the original's file."""
AFFINITY_SD = 1.2
POOR_SHARE = 0.7
"""Share of the probes beyond a gene's first that bind a rare isoform or hardly bind at all."""
POOR_AFFINITY = (-6.0, -1.0)
BACKGROUND_MEAN, BACKGROUND_SD = 4.8, 0.6
BACKGROUND_NOISE = 0.25
PROBE_LOADING_SD = (0.25, 0.25, 0.2)
"""Sd of the probes' loadings on degradation, labelling and splicing."""
CATCH = (-4.0, 0.0)
"""Range of log2 of the share of another gene's abundance that a cross-hybridising probe catches."""
DISTORTION = 0.06
COPY_DISTANCE = (0.02, 0.45)
"""Range of the Euclidean distance, over all probes, of a copy from its source."""

GENES_IN_A_GENOME = 20_000
"""Share of the reads that falls on the study's genes: their number over this."""
LENGTH_MEDIAN, LENGTH_SD = 2500.0, 0.7
DISPERSION_SD = 0.5
LIBRARY_SD = 0.35
DAMPING = (0.4, 0.9)
LIBRARY_LOADING_SD = 0.3
REFERENCE_LEVEL = 7.5


@dataclass(frozen=True)
class Catalogue:
    """Genes and probes. Genes are numbered 0 ... n_genes - 1, probes in array order."""

    landmarks: Indices  # gene of each line of the landmark map
    targets: Indices  # likewise; genes shared by both maps are in each once
    n_genes: int  # in all, those outside the maps included
    symbols: tuple[str, ...]
    ensembl: tuple[str, ...]  # ids with version
    gene_of_probe: Indices  # (n_probes,) gene each probe was designed for
    probe_ids: tuple[str, ...]
    landmark_probes: tuple[Indices, ...]  # positions of the probes of each line of the map
    target_probes: tuple[Indices, ...]
    absent_gtex: Indices  # genes that have no row in the file
    absent_1000g: Indices

    @property
    def is_first_probe(self) -> Mask:
        """``(n_probes,)`` whether a probe is the first of its line, by which the gene is known."""
        first = np.zeros(len(self.gene_of_probe), dtype=bool)
        first[[own[0] for own in (*self.landmark_probes, *self.target_probes)]] = True
        return first

    def map_text(self, genes: Indices, probes: tuple[Indices, ...]) -> str:
        """Text of ``map_lm.txt`` or ``map_tg.txt``.

        A line a gene, tab-separated: symbol, Ensembl id without version, comma-separated probes.
        """
        return "".join(
            f"{self.symbols[gene]}\t{self.ensembl[gene].partition('.')[0]}\t"
            f"{','.join(self.probe_ids[probe] for probe in own)}\n"
            for gene, own in zip(genes, probes, strict=True)
        )


def make_catalogue(config: SimulationConfig) -> Catalogue:
    """Lay out genes, maps and probes of the study."""
    rng = stream(config.seed, "catalogue")
    n_landmarks, n_targets = config.n_mapped
    n_genes = n_landmarks + n_targets - config.n_shared + config.n_other_genes
    genes = rng.permutation(n_genes)
    landmarks = genes[:n_landmarks]
    own_targets = genes[n_landmarks : n_landmarks + n_targets - config.n_shared]
    # The genes at the end of each list are the ones to be dropped, so none of them is shared.
    shared = rng.choice(landmarks[: config.n_landmarks], config.n_shared, replace=False)
    missing_landmarks = landmarks[config.n_landmarks :]
    missing_targets = own_targets[config.n_targets - config.n_shared :]
    targets = rng.permutation(np.r_[own_targets, shared])
    other = genes[n_landmarks + n_targets - config.n_shared :]

    order = rng.permutation(config.n_probes)
    counts = probe_counts(n_targets, config.n_target_probes, rng)
    extra = rng.choice(other, config.extra_probes)
    gene_of_probe = np.empty(config.n_probes, np.intp)
    gene_of_probe[order] = np.r_[landmarks, np.repeat(targets, counts), extra]
    target_probes = np.split(order[n_landmarks : n_landmarks + counts.sum()], counts.cumsum()[:-1])

    shuffle = rng.permutation(n_landmarks)
    versions = rng.integers(1, 13, n_genes)
    # In turn absent from GTEx, from 1000G and from both: each way of losing a gene comes up.
    in_turn = np.r_[missing_landmarks, missing_targets]
    kind = np.arange(len(in_turn)) % 3
    unlisted = rng.choice(other, len(other) // 5, replace=False)
    # In the array's style ("200007_at", "221234_s_at"), unique and rising.
    numbers = 200_000 + np.cumsum(rng.integers(1, 3, config.n_probes))
    suffixes = rng.choice(PROBE_SUFFIXES, config.n_probes, p=PROBE_SUFFIX_SHARES)
    return Catalogue(
        landmarks=landmarks[shuffle],
        targets=targets,
        n_genes=n_genes,
        symbols=tuple(f"SIM{gene + 1:05d}" for gene in range(n_genes)),
        ensembl=tuple(
            f"ENSG{FIRST_ENSEMBL_NUMBER + gene}.{version}" for gene, version in enumerate(versions)
        ),
        gene_of_probe=gene_of_probe,
        probe_ids=tuple(f"{number}{end}" for number, end in zip(numbers, suffixes, strict=True)),
        landmark_probes=tuple(order[:n_landmarks][shuffle, None]),
        target_probes=tuple(np.sort(own) for own in target_probes),
        absent_gtex=np.sort(in_turn[kind != 1]),
        absent_1000g=np.sort(np.r_[in_turn[kind != 0], unlisted]),
    )


def probe_counts(n_targets: int, n_probes: int, rng: np.random.Generator) -> Indices:
    """Draw the number of probes of each target, `n_probes` in all.

    A geometric distribution cut at 13: with the mean 1.654 of the original's map it gives its
    counts (5,765 targets with 1 probe, 2,201 with 2, 975, 380, 123 ...) within about ten per cent.
    """
    counts = np.minimum(rng.geometric(min(1.0, n_targets / n_probes), n_targets), MOST_PROBES)
    while (lacking := n_probes - int(counts.sum())) != 0:
        step = 1 if lacking > 0 else -1
        able = np.flatnonzero((counts + step >= 1) & (counts + step <= MOST_PROBES))
        counts[rng.choice(able, min(abs(lacking), len(able)), replace=False)] += step
    return counts


@dataclass(frozen=True)
class Array:
    """Properties of the probes, the same on every array."""

    affinity: Floats  # (n_probes,) log2
    background: Floats  # (n_probes,) log2 of unspecific signal
    loading: Floats  # (3, n_probes) response to `PROBE_FACTORS`
    stray: Indices  # (n_stray,) probes that also catch another gene
    stray_gene: Indices  # (n_stray,) that gene
    catch: Floats  # (n_stray,) log2 of the affinity for it


def make_array(config: SimulationConfig, catalogue: Catalogue, misled: Indices) -> Array:
    """Draw the probes' properties; all probes of `misled` genes catch another gene."""
    rng = stream(config.seed, "probes")
    gene, n_probes = catalogue.gene_of_probe, config.n_probes
    affinity = rng.normal(0.0, AFFINITY_SD, n_probes)
    poor = (rng.random(n_probes) < POOR_SHARE) & ~catalogue.is_first_probe
    affinity[poor] += rng.uniform(*POOR_AFFINITY, poor.sum())
    is_stray = rng.random(n_probes) < config.cross_hybridisation
    is_misled = np.isin(gene, misled)
    stray = np.flatnonzero(is_stray | is_misled)
    catch = rng.uniform(*CATCH, len(stray))
    catch[is_misled[stray]] = 0.0
    shift = rng.integers(1, catalogue.n_genes, len(stray))
    stray_gene = (gene[stray] + shift) % catalogue.n_genes
    if len(misled):
        # One foreign gene for all probes of a gene, so that their mean is misled as well.
        partner = np.arange(catalogue.n_genes)
        partner[misled] += rng.integers(1, catalogue.n_genes, len(misled))
        of_misled = is_misled[stray]
        stray_gene[of_misled] = partner[gene[stray[of_misled]]] % catalogue.n_genes
    background = rng.normal(BACKGROUND_MEAN, BACKGROUND_SD, n_probes)
    loading = rng.standard_normal((len(PROBE_FACTORS), n_probes))
    return Array(
        affinity=affinity.astype(np.float32),
        background=background.astype(np.float32),
        loading=(np.array(PROBE_LOADING_SD)[:, None] * loading).astype(np.float32),
        stray=stray,
        stray_gene=stray_gene,
        catch=(affinity[stray] + catch).astype(np.float32),
    )


@dataclass(frozen=True)
class Sequencing:
    """Properties of the genes under sequencing."""

    length: Doubles  # (n_genes,) bases
    dispersion: Doubles  # (n_genes,) squared biological coefficient of variation of counts
    misled: Indices  # genes whose probes all catch another gene: the array is wrong
    spliced: Indices  # genes of which the array sees one isoform and sequencing two
    second: Indices  # the gene whose regulation the second isoform follows
    # Genes of which sequencing sees a flatter response (reads of a constant paralogue, or
    # unspliced ones), and the exponent.
    damped: Indices
    damping: Floats
    loading: Floats  # (2, n_genes) response to `LIBRARY_FACTORS`


def make_sequencing(config: SimulationConfig, n_genes: int) -> Sequencing:
    """Draw lengths, dispersions, and which genes the two platforms see differently.

    The discordant genes are split evenly over three causes: misled probes, a second isoform, a
    flatter response.
    """
    rng = stream(config.seed, "rnaseq genes")
    n_discordant = round(config.platform_discordance * n_genes)
    misled, spliced, damped = np.array_split(rng.permutation(n_genes)[:n_discordant], 3)
    loading_shape = (len(LIBRARY_FACTORS), n_genes)
    return Sequencing(
        length=np.round(LENGTH_MEDIAN * rng.lognormal(0.0, LENGTH_SD, n_genes)).clip(200),
        dispersion=config.dispersion * rng.lognormal(0.0, DISPERSION_SD, n_genes),
        misled=np.sort(misled),
        spliced=spliced,
        second=(spliced + rng.integers(1, n_genes, len(spliced))) % n_genes,
        damped=damped,
        damping=rng.uniform(*DAMPING, len(damped)).astype(np.float32),
        loading=rng.normal(0.0, LIBRARY_LOADING_SD, loading_shape).astype(np.float32),
    )


@dataclass(frozen=True)
class World:
    """All that the profiles of a study have in common; small beside them."""

    config: SimulationConfig
    catalogue: Catalogue
    states: States
    regulation: Regulation
    sequencing: Sequencing
    array: Array
    deposits: Deposits

    def gene_order(self, part: Part) -> Indices:
        """Genes of an RNA-seq file in the order of its rows, another one in each file."""
        rng = stream(self.config.seed, "gene order")
        gtex, thousand_genomes = (rng.permutation(self.catalogue.n_genes) for _ in range(2))
        if part == "GTEx":
            return gtex[~np.isin(gtex, self.catalogue.absent_gtex)]
        return thousand_genomes[~np.isin(thousand_genomes, self.catalogue.absent_1000g)]


def make_world(config: SimulationConfig) -> World:
    """Draw everything that a simulated study fixes before its first profile is made."""
    catalogue, states = make_catalogue(config), make_states(config)
    sequencing = make_sequencing(config, catalogue.n_genes)
    return World(
        config=config,
        catalogue=catalogue,
        states=states,
        regulation=make_regulation(config, catalogue.n_genes, catalogue.landmarks),
        sequencing=sequencing,
        array=make_array(config, catalogue, sequencing.misled),
        deposits=make_deposits(config, states),
    )


def intensities(
    world: World, samples: Samples, abundance: Floats, profiles: Indices, series: Indices
) -> Floats:
    """Hybridise and scan: log2 values ``(n, n_probes)``, within 4 to 15.

    signal = affinity x abundance x probe factors x series offset x noise (+ a stray gene's)
    + background; the bound share saturates (Langmuir), the scanner adds its dark level, and each
    file has its own monotone intensity curve, which quantile normalisation takes away again.
    """
    config, array = world.config, world.array
    signal = np.take(abundance, world.catalogue.gene_of_probe, axis=1)
    signal += array.affinity
    signal += samples.factors @ array.loading
    noise = np.empty((2, config.n_probes), np.float32)
    background = np.empty_like(signal)
    exponent = np.empty((len(profiles), 1), np.float32)
    arrays = ProfileStreams(config.seed, "GEO arrays")
    laboratories = ProfileStreams(config.seed, "series probes")
    scale = np.float32(config.series_noise)
    offsets = {
        int(one): scale * laboratories[one].standard_normal(config.n_probes, dtype=np.float32)
        for one in np.unique(series)
    }
    for row, profile in enumerate(profiles):
        rng = arrays[profile]
        rng.standard_normal(out=noise, dtype=np.float32)
        signal[row] += config.array_noise * noise[0]
        signal[row] += offsets[series[row]]
        brightness, curve = rng.standard_normal(2)
        background[row] = array.background + BACKGROUND_NOISE * (noise[1] + brightness)
        exponent[row] = np.exp(DISTORTION * np.clip(curve, -2.5, 2.5))
    np.exp2(signal, out=signal)
    signal[:, array.stray] += np.exp2(abundance[:, array.stray_gene] + array.catch)
    signal += np.exp2(background, out=background)
    return scan(signal, exponent)


def scan(signal: Floats, exponent: Floats) -> Floats:
    """Log2 of what the scanner reports for a linear signal, in place, on each file's own curve."""
    dark, full = np.float32(2.0**LOWEST), np.float32(2.0**HIGHEST)
    span = np.float32(HIGHEST - LOWEST)
    # No signal gives the dark level, any signal less than the full scale.
    np.divide(signal, signal + full, out=signal)
    signal *= full - dark
    signal += dark
    np.log2(signal, out=signal)
    signal -= np.float32(LOWEST)
    np.clip(signal, 0, span, out=signal)
    signal /= span
    np.power(signal, exponent, out=signal)
    signal *= span
    signal += np.float32(LOWEST)
    return signal


def deposit_again(config: SimulationConfig, values: Floats, rows: Indices) -> None:
    """Turn `values` ``(n, n_probes)`` of copies' sources into what was deposited, in place.

    The same scan went through another program or rounding: a change in a random direction whose
    length over all probes is drawn from 0.02 to 0.45, whatever their number. Copies of one source
    are then less than 0.9 apart, and preparation's limit is 1.0. `rows` of the file name the
    copies' random streams.
    """
    streams = ProfileStreams(config.seed, "GEO copies")
    for place, row in enumerate(rows):
        rng = streams[row]
        step = rng.standard_normal(values.shape[1], dtype=np.float32)
        values[place] += step * np.float32(rng.uniform(*COPY_DISTANCE) / np.linalg.norm(step))


def sequenced_abundance(sequencing: Sequencing, samples: Samples, abundance: Floats) -> Floats:
    """Log2 abundance ``(n, n_genes)`` as sequencing sees it, from the true one."""
    seen = abundance + samples.factors @ sequencing.loading
    both = np.logaddexp2(abundance[:, sequencing.spliced], abundance[:, sequencing.second])
    seen[:, sequencing.spliced] = both
    flat = sequencing.damping * (abundance[:, sequencing.damped] - REFERENCE_LEVEL)
    seen[:, sequencing.damped] = REFERENCE_LEVEL + flat
    return seen


def rpkm(world: World, seen: Floats, streams: ProfileStreams, profiles: Indices) -> Floats:
    """Sequence log2 abundance `seen` ``(n, n_genes)``, count and scale.

    A gene gets reads in proportion to abundance times length; counts are Poisson around a gamma
    (negative binomial). RPKM = 1e9 count / (length x mapped reads). Few reads give exact zeros and
    ties.
    """
    config, sequencing = world.config, world.sequencing
    values = np.empty(seen.shape, np.float32)
    on_study = min(1.0, seen.shape[1] / GENES_IN_A_GENOME)
    for row, profile in enumerate(profiles):
        rng = streams[profile]
        mapped = config.library_size * rng.lognormal(0.0, LIBRARY_SD)
        weight = np.exp2(seen[row].astype(np.float64)) * sequencing.length
        expected = weight * (mapped * on_study / weight.sum())
        if config.dispersion > 0:
            expected *= sequencing.dispersion * rng.gamma(1 / sequencing.dispersion)
        values[row] = rng.poisson(expected) * (1e9 / (sequencing.length * mapped))
    return values
