"""The errors of every method on one part of a study, collected for a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dgex_jax.analysis.errors import Overall, overall, relative_improvement, share_better
from dgex_jax.training.geneerrors import GeneErrors, read_gene_errors
from reproduce.baselines import METHODS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig
    from reproduce.workspace import Workspace


@dataclass(frozen=True)
class Entry:
    """One method's errors per gene; `network` is ``None`` for a baseline."""

    method: str
    network: NetworkConfig | None
    errors: GeneErrors


@dataclass(frozen=True)
class Comparison:
    """All methods on one part.

    Attributes
    ----------
    part
        Where the errors are measured, of `config.EVALUATED`.
    selected_on
        Where networks, k and epochs are chosen: ``va`` (GEO-va) or ``1000G`` (1000G-va).
    entries
        Baselines first, then networks.
    genes
        ``(n_targets,)`` bool: the targets that count.
    """

    part: str
    selected_on: str
    entries: Sequence[Entry]
    genes: NDArray[np.bool_]

    def overall(self, entry: Entry) -> Overall:
        """Mean and sd over the genes that count."""
        return overall(entry.errors.mae[self.part], self.genes)

    def baseline(self, method: str) -> Entry:
        """Return the entry of one baseline."""
        return next(entry for entry in self.entries if entry.method == method)

    def best_network(self) -> Entry:
        """Return the network with the lowest overall error on the validation part, all targets."""
        networks = [entry for entry in self.entries if entry.network is not None]
        return min(networks, key=lambda one: overall(one.errors.mae[self.selected_on]).mean)

    def improvement(self, entry: Entry, method: str) -> float:
        """Relative improvement of an entry over a baseline."""
        reference = self.overall(self.baseline(method)).mean
        return relative_improvement(reference, self.overall(entry).mean)

    def share_better(self, entry: Entry, method: str) -> float:
        """Share of the genes in which an entry has the strictly smaller error."""
        mae = self.baseline(method).errors.mae[self.part]
        return share_better(entry.errors.mae[self.part], mae, self.genes)

    def without_copies(self) -> Comparison:
        """Return the same for the targets that are no copies of a landmark."""
        return replace(self, genes=~self.entries[0].errors.copy_of_landmark)


def best_of(space: Workspace, networks: Sequence[NetworkConfig], selected_on: str) -> NetworkConfig:
    """Return the network with the lowest overall error on a validation part, all targets.

    Of equal errors the first counts.
    """

    def error(network: NetworkConfig) -> float:
        mae = read_gene_errors(space.run(network) / "errors.tsv").mae[selected_on]
        return overall(mae).mean

    return min(networks, key=error)


def compare(
    space: Workspace,
    networks: Sequence[NetworkConfig],
    part: str,
    selected_on: str,
    methods: Sequence[str] = METHODS,
) -> Comparison:
    """Read the errors of methods and networks from a workspace where all of them are there."""
    entries = [
        Entry(method, None, read_gene_errors(space.baselines / f"{method}.tsv"))
        for method in methods
    ]
    for network in networks:
        errors = read_gene_errors(space.run(network) / "errors.tsv")
        entries.append(Entry("D-GEX", network, errors))
    genes = np.ones_like(entries[0].errors.copy_of_landmark)
    return Comparison(part, selected_on, entries, genes)
