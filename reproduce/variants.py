"""Named departures from the original, each measured with one network of the study.

What the paper's discussion proposes (section 4): all targets in one network, targets partitioned
by clusters of their expression, hidden layers initialised by an autoencoder; and scaling without
the leak of the original's preprocessing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgex_jax.training.geneerrors import read_gene_errors
from reproduce.grid import complete, missing_steps
from reproduce.networks import widest
from reproduce.product import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dgex_jax.config import NetworkConfig
    from dgex_jax.data.study import Study
    from reproduce.options import Options
    from reproduce.workspace import Workspace


@dataclass(frozen=True)
class Departure:
    """One departure.

    Attributes
    ----------
    option
        As it is written in a study file and on the command line.
    changes
        What it changes, in words.
    section, key, value
        What it sets in the study.
    """

    option: str
    changes: str
    section: str
    key: str
    value: object


DEPARTURES = {
    "one-network": Departure(
        "`training.halves = 1`, `--halves 1`",
        "all targets in one network",
        "training",
        "halves",
        1,
    ),
    "clustered": Departure(
        '`prepare.partition = "clustered"`, `--partition clustered`',
        "targets partitioned by clusters of their expression instead of at random",
        "prepare",
        "partition",
        "clustered",
    ),
    "autoencoder": Departure(
        '`training.pretrain = "autoencoder"`, `--pretrain autoencoder`',
        "hidden layers initialised by a denoising autoencoder on the landmarks",
        "training",
        "pretrain",
        "autoencoder",
    ),
    "scale-on-train": Departure(
        '`prepare.scale_on = "train"`, `--scale-on train`',
        "GEO's means, deviations and reference quantile from GEO-tr alone",
        "prepare",
        "scale_on",
        "train",
    ),
}


def departures_of(study: Study) -> tuple[str, ...]:
    """Name the departures that change something in a study: not those it has taken itself."""
    return tuple(
        name
        for name, one in DEPARTURES.items()
        if getattr(getattr(study, one.section), one.key) != one.value
        # A single network has no partition.
        and not (one.key == "partition" and study.training.halves == 1)
    )


def departure_network(study: Study) -> NetworkConfig:
    """Return the network that measures departures: two hidden layers, the widest, 10 % dropout.

    Fixed by the study alone, so that no choice among trained networks comes before it. A study
    without two layers takes the deepest below, or else its shallowest.

    Raises
    ------
    StudyError
        The study has no networks at 10 % dropout.
    """
    depths = study.grid.hidden_layers
    depth = max((one for one in depths if one <= 2), default=min(depths))
    return widest(study, depth, [0.1])[0]


def departure_needs(study: Study) -> Needs:
    """Return what each departure needs in its own workspace."""
    return Needs(networks=(departure_network(study),))


def departure_space(space: Workspace, name: str) -> Workspace:
    """Return the workspace of one departure: the study with one setting changed, one network."""
    departure, network = DEPARTURES[name], departure_network(space.study)
    section = dataclasses.replace(
        getattr(space.study, departure.section), **{departure.key: departure.value}
    )
    grid = dataclasses.replace(
        space.study.grid,
        hidden_layers=(network.hidden_layers,),
        units=(network.units,),
        dropout=(network.dropout,),
    )
    results = space.results / "departures" / name
    return dataclasses.replace(
        space,
        study=dataclasses.replace(space.study, grid=grid, **{departure.section: section}),
        results=results,
        prepared=results / "prepared.h5" if departure.section == "prepare" else space.prepared,
    )


def complete_departures(space: Workspace, names: Sequence[str], options: Options) -> None:
    """Prepare and train what the departures need and is not there yet."""
    for name in names:
        ours, needs = departure_space(space, name), departure_needs(space.study)
        if missing_steps(ours, needs):
            print(f"departure {name}: {DEPARTURES[name].changes}", flush=True)
        complete(ours, needs, options)


@dataclass(frozen=True)
class Measured:
    """What one way of training reaches.

    Attributes
    ----------
    name
        Of the departure; ``default`` for the study as it is.
    errors
        Part → ``(n_targets,)`` float64, MAE of each gene.
    """

    name: str
    errors: Mapping[str, NDArray[np.float64]]


def measured_departures(space: Workspace) -> list[Measured]:
    """Read the default's errors and those of every departure, all of them trained before."""
    network = departure_network(space.study)
    spaces = {"default": space}
    spaces |= {name: departure_space(space, name) for name in departures_of(space.study)}
    found = []
    for name, one in spaces.items():
        found.append(Measured(name, read_gene_errors(one.run(network) / "errors.tsv").mae))
    return found
