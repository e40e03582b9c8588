"""Cell states: what a cell can be (tissues) and what it can be doing (programmes)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.data.simulation.streams import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.data.simulation.config import SimulationConfig

Float32 = np.float32

PARENCHYMA, IMMUNE, STROMA = range(3)
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


@dataclass(frozen=True)
class States:
    """Cell states as regulator activities, in natural-log units around a typical cell.

    Attributes
    ----------
    tissues
        ``(n_tissues + 1, n_regulators)`` float32; the last is the lymphoblastoid line.
    family
        ``(n_tissues + 1,)`` family of each; blood and lymph are family 0, mesenchyme 1.
    frequency
        ``(n_tissues + 1,)`` how often a GEO series studies it; sums to 1.
    infiltrates
        ``(2, n_regulators)`` the immune and the stromal cells found in any solid tissue.
    admixture
        ``(n_tissues + 1, 2)`` log of typical immune and stromal shares relative to the tissue's own
        cells.
    programmes
        ``(n_programmes, n_regulators)`` float32, how a programme moves the regulators.
    response
        ``(n_tissues + 1, n_programmes)`` float32, how strongly a tissue runs a programme.
    culture
        ``(2, n_regulators)`` programmes of cultured cells (growth, time in culture).
    spread
        ``(n_regulators,)`` float32, how variable a regulator is.
    splicing
        ``(n_tissues + 1,)`` float32, splicing factor of each tissue.
    """

    tissues: NDArray[np.float32]
    family: NDArray[np.intp]
    frequency: NDArray[np.float64]
    infiltrates: NDArray[np.float32]
    admixture: NDArray[np.float32]
    programmes: NDArray[np.float32]
    response: NDArray[np.float32]
    culture: NDArray[np.float32]
    spread: NDArray[np.float32]
    splicing: NDArray[np.float32]

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
    return States(
        tissues=tissues.astype(Float32),
        family=family,
        frequency=frequency / frequency.sum(),
        infiltrates=np.stack(
            [tissues[family == kind].mean(axis=0) for kind in (IMMUNE_FAMILY, STROMA_FAMILY)]
        ).astype(Float32),
        admixture=admixture.astype(Float32),
        programmes=programmes.astype(Float32),
        response=rng.lognormal(-0.1, 0.45, (n_states, config.n_programmes)).astype(Float32),
        culture=rng.normal(0.0, CULTURE_SD, (CULTURE_PROGRAMMES, n_regulators)).astype(Float32),
        spread=spread.astype(Float32),
        splicing=rng.normal(0.0, 1.0, n_states).astype(Float32),
    )
