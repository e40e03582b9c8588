"""A study of a reproduction: its folders, its networks, and what a product of it needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dgex_jax.config import NetworkConfig
from dgex_jax.errors import StudyError
from dgex_jax.parts import OF_COMPENDIUM
from dgex_jax.prepare.study import Study, read_study

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dgex_jax.parts import Parts

STUDIES = Path(__file__).parent / "studies"
ROOT = Path(__file__).parents[1]

Launcher = Literal["here", "slurm", "local"]


@dataclass(frozen=True)
class Options:
    """How a command goes about its work; nothing here changes a result.

    - `gpus`: GPUs to use (of each job, with a launcher); ``None`` takes what is there.
    - `wait`: wait for another command that works on the same output; else leave with an error.
    - `launcher`: ``here`` trains in this process, ``slurm`` in jobs of a cluster, ``local`` in
      processes of this machine, the way jobs would run.
    - `partition`, `minutes`: of the jobs; ``None`` takes the study's.
    """

    gpus: int | None = None
    wait: bool = True
    launcher: Launcher = "here"
    partition: str | None = None
    minutes: int | None = None


@dataclass(frozen=True)
class Needs:
    """What is prepared, fitted and trained for a product, unless it is there already.

    - `prepared`: whether the prepared study is needed.
    - `methods`: baselines, of `baselines.METHODS`.
    - `networks`: networks of the grid.
    - `departures`: departures from the original, by name (`variants.DEPARTURES`).
    """

    prepared: bool = True
    methods: tuple[str, ...] = ()
    networks: tuple[NetworkConfig, ...] = ()
    departures: tuple[str, ...] = ()

    def __or__(self, other: Needs) -> Needs:
        """Join what both need, without repeats."""
        return Needs(
            self.prepared or other.prepared,
            tuple(dict.fromkeys(self.methods + other.methods)),
            tuple(dict.fromkeys(self.networks + other.networks)),
            tuple(dict.fromkeys(self.departures + other.departures)),
        )


@dataclass(frozen=True)
class Product:
    """A table, a figure or an analysis of a study.

    - `name`: of its files.
    - `title`: what it is, in a line.
    - `needs`: what a study must have for it; raises `StudyError` where the study has no such
      networks, or no such set.
    - `make`: writes the files of a workspace that has all of it; returns what to show.
    - `of`: where there is one a set, the name of the first set's.
    """

    name: str
    title: str
    needs: Callable[[Study], Needs]
    make: Callable[[Workspace], str]
    of: str = ""

    @property
    def target(self) -> str:
        """The Makefile's target, and the script's name."""
        return self.of or self.name


@dataclass(frozen=True)
class Workspace:
    """A study (`path` is its file) and the folders and files that are made of it."""

    study: Study
    path: Path
    results: Path
    raw: Path
    prepared: Path
    tables: Path
    figures: Path

    @property
    def baselines(self) -> Path:
        """Errors of the methods D-GEX is compared with."""
        return self.results / "baselines"

    @property
    def analyses(self) -> Path:
        """What the two analyses computed."""
        return self.results / "analyses"

    def run(self, network: NetworkConfig) -> Path:
        """Return the run folder of one network."""
        name = f"{network.dropout * 100:g}pct-{network.units}x{network.hidden_layers}"
        return self.results / "runs" / name


def open_workspace(study: str, out: Path | None) -> Workspace:
    """Find a study by its name (a file of ``reproduce/studies``) or its path.

    Without `out` the outputs go to ``results/<study>/``, ``tables/<study>/`` and
    ``figures/<study>/`` of the checkout; with it everything goes under ``<out>/<study>/``.

    Raises `StudyError`: no such study, or a wrong one.
    """
    path = Path(study) if study.endswith(".toml") else STUDIES / f"{study}.toml"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in STUDIES.glob("*.toml")))
        raise StudyError(f"{study}: no such study; a name ({known}) or a path ending in .toml")
    content = read_study(path)
    if content.baselines.weights is not None and not content.parts.sets:
        raise StudyError(
            f"{path}: baselines.weights: is measured on sets alone, and the study has none"
        )
    if out is None:
        results = ROOT / "results" / content.name
        tables, figures = (ROOT / kind / content.name for kind in ("tables", "figures"))
    else:
        results = out / content.name
        tables, figures = results / "tables", results / "figures"
    raw, prepared = results / "raw", results / "prepared.h5"
    return Workspace(content, path, results, raw, prepared, tables, figures)


def places(parts: Parts, where: str, name: str) -> list[tuple[str, str, str]]:
    """List part, name of the files and title of each exhibit of a kind.

    `where` is a part of the compendium, or the role of the sets that have one each: the first is
    called `name`, as in the paper, others have the name of their set behind it.
    """
    title = name.replace("table", "Table ").replace("figure", "Figure ")
    if where in OF_COMPENDIUM:
        return [(where, name, title)]
    sets = [one.name for one in parts.sets if one.role == where]
    return [
        (part, f"{name}_{part}", f"{title} · {part}") if number else (part, name, title)
        for number, part in enumerate(sets)
    ]


def products_at(
    parts: Parts, where: str, name: str, make: Callable[[str, str, str], Product]
) -> tuple[Product, ...]:
    """Make a product for each of `places`; without any, one that no study with these parts has."""
    made = tuple(replace(make(*place), of=name) for place in places(parts, where, name))

    def needs(study: Study) -> Needs:
        raise StudyError(
            f"study {study.name}: has no {where} set beside {parts.compendium}, which is asked for"
        )

    def nothing(_space: Workspace) -> str:
        raise AssertionError("its needs can't be met")

    title = name.replace("table", "Table ").replace("figure", "Figure ")
    return made or (Product(name, f"{title}: for each {where} set.", needs, nothing),)


def at_rates(study: Study, rates: Sequence[float] | None = None) -> tuple[NetworkConfig, ...]:
    """List all architectures at some dropout rates (every rate of the study if not given).

    Rate by rate, shallow before deep and narrow before wide, as the paper's tables have them.

    Raises `StudyError`: the study has no networks at a rate.
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

    Raises `StudyError`: the study has no such networks.
    """
    _check_depth(study, hidden_layers)
    at_rates(study, rates)
    units = max(study.grid.units)
    return tuple(NetworkConfig(hidden_layers, units, rate) for rate in rates)


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
