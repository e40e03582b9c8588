"""Simulated cells: tissues, promoters, who was measured, and the abundance of every gene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.simulate.config import SimulationConfig

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Indices = NDArray[np.intp]
    Mask = NDArray[np.bool_]

STREAMS = {
    "catalogue": 1,
    "states": 2,
    "regulation": 3,
    "probes": 4,
    "rnaseq genes": 5,
    "plan": 6,
    "series": 7,
    "donors": 8,
    "GEO samples": 10,
    "GEO genes": 11,
    "GEO arrays": 12,
    "GEO copies": 13,
    "series probes": 14,
    "gene order": 15,
    "GTEx samples": 20,
    "GTEx genes": 21,
    "GTEx counts": 22,
    "1000G samples": 30,
    "1000G genes": 31,
    "1000G counts": 32,
}
"""Random streams: one for each part of the mechanism, and within it one for each profile.

A profile's numbers depend on the seed and on its own index alone, so a copy's source can be made
again at any time, and blocks of any size give the same study.
"""

IMMUNE_FAMILY, STROMA_FAMILY = 0, 1

LINEAGE_SHARE = 0.3
"""Share of the regulators that are switches of cell identity (on in few families), not dials."""
LINEAGE_ON_SHARE = 0.2
LINEAGE_SWING = 2.2
FAMILY_SD = 1.1
TISSUE_SD = 0.65
PROGRAMME_REACH = 0.25
"""Share of the regulators a programme moves."""
PROGRAMME_SD = 0.55
CULTURE_PROGRAMMES, CULTURE_SD = 2, 0.45

PROBE_FACTORS = ("degradation", "labelling", "splicing")
"""What moves a probe's signal but is not its gene's abundance; splicing differs by tissue."""
LIBRARY_FACTORS = PROBE_FACTORS[:2]
"""Likewise for sequencing, where reads of all isoforms are counted together."""

SERIES_SIZE_SD = 0.8
SERIES_TISSUES = 3
ATLAS_SHARE = 0.1
"""Share of the series that span unrelated tissues instead of one family."""
CULTURE_SHARE = 0.35
"""Share of the series of cell lines or sorted cells: no immune or stromal admixture."""
DISEASE_REACH = 0.25
"""Share of the regulators that the condition a series studies moves."""
DISEASE_SD = 0.8
SERIES_PROGRAMME_SD = 0.8
SERIES_ADMIXTURE_SD = 0.5
SERIES_FACTOR_SD = 0.8

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

TISSUE_PLACES = (0.6, 0.8)
"""Six in ten profiles of a series are of its first tissue, two of the second, two of the third."""
PROFILE_PROGRAMME_SD = 0.65
PROFILE_REGULATOR_SD = 0.3
PROFILE_ADMIXTURE_SD = 0.5
PROFILE_FACTOR_SD = 0.4
SEQUENCING_FACTOR_SD = 0.9
DONOR_REGULATOR_SD = 0.2
ISCHEMIA_SD = 1.0
CELL_LINE_SCALE = 0.5
"""Cell lines of one kind differ less than patients do."""


def _sequence(seed: int, name: str) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(STREAMS[name],))


def stream(seed: int, name: str) -> np.random.Generator:
    """Give the generator of a part that is drawn once for the whole study."""
    return np.random.Generator(np.random.Philox(_sequence(seed, name)))


class ProfileStreams:
    """Generators of a part (of `STREAMS`) that is drawn profile by profile."""

    def __init__(self, seed: int, name: str) -> None:
        self._key = _sequence(seed, name).generate_state(2, np.uint64)

    def __getitem__(self, index: int) -> np.random.Generator:
        """Give the generator of profile `index`, at its start each time."""
        # Philox counts up from here; 2**192 draws lie between one index and the next.
        return np.random.Generator(np.random.Philox(key=self._key, counter=int(index) << 192))


@dataclass(frozen=True)
class States:
    """What a cell can be (tissues) and what it can be doing (programmes).

    Regulator activities, in natural-log units around a typical cell.
    """

    tissues: Floats  # (n_tissues + 1, n_regulators); the last is the lymphoblastoid line
    family: Indices  # (n_tissues + 1,); blood and lymph are family 0, mesenchyme 1
    frequency: Doubles  # (n_tissues + 1,) how often a GEO series studies it; sums to 1
    infiltrates: Floats  # (2, n_regulators), the immune and stromal cells found in tissues
    admixture: Floats  # (n_tissues + 1, 2), log ratio of either to the tissue's own cells
    programmes: Floats  # (n_programmes, n_regulators), how a programme moves the regulators
    response: Floats  # (n_tissues + 1, n_programmes), how strongly a tissue runs a programme
    culture: Floats  # (2, n_regulators), programmes of cultured cells (growth, time in culture)
    spread: Floats  # (n_regulators,), how variable a regulator is
    splicing: Floats  # (n_tissues + 1,), splicing factor of each tissue

    @property
    def lymphoblastoid(self) -> int:
        """Row of the lymphoblastoid line."""
        return len(self.tissues) - 1


def make_states(config: SimulationConfig) -> States:
    """Draw tissues in families, and programmes.

    Lineage regulators are on or off by family with a few switches in single tissues, as master
    regulators of identity are; all others are graded, most of their variance between families and
    the rest between a family's tissues. Frequencies fall off as one over the rank: a few tissues
    fill much of a public archive. The lymphoblastoid line is the rarest, and of the blood family.
    """
    rng = stream(config.seed, "states")
    n_states, n_regulators = config.n_tissues + 1, config.n_regulators
    n_families = max(3, round(config.n_tissues / 4))
    # Every family has a tissue; the lymphoblastoid line is of the blood family.
    family = np.r_[np.arange(n_families), rng.integers(0, n_families, n_states - n_families)]
    family = family[:n_states]
    family[-1] = IMMUNE_FAMILY

    spread = rng.lognormal(0.0, 0.35, n_regulators)
    graded = (
        FAMILY_SD * rng.standard_normal((n_families, n_regulators))[family]
        + TISSUE_SD * rng.standard_normal((n_states, n_regulators))
    ) * spread
    on = rng.random((n_families, n_regulators))[family] < LINEAGE_ON_SHARE
    on ^= rng.random((n_states, n_regulators)) < LINEAGE_ON_SHARE / 4
    switched = LINEAGE_SWING * (on - LINEAGE_ON_SHARE) + 0.5 * graded
    tissues = np.where(rng.random(n_regulators) < LINEAGE_SHARE, switched, graded)

    reached = rng.random((config.n_programmes, n_regulators)) < PROGRAMME_REACH
    programmes = PROGRAMME_SD * reached * rng.standard_normal(reached.shape) * spread
    frequency = 1.0 / (2.0 + np.r_[rng.permutation(n_states - 1), n_states - 1])
    admixture = rng.normal((-1.6, -1.3), 0.6, (n_states, 2))
    # Blood has no stroma to speak of, and its own cells are the immune ones.
    admixture[family == IMMUNE_FAMILY, 1] -= 3.0
    infiltrates = [tissues[family == kind].mean(axis=0) for kind in (IMMUNE_FAMILY, STROMA_FAMILY)]
    single = np.float32
    return States(
        tissues=tissues.astype(single),
        family=family,
        frequency=frequency / frequency.sum(),
        infiltrates=np.stack(infiltrates).astype(single),
        admixture=admixture.astype(single),
        programmes=programmes.astype(single),
        response=rng.lognormal(-0.1, 0.45, (n_states, config.n_programmes)).astype(single),
        culture=rng.normal(0.0, CULTURE_SD, (CULTURE_PROGRAMMES, n_regulators)).astype(single),
        spread=spread.astype(single),
        splicing=rng.normal(0.0, 1.0, n_states).astype(single),
    )


@dataclass(frozen=True)
class Deposits:
    """The GEO archive: originals, their copies, and what the profiles of a series share."""

    source: Indices  # (n_profiles,) original behind each file row, 0 ... n_originals - 1
    # (n_profiles,): the row was deposited anew. A copy may come before its source in the file:
    # which of them preparation keeps is the earlier, not the original.
    is_copy: Mask
    series: Indices  # (n_originals,); a series' originals follow each other
    tissues: Indices  # (n_series, 3) tissues a series' profiles come from
    culture: Mask  # (n_series,): cell lines or sorted cells
    programmes: Doubles  # (n_series, n_programmes) typical level of each programme
    disease: Doubles  # (n_series, n_regulators) what the studied condition does to the regulators
    admixture: Doubles  # (n_series, 2) shift of the log immune and stromal shares
    factors: Doubles  # (n_series, 3) typical `PROBE_FACTORS`


def make_deposits(config: SimulationConfig, states: States) -> Deposits:
    """Draw series, and scatter copies of random originals over the file.

    A copy's source is any original, so some are copied more than once. Most series keep to one
    family of tissues.
    """
    rng = stream(config.seed, "plan")
    n_originals = config.n_profiles - config.n_copies
    is_copy = np.zeros(config.n_profiles, dtype=bool)
    is_copy[rng.choice(config.n_profiles, config.n_copies, replace=False)] = True
    source = np.empty(config.n_profiles, np.intp)
    source[~is_copy] = np.arange(n_originals)
    source[is_copy] = rng.integers(0, n_originals, config.n_copies)
    # As many series as originals would do even if each had one profile; the rest is cut off.
    further = rng.lognormal(-(SERIES_SIZE_SD**2) / 2, SERIES_SIZE_SD, n_originals)
    sizes = 1 + np.round((config.series_size - 1) * further).astype(np.intp)
    n_series = int(np.searchsorted(sizes.cumsum(), n_originals)) + 1
    series = np.repeat(np.arange(n_series), sizes[:n_series])[:n_originals]

    rng = stream(config.seed, "series")
    n_states = len(states.tissues)
    first = rng.choice(n_states, n_series, p=states.frequency)
    others = rng.choice(n_states, (n_series, SERIES_TISSUES - 1), p=states.frequency)
    allowed = states.family[others] == states.family[first][:, None]
    allowed |= rng.random((n_series, 1)) < ATLAS_SHARE
    reached = rng.random((n_series, config.n_regulators)) < DISEASE_REACH
    return Deposits(
        source=source,
        is_copy=is_copy,
        series=series,
        tissues=np.column_stack([first, np.where(allowed, others, first[:, None])]),
        culture=rng.random(n_series) < CULTURE_SHARE,
        programmes=rng.normal(0, SERIES_PROGRAMME_SD, (n_series, config.n_programmes)),
        disease=reached * rng.normal(0, DISEASE_SD, reached.shape) * states.spread,
        admixture=rng.normal(0, SERIES_ADMIXTURE_SD, (n_series, 2)),
        factors=rng.normal(0, SERIES_FACTOR_SD, (n_series, len(PROBE_FACTORS))),
    )


@dataclass(frozen=True)
class Regulation:
    """The promoters of all genes."""

    regulator: Indices  # (5, n_genes) regulator bound by each site
    present: Mask  # (5, n_genes): the gene has the site
    threshold: Floats  # (5, n_genes) activity at half occupancy
    hill: Floats  # (5, n_genes) cooperativity
    top: Floats  # (n_genes,) log2 abundance at full activity
    leak: Floats  # (n_genes,) share of it left with no activator bound
    repression: Floats  # (n_genes,) share of transcription a bound repressor takes away
    noise: Floats  # (n_genes,) sd (log2) of the gene's own variation


def make_regulation(config: SimulationConfig, n_genes: int, landmarks: Indices) -> Regulation:
    """Draw the promoters: genes of one module share most of enhancer A, and part of the rest.

    Landmark genes were chosen in the original to speak for clusters of co-expressed genes. Here
    they are spread evenly over the modules, are well expressed, follow their regulators over a wide
    range and vary little on their own; nothing else sets them apart.
    """
    rng = stream(config.seed, "regulation")
    n_regulators = config.n_regulators
    n_modules = round(MODULES_PER_REGULATOR * n_regulators)
    weight = rng.lognormal(0.0, 0.6, n_regulators)
    weight /= weight.sum()
    size = 1.0 / (5.0 + np.arange(n_modules))
    module = rng.choice(n_modules, n_genes, p=size / size.sum())
    landmark = np.zeros(n_genes, dtype=bool)
    landmark[landmarks] = True
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


@dataclass(frozen=True)
class Samples:
    """Latent states of some profiles."""

    activity: Floats  # (n, n_regulators), regulators of the tissue's own cells
    systemic: Floats  # (n, n_regulators), what also reaches the infiltrating cells
    proportions: Floats  # (n, 3), shares of own, immune and stromal cells; they sum to 1
    factors: Floats  # (n, 3) `PROBE_FACTORS`; of sequenced samples (n, 2) `LIBRARY_FACTORS`
    noise_scale: float = 1.0  # factor on the genes' own variation


class _Draws(NamedTuple):
    """A profile's own random numbers: uniform ones and, by their use, normal ones."""

    uniform: Doubles
    programmes: Floats
    regulators: Floats
    admixture: Floats
    culture: Floats
    factors: Floats


