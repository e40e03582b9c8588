"""Named departures from the original, each measured with one network of the study.

What the paper's discussion proposes (section 4): all targets in one network, targets partitioned
by clusters of their expression, hidden layers initialised by an autoencoder; and scaling without
the leak of the original's preprocessing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from dgex_jax.scores import overall
from dgex_jax.train.record import read_gene_errors
from reproduce.grid import PREPARE, SIMULATE, complete, missing_steps
from reproduce.tables import data_label, markdown_rows, preface, write_plain
from reproduce.workspace import Needs, Product, widest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dgex_jax.config import NetworkConfig
    from dgex_jax.parts import Parts
    from dgex_jax.prepare.study import Study
    from reproduce.workspace import Options, Workspace


@dataclass(frozen=True)
class Departure:
    """One departure: what it changes in words, and what it sets in the study.

    In `words` stand ``{0}`` for the compendium and ``{1}`` for its training part.
    """

    words: str
    section: str
    key: str
    value: object

    def changes(self, parts: Parts) -> str:
        """Say what it changes in a study with these parts."""
        return self.words.format(parts.compendium, parts.label("tr"))

    @property
    def option(self) -> str:
        """As it is written in a study file and on the command line."""
        value = f'"{self.value}"' if isinstance(self.value, str) else self.value
        flag = self.key.replace("_", "-")
        return f"`{self.section}.{self.key} = {value}`, `--{flag} {self.value}`"


DEPARTURES = {
    "one-network": Departure("all targets in one network", "training", "halves", 1),
    "clustered": Departure(
        "targets partitioned by clusters of their expression instead of at random",
        "prepare",
        "partition",
        "clustered",
    ),
    "autoencoder": Departure(
        "hidden layers initialised by a denoising autoencoder on the landmarks",
        "training",
        "pretrain",
        "autoencoder",
    ),
    "scale-on-train": Departure(
        "{0}'s means, deviations and reference quantile from {1} alone",
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

    Raises `StudyError`: the study has no networks at 10 % dropout.
    """
    depths = study.grid.hidden_layers
    depth = max((one for one in depths if one <= 2), default=min(depths))
    return widest(study, depth, [0.1])[0]


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
        ours, needs = departure_space(space, name), _own_needs(space.study)
        if missing_steps(ours, needs):
            print(f"departure {name}: {DEPARTURES[name].changes(space.study.parts)}", flush=True)
        complete(ours, needs, options)


def missing_departures(space: Workspace, names: Sequence[str]) -> list[str]:
    """List what `complete_departures` would do, a line a step."""
    lines = []
    for name in names:
        ours = departure_space(space, name)
        # Raw files are shared, and the prepared study where the departure is one of training.
        shared = {SIMULATE, PREPARE} if ours.prepared == space.prepared else {SIMULATE}
        steps = missing_steps(ours, _own_needs(space.study))
        lines += [f"departure {name}: {step}" for step in steps if step not in shared]
    return lines


def _own_needs(study: Study) -> Needs:
    return Needs(networks=(departure_network(study),))


def write_departures(space: Workspace) -> str:
    """Write the table as CSV, Markdown and LaTeX; returns the Markdown."""
    network, label, parts = departure_network(space.study), data_label(space), space.study.parts
    labels = {part: parts.label(part) for part in parts.evaluated}
    header = ["what changes", "option", *labels.values()]
    spaces = {"default": space}
    spaces |= {name: departure_space(space, name) for name in departures_of(space.study)}
    default: dict[str, float] = {}
    rows, texts = [], []
    for name, one in spaces.items():
        mae = read_gene_errors(one.run(network) / "errors.tsv").mae
        ours = {part: overall(mae[part]).mean for part in labels}
        default = default or ours
        departure = DEPARTURES.get(name)
        option = departure.option if departure else ""
        changes = departure.changes(parts) if departure else "the study as it is"
        rows.append(
            {"departure": name, "option": option.replace("`", ""), "changes": changes}
            | {shown: ours[part] for part, shown in labels.items()}
            | {"data": label}
        )
        texts.append([changes, option, *(_cell(ours[p], default[p]) for p in labels)])
    title = f"Departures from the original, study {space.study.name}"
    caption = (
        f"{space.study.title}. Overall error (mean absolute error in standardised units) of "
        f"{network.name}, in brackets the difference from the study as it is. Scaling on "
        f"{parts.label('tr')} alone changes the units the errors are measured in."
    )
    lines = preface(title, caption, simulated=label == "simulated") + markdown_rows(header, texts)
    plain = pd.DataFrame([[cell.replace("`", "") for cell in row] for row in texts], columns=header)
    return write_plain(space, "departures", pd.DataFrame(rows), lines, plain, f"{title}. {caption}")


def _cell(ours: float, default: float) -> str:
    return f"{ours:.4f}" if ours == default else f"{ours:.4f} ({ours - default:+.4f})"


PRODUCT = Product(
    "departures",
    "Departures from the original, each measured with one network.",
    lambda study: _own_needs(study) | Needs(departures=departures_of(study)),
    write_departures,
)
