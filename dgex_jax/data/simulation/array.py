"""The microarray: from true abundance to log2 probe intensities, and the deposited file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.simulation.states import PROBE_FACTORS
from dgex_jax.data.simulation.streams import ProfileStreams, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.data.simulation.catalogue import Catalogue
    from dgex_jax.data.simulation.config import SimulationConfig
    from dgex_jax.data.simulation.samples import Samples

LOWEST, HIGHEST = 4.0, 15.0
"""Log2 of the scanner's dark level and of its full scale: the range of the original's file."""
AFFINITY_SD = 1.2
POOR_SHARE = 0.7
"""Share of the probes beyond a gene's first that bind a rare isoform or hardly bind at all."""
POOR_AFFINITY = (-6.0, -1.0)
BACKGROUND_MEAN, BACKGROUND_SD = 4.8, 0.6
BACKGROUND_NOISE = 0.25
FACTOR_SD = (0.25, 0.25, 0.2)
"""Sd of the probes' loadings on degradation, labelling and splicing."""
CATCH = (-4.0, 0.0)
"""Range of log2 of the share of another gene's abundance that a cross-hybridising probe catches."""
DISTORTION = 0.06
COPY_DISTANCE = (0.02, 0.45)
"""Range of the Euclidean distance, over all probes, of a copy from its source."""


@dataclass(frozen=True)
class Array:
    """Properties of the probes, the same on every array.

    Attributes
    ----------
    gene
        ``(n_probes,)`` gene the probe was designed for.
    affinity
        ``(n_probes,)`` float32, log2.
    background
        ``(n_probes,)`` float32, log2 of unspecific signal.
    loading
        ``(3, n_probes)`` float32, response to `PROBE_FACTORS`.
    stray
        ``(n_stray,)`` probes that also catch another gene.
    stray_gene
        ``(n_stray,)`` that gene.
    catch
        ``(n_stray,)`` float32, log2 of the affinity for it.
    """

    gene: NDArray[np.intp]
    affinity: NDArray[np.float32]
    background: NDArray[np.float32]
    loading: NDArray[np.float32]
    stray: NDArray[np.intp]
    stray_gene: NDArray[np.intp]
    catch: NDArray[np.float32]


def make_array(config: SimulationConfig, catalogue: Catalogue, misled: NDArray[np.intp]) -> Array:
    """Draw the probes' properties.

    Parameters
    ----------
    config
        The study.
    catalogue
        Genes and probes.
    misled
        Genes whose probes all catch another gene (see `rnaseq.make_sequencing`).
    """
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
    return Array(
        gene=gene,
        affinity=affinity.astype(np.float32),
        background=rng.normal(BACKGROUND_MEAN, BACKGROUND_SD, n_probes).astype(np.float32),
        loading=(
            np.array(FACTOR_SD)[:, None] * rng.standard_normal((len(PROBE_FACTORS), n_probes))
        ).astype(np.float32),
        stray=stray,
        stray_gene=stray_gene,
        catch=(affinity[stray] + catch).astype(np.float32),
    )


def intensities(
    config: SimulationConfig,
    array: Array,
    samples: Samples,
    abundance: NDArray[np.float32],
    *,
    profiles: NDArray[np.intp],
    series: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Hybridise and scan.

    signal = affinity x abundance x probe factors x series offset x noise (+ a stray gene's)
    + background; the bound share saturates (Langmuir), the scanner adds its dark level, and each
    file has its own monotone intensity curve, which quantile normalisation takes away again.

    Parameters
    ----------
    config, array
        The study and its probes.
    samples
        Latent states of `profiles`.
    abundance
        ``(n, n_genes)`` float32, log2.
    profiles, series
        ``(n,)`` original profiles and their series.

    Returns
    -------
    NDArray
        ``(n, n_probes)`` float32, log2, within 4 to 15.
    """
    signal = np.take(abundance, array.gene, axis=1)
    signal += array.affinity
    signal += samples.factors @ array.loading
    n_probes = len(array.gene)
    noise = np.empty((2, n_probes), np.float32)
    background = np.empty_like(signal)
    exponent = np.empty((len(profiles), 1), np.float32)
    arrays = ProfileStreams(config.seed, "GEO arrays")
    offsets = _series_offsets(config, n_probes, series)
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
    return _scan(signal, exponent)


def _scan(signal: NDArray[np.float32], exponent: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log2 of what the scanner reports for a linear signal, on each file's own curve."""
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


def _series_offsets(
    config: SimulationConfig, n_probes: int, series: NDArray[np.intp]
) -> dict[int, NDArray[np.float32]]:
    streams = ProfileStreams(config.seed, "series probes")
    scale = np.float32(config.series_noise)
    return {
        int(one): scale * streams[one].standard_normal(n_probes, dtype=np.float32)
        for one in np.unique(series)
    }


def deposit_again(
    config: SimulationConfig, values: NDArray[np.float32], rows: NDArray[np.intp]
) -> None:
    """Turn `values` ``(n, n_probes)`` of copies' sources into what was deposited, in place.

    The same scan went through another program or rounding: a change in a random direction whose
    length over all probes is drawn from 0.02 to 0.45, whatever their number. Copies of one source
    are then less than 0.9 apart, and preparation's limit is 1.0.

    Parameters
    ----------
    config
        The study.
    values
        ``(n, n_probes)`` float32.
    rows
        ``(n,)`` file rows of the copies, which name their random stream.
    """
    streams = ProfileStreams(config.seed, "GEO copies")
    for place, row in enumerate(rows):
        rng = streams[row]
        step = rng.standard_normal(values.shape[1], dtype=np.float32)
        values[place] += step * np.float32(rng.uniform(*COPY_DISTANCE) / np.linalg.norm(step))