def _draw(config: SimulationConfig, name: str, profiles: Indices) -> _Draws:
    streams = ProfileStreams(config.seed, name)
    n_factors = len(PROBE_FACTORS)
    widths = (config.n_programmes, config.n_regulators, 2, CULTURE_PROGRAMMES, n_factors)
    uniform = np.empty((len(profiles), 2))
    normal = np.empty((len(profiles), sum(widths)), np.float32)
    for row, profile in enumerate(profiles):
        rng = streams[profile]
        rng.random(out=uniform[row])
        rng.standard_normal(out=normal[row], dtype=np.float32)
    return _Draws(uniform, *np.split(normal, np.cumsum(widths)[:-1], axis=1))


def geo_samples(
    config: SimulationConfig, states: States, deposits: Deposits, originals: Indices
) -> Samples:
    """Latent states of some originals, whatever others are asked for with them.

    A profile is a tissue of its series, running programmes at the series' level give or take its
    own, with the studied condition or without it (half and half), and its own admixture of immune
    and stromal cells unless the series is of cultured or sorted cells.
    """
    own = _draw(config, "GEO samples", originals)
    series = deposits.series[originals]
    place = np.searchsorted(TISSUE_PLACES, own.uniform[:, 0], side="right")
    tissue = deposits.tissues[series, place]
    level = deposits.programmes[series] + PROFILE_PROGRAMME_SD * own.programmes
    case = own.uniform[:, 1, None] < 0.5
    culture = deposits.culture[series, None]
    own_cells = (
        states.tissues[tissue]
        + (level * states.response[tissue]) @ states.programmes
        + case * deposits.disease[series]
        + PROFILE_REGULATOR_SD * own.regulators * states.spread
        + culture * (own.culture @ states.culture)
    )
    factors = deposits.factors[series] + PROFILE_FACTOR_SD * own.factors
    factors[:, -1] = 0.5 * factors[:, -1] + states.splicing[tissue]
    admixture = states.admixture[tissue] + deposits.admixture[series]
    admixture = admixture + PROFILE_ADMIXTURE_SD * own.admixture
    return Samples(
        activity=own_cells.astype(np.float32),
        systemic=(level @ states.programmes).astype(np.float32),
        proportions=mix(np.where(culture, -np.inf, admixture)),
        factors=factors.astype(np.float32),
    )


