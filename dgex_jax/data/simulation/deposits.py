"""The simulated GEO archive: series of profiles, and which file row is whose copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.simulation.states import PROBE_FACTORS
from dgex_jax.data.simulation.streams import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.data.simulation.config import SimulationConfig
    from dgex_jax.data.simulation.states import States

SERIES_SIZE_SD = 0.8
SERIES_TISSUES = 3
ATLAS_SHARE = 0.1
"""Share of the series that span unrelated tissues instead of one family."""
CULTURE_SHARE = 0.35
"""Share of the series of cell lines or sorted cells: no immune or stromal admixture."""
DISEASE_REACH = 0.25
"""Share of the regulators that the condition a series studies moves."""
DISEASE_SD = 0.8
PROGRAMME_SD = 0.8
ADMIXTURE_SD = 0.5
FACTOR_SD = 0.8


@dataclass(frozen=True)
class Deposits:
    """Originals, their copies, and what the profiles of a series have in common.

    Attributes
    ----------
    source
        ``(n_profiles,)`` original behind each file row, 0 ... n_originals - 1.
    is_copy
        ``(n_profiles,)`` bool: the row was deposited anew. A copy may come before its source in
        the file: which of them preparation keeps is the earlier, not the original.
    series
        ``(n_originals,)`` series of each original; a series' originals follow each other.
    tissues
        ``(n_series, 3)`` tissues a series' profiles come from.
    culture
        ``(n_series,)`` bool: cell lines or sorted cells.
    programmes
        ``(n_series, n_programmes)`` typical level of each programme.
    disease
        ``(n_series, n_regulators)`` what the studied condition does to the regulators.
    admixture
        ``(n_series, 2)`` shift of the log immune and stromal shares.
    factors
        ``(n_series, 3)`` typical `PROBE_FACTORS`.
    """

    source: NDArray[np.intp]
    is_copy: NDArray[np.bool_]
    series: NDArray[np.intp]
    tissues: NDArray[np.intp]
    culture: NDArray[np.bool_]
    programmes: NDArray[np.float64]
    disease: NDArray[np.float64]
    admixture: NDArray[np.float64]
    factors: NDArray[np.float64]


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
        programmes=rng.normal(0, PROGRAMME_SD, (n_series, config.n_programmes)),
        disease=reached * rng.normal(0, DISEASE_SD, reached.shape) * states.spread,
        admixture=rng.normal(0, ADMIXTURE_SD, (n_series, 2)),
        factors=rng.normal(0, FACTOR_SD, (n_series, len(PROBE_FACTORS))),
    )
