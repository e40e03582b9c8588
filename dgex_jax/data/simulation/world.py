"""Everything a simulated study fixes before its first profile is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from dgex_jax.data.simulation.array import Array, make_array
from dgex_jax.data.simulation.biology import Regulation, make_regulation
from dgex_jax.data.simulation.catalogue import Catalogue, make_catalogue
from dgex_jax.data.simulation.deposits import Deposits, make_deposits
from dgex_jax.data.simulation.rnaseq import Sequencing, make_sequencing
from dgex_jax.data.simulation.states import States, make_states
from dgex_jax.data.simulation.streams import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dgex_jax.data.simulation.config import SimulationConfig


Part = Literal["GTEx", "1000G"]
"""The RNA-seq files."""


@dataclass(frozen=True)
class World:
    """The genes, cells, platforms and deposits of one study; small beside its profiles."""

    config: SimulationConfig
    catalogue: Catalogue
    states: States
    regulation: Regulation
    sequencing: Sequencing
    array: Array
    deposits: Deposits

    def gene_order(self, part: Part) -> NDArray[np.intp]:
        """Genes of an RNA-seq file in the order of its rows, another one in each file."""
        rng = stream(self.config.seed, "gene order")
        gtex, thousand_genomes = (rng.permutation(self.catalogue.n_genes) for _ in range(2))
        if part == "GTEx":
            return gtex[~np.isin(gtex, self.catalogue.absent_gtex)]
        return thousand_genomes[~np.isin(thousand_genomes, self.catalogue.absent_1000g)]


def make_world(config: SimulationConfig) -> World:
    """Draw all that the profiles of a study have in common."""
    catalogue = make_catalogue(config)
    states = make_states(config)
    sequencing = make_sequencing(config, catalogue)
    return World(
        config=config,
        catalogue=catalogue,
        states=states,
        regulation=make_regulation(config, catalogue),
        sequencing=sequencing,
        array=make_array(config, catalogue, sequencing.misled),
        deposits=make_deposits(config, states),
    )
