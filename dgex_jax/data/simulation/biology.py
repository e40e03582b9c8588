"""From regulator activities to true abundances: promoters that saturate and combine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.simulation.states import PARENCHYMA
from dgex_jax.data.simulation.streams import ProfileStreams, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.data.simulation.catalogue import Catalogue
    from dgex_jax.data.simulation.config import SimulationConfig
    from dgex_jax.data.simulation.samples import Samples
    from dgex_jax.data.simulation.states import States

SITES = 5
"""Binding sites of a promoter: two of enhancer A, two of enhancer B, one repressor's."""
ENHANCERS = ((0, 1), (2, 3))
REPRESSOR = 4
SITE_SHARES = (1.0, 0.4, 0.8, 0.3, 0.35)
"""Share of the genes that have each site."""
MODULE_SHARE = (0.75, 0.75, 0.4, 0.4, 0.3)
"""How often a gene's site is its module's instead of its own."""
MODULES_PER_REGULATOR = 1.5
THRESHOLD_SD = 0.8
THRESHOLD_JITTER = 0.8
HILL = (1.0, 3.0)
HOUSEKEEPING_SHARE = 0.08
EXPRESSION_MEAN, EXPRESSION_SD = 7.5, 2.0
LANDMARK_MEAN, LANDMARK_SD = 9.5, 1.2
FOLD = (2.5, 8.0)
"""Range of log2(full / leaky expression) of regulated genes; housekeeping genes have 0.5."""
LANDMARK_NOISE = 0.8


@dataclass(frozen=True)
class Regulation:
    """The promoters of all genes.

    Attributes
    ----------
    regulator
        ``(5, n_genes)`` regulator bound by each site.
    present
        ``(5, n_genes)`` bool: the gene has the site.
    threshold, hill
        ``(5, n_genes)`` float32: activity at half occupancy, and cooperativity.
    top
        ``(n_genes,)`` float32, log2 abundance at full activity.
    leak
        ``(n_genes,)`` float32, share of it left with no activator bound.
    repression
        ``(n_genes,)`` float32, share of transcription a bound repressor takes away.
    noise
        ``(n_genes,)`` float32, sd (log2) of the gene's own variation.
    """

    regulator: NDArray[np.intp]
    present: NDArray[np.bool_]
    threshold: NDArray[np.float32]
    hill: NDArray[np.float32]
    top: NDArray[np.float32]
    leak: NDArray[np.float32]
    repression: NDArray[np.float32]
    noise: NDArray[np.float32]


def make_regulation(config: SimulationConfig, catalogue: Catalogue) -> Regulation:
    """Draw the promoters: genes of one module share most of enhancer A, and part of the rest.

    Landmark genes were chosen in the original to speak for clusters of co-expressed genes. Here
    they are spread evenly over the modules, are well expressed, follow their regulators over a wide
    range and vary little on their own; nothing else sets them apart.
    """
    rng = stream(config.seed, "regulation")
    n_genes, n_regulators = catalogue.n_genes, config.n_regulators
    n_modules = round(MODULES_PER_REGULATOR * n_regulators)
    weight = rng.lognormal(0.0, 0.6, n_regulators)
    weight /= weight.sum()
    size = 1.0 / (5.0 + np.arange(n_modules))
    module = rng.choice(n_modules, n_genes, p=size / size.sum())
    landmark = np.zeros(n_genes, dtype=bool)
    landmark[catalogue.landmarks] = True
    module[landmark] = np.arange(landmark.sum()) % n_modules

    of_module = rng.choice(n_regulators, (SITES, n_modules), p=weight)
    own = rng.choice(n_regulators, (SITES, n_genes), p=weight)
    from_module = rng.random((SITES, n_genes)) < np.array(MODULE_SHARE)[:, None]
    has_site = rng.random((SITES, n_modules)) < np.array(SITE_SHARES)[:, None]
    own_site = rng.random((SITES, n_genes)) < np.array(SITE_SHARES)[:, None]
    threshold = rng.normal(0.0, THRESHOLD_SD, (SITES, n_modules))[:, module]
    own_threshold = rng.normal(0.0, THRESHOLD_SD, (SITES, n_genes))
    jitter = rng.normal(0.0, THRESHOLD_JITTER, (SITES, n_genes))

    fold = rng.uniform(*FOLD, n_genes)
    fold[rng.random(n_genes) < HOUSEKEEPING_SHARE] = 0.5
    fold[landmark] = rng.uniform(3.0, FOLD[1], landmark.sum())
    top = rng.normal(EXPRESSION_MEAN, EXPRESSION_SD, n_genes)
    top[landmark] = rng.normal(LANDMARK_MEAN, LANDMARK_SD, landmark.sum())
    noise = config.gene_noise * rng.lognormal(0.0, 0.4, n_genes)
    noise[landmark] *= LANDMARK_NOISE
    return Regulation(
        regulator=np.where(from_module, of_module[:, module], own),
        present=np.where(from_module, has_site[:, module], own_site),
        threshold=(np.where(from_module, threshold, own_threshold) + jitter).astype(np.float32),
        hill=rng.uniform(*HILL, (SITES, n_genes)).astype(np.float32),
        # What a gene reaches on average, not at most, decides how well it is seen.
        top=(top + 0.5 * fold).astype(np.float32),
        leak=np.exp2(-fold).astype(np.float32),
        repression=rng.uniform(0.6, 0.98, n_genes).astype(np.float32),
        noise=noise.astype(np.float32),
    )


