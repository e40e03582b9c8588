"""RNA sequencing: from true abundance to counts to RPKM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.simulation.states import LIBRARY_FACTORS
from dgex_jax.data.simulation.streams import ProfileStreams, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.data.simulation.catalogue import Catalogue
    from dgex_jax.data.simulation.config import SimulationConfig
    from dgex_jax.data.simulation.samples import Samples

GENES_IN_A_GENOME = 20_000
"""Share of the reads that falls on the study's genes: their number over this."""
LENGTH_MEDIAN, LENGTH_SD = 2500.0, 0.7
DISPERSION_SD = 0.5
LIBRARY_SD = 0.35
DAMPING = (0.4, 0.9)
LOADING_SD = 0.3
REFERENCE_LEVEL = 7.5


@dataclass(frozen=True)
class Sequencing:
    """Properties of the genes under sequencing.

    Attributes
    ----------
    length
        ``(n_genes,)`` bases.
    dispersion
        ``(n_genes,)`` squared biological coefficient of variation of counts.
    misled
        Genes whose probes all catch another gene: the array is wrong, sequencing right.
    spliced, second
        Genes of which the array sees one isoform and sequencing two, and the gene whose regulation
        the second isoform follows.
    damped, damping
        Genes of which sequencing sees a flatter response (reads of a constant paralogue, or
        unspliced ones), and the exponent.
    loading
        ``(2, n_genes)`` float32, response to `LIBRARY_FACTORS`.
    """

    length: NDArray[np.float64]
    dispersion: NDArray[np.float64]
    misled: NDArray[np.intp]
    spliced: NDArray[np.intp]
    second: NDArray[np.intp]
    damped: NDArray[np.intp]
    damping: NDArray[np.float32]
    loading: NDArray[np.float32]


def make_sequencing(config: SimulationConfig, catalogue: Catalogue) -> Sequencing:
    """Draw lengths, dispersions, and which genes the two platforms see differently.

    The discordant genes are split evenly over three causes: misled probes, a second isoform, a
    flatter response.
    """
    rng = stream(config.seed, "rnaseq genes")
    n_genes = catalogue.n_genes
    n_discordant = round(config.platform_discordance * n_genes)
    misled, spliced, damped = np.array_split(rng.permutation(n_genes)[:n_discordant], 3)
    return Sequencing(
        length=np.round(LENGTH_MEDIAN * rng.lognormal(0.0, LENGTH_SD, n_genes)).clip(200),
        dispersion=config.dispersion * rng.lognormal(0.0, DISPERSION_SD, n_genes),
        misled=np.sort(misled),
        spliced=spliced,
        second=(spliced + rng.integers(1, n_genes, len(spliced))) % n_genes,
        damped=damped,
        damping=rng.uniform(*DAMPING, len(damped)).astype(np.float32),
        loading=rng.normal(0.0, LOADING_SD, (len(LIBRARY_FACTORS), n_genes)).astype(np.float32),
    )


def sequenced_abundance(
    sequencing: Sequencing, samples: Samples, abundance: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Log2 abundance ``(n, n_genes)`` as sequencing sees it, from the true one."""
    seen = abundance + samples.factors @ sequencing.loading
    both = np.logaddexp2(abundance[:, sequencing.spliced], abundance[:, sequencing.second])
    seen[:, sequencing.spliced] = both
    flat = sequencing.damping * (abundance[:, sequencing.damped] - REFERENCE_LEVEL)
    seen[:, sequencing.damped] = REFERENCE_LEVEL + flat
    return seen


def rpkm(
    config: SimulationConfig,
    sequencing: Sequencing,
    seen: NDArray[np.float32],
    streams: ProfileStreams,
    profiles: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Sequence, count and scale.

    A gene gets reads in proportion to abundance times length; counts are Poisson around a gamma
    (negative binomial). RPKM = 1e9 count / (length x mapped reads). Few reads give exact zeros and
    ties.

    Parameters
    ----------
    config, sequencing
        The study and its genes.
    seen
        ``(n, n_genes)`` float32, log2.
    streams, profiles
        Random streams and the ``(n,)`` indices into them.

    Returns
    -------
    NDArray
        ``(n, n_genes)`` float32.
    """
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
