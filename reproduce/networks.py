"""Which networks of a study's grid the paper's tables, figures and analyses are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgex_jax.config import NetworkConfig
from dgex_jax.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dgex_jax.data.study import Study


def at_rates(study: Study, rates: Sequence[float] | None = None) -> tuple[NetworkConfig, ...]:
    """All architectures at some dropout rates (every rate of the study if not given).

    Rate by rate, shallow before deep and narrow before wide, as the paper's tables have them.

    Raises
    ------
    StudyError
        The study has no networks at a rate.
    """
    grid = study.grid
    rates = grid.dropout if rates is None else rates
    for rate in rates:
        if rate not in grid.dropout:
            raise StudyError(
                f"study {study.name}: networks.dropout = {list(grid.dropout)} lacks the rate "
                f"{rate:g}, which is asked for"
            )
    return tuple(
        NetworkConfig(layers, units, rate) for rate in rates for layers, units in grid.shapes()
    )


def widest(study: Study, hidden_layers: int, rates: Sequence[float]) -> tuple[NetworkConfig, ...]:
    """Return the widest network of so many hidden layers at some rates.

    Raises
    ------
    StudyError
        The study has no such networks.
    """
    _check_depth(study, hidden_layers)
    units = max(study.grid.units)
    return tuple(
        one
        for one in at_rates(study, rates)
        if (one.hidden_layers, one.units) == (hidden_layers, units)
    )


def hub_network(study: Study) -> NetworkConfig:
    """Return the network of the weight hubs: 10 % dropout, one hidden layer, the narrowest.

    As D-GEX-10%-3000x1 of the paper's section 3.3.
    """
    _check_depth(study, 1)
    at_rates(study, [0.1])
    return NetworkConfig(1, min(study.grid.units), 0.1)


def _check_depth(study: Study, hidden_layers: int) -> None:
    if hidden_layers not in study.grid.hidden_layers:
        raise StudyError(
            f"study {study.name}: networks.hidden_layers = {list(study.grid.hidden_layers)} lacks "
            f"networks with {hidden_layers}, which are asked for"
        )
