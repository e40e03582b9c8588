"""A product: a table, a figure or an analysis, and what must be there before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dgex_jax.config import NetworkConfig
    from dgex_jax.data.study import Study
    from reproduce.workspace import Workspace


@dataclass(frozen=True)
class Needs:
    """What is prepared, fitted and trained for a product, unless it is there already.

    Attributes
    ----------
    prepared
        Whether the prepared study is needed.
    methods
        Baselines, of `baselines.METHODS`.
    networks
        Networks of the grid.
    departures
        Departures from the original, by name (`variants.DEPARTURES`), each with the network that
        measures it.
    """

    prepared: bool = True
    methods: tuple[str, ...] = ()
    networks: tuple[NetworkConfig, ...] = ()
    departures: tuple[str, ...] = ()

    def __or__(self, other: Needs) -> Needs:
        """Join what both need, without repeats."""

        def both(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(dict.fromkeys(mine + theirs))

        return Needs(
            self.prepared or other.prepared,
            both(self.methods, other.methods),
            tuple(dict.fromkeys(self.networks + other.networks)),
            both(self.departures, other.departures),
        )


@dataclass(frozen=True)
class Product:
    """One thing to make of a study.

    Attributes
    ----------
    name
        Of its files, and of the Makefile's target.
    title
        What it is, in a line.
    needs
        What a study must have for it; raises `StudyError` where the study has no such networks.
    make
        Writes the files of a workspace that has all of it; returns what to show.
    """

    name: str
    title: str
    needs: Callable[[Study], Needs]
    make: Callable[[Workspace], str]