def transcription(regulation: Regulation, activity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Abundance of every gene in a pure cell population.

    Thermodynamic occupancy of a site at log activity a: o = 1 / (1 + exp(-h (a - k))). Sites of an
    enhancer act together (AND: the product), enhancers either one (OR: 1 - (1 - A)(1 - B)), and a
    bound repressor takes its share away:
    abundance = 2**top (leak + (1 - leak) (1 - (1 - A)(1 - B)) (1 - r o_rep)).

    Parameters
    ----------
    regulation
        The promoters.
    activity
        ``(n, n_regulators)`` float32.

    Returns
    -------
    NDArray
        ``(n, n_genes)`` float32, linear scale.
    """
    by_regulator = np.ascontiguousarray(activity.T)
    n_genes = len(regulation.top)
    silent: NDArray[np.float32] = np.ones((n_genes, len(activity)), np.float32)
    for sites in ENHANCERS:
        bound = np.ones_like(silent)
        for site in sites:
            genes = np.flatnonzero(regulation.present[site])
            bound[genes] *= _occupancy(regulation, by_regulator, site, genes)
        bound[~regulation.present[list(sites)].any(axis=0)] = 0.0
        silent *= 1 - bound
    active: NDArray[np.float32] = 1 - silent
    genes = np.flatnonzero(regulation.present[REPRESSOR])
    active[genes] *= 1 - regulation.repression[genes, None] * _occupancy(
        regulation, by_regulator, REPRESSOR, genes
    )
    leak = regulation.leak[:, None]
    active *= 1 - leak
    active += leak
    active *= np.exp2(regulation.top)[:, None]
    return active.T


def _occupancy(
    regulation: Regulation,
    by_regulator: NDArray[np.float32],
    site: int,
    genes: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Occupancy ``(n_chosen, n)`` of one site in the genes that have it."""
    bound: NDArray[np.float32] = by_regulator[regulation.regulator[site, genes]]
    bound -= regulation.threshold[site, genes, None]
    bound *= -regulation.hill[site, genes, None]
    # Beyond e**80 a site is empty either way, and float32 would overflow.
    np.minimum(bound, 80, out=bound)
    np.exp(bound, out=bound)
    bound += 1
    np.reciprocal(bound, out=bound)
    return bound


def true_abundance(
    samples: Samples,
    states: States,
    regulation: Regulation,
    streams: ProfileStreams,
    profiles: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Log2 abundance in bulk samples: cells mix on the linear scale, then genes vary on their own.

    Parameters
    ----------
    samples, states, regulation
        The latent states of `profiles`, and what they act on.
    streams
        Where each profile's variation of single genes comes from.
    profiles
        ``(n,)`` indices into `streams`.

    Returns
    -------
    NDArray
        ``(n, n_genes)`` float32.
    """
    linear = np.zeros((len(profiles), len(regulation.top)), np.float32)
    for cell_type, share in enumerate(samples.proportions.T):
        there = np.flatnonzero(share > 0)
        if not len(there):
            continue
        if cell_type == PARENCHYMA:
            activity = samples.activity[there]
        else:
            activity = states.infiltrates[cell_type - 1] + samples.systemic[there]
        linear[there] += share[there, None] * transcription(regulation, activity)
    abundance = np.log2(linear, out=linear)
    noise = np.empty(len(regulation.top), np.float32)
    for row, profile in enumerate(profiles):
        streams[profile].standard_normal(out=noise, dtype=np.float32)
        abundance[row] += noise * (samples.noise_scale * regulation.noise)
    return abundance
