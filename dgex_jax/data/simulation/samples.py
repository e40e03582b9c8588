"""Who was measured: the latent state of every profile, by series, donor or cell line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.simulation.states import CULTURE_PROGRAMMES, LIBRARY_FACTORS, PROBE_FACTORS
from dgex_jax.data.simulation.streams import ProfileStreams, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.data.simulation.config import SimulationConfig
    from dgex_jax.data.simulation.deposits import Deposits
    from dgex_jax.data.simulation.states import States

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


@dataclass(frozen=True)
class Samples:
    """Latent states of some profiles.

    Attributes
    ----------
    activity
        ``(n, n_regulators)`` float32, regulators of the tissue's own cells.
    systemic
        ``(n, n_regulators)`` float32, what also reaches the infiltrating cells.
    proportions
        ``(n, 3)`` float32, shares of own, immune and stromal cells; they sum to 1.
    factors
        ``(n, 3)`` float32, `PROBE_FACTORS`; of sequenced samples ``(n, 2)``, `LIBRARY_FACTORS`.
    noise_scale
        Factor on the genes' own variation.
    """

    activity: NDArray[np.float32]
    systemic: NDArray[np.float32]
    proportions: NDArray[np.float32]
    factors: NDArray[np.float32]
    noise_scale: float = 1.0


@dataclass(frozen=True)
class Draws:
    """A profile's own random numbers: ``uniform (n, 2)`` and the normal ones by use."""

    uniform: NDArray[np.float64]
    programmes: NDArray[np.float32]
    regulators: NDArray[np.float32]
    admixture: NDArray[np.float32]
    culture: NDArray[np.float32]
    factors: NDArray[np.float32]


def draw(config: SimulationConfig, name: str, profiles: NDArray[np.intp]) -> Draws:
    """Draw the numbers of some profiles from the stream `name`."""
    streams = ProfileStreams(config.seed, name)
    widths = (
        config.n_programmes,
        config.n_regulators,
        2,
        CULTURE_PROGRAMMES,
        len(PROBE_FACTORS),
    )
    uniform = np.empty((len(profiles), 2))
    normal = np.empty((len(profiles), sum(widths)), np.float32)
    for row, profile in enumerate(profiles):
        rng = streams[profile]
        rng.random(out=uniform[row])
        rng.standard_normal(out=normal[row], dtype=np.float32)
    return Draws(uniform, *np.split(normal, np.cumsum(widths)[:-1], axis=1))


def geo_samples(
    config: SimulationConfig, states: States, deposits: Deposits, originals: NDArray[np.intp]
) -> Samples:
    """Latent states of some originals, whatever others are asked for with them.

    A profile is a tissue of its series, running programmes at the series' level give or take its
    own, with the studied condition or without it (half and half), and its own admixture of immune
    and stromal cells unless the series is of cultured or sorted cells.
    """
    own = draw(config, "GEO samples", originals)
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


def mix(log_ratio: NDArray[np.floating]) -> NDArray[np.float32]:
    """Shares ``(n, 3)`` of own, immune and stromal cells from the log ratios of the last two."""
    weight = np.exp(np.column_stack([np.zeros(len(log_ratio)), log_ratio]))
    shares: NDArray[np.float32] = (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def gtex_samples(config: SimulationConfig, states: States, profiles: NDArray[np.intp]) -> Samples:
    """Latent states of post-mortem samples: donors give several healthy tissues.

    The tissues are GEO's; there is no disease, and time since death (one programme, hypoxia) and
    degradation vary by donor.
    """
    rng = stream(config.seed, "donors")
    n_donors = max(2, round(config.n_gtex / 6))
    donor_regulators = DONOR_REGULATOR_SD * rng.standard_normal((n_donors, config.n_regulators))
    donor_ischemia = ISCHEMIA_SD * rng.standard_normal(n_donors)
    all_tissues = rng.choice(len(states.tissues), config.n_gtex)
    donor = rng.integers(0, n_donors, config.n_gtex)[profiles]
    tissue = all_tissues[profiles]
    own = draw(config, "GTEx samples", profiles)
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
    config: SimulationConfig, states: States, profiles: NDArray[np.intp]
) -> Samples:
    """Latent states of lymphoblastoid lines: one cell type, grown in culture, little variance."""
    own = draw(config, "1000G samples", profiles)
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