def mix(log_ratio: NDArray[np.floating]) -> Floats:
    """Shares ``(n, 3)`` of own, immune and stromal cells from the log ratios of the last two."""
    weight = np.exp(np.column_stack([np.zeros(len(log_ratio)), log_ratio]))
    shares: Floats = (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def gtex_samples(config: SimulationConfig, states: States, profiles: Indices) -> Samples:
    """Latent states of post-mortem samples: donors give several healthy tissues.

    The tissues are GEO's; there is no disease, and time since death (one programme, hypoxia) and
    degradation vary by donor.
    """
    rng = stream(config.seed, "donors")
    n_donors = max(2, round(config.n_gtex / 6))
    donor_regulators = DONOR_REGULATOR_SD * rng.standard_normal((n_donors, config.n_regulators))
    donor_ischemia = ISCHEMIA_SD * rng.standard_normal(n_donors)
    tissue = rng.choice(len(states.tissues), config.n_gtex)[profiles]
    donor = rng.integers(0, n_donors, config.n_gtex)[profiles]
    own = _draw(config, "GTEx samples", profiles)
    level = PROFILE_PROGRAMME_SD * own.programmes
    level[:, 0] += donor_ischemia[donor]
    activity = (
        states.tissues[tissue]
        + (level * states.response[tissue]) @ states.programmes
        + (donor_regulators[donor] + PROFILE_REGULATOR_SD * own.regulators) * states.spread
    )
    cultured = tissue == states.lymphoblastoid
    factors = SEQUENCING_FACTOR_SD * own.factors[:, : len(LIBRARY_FACTORS)]
    factors[:, 0] += 0.5 * donor_ischemia[donor]
    admixture = states.admixture[tissue] + PROFILE_ADMIXTURE_SD * own.admixture
    return Samples(
        activity=activity.astype(np.float32),
        systemic=(level @ states.programmes).astype(np.float32),
        proportions=mix(np.where(cultured[:, None], -np.inf, admixture)),
        factors=factors.astype(np.float32),
    )


def thousand_genomes_samples(
    config: SimulationConfig, states: States, profiles: Indices
) -> Samples:
    """Latent states of lymphoblastoid lines: one cell type, grown in culture, little variance."""
    own = _draw(config, "1000G samples", profiles)
    variation = (
        CELL_LINE_SCALE * PROFILE_PROGRAMME_SD * own.programmes @ states.programmes
        + CELL_LINE_SCALE * PROFILE_REGULATOR_SD * own.regulators * states.spread
        + own.culture @ states.culture
    )
    return Samples(
        activity=(states.tissues[states.lymphoblastoid] + variation).astype(np.float32),
        systemic=np.zeros_like(own.regulators),
        proportions=mix(np.full((len(profiles), 2), -np.inf)),
        factors=(SEQUENCING_FACTOR_SD * own.factors[:, : len(LIBRARY_FACTORS)]).astype(np.float32),
        noise_scale=CELL_LINE_SCALE,
    )


def transcription(regulation: Regulation, activity: Floats) -> Floats:
    """Abundance ``(n, n_genes)``, linear scale, in pure populations of cells.

    Thermodynamic occupancy of a site at log activity a, of ``(n, n_regulators)``:
    o = 1 / (1 + exp(-h (a - k))). Sites of an enhancer act together (AND: the product), enhancers
    either one (OR: 1 - (1 - A)(1 - B)), and a bound repressor takes its share away:
    abundance = 2**top (leak + (1 - leak) (1 - (1 - A)(1 - B)) (1 - r o_rep)).
    """
    by_regulator = np.ascontiguousarray(activity.T)
    silent: Floats = np.ones((len(regulation.top), len(activity)), np.float32)
    for sites in ENHANCERS:
        bound = np.ones_like(silent)
        for site in sites:
            genes = np.flatnonzero(regulation.present[site])
            bound[genes] *= _occupancy(regulation, by_regulator, site, genes)
        bound[~regulation.present[list(sites)].any(axis=0)] = 0.0
        silent *= 1 - bound
    active: Floats = 1 - silent
    genes = np.flatnonzero(regulation.present[REPRESSOR])
    repressed = _occupancy(regulation, by_regulator, REPRESSOR, genes)
    active[genes] *= 1 - regulation.repression[genes, None] * repressed
    leak = regulation.leak[:, None]
    active *= 1 - leak
    active += leak
    active *= np.exp2(regulation.top)[:, None]
    return active.T


def _occupancy(regulation: Regulation, by_regulator: Floats, site: int, genes: Indices) -> Floats:
    """Occupancy ``(n_chosen, n)`` of one site in the genes that have it."""
    bound: Floats = by_regulator[regulation.regulator[site, genes]]
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
    profiles: Indices,
) -> Floats:
    """Log2 abundance ``(n, n_genes)`` in bulk samples.

    Cells mix on the linear scale, then genes vary on their own, each profile by its own of the
    `streams`.
    """
    linear = np.zeros((len(profiles), len(regulation.top)), np.float32)
    for cell_type, share in enumerate(samples.proportions.T):
        there = np.flatnonzero(share > 0)
        if not len(there):
            continue
        activity = samples.activity[there]
        if cell_type > 0:
            activity = states.infiltrates[cell_type - 1] + samples.systemic[there]
        linear[there] += share[there, None] * transcription(regulation, activity)
    abundance = np.log2(linear, out=linear)
    noise = np.empty(len(regulation.top), np.float32)
    for row, profile in enumerate(profiles):
        streams[profile].standard_normal(out=noise, dtype=np.float32)
        abundance[row] += noise * (samples.noise_scale * regulation.noise)
    return abundance
